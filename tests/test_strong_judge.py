"""A local model as the strong judge, through its stages; and the stages without one."""

import re
import shutil

import pytest
import yaml

from metareward.tables import read_table

from pipeline import ROOT, Clone

# in one process: importing what loads a tokenizer takes five seconds each time
STAGES = (
    "import sys; sys.path.insert(0, 'stages'); from strong_respond import strong_respond; "
    "from strong_judge import strong_judge; from evaluate import evaluate; "
    "strong_respond(); strong_judge(); evaluate('sft')"
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory, tiny_model):
    """A clone with two checkpoints, and a third model that judges them."""
    clone = Clone(tmp_path_factory.mktemp("strong"))
    for folder in ("models/seed", "models/sft", "judge"):
        shutil.copytree(tiny_model, clone.folder / folder)
    return clone


def run(clone, **strong):
    params = yaml.safe_load((ROOT / "profiles/demo.yaml").read_text())
    params["respond"]["max_tokens"] = params["judge"]["max_tokens"] = 8
    params["evaluate"] |= {"n_prompts": 2, "n_judged_prompts": 1, "max_tokens": 8}
    params["evaluate"]["strong_judge"] |= strong
    clone.write_params(params, {})
    printed = clone.run(f'python -c "{STAGES}"')
    folders = {"responses": "strong_judge/responses", "theirs": "strong_judge/judgments"}
    folders |= {"own": "evaluations/sft/strong_judgments", "results": "evaluations/sft/results"}
    tables = {name: name if name in ("responses", "results") else "judgments" for name in folders}
    found = {name: read_table(clone.folder / f"data/{path}.parquet", tables[name]) for name, path in folders.items()}
    return printed, found


def test_both_judges_score_the_seeds_responses(clone):
    judge = {"engine": "transformers", "model": "judge", "logprobs": False}
    printed, found = run(clone, n_prompts=2, n_responses=3, n_judgments=2, judge=judge)
    unique = found["responses"]
    assert unique.height == 6
    judged = set(unique.filter(unique["duplicate_of"].is_null() & unique["response"].is_not_null())["response_id"])
    for name in ("theirs", "own"):
        assert set(found[name]["response_id"]) == judged
        assert found[name].height == 2 * len(judged)
    assert not set(found["theirs"]["judgment_id"]) & set(found["own"]["judgment_id"])
    assert re.search(rf"strong_judge: {2 * len(judged)} judgments by judge; invalid: ", printed)
    rows = {row["metric"]: row for row in found["results"].iter_rows(named=True)}
    assert rows["strong_judgments_readable"]["referee"] == "judge"
    assert rows["strong_judgments_readable"]["n"] == 2 * len(judged)
    assert rows["strong_pairs_none"]["value"] == 1.0  # a random model's judgments have no score


def test_without_a_strong_judge_nothing_is_written_and_no_model_is_loaded(clone):
    shutil.rmtree(clone.folder / "judge")
    shutil.move(clone.folder / "models/seed", clone.folder / "elsewhere")
    printed, found = run(clone, n_prompts=0)
    assert "no strong judge (params.yaml: evaluate.strong_judge.n_prompts is 0)" in printed
    assert {name: found[name].height for name in ("responses", "theirs", "own")} == dict.fromkeys(
        ("responses", "theirs", "own"), 0
    )
    assert not [metric for metric in found["results"]["metric"] if "strong" in metric or "own_pairs" in metric]


BY_SCORES = (
    "import sys; sys.path.insert(0, 'stages'); from strong_respond import strong_respond; "
    "from strong_judge import strong_judge; from evaluate import evaluate; from compare import compare; "
    "strong_respond(); strong_judge(); evaluate('seed'); evaluate('sft'); compare('seed'); compare('sft')"
)


def test_the_referee_judges_each_response_by_itself(tmp_path, tiny_model):
    clone = Clone(tmp_path)
    for folder in ("models/seed", "models/sft"):
        shutil.copytree(tiny_model, clone.folder / folder)
    params = yaml.safe_load((ROOT / "profiles/demo.yaml").read_text())
    params["judge"] |= {"max_tokens": 8, "n": 1}
    params["evaluate"] |= {"n_prompts": 2, "n_judged_prompts": 1, "n_judgments": 3, "max_tokens": 8}
    params["evaluate"] |= {"compare": "scores", "temperature": 0.5}  # two models that are one write different texts
    clone.write_params(params, {})
    printed = clone.run(f'python -c "{BY_SCORES}"')
    assert "12 judgments by sft" in printed
    ids = {
        name: set(read_table(clone.folder / f"data/evaluations/{name}/responses.parquet", "responses")["response_id"])
        for name in ("seed", "sft")
    }
    for name, judged, n in (("seed", ids["seed"], 6), ("sft", ids["seed"] | ids["sft"], 12)):
        folder = clone.folder / "data/comparisons" / name
        judgments = read_table(folder / "judgments.parquet", "judgments")
        assert set(judgments["response_id"]) == judged
        assert judgments.height == n
        assert read_table(folder / "comparisons.parquet", "comparisons").is_empty()
        results = {row["metric"]: row for row in read_table(folder / "results.parquet", "results").to_dicts()}
        assert results["comparisons_readable"]["n"] == 6  # the checkpoint's own
        assert results["response_score"]["value"] is None  # a random model's judgments have no score
        assert ("win_rate" in results) == (name == "sft")
