"""What `metareward show` and `metareward compare` print: intervals, what is noise, the paper's figures."""

import json
import re

import polars as pl
import pytest
import yaml

from metareward.cli import compare, show
from metareward.cli.paper import beside, read_paper
from metareward.cli.tables import fixed, print_table, short, with_interval
from metareward.errors import UserError
from metareward.tables import TABLES, write_table

from pipeline import ROOT

METRICS = {
    "held_out": {"response_chars": {"seed": 200.0, "m1": 150.4}, "win_rate_by_sft": {"m1": 0.625}},
    "actor_pairs": {"pairs": {"m1": 7}, "none": {"equal_scores": {"m1": 2}}},
}


def row(checkpoint, metric, value, low, high, **other):
    """A row of plots/intervals.json."""
    common = {"benchmark": "held_out", "other": None, "referee": None, "n": 6, "before": False}
    return common | {"checkpoint": checkpoint, "metric": metric, "value": value, "ci_low": low, "ci_high": high} | other


@pytest.fixture
def printed(tmp_path, monkeypatch, capsys):
    """What a command prints where a run has left these metrics and intervals, on a terminal of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(metrics, intervals=None, command=show.show, **arguments):
        (tmp_path / "metrics.json").write_text(json.dumps(metrics))
        if intervals is not None:
            (tmp_path / "plots").mkdir(exist_ok=True)
            (tmp_path / "plots/intervals.json").write_text(json.dumps(intervals))
        command(**arguments)
        text = capsys.readouterr().out
        assert max(map(len, text.splitlines())) <= 80, text
        assert "…" not in text
        return text

    return run


def cells(text, first):
    """The cells of the rows that begin with a word, parted by two blanks or more, or by one before a number."""
    lines = [line for line in text.splitlines() if line.split()[:1] == [first]]
    return [re.findall(r"-?[\d.]+ \[[^]]*\]|\S+", line) for line in lines]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.583, ".58"), (1.0, "1"), (0.0, "0"), (-0.001, "0"), (-0.72, "-.72"), (-12.6, "-13"), (1949.6, "1950")],
)
def test_short_numbers(value, text):
    assert short(value) == text


def test_numbers_with_their_intervals():
    assert with_interval(0.583, 0.45, 0.7) == ".58 [.45 .70]"
    assert with_interval(0.583, None, None) == ".58"
    assert with_interval(None, None, None) == "-"
    assert with_interval(0.1, -0.2, 1.0, sign=True) == "+.10 [-.20 1]"
    assert with_interval(0.0, -0.2, 1.0, sign=True) == "0 [-.20 1]"
    assert with_interval(22.92, 20.0, 25.06, decimals=1) == "22.9 [20.0 25.1]"
    assert fixed(-0.001, 2) == "0.00"


def test_a_long_name_is_broken_after_an_underscore(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    print_table("a title", ["metric", *["12345678"] * 6], [["comparisons_first_position_by_sft", *[".50"] * 6]])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-2:]] == ["comparisons_first_", "position_by_sft"]


def test_show_prints_a_row_for_each_checkpoint(printed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="dvc repro makes it"):
        show.show()
    text = printed(METRICS)
    assert cells(text, "m1") == [["m1", ".62", "-", "-", "150"], ["m1", "7", "-", "-", "-"]]
    assert cells(text, "seed") == [["seed", "-", "-", "-", "200"], ["seed", "-", "-", "-", "-"]]
    assert "No intervals of differences are there" in text


def test_files_that_no_run_wrote_are_refused_in_one_line(printed, tmp_path):
    for content in ("[]", "{}", '{"held_out": {}}'):
        with pytest.raises(UserError, match=r"metrics\.json is not what a run writes"):
            printed(json.loads(content))
    for content in ({}, [1], [{"metric": "spearman"}]):
        with pytest.raises(UserError, match=r"plots/intervals\.json is not what a run writes"):
            printed(METRICS, content)
    (tmp_path / "plots/intervals.json").write_text("<<<<")
    with pytest.raises(UserError, match=r"plots/intervals\.json is not what a run writes"):
        printed(METRICS)


def test_show_prints_intervals_and_what_they_are_of(printed):
    intervals = [
        row("m1", "win_rate", 0.625, 0.25, 1.0, referee="sft"),
        row("m1", "response_chars", 150.4, 120.2, 180.0),
        row("seed", "response_chars", 200.0, None, None),
    ]
    text = printed(METRICS, intervals)
    assert cells(text, "m1")[0] == ["m1", ".62 [.25 1]", "-", "-", "150 [120 180]"]
    assert cells(text, "seed")[0] == ["seed", "-", "-", "-", "200"]
    assert "n of the last checkpoint: win rate by sft 6 prompts, response chars 6 prompts." in " ".join(text.split())


def difference(low, high, metric="response_chars", **other):
    return row(
        "m1", metric, (low + high) / 2, low, high, **{"benchmark": None, "other": "seed", "before": True} | other
    )


def test_what_is_noise_is_called_noise(printed):
    told = difference(-60, -5)
    noise = [difference(-0.5, 0.0, "spearman"), difference(-1, 1, "win_rate", referee="sft")]
    beside_the_point = [difference(0.1, 0.2, "score_mean"), difference(0.1, 0.2, "spearman", before=False)]
    beside_the_point.append(row("m2", "spearman", 0.15, 0.1, 0.2, benchmark=None, other="sft"))
    text = " ".join(printed(METRICS, [told, *noise, *beside_the_point]).split())
    assert "same prompts: response chars of m1. The other 2 of 3 differences are NOISE" in text
    text = " ".join(printed(METRICS, noise).split())
    assert "NOISE: no checkpoint can be told from the one before it: on the same prompts all 2 differences" in text
    assert "too narrow" not in " ".join(printed(METRICS, [one | {"n": 20} for one in noise]).split())
    assert "hold 0. Of 19 prompts intervals are too narrow (docs/method.md)." in " ".join(
        printed(METRICS, [noise[0] | {"n": 20}, noise[1] | {"n": 19}]).split()
    )
    benchmark = difference(0.01, 0.04, "alpaca_eval_win_rate", referee="gpt-4")
    assert "same prompts: AlpacaEval 2 of m1. The other 2 of 3" in " ".join(
        printed(METRICS, [*noise, benchmark]).split()
    )


def test_show_prints_all_metrics_of_a_group(printed):
    text = printed(METRICS, group="actor_pairs")
    assert cells(text, "metric") == [["metric", "seed", "m1"]]
    assert cells(text, "pairs") == [["pairs", "-", "7"]]
    assert cells(text, "none.equal_scores") == [["none.equal_scores", "-", "2"]]
    with pytest.raises(UserError, match=r"judge is not a group of metrics\. Known: held_out, actor_pairs\."):
        show.show("judge")


def test_a_group_has_its_intervals_below_its_values(printed):
    text = printed(METRICS, [row("m1", "win_rate", 0.625, 0.25, 1.0, referee="sft")], group="held_out")
    assert re.search(r"\nwin_rate_by_sft +- +\.62 *\n +\.25 1", text)
    metrics = METRICS | {"difference_to_sft": {"spearman": {"m1": 0.1}}}
    intervals = [row("m1", "spearman", 0.1, -0.5, 0.7, benchmark=None, other="sft")]
    assert re.search(r"\nspearman +- +\.10 *\n +-\.50 \.70", printed(metrics, intervals, group="difference_to_sft"))


def test_what_is_shown_fits_a_terminal_of_80_columns(printed):
    """Six checkpoints, every number as wide as it gets, a judge of a long name."""
    names, judge = ["seed", "sft", "m1", "m2", "m3", "m4"], "an-organisation/a-model-of-a-long-name-v2.5-instruct"
    values = dict.fromkeys(names, -0.1234)
    metrics = ["win_rate", *show.HELD_OUT, *show.OTHERS, "strong_pairs_agreement_ties_left_out"]
    held_out = dict.fromkeys(metrics[1:-1], values)
    held_out |= {"win_rate_by_sft": values, f"{metrics[-1]}_by_{judge}": values}
    held_out["response_chars"] = dict.fromkeys(names, 1234.5678)
    pairs = {"pairs": dict.fromkeys(names, 5000), "none": {"chosen_judgment_too_long": dict.fromkeys(names, 5000)}}
    groups = ["training", "data", "judge", "actor_pairs", "judge_pairs"]
    run = {"held_out": held_out} | dict.fromkeys(groups, pairs)
    run["meta_judge"] = {"higher_score_wins": values, "first_position_wins": values}
    intervals = [
        row(name, metric, -0.1234, -0.9876, -0.1111, referee=referee)
        for name in names
        for metric, referee in zip(metrics, ["sft", *[None] * (len(metrics) - 2), judge], strict=True)
    ]
    for one in intervals:
        if one["metric"] == "response_chars":
            one |= {"value": 1234.5, "ci_low": 1111.1, "ci_high": 1333.3}
    for name, metrics_of in show.BENCHMARKS.items():
        most = 9.99 if name == "mt_bench" else 99.9
        run[name] = {f"{metric}_by_{judge}": dict.fromkeys(names, most) for metric in metrics_of}
        run[name] |= {f"mean_length_by_{judge}": dict.fromkeys(names, 1234.5)} if name == "alpaca_eval" else {}
        own = {"referee": judge, "benchmark": name}
        intervals += [row(one, metric, most, most, most, **own) for one in names for metric in metrics_of]
        intervals = [one for one in intervals if one["metric"] != "mean_length"]  # it has none
    for arguments in ({}, {"group": "held_out"}, {"group": "judge_pairs"}, {"group": "mt_bench"}, {"paper": True}):
        printed(run, intervals, **arguments)


PAPER = {
    "held_out": {
        "response_chars": dict.fromkeys(["seed", "sft", "m1"], 100.0),
        "agreement_ties_half": {"sft": 0.5, "m1": 0.6},
        "spearman": {"m1": -0.25},
    },
    "judge_pairs": {"pairs": {"m1": 3}},
    "meta_judge": {"higher_score_wins": {"m1": 0.75}},
}


def test_without_a_benchmark_the_judge_stands_beside_the_papers(printed):
    intervals = [
        row("m1", "agreement_ties_half", 0.6, 0.4, 0.7),
        row("m1", "higher_score_wins", 0.75, 0.5, 1.0, benchmark="meta_judge"),
    ]
    text = printed(PAPER, intervals, paper=True)
    assert "No public benchmark is on" in text
    assert "AlpacaEval 2" not in text
    assert "Judge against a strong judge: off (evaluate.strong_judge.n_prompts is 0)" in text
    people, _, bias = text.partition("Meta-judge")
    assert cells(people, "SFT") == [["SFT", "63.20", "50.0", "64.59", "-", "0.321", "-"]]
    assert cells(people, "MR") == [
        ["MR", "1", "(m1)", "-", "60.0 [40 70]", "-", "-", "-", "-.25"],
        ["MR", "2", "66.64", "-", "68.33", "-", "0.382", "-"],
    ]
    assert cells(bias, "MR") == [
        ["MR", "1", "(m1)", "-", "75.0 [50 100]", "-", "-"],
        ["MR", "2", "97.68", "-", "68.11", "-"],
    ]


def test_benchmarks_that_are_on_stand_beside_the_papers(printed):
    run = PAPER | {
        "alpaca_eval": {
            "win_rate_by_org/gpt-4.1": {"seed": 21.5, "m1": 27.0},
            "length_controlled_win_rate_by_org/gpt-4.1": {"m1": 28.25},
            "mean_length_by_org/gpt-4.1": {"m1": 1950.0},
        },
        "arena_hard": {"score_by_gpt-4-1106-preview": {"seed": 20.5}},
        "mt_bench": {"turn_1_by_gpt-4": {"m1": 8.4}},
    }
    intervals = [
        row("m1", "win_rate", 27.0, 24.0, 30.0, referee="org/gpt-4.1", benchmark="alpaca_eval", n=803),
        row("seed", "win_rate", 21.5, 19.0, 24.0, referee="org/gpt-4.1", benchmark="alpaca_eval", n=805),
        row("seed", "score", 20.5, 18.75, 22.0, referee="gpt-4-1106-preview", benchmark="arena_hard", n=500),
    ]
    text = printed(run, intervals, paper=True)
    assert "No public benchmark" not in text
    alpaca, _, rest = text.partition("Arena-Hard v0.1  ")  # the title, in the middle of its line
    assert cells(alpaca, "seed") == [["seed", "22.92", "-", "22.57", "21.5 [19.0 24.0]", "1899", "-"]]
    assert ["MR", "1", "(m1)", "27.85", "28.2", "27.62", "27.0 [24.0 30.0]", "1949", "1950"] in cells(alpaca, "MR")
    assert ["MR", "4,", "rho", "0", "-", "-", "-", "-", "2212", "-"] in cells(alpaca, "MR")
    words = " ".join(text.split())
    assert (
        "AlpacaEval 2: judged by org/gpt-4.1. NOT OFFICIAL: upstream's judge is gpt-4-1106-preview. n: 803 to 805."
        in words
    )
    assert "Arena-Hard v0.1: judged by gpt-4-1106-preview, as upstream;" in words
    assert "MT-Bench: judged by gpt-4, as upstream;" in words
    assert words.count("NOT OFFICIAL") == 1
    assert cells(rest, "seed")[0] == ["seed", "20.6 [18.6 22.4]", "20.5 [18.8 22.0]"]
    shown = printed(run, intervals)
    assert cells(shown, "seed")[2] == ["seed", "-", "21.5 [19.0 24.0]", "20.5 [18.8 22.0]"]
    assert "NOT OFFICIAL" in shown


def test_a_strong_judge_stands_beside_gpt_4(printed):
    held_out = PAPER["held_out"] | {"strong_pairs_agreement_ties_half_by_big": {"sft": 0.5625}}
    text = printed(PAPER | {"held_out": held_out}, paper=True)
    _, _, strong = text.partition("Judge against big (the paper: GPT-4)")
    assert cells(strong, "SFT")[0] == ["SFT", "51.48", "56.2", "51.79", "-"]


def test_self_rewarding_stands_beside_self_rewarding():
    assert beside(PAPER)["m1"] == "mr1"
    assert beside(PAPER | {"judge_pairs": {"pairs": {"m1": 0}}})["m1"] == "sr1"


def test_checkpoints_that_the_paper_has_not_stand_by_themselves(printed):
    names = ["seed", "sft", "m1", "m2", "m3", "m4", "m5"]
    run = {"held_out": {"response_chars": dict.fromkeys(names, 1.0), "spearman": {"m5": 0.5}}}
    assert cells(printed(run, paper=True), "m5") == [["m5", "-", "-", "-", "-", "-", ".50"]]


def test_the_papers_figures_are_those_of_the_page_of_the_method():
    """Every number of docs/method.md, section 7, against paper.json, table by table."""
    page = (ROOT / "docs/method.md").read_text().partition("## 7. The paper's numbers")[2]
    paper = read_paper()
    models = {name.removesuffix(", rho 0"): key for key, name in paper["models"].items() if key != "mr4_rho_0"}
    models |= {"MR 4 with $`\\rho = 0`$ in iteration 4": "mr4_rho_0"}
    models |= {"external reward model (Starling-RM-34B), iteration 1": "external"}
    headings = {
        "AlpacaEval 2": ("alpaca_eval", ["length_controlled_win_rate", "win_rate", "mean_length"]),
        "Arena-Hard": ("arena_hard", ["score", "reach"]),
        "MT-Bench": ("mt_bench", ["mean", "turn_1", "turn_2"]),
        "Agreement of the judge with GPT-4": ("strong_judge", ["agreement_ties_half", "agreement_ties_left_out"]),
        "Agreement of the judge with people": (
            "people", ["agreement_ties_half", "agreement_ties_left_out", "spearman"],
        ),
    }  # fmt: skip
    checked = 0
    for heading, (table, metrics) in headings.items():
        part = page.partition(f"**{heading}**")[2].partition("\n**")[0]
        found = {metric: {} for metric in metrics}
        for line in re.findall(r"^\| (.*) \|$", part, re.MULTILINE):
            name, *values = [cell.strip() for cell in line.split("|")]
            if name in models:
                for metric, value in zip(metrics, values, strict=True):
                    found[metric] |= {models[name]: value} if value else {}
        if table == "arena_hard":
            for model, reach in found.pop("reach").items():
                value = float(found["score"][model])
                found["score"][model] = [value, *(round(value + float(end), 1) for end in reach.split(", "))]
        numbers = {
            metric: {model: float(value) if isinstance(value, str) else value for model, value in values.items()}
            for metric, values in found.items()
        }
        assert numbers == paper[table], heading
        checked += sum(map(len, numbers.values()))
    assert checked >= 50
    bias = page.partition("**Bias of the meta-judge**, iteration 2")[2]
    assert re.findall(r"\| ([\d.]+) \|", bias) == ["97.68", "68.11"]
    assert paper["meta_judge"] == {"higher_score_wins": {"mr2": 97.68}, "first_position_wins": {"mr2": 68.11}}


@pytest.fixture
def compared(tmp_path, monkeypatch):
    """A folder with params and the outcomes of two checkpoints: lengths that tell them apart, scores that do not."""
    monkeypatch.chdir(tmp_path)
    params = yaml.safe_load((ROOT / "profiles/demo.yaml").read_text())
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    lengths = {"m1": [100, 120, 90, 110], "m2": [140, 150, 130, 160]}
    agreement = {"m1": [1, 0, 1, 0], "m2": [1, 1, 1, 0]}
    for name in ("m1", "m2"):
        rows = [("response_chars", k, value) for k, value in enumerate(lengths[name])]
        rows += [("agreement_ties_half", k, value) for k, value in enumerate(agreement[name])]
        outcomes = pl.DataFrame(
            [(name, metric, None, f"p{k}", float(value), 1) for metric, k, value in rows],
            schema=dict(TABLES["outcomes"].columns), orient="row",
        )  # fmt: skip
        for folder in ("evaluations", "comparisons", "likelihoods", "grades"):
            part = outcomes if folder == "evaluations" else outcomes.clear()
            write_table(part, tmp_path / "data" / folder / name / "outcomes.parquet", "outcomes")
    return tmp_path


def test_compare_says_what_tells_two_checkpoints_apart(printed, compared):
    text = printed({}, command=compare.compare, first="m1", second="m2")
    assert "m2 minus m1" in text
    assert cells(text, "response_chars") == [["response_chars", "105", "145", "+40", "[32", "48]", "4", "yes"]]
    agreement = ["agreement_ties_half", ".50", ".75", "+.25", "[0", ".75]", "4", "no"]  # an interval that ends at 0
    assert cells(text, "agreement_ties_half") == [agreement]
    assert "1 of 2 differences are NOISE" in " ".join(text.split())


def test_compare_names_prompts_that_only_one_has(printed, compared):
    path = compared / "data/evaluations/m1/outcomes.parquet"
    write_table(pl.read_parquet(path).filter(pl.col("prompt_id") != "p3"), path, "outcomes")
    text = printed({}, command=compare.compare, first="m1", second="m2")
    assert "response_chars: 1 prompts that only one of the two has are left out" in text
    assert cells(text, "response_chars")[0][-2:] == ["3", "yes"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("m1", "m9"), r"m9 is no checkpoint\. Known: seed, sft, m1, m2, m3, m4\. \(params.yaml: checkpoints\)"),
        (("m1", "m1"), "m1 is compared with itself"),
        (("m1", "m3"), r"data/evaluations/m3/outcomes\.parquet is not a readable .* dvc repro makes it"),
    ],
)
def test_compare_says_in_one_line_what_is_wrong(compared, names, said):
    with pytest.raises(UserError, match=said):
        compare.compare(*names)
