"""The profiles are whole files, one of which is copied over params.yaml: kept in step here, and paper is run."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest
import yaml

from metareward.load_params import load_params
from metareward.pipeline.plan import Lengths, loads
from metareward.tables import read_table
from metareward.templates.texts import load_templates

from pipeline import Clone

ROOT = Path(__file__).parents[1]
LINE = re.compile(r"(?P<indent> *)(?P<key>\w+):(?: +(?P<value>[^#\s][^#]*?))?(?: +# (?P<comment>.*))?")


def entries(path):
    """{dotted key: (value, comment)} in the order of the file.

    Every line but blank ones and the head is a key, or goes on with the comment of the key before it.
    """
    found, above, key = {}, [], ""
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if line.lstrip().startswith("#"):
            value, comment = found[key]
            found[key] = (value, f"{comment} {line.lstrip('# ')}")
            continue
        match = LINE.fullmatch(line)
        assert match, f"{path.name}: {line!r} is not `key: value  # comment`"
        above = [*above[: len(match["indent"]) // 2], match["key"]]
        key = ".".join(above)
        found[key] = (match["value"], match["comment"])
    return found


def own(key):
    """Iterations, and what each holds, are a profile's own."""
    return key.startswith("iterations.")


@pytest.mark.parametrize("name", ["params.yaml", "profiles/paper.yaml", "profiles/tiny.yaml"])
def test_a_profile_has_the_keys_of_demo_in_its_order(name):
    demo, other = entries(ROOT / "profiles/demo.yaml"), entries(ROOT / name)
    assert [key for key in other if not own(key)] == [key for key in demo if not own(key)]


@pytest.mark.parametrize("name", ["params.yaml", "profiles/paper.yaml", "profiles/tiny.yaml"])
def test_a_profile_says_what_demo_says_of_a_key(name):
    """Word for word; a value of its own may do without demo's comment or have another, as paper's sizes do."""
    demo, other = entries(ROOT / "profiles/demo.yaml"), entries(ROOT / name)
    for key, (value, comment) in other.items():
        if not own(key) and value == demo[key][0]:
            assert comment == demo[key][1], key


def test_the_params_that_ship_are_the_profile_demo():
    """In the last commit that touched the profile: params.yaml itself is the user's to change."""
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run(
        [*git, "log", "-1", "--format=%H", "--", "profiles/demo.yaml"], capture_output=True, text=True, check=False
    ).stdout.strip()
    if not commit:
        pytest.skip("not a git clone of the project")
    shown = [
        subprocess.run([*git, "show", f"{commit}:{name}"], capture_output=True, text=True, check=True).stdout
        for name in ("params.yaml", "profiles/demo.yaml")
    ]
    assert shown[0] == shown[1]


def export(folder, n):
    """Ranked replies as Open Assistant exports them: n prompts with two replies each."""
    samples = [json.loads(line)["prompt"] for line in (folder / "data/samples/prompts.jsonl").read_text().splitlines()]
    for k, text in enumerate(samples[-n:]):
        replies = [
            {"message_id": f"{k}-{rank}", "text": samples[k + rank], "role": "assistant", "lang": "en", "rank": rank}
            for rank in range(2)
        ]
        prompt = {"message_id": str(k), "text": text, "role": "prompter", "lang": "en", "replies": replies}
        yield {"message_tree_id": str(k), "tree_state": "ready_for_export", "prompt": prompt}


def test_the_paper_runs_on_a_tiny_model(tiny_run, tmp_path, monkeypatch):
    """Profile paper from its two imports to its report, with a model, sizes and lengths of a test.

    All four iterations are looked at before anything runs; one that trains the judge runs, and one that does not.
    `metareward plan` is held to what the tables hold afterwards, at the lengths that the model really wrote.
    """
    clone = Clone(tmp_path)
    shutil.copytree(tiny_run / "tiny", clone.folder / "tiny")
    # it can write a score or a winner, as an instruction-tuned model can
    shutil.copytree(tiny_run / "models/sft", clone.folder / "tiny/taught")
    (clone.folder / "trees.jsonl").write_text("".join(json.dumps(row) + "\n" for row in export(clone.folder, 40)))
    assert "held_out_replies.jsonl: 12 ranked replies" in clone.run("metareward import oasst trees.jsonl --held-out 12")
    clone.run("head -n 40 data/samples/prompts.jsonl > forty.jsonl && metareward import prompts forty.jsonl")
    assert "params.yaml is now profiles/paper.yaml" in clone.run("metareward profile paper")
    params = yaml.safe_load((clone.folder / "params.yaml").read_text())
    changes = {
        "seed_model": "tiny/taught",
        "seed_revision": None,
        "engine__name": "transformers",
        "engine__max_context": 2048,
        "prompts__per_iteration": 10,
        "respond__max_tokens": 16,
        "respond__n": 3,
        "judge__max_tokens": 24,
        "judge__n": 3,
        "meta_judge__max_tokens": 24,
        "dpo__epochs": 1,
        "dpo__on_empty": "copy",
        "evaluate__n_prompts": 4,
        "evaluate__n_judgments": 2,
        "evaluate__max_tokens": 16,
    } | {f"templates__{name}": f"tiny/{name}.txt" for name in ("rubric", "judge", "meta_judge", "compare")}
    clone.write_params(params, changes)
    assert "in order: checkpoints seed, sft, m1, m2, m3, m4" in clone.run("metareward check")
    assert "respond@m4" in clone.run("metareward plan")
    m1, m3 = params["iterations"]["m1"], params["iterations"]["m3"]
    assert (m1["train_judge"], m3["train_judge"]) == (True, False)
    two = {"checkpoints": ["seed", "sft", "m1", "m3"], "iterations": {"m1": m1, "m3": m3 | {"prev": "m1"}}}
    clone.write_params(params, two)
    clone.run("dvc repro")
    declared = yaml.safe_load((clone.folder / "dvc.yaml").read_text())["stages"]
    ran = {stage.split("@")[0] for stage in yaml.safe_load((clone.folder / "dvc.lock").read_text())["stages"]}
    assert ran == set(declared)
    assert clone.run("dvc status --quiet", returncode=0) == ""

    folder = clone.folder / "data"
    eft = read_table(folder / "eft/eft.parquet", "eft")
    assert eft.height > 3
    assert eft["messages"].n_unique() == eft.height  # no judge prompt is learnt twice
    monkeypatch.chdir(clone.folder)
    params = load_params(Path("params.yaml"))
    own = {name: f"data/iterations/*/{name}.parquet" for name in ("responses", "judgments", "battles")}
    tables = {name: pl.read_parquet(files) for name, files in own.items()} | {
        "eft": read_table(Path("data/eft/judgments.parquet"), "judgments")
    }
    lengths = Lengths(*(tables[name]["n_tokens"].mean() for name in own))
    planned = [*loads(params, load_templates(params.templates), lengths, Path("data"))]
    assert all(load.done is not None for load in planned)
    made = {"eft-judge": tables["eft"].height}
    for name in ("m1", "m3"):
        rows = {table: pl.read_parquet(f"data/iterations/{name}/{table}.parquet") for table in own}
        unique = pl.read_parquet(f"data/iterations/{name}/unique_responses.parquet")["duplicate_of"].is_null().mean()
        made[f"respond@{name}"] = rows["responses"].height
        made[f"judge@{name}"] = rows["judgments"].height / unique  # the plan expects no duplicates; nobody judges them
        made[f"meta-judge@{name}"] = rows["battles"].height
    samples = {load.stage: load.samples for load in planned if not load.stage.startswith(("evaluate@", "compare@"))}
    assert samples.keys() == made.keys()
    for stage, planned_for in samples.items():
        if stage.startswith("meta-judge@"):
            assert made[stage] <= planned_for, stage  # as many as there are when every judgment is valid
        else:
            assert made[stage] == pytest.approx(planned_for), stage
    others = [load for load in planned if load.stage not in samples]
    assert sum(load.decode for load in others) == pytest.approx(sum(load.done for load in others), rel=0.25)
