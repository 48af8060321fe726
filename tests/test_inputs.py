"""Sample data and slices; what wrong files say is in test_bad_input.py."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path
from statistics import fmean

import polars as pl
import pytest
import yaml
from rapidfuzz import fuzz, process

from metareward.engines.common.journal import COMPLETIONS
from metareward.inputs.examples import formats_of, read_eft
from metareward.inputs.pool import read_prompts, slice_prompts
from metareward.inputs.replies import read_replies
from metareward.load_params import load_params, parse_params
from metareward.params import Formats
from metareward.roles.judge import judgments_table
from metareward.selection.eft import select_eft
from metareward.templates.texts import load_templates

ROOT = Path(__file__).parents[1]
PARAMS = parse_params(yaml.safe_load((ROOT / "profiles/demo.yaml").read_text()))


SMALL = {"prompts": 288, "eval_prompts": 396, "eft": 180, "dev_judged": 72, "eval_judged": 216}


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_slices_are_disjoint_and_seeded():
    pool = read_prompts(Path("data/samples/prompts.jsonl"), "")
    slices = [set(slice_prompts(pool, 24, position, 1)["prompt_id"]) for position in range(8)]
    assert all(len(found) == 24 for found in slices)
    assert not any(one & other for one, other in combinations(slices, 2))
    assert slices[0] != set(slice_prompts(pool, 24, 0, 2)["prompt_id"])
    assert slices[0] == set(slice_prompts(pool.reverse(), 24, 0, 1)["prompt_id"])


def test_a_repeated_prompt_is_read_once(tmp_path):
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b"}\n{"prompt": "a", "category": "x"}\n')
    pool = read_prompts(tmp_path / "prompts.jsonl", "")
    assert list(pool.select("prompt", "source").iter_rows()) == [("a", "prompts"), ("b", "prompts")]


def test_replies_to_the_first_prompts_are_read():
    path = Path("data/samples/eval_judged.jsonl")
    every, some = read_replies(path, ""), read_replies(path, "", 3)
    assert (
        some["prompt_id"].unique(maintain_order=True).to_list()
        == (every["prompt_id"].unique(maintain_order=True).to_list()[:3])
    )
    assert some.equals(every.filter(pl.col("prompt_id").is_in(some["prompt_id"].implode())))


def test_sample_data_is_what_its_readme_says():
    pool = read_prompts(Path("data/samples/prompts.jsonl"), "")
    held_out = read_prompts(Path("data/samples/eval_prompts.jsonl"), "")
    judged = read_replies(Path("data/samples/eval_judged.jsonl"), "")
    names = {"file": "eft", "meta_judge": "meta_judge", "compare": "comparisons"}
    files = {key: f"data/samples/{name}.jsonl" for key, name in names.items()}
    eft = PARAMS.eft.model_copy(update=files | {"kinds": ["judge", "meta_judge", "compare"]})
    examples = read_eft(eft, load_templates(PARAMS.templates), Formats("line", "line", "line"))
    taught = read_replies(Path("data/samples/eft.jsonl"), "")
    assert pool.height >= 160
    assert pool["source"].n_unique() >= 8
    assert held_out.height >= 40
    assert judged.height >= 40
    kinds = Counter(examples["kind"])
    assert kinds["judge"] >= 120
    assert min(kinds["meta_judge"], kinds["compare"]) >= 24
    shares = examples.drop_nulls("score")["score"].value_counts(normalize=True)
    assert set(shares["score"]) == {0, 1, 2, 3, 4, 5}
    assert shares["proportion"].min() > 0.1
    sets = [set(frame["prompt"]) for frame in (pool, held_out, judged, taught)]
    assert not any(one & other for one, other in combinations(sets, 2))  # nothing held out was seen before


def test_the_seed_writes_eft_n_judgments_of_each_ranked_reply(tmp_path, tiny_model):
    params = PARAMS.model_dump()
    params["eft"] |= {"source": "ranked", "file": "data/samples/eval_judged.jsonl", "n": 2}
    params["judge"] |= {"n": 3, "max_tokens": 4}
    shutil.copytree(tiny_model, tmp_path / "models/seed")
    for folder in ("data/samples", "data/benchmarks", "templates"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    command, source = [sys.executable, str(ROOT / "stages/eft_judge.py")], str(ROOT / "src")
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": source}, check=True)
    judgments = pl.read_parquet(tmp_path / "data/eft/judgments.parquet")
    assert set(judgments["response_id"].value_counts()["count"]) == {2}
    assert judgments["response_id"].n_unique() == read_replies(ROOT / "data/samples/eval_judged.jsonl", "").height


def test_what_the_seed_judges_for_eft_begins_with_its_score_too(tmp_path, monkeypatch):
    """Else SFT would teach judgments that nobody can read by their first token."""
    shutil.copytree(ROOT / "data/samples", tmp_path / "data/samples")
    for folder in ("data/benchmarks", "templates"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    params = PARAMS.model_dump()
    params["eft"] |= {"source": "ranked", "file": "data/samples/eval_judged.jsonl", "n": 1}
    assert params["judge"]["read"] == "first_token"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "stages")
    stage = importlib.import_module("eft_judge")
    texts = ["3", "Right and complete\n5"]

    def sample(requests, watch):
        listed = list(requests())
        assert {request.first_logprobs for request in listed} == {20}
        likely = [{"token": text[:1], "logprob": -0.1} for text in texts]
        rows = [
            {"request_id": request.id, "sample": 0, "text": texts[k % 2], "n_tokens": 2, "finish_reason": "stop"}
            | {"first_logprobs": [likely[k % 2]]}
            for k, request in enumerate(listed)
        ]
        return pl.DataFrame(rows, schema=COMPLETIONS)

    monkeypatch.setattr(stage, "Sampler", lambda *_: sample)
    stage.eft_judge()
    judgments = pl.read_parquet("data/eft/judgments.parquet")
    assert set(judgments.select("judgment", "score", "invalid_reason").rows()) == {
        ("3", 3.0, None),
        ("Right and complete\n5", None, "no_first_digit"),
    }


def test_sets_of_the_profile_small_are_what_the_readme_says():
    folder = Path("data/samples/small")
    rows = {name: [json.loads(line) for line in (folder / f"{name}.jsonl").open()] for name in SMALL}
    assert {name: len(found) for name, found in rows.items()} == SMALL
    for name in ("prompts", "eval_prompts"):
        assert set(Counter(row["category"] for row in rows[name]).values()) == {len(rows[name]) // 12}
    for name in ("eft", "dev_judged", "eval_judged"):
        assert read_replies(folder / f"{name}.jsonl", "").height == len(rows[name])
        lengths = [fmean(len(row["response"]) for row in rows[name] if row["rank"] == rank) for rank in (1, 2, 3)]
        assert max(lengths) < 1.25 * min(lengths), name
        longest = Counter(
            max(rows[name][k : k + 3], key=lambda row: len(row["response"]))["rank"]
            for k in range(0, len(rows[name]), 3)
        )
        assert max(longest.values()) < len(rows[name]) / 3 / 2, (
            name
        )  # "the longest is the best" is wrong most of the time
    shares = Counter(row["score"] for row in rows["eft"])
    assert set(shares) == {0, 1, 2, 3, 4, 5}
    assert min(shares.values()) >= 20
    others = [Path(f"data/samples/{name}.jsonl") for name in ("prompts", "eft", "eval_prompts", "eval_judged")]
    sets = [{row["prompt"] for row in found} for found in rows.values()]
    sets += [{json.loads(line)["prompt"] for line in path.open()} for path in others]
    assert not any(one & other for one, other in combinations(sets, 2))
    held_out = [prompt for prompts in (sets[1], sets[4]) for prompt in prompts]
    seen = [prompt for prompts in (sets[0], sets[2]) for prompt in prompts]
    near = process.cdist(held_out, seen, scorer=fuzz.token_sort_ratio, score_cutoff=75)
    assert near.max() == 0  # nor was a held-out prompt seen in other words


def test_brief_judgments_are_what_the_script_makes(tmp_path, monkeypatch):
    """If this fails after a change that is meant: python data/samples/small/brief.py"""
    monkeypatch.syspath_prepend("data/samples/small")
    import brief

    brief.write(tmp_path)
    for name in ("eft", "meta_judge"):
        assert (tmp_path / f"{name}.jsonl").read_text() == Path(f"data/samples/small/brief/{name}.jsonl").read_text()
    params = load_params(ROOT / "profiles/small.yaml")
    kinds = Counter(read_eft(params.eft, load_templates(params.templates), formats_of(params))["kind"])
    assert kinds == {"judge": 336, "meta_judge": 32, "reply": 64}
    pool = read_prompts(Path(params.prompts.file), "")
    answered = {json.loads(line)["prompt"] for line in Path(params.eft.reply).read_text().splitlines()}
    assert answered < set(pool["prompt"])


def test_replies_are_examples_of_the_actor(tmp_path):
    rows = [{"prompt": "P?", "response": "One.", "rank": 2}, {"prompt": "Q?", "response": "Two."}]
    (tmp_path / "replies.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    eft = PARAMS.eft.model_copy(update={"reply": str(tmp_path / "replies.jsonl"), "kinds": ["reply"]})
    examples = read_eft(eft, load_templates(PARAMS.templates), formats_of(PARAMS))
    found = examples.select("messages", "target", "score").rows()
    assert found == [([{"role": "user", "content": row["prompt"]}], row["response"], None) for row in rows]
    assert set(examples["kind"]) == {"reply"}


def replies():
    return pl.DataFrame(
        {
            "prompt_id": ["p", "p", "q", "q"],
            "prompt": ["P?", "P?", "Q?", "Q?"],
            "response_id": ["p1", "p2", "q1", "q2"],
            "response": ["good", "bad", "good", "bad"],
            "rank": [1, 2, 1, 2],
        }
    )


def judged(*rows):
    columns = {"response_id": pl.String, "sample": pl.Int64, "score": pl.Float64}
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    words = pl.format("{} {}", "response_id", "sample")
    return frame.with_columns(judgment_id=words, judgment=words)


def test_ranked_replies_give_examples_where_the_seed_agrees_with_people():
    judgments = judged(
        ("p1", 0, 4.0), ("p2", 0, 2.0),  # agrees
        ("p1", 1, 2.0), ("p2", 1, 2.0),  # a tie is no agreement
        ("q1", 0, 1.0), ("q2", 0, 3.0),  # contradicts
        ("q1", 1, 5.0), ("q2", 1, None),  # unreadable
    )  # fmt: skip
    found = select_eft(replies(), judgments, load_templates(PARAMS.templates), seed=0)
    assert sorted(found["target"]) == ["p1 0", "p2 0"]


def test_a_judgment_that_was_cut_teaches_nothing():
    """It holds a score that the seed might have gone on from; SFT would end it with an end of turn."""
    asked = replies().with_columns(pl.lit("q").alias("source"))
    rows = [
        ("p1", "Score: 4", "stop"),
        ("p2", "Score: 2", "length"),
        ("q1", "Score: 4", "stop"),
        ("q2", "Score: 2", "stop"),
    ]
    columns = ["request_id", "text", "finish_reason"]
    completions = pl.DataFrame(rows, schema=columns, orient="row").with_columns(sample=pl.lit(0), n_tokens=pl.lit(3))
    completions = completions.with_columns(pl.col("sample", "n_tokens").cast(pl.Int64))
    judgments = judgments_table(asked, completions, "line")
    found = select_eft(replies(), judgments, load_templates(PARAMS.templates), seed=0)
    assert sorted(found["score"]) == [2.0, 4.0]  # of q alone
    assert all("Q?" in messages[0]["content"] for messages in found["messages"])


def test_the_most_frequent_score_is_down_sampled():
    judgments = judged(
        ("p1", 0, 5.0), ("p2", 0, 2.0), ("p1", 1, 5.0), ("p2", 1, 1.0), ("q1", 0, 5.0), ("q2", 0, 2.0)
    )  # fmt: skip
    found = select_eft(replies(), judgments, load_templates(PARAMS.templates), seed=0)
    assert Counter(found["score"]) == {5.0: 2, 2.0: 2, 1.0: 1}
    drawn = {
        tuple(sorted(select_eft(replies(), judgments, load_templates(PARAMS.templates), seed)["target"]))
        for seed in range(20)
    }
    assert len(drawn) == 3  # any two of the three, by the seed
