"""The paper's baselines as profiles: what they change, and whole runs of an external reward model and of SFT alone."""

import json
import re
from fractions import Fraction

import polars as pl
import pytest
import torch
import yaml
from naive_selection import actor_pairs
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from metareward.load_params import load_params
from metareward.tables import read_table

from pipeline import ROOT, Clone, stages_restored, stages_run

REWARD_MODEL = {"model": "tiny/reward_model", "dtype": "float32", "batch_tokens": 300}


def changes(name):
    """The dotted keys in which a profile differs from the paper's."""
    flat = [_flat(load_params(ROOT / f"profiles/{one}.yaml").model_dump()) for one in ("paper", name)]
    return {key for key in flat[0].keys() | flat[1].keys() if flat[0].get(key, "none") != flat[1].get(key, "none")}


def _flat(value, before=""):
    if not isinstance(value, dict) or not value:
        return {before: value}
    return {key: one for name, inner in value.items() for key, one in _flat(inner, f"{before}.{name}").items()}


def test_self_rewarding_is_the_paper_without_a_trained_judge():
    limits = {f".iterations.{name}.max_judgment_chars" for name in ("m1", "m2")}
    assert changes("self-rewarding") == limits | {f".iterations.{name}.train_judge" for name in ("m1", "m2")}


def test_the_other_baselines_are_the_papers_but_for_what_their_names_say():
    iterations = {f".iterations.{name}" for name in ("m1", "m2", "m3", "m4")}
    for name in ("external-rm", "sft-only"):
        found = {re.sub(r"^(\.iterations\.m\d|\.reward_model).*", r"\1", key) for key in changes(name)}
        assert found - iterations - {".iterations"} == {".checkpoints"} | ({".reward_model"} if "rm" in name else set())
    assert load_params(ROOT / "profiles/sft-only.yaml").checkpoints == ["seed", "sft"]


def clone_of(tiny_run, folder, checkpoints, **more):
    """A clone with the profile `tiny`, of these checkpoints, without public benchmarks.

    It has run nothing, but what the whole profile's run makes just so, from the seed to SFT, is in its cache.
    """
    clone = Clone.with_cache_of(tiny_run, folder)
    clone.run("mkdir -p tiny/benchmarks_off && touch tiny/benchmarks_off/none")
    params = yaml.safe_load((clone.folder / "profiles/tiny.yaml").read_text())
    iterations = {key: value for key, value in params["iterations"].items() if key in checkpoints}
    values = {"checkpoints": checkpoints, "iterations": iterations, "benchmarks__folder": "tiny/benchmarks_off", **more}
    clone.write_params(params, values)
    return clone


@pytest.fixture(scope="module")
def sft_only(tiny_run, tmp_path_factory):
    clone = clone_of(tiny_run, tmp_path_factory.mktemp("sft_only"), ["seed", "sft"])
    return clone, clone.run("dvc repro")


def test_a_run_without_iterations_ends_with_the_metrics_of_seed_and_sft(sft_only):
    clone, output = sft_only
    ran, restored = stages_run(output), stages_restored(output)
    assert {"sft", "evaluate@seed", "evaluate@sft", "digest-sft"} <= restored
    assert {"answer@sft", "summary-sft", "metrics", "report"} <= ran
    assert not any("@m" in stage or stage.startswith("dpo") for stage in ran | restored)
    metrics = json.loads((clone.folder / "metrics.json").read_text())
    assert list(metrics["held_out"]["response_chars"]) == ["seed", "sft"]
    assert metrics["training"]["steps"]["sft"] > 0
    assert stages_run(clone.run("dvc repro")) == set()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("metareward show", r"\nsft .*\n(.|\n)*win rate: "),
        ("metareward show --paper", r"SFT "),
        (
            "metareward show --costs",
            r"\nsft +\d:\d\d:\d\d +- +- +[\d,]+ (.|\n)*\nevaluate@sft +\d:\d\d:\d\d +[\d,]+ +[\d,]+ ",
        ),
        ("metareward show held_out", r"response_chars"),
        ("metareward check", r"in order: checkpoints seed, sft\n"),
        ("metareward plan", r"evaluate@sft(.|\n)*total"),
        ("metareward compare seed sft", r"sft minus seed"),
        ("metareward report", r"report\.html: "),
        ("metareward journal", r"evaluate@sft"),
        ("metareward sql 'SELECT checkpoint, value FROM results LIMIT 2'", r"seed"),
        ("metareward exp", ""),
        ("dvc plots show", "index.html"),
    ],
)
def test_what_is_said_of_a_run_without_iterations(sft_only, command, said):
    assert re.search(said, sft_only[0].run(command))


@pytest.mark.parametrize("command", ["metareward what-if rho=0,1", "metareward reliability"])
def test_what_cannot_be_said_of_a_run_without_iterations(sft_only, command):
    printed = sft_only[0].run(command, returncode=2)
    assert re.fullmatch(r"error: there are no pairs of any iteration.*\n", printed)


@pytest.fixture(scope="module")
def rewarded(tiny_run, tmp_path_factory):
    clone = clone_of(
        tiny_run,
        tmp_path_factory.mktemp("rewarded"),
        ["seed", "sft", "m1"],
        reward_model=REWARD_MODEL,
        iterations={"m1": {"prev": "sft", "rho": 0.32, "train_judge": False}},
        prompts__per_iteration=6,
    )
    return clone, clone.run("dvc repro")


def table(clone, file, name):
    return read_table(clone.folder / f"data/iterations/m1/{file}.parquet", name)


def test_pairs_are_those_of_the_reward_models_scores_computed_one_by_one(rewarded):
    """Each conversation in a forward of its own, by the tokenizer's own template; pairs by METHOD §3.4 in plain loops.

    The template of the tiny tokenizer is written out, as the model would be prompted by hand.
    """
    clone, _ = rewarded
    folder = clone.folder / "tiny/reward_model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    prompts, responses = table(clone, "prompts", "prompts"), table(clone, "unique_responses", "responses")
    texts = dict(prompts.select("prompt_id", "prompt").iter_rows())
    rows = []
    for row in responses.filter(pl.col("duplicate_of").is_null()).iter_rows(named=True):
        chat = [{"role": "user", "content": texts[row["prompt_id"]]}, {"role": "assistant", "content": row["response"]}]
        with torch.no_grad():
            ids = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=False)
            score = model(input_ids=ids).logits.item()
        rows.append({"response_id": row["response_id"], "score": score, "judgment": None})
    by_hand = pl.DataFrame(rows, schema={"response_id": pl.String, "score": pl.Float64, "judgment": pl.String})
    judgments = table(clone, "judgments", "judgments")
    both = by_hand.join(judgments, on="response_id", how="full", suffix="_run")
    assert (both["score"] - both["score_run"]).abs().max() < 1e-4
    assert both["score_run"].null_count() == 0
    assert judgments["judgment"].null_count() == judgments.height
    assert (judgments["score"] < 0).any()  # no judge's
    expected = actor_pairs(prompts, responses, by_hand, Fraction("0.32"), None)
    found = table(clone, "actor_pairs", "actor_pairs")
    none = table(clone, "actor_no_pairs", "no_pairs")
    assert {
        **{prompt: (chosen, rejected) for prompt, chosen, rejected in
           found.select("prompt_id", "chosen_id", "rejected_id").iter_rows()},
        **dict(none.select("prompt_id", "reason").iter_rows()),
    } == expected  # fmt: skip
    assert found.height > 3
    assert (found["chosen_score"] > found["rejected_score"]).all()


def test_no_judge_is_asked_in_the_iteration_and_none_is_trained(rewarded):
    clone, _ = rewarded
    assert table(clone, "battles", "battles").is_empty()
    assert table(clone, "judge_pairs", "judge_pairs").is_empty()
    metrics = json.loads((clone.folder / "metrics.json").read_text())
    n = table(clone, "judgments", "judgments").height
    assert metrics["judge"]["by_reward_model"] == {"m1": n}
    assert metrics["judge"]["readable"] == {"m1": 1.0}
    assert not {"score_at_maximum", "judgment_chars"} & metrics["judge"].keys()
    assert metrics["training"]["rows_trained"]["m1"] == metrics["actor_pairs"]["pairs"]["m1"]
    monitors = json.loads((clone.folder / "plots/monitors.json").read_text())
    values = {row["monitor"]: row["value"] for row in monitors if row["checkpoint"] == "m1"}
    assert values["score_at_maximum"] is None
    assert values["readable_judgments"] == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("metareward show", r"\nm1 "),
        ("metareward show judge", r"\nby_reward_model "),
        ("metareward show --costs", r"\njudge@m1 +\d:\d\d:\d\d +[\d,]+ +- +- (.|\n)*\ntotal "),
        ("metareward show --paper", r"Judge against people"),
        ("metareward check", r"responses are scored by the reward model tiny/reward_model"),
        ("metareward plan", r"judge@m1 +│ +24 +│ +24 +│ +[\d,]+ +│ +[\d,]+ +│ +0 "),
        ("metareward what-if rho=0,0.5", r"m1: actor pairs(.|\n)*\n0\.32 \*"),
        ("metareward report", r"report\.html: "),
        ("metareward sql 'SELECT score_at_maximum, score_mean FROM drift'", r"\n +- +-?\d"),
        ("dvc status", "up to date"),
    ],
)
def test_what_is_said_of_a_run_with_a_reward_model(rewarded, command, said):
    printed = rewarded[0].run(command)
    assert re.search(said, printed), printed


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("metareward reliability", r"error: reliability is that of a judge's scores, .*\n"),
        ("metareward what-if judgments=2", r"error: judgments goes beyond 1, which is what the run has of each\.\n"),
    ],
)
def test_what_cannot_be_said_of_a_run_with_a_reward_model(rewarded, command, said):
    assert re.fullmatch(said, rewarded[0].run(command, returncode=2))


def test_a_score_can_be_followed_to_its_pair(rewarded):
    clone, _ = rewarded
    pair = table(clone, "actor_pairs", "actor_pairs").row(0, named=True)
    printed = clone.run(f"metareward trace {pair['pair_id']}")
    assert "scored" not in printed  # it is no text that was cut
    assert f"{pair['chosen_score']:.3f}".rstrip("0") in printed


def test_another_reward_model_reruns_from_the_scores_on(rewarded):
    clone, _ = rewarded
    status = json.loads(clone.run("dvc status --json"))
    assert status == {}
    params = (clone.folder / "params.yaml").read_text()
    (clone.folder / "params.yaml").write_text(params.replace("batch_tokens: 300", "batch_tokens: 600"))
    status = json.loads(clone.run("dvc status --json"))
    (clone.folder / "params.yaml").write_text(params)
    assert set(status) == {"judge@m1", "report"}
