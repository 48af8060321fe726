"""metareward what-if: the run's own row is what the stages gave; other rows are what the stages would give."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from test_select import iteration, table

from metareward.cli.tables import number
from metareward.cli.what_if import what_if
from metareward.errors import UserError
from metareward.explore.what_if import (
    Settings,
    actor_outcomes,
    judge_outcomes,
    parse_question,
    settings_of,
    summarise,
    weights_of,
)
from metareward.selection.actor_pairs import select_actor_pairs
from metareward.selection.battles import choose_responses, list_battles
from metareward.selection.elo import fit_elo
from metareward.selection.judge_pairs import select_judge_pairs
from metareward.selection.scores import mark_duplicates, score_statistics
from metareward.tables import TABLES, read_table, table_of, write_table

from browser import CHROMIUM, browse
from hand_made_run import RHO, ROOT, save_run

OWN = Settings(rho=0.3, max_chosen_chars=60, max_judgment_chars=9, ridge=0.01)
TABLES_OF = iteration(
    p=[("x" * 50, [5, 4, 5, 1]), ("x" * 20, [4, 4, 4, 2]), ("x" * 90, [1, 2, 1, 5]), ("x" * 50, [])],
    q=[("y" * 80, [5, 5, 4, 3]), ("y" * 70, [3, None, 3, 5])],
    r=[("z", [3, 3, 3]), ("zz", [3, 3, 3])],
    s=[("twice", [4, 3, 4]), ("twice", []), ("once", [2, 1, 2]), ("once", []), ("later", [5, 5])],
)
PAIR = ["prompt_id", "chosen_id", "rejected_id", "chosen_chars", "rejected_chars", "margin"]


def battles_of(choices: pl.DataFrame) -> pl.DataFrame:
    """The first wins, but for every third battle; one in five is undecided."""
    listed = list_battles(choices, TABLES_OF.judgments)
    winners = [None if k % 5 == 4 else "b" if k % 3 == 2 else "a" for k in range(listed.height)]
    rows = listed.with_columns(
        battle_id=pl.concat_str("judgment_a", "judgment_b"),
        meta_judgment=pl.lit("v"),
        thought=pl.lit(None, pl.String),
        winner=pl.Series(winners),
        invalid_reason=pl.Series([None if winner else "tie" for winner in winners]),
        n_tokens=pl.lit(1, pl.Int64),
        finish_reason=pl.lit("stop"),
    )
    return table(rows.select(TABLES["battles"].columns.keys()).to_dict(as_series=False), "battles")


CHOICES = choose_responses(TABLES_OF.prompts, TABLES_OF.scores, 1)
BATTLES = battles_of(CHOICES)
PART = {
    "prompts": TABLES_OF.prompts.lazy(),
    "responses": TABLES_OF.responses.lazy(),
    "scores": TABLES_OF.scores.lazy(),
    "judgments": TABLES_OF.judgments.lazy(),
    "choices": CHOICES.lazy(),
    "battles": BATTLES.lazy(),
}


def same(outcomes: pl.DataFrame, pairs: pl.DataFrame, no_pairs: pl.DataFrame) -> None:
    found = outcomes.sort("prompt_id")
    assert found.filter(pl.col("reason").is_null()).select(PAIR).equals(pairs.select(PAIR))
    reasons = found.filter(pl.col("reason").is_not_null()).select("prompt_id", "reason")
    assert reasons.equals(no_pairs.select("prompt_id", "reason"))


@pytest.mark.parametrize(
    "changes",
    [{}, {"rho": 0.0}, {"rho": 1.0}, {"max_chosen_chars": None}, {"judgments": 2}, {"responses": 2}, {"responses": 4}],
)
def test_actor_pairs_are_those_of_the_stages(changes):
    one = OWN._replace(**changes)
    written = TABLES_OF.responses.filter(pl.col("sample") < (one.responses or 99))
    judged = TABLES_OF.judgments.filter(pl.col("sample") < (one.judgments or 99))
    scores = score_statistics(mark_duplicates(written), judged)
    expected = select_actor_pairs(TABLES_OF.prompts, TABLES_OF.responses, scores, one.rho, one.max_chosen_chars)
    same(actor_outcomes(PART, [OWN, one])[one], *expected)


@pytest.mark.parametrize(
    "changes",
    [{}, {"ridge": 1.0}, {"position_weights": False}, {"max_judgment_chars": 3}, {"judgments": 3}, {"judgments": 1}],
)
def test_judge_pairs_are_those_of_the_stages(changes):
    one = OWN._replace(**changes)
    ids = TABLES_OF.judgments.filter(pl.col("sample") < (one.judgments or 99))["judgment_id"].to_list()
    battles = BATTLES.filter(pl.col("judgment_a").is_in(ids) & pl.col("judgment_b").is_in(ids))
    elo = fit_elo(battles, one.ridge, None if one.position_weights else (0.5, 0.5))
    prompts = TABLES_OF.prompts.select(
        "prompt_id", messages=pl.concat_list(pl.struct(role=pl.lit("user"), content=pl.col("prompt")))
    )
    judged = (TABLES_OF.judgments, elo, prompts, one.max_judgment_chars)
    expected = select_judge_pairs(TABLES_OF.prompts, CHOICES, *judged)
    weights = weights_of(PART["battles"], PART["judgments"], [OWN, one])
    same(judge_outcomes(PART, [OWN, one], weights)[one], *expected)


def test_the_share_that_stays():
    """Of two pairs of the run one stays; the other prompt's pair has another rejected text."""
    now = pl.DataFrame({"prompt_id": ["p", "q"], "chosen_id": ["a", "c"], "rejected_id": ["b", "d"]})
    outcomes = pl.DataFrame(
        {
            "prompt_id": ["p", "q", "r"],
            "chosen_id": ["a", "c", None],
            "rejected_id": ["b", "e", None],
            "chosen_chars": [10, 20, None],
            "rejected_chars": [12, 28, None],
            "margin": [1.0, 2.0, None],
            "reason": [None, None, "equal_scores"],
        }
    )
    assert summarise(outcomes, now) == {
        "pairs": 2,
        "none": {"equal_scores": 1},
        "margin": 1.5,
        "chosen_chars": 15,
        "rejected_chars": 20,
        "difference": -5,
        "same": 0.5,
    }


@pytest.mark.parametrize(
    ("question", "values"),
    [
        ("rho=0:0.3:0.1", [0.0, 0.1, 0.2, 0.3]),  # 0.1 * 3 is 0.30000000000000004
        ("rho=0,0.3,0", [0.0, 0.3]),
        ("judgments=1..3,5", [1, 2, 3, 5]),
        ("position_weights=on,off", [True, False]),
        ("max_judgment_chars=500,null", [500, None]),
        ("ridge=0.01,1e-3", [0.01, 0.001]),
    ],
)
def test_values_are_read(question, values):
    assert parse_question(question) == (question.split("=")[0], values)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("roh=0.3", ["'roh=0.3'", "rho"]),
        ("rho", ["'rho'", "KEY=VALUES"]),
        ("rho=1.5", ["rho is '1.5'", "[0, 1]"]),
        ("rho=nan", ["rho is 'nan'"]),
        ("rho=0:x:1", ["'0:x:1'", "start:stop:step"]),
        ("rho=0:1:0", ["'0:1:0'", "step > 0"]),
        ("rho=0:1:1e-9", ["1000000001 values"]),
        ("rho=", ["rho is ''"]),
        ("judgments=0", ["judgments is '0'"]),
        ("judgments=3..1", ["'3..1'"]),
        ("responses=1", ["responses is '1'", "at least 2"]),
        ("ridge=0", ["ridge is '0'", "at least"]),
        ("position_weights=maybe", ["'maybe'", "on or off"]),
        ("max_chosen_chars=-1", ["'-1'"]),
    ],
)
def test_what_is_no_question_is_named(question, words):
    with pytest.raises(UserError) as caught:
        parse_question(question)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def test_the_runs_own_settings_are_always_there_once():
    assert settings_of(OWN, {"rho": [0.1]}) == [OWN, OWN._replace(rho=0.1)]
    assert settings_of(OWN, {"rho": [0.3, 0.1]}) == [OWN, OWN._replace(rho=0.1)]
    assert len(settings_of(OWN, {"rho": [0.1, 0.2], "max_chosen_chars": [None, 5]})) == 5


def check_own_rows(printed: str, folder: Path) -> None:
    """The rows of the run's own values are the tables of data/iterations, that is the same ids, too."""
    rows = [row for row in json.loads(printed) if row["own"]]
    for row in rows:
        here, role = folder / "data/iterations" / row["iteration"], row["role"]
        pairs = read_table(here / f"{role}_pairs.parquet", f"{role}_pairs")
        reasons = read_table(here / f"{role}_no_pairs.parquet", "no_pairs")["reason"]
        assert (row["pairs"], row["none"]) == (pairs.height, Counter(reasons))
        assert row["same"] == (1.0 if pairs.height else None)
        assert row["margin"] == pytest.approx(pairs["margin"].mean(), rel=1e-12)
        for column in ("chosen_chars", "rejected_chars"):
            assert row[column] == pairs[column].mean()
    places = [(row["iteration"], row["role"]) for row in rows]
    assert len(set(places)) == len(places)
    assert {name for name, _ in places} >= {"m1", "m2"}
    assert ("m1", "judge") in places


@pytest.fixture
def run(tmp_path, monkeypatch):
    folder = save_run(tmp_path / "run")
    for name, rho in RHO.items():
        rows = table_of([{"rho": rho, "set_by": "params"}], "length_control")
        write_table(rows, folder / "data/iterations" / name / "length_control.parquet", "length_control")
    (folder / ".dvc").mkdir()
    (folder / ".dvc/plots").symlink_to(ROOT / ".dvc/plots")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    "questions", [["rho=0.9", "ridge=0.5"], ["judgments=1..3"], ["rho=0.25,0", "max_chosen_chars=1", "ridge=0.01"]]
)
def test_the_row_of_the_runs_own_values_is_the_tables(run, capsys, questions):
    what_if(questions, as_json=True)
    check_own_rows(capsys.readouterr().out, run)


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_the_terminal_and_is_what_json_says(run, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    what_if(["judgments=1..3"])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= columns
    what_if(["judgments=1..3"], as_json=True)
    printed = capsys.readouterr()
    titles = dict.fromkeys(f"{row['iteration']}: {row['role']} pairs" for row in json.loads(printed.out))
    assert list(titles) == ["m1: actor pairs", "m1: judge pairs", "m2: actor pairs"]
    tables = re.split(r"^ *(m\d: \w+ pairs) *$", out, flags=re.MULTILINE)
    for title, text in zip(tables[1::2], tables[2::2], strict=True):
        rows = [row for row in json.loads(printed.out) if f"{row['iteration']}: {row['role']} pairs" == title]
        for row in rows:
            line = next(line for line in text.splitlines() if re.match(rf"{row['judgments']}( \*)? +\d", line))
            assert ("*" in line) == row["own"]
            figures = [row["pairs"], *(row[name] for name in ("chosen_chars", "rejected_chars", "difference", "same"))]
            assert all(number(figure) in line.split() for figure in figures)
    why = "m2 has no judge pairs, since it trains no judge (iterations.m2.train_judge)."
    assert why in out
    assert why in printed.err


def test_a_question_that_touches_no_pair_says_why(run):
    with pytest.raises(UserError, match="m2 has no judge pairs, since it trains no judge"):
        what_if(["ridge=0.5"], iteration="m2")
    (run / "data/iterations/m1/judge_no_pairs.parquet").unlink()
    with pytest.raises(UserError, match=r"m1 has no judge pairs yet\. Hint: dvc repro judge-pairs@m1"):
        what_if(["ridge=0.5"], iteration="m1")


@pytest.mark.parametrize(
    ("questions", "options", "words"),
    [
        (["rho=0.1", "rho=0.2"], {}, "rho is asked twice"),
        (["rho=0.1"], {"iteration": "m9"}, "m9 is no iteration; there are m1, m2"),
        (["judgments=4"], {}, "judgments goes beyond 3"),
        (["rho=0.1"], {"iteration": "m3"}, "there are no pairs of m3 yet"),
        (["rho=0.1"], {"picture": Path("rho.png")}, "rho.png is no .html"),
        (["rho=0.1", "ridge=1"], {"picture": Path("rho.html")}, "one key, not of rho and ridge"),
    ],
)
def test_what_cannot_be_answered_is_one_line(run, questions, options, words):
    with pytest.raises(UserError, match=words) as caught:
        what_if(questions, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("table", ["scores", "length_control", "prompts", "actor_pairs"])
def test_a_broken_table_is_named(run, table):
    (run / f"data/iterations/m1/{table}.parquet").write_bytes(b"no table")
    with pytest.raises(UserError, match=rf"m1/{table}\.parquet") as caught:
        what_if(["rho=0.1"])
    assert "\n" not in str(caught.value)


def test_a_run_without_pairs_says_so(run):
    shutil.rmtree(run / "data")
    with pytest.raises(UserError, match=r"there are no pairs of any iteration yet\. Hint: dvc repro"):
        what_if(["rho=0.1"])


def test_the_picture_holds_all_rows(run, capsys):
    what_if(["judgments=1..3"], as_json=True, picture=Path("drawn/judgments.html"))
    rows = json.loads(capsys.readouterr().out)
    page = Path("drawn/judgments.html").read_text()
    charts = json.loads(re.search(r'id="charts">(.*?)</script>', page, re.DOTALL)[1])
    assert [name.split("-")[0] for name in charts] == ["actor"] * 4 + ["judge"] * 4
    for name, chart in charts.items():
        role, figure = name.split("-")
        points = [(point["iteration"], point["x"], point["y"], point["own"]) for point in chart["rows"]]
        mine = [(row["iteration"], row["judgments"], row[figure], row["own"]) for row in rows if row["role"] == role]
        assert sorted(points) == sorted(row for row in mine if row[2] is not None)
    assert "3 (as the run has it)" in page


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")
@pytest.mark.parametrize("question", ["rho=0:1:0.5", "judgments=1..3", "max_judgment_chars=5,null"])
def test_a_browser_draws_the_picture_and_asks_for_nothing(run, tmp_path, question):
    file = tmp_path / "picture.html"
    what_if([question], picture=file)

    async def visit(tab):
        await tab.open(file, width=390)
        marks = "document.querySelectorAll('.chart svg .mark-symbol path[aria-roledescription=point]').length"
        return await tab.evaluate(marks), await tab.evaluate("document.documentElement.scrollWidth"), tab

    marks, width, tab = browse(tmp_path / "browser", visit)
    assert marks > 0
    assert width == 390
    assert tab.requests() == [file.as_uri()]
    assert tab.complaints() == []
