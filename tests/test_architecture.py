"""docs/architecture.md is true: links, wings and columns, and its three examples, each run to the end in a clone."""

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml
from test_dependencies import STAGES, WINGS, reruns, script

from metareward.cli.tables import short
from metareward.inputs.pool import read_prompts
from metareward.tables import (
    TABLES,
    check_table,
    empty_table,
    read_table,
    table_of,
    write_json,
    write_table,
    write_text,
)

from pipeline import ROOT, Clone

PAGE = (ROOT / "docs/architecture.md").read_text()
BLOCK = re.compile(r"(?:^`(?P<path>[^`\n]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def section(heading):
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]


def rows(text):
    """The cells of all Markdown tables in a text, heads and rules left out."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [cells for cells in found if cells[0] not in ("wing", "step", "about")]


def test_every_linked_name_is_defined_in_its_file():
    links = re.findall(r"\[`(\w+)`\]\(\.\./([\w/.]+\.py)\)", PAGE)
    assert len(links) >= 20
    for name, path in links:
        assert re.search(rf"^\s*(def|class) {name}\b|^{name}\b.* =", (ROOT / path).read_text(), re.MULTILINE), name


def test_the_wings_are_those_of_the_tree_in_the_order_of_imports():
    text = section("The wings")
    assert re.findall(r"^  (\w+)\[", text, re.MULTILINE) == WINGS
    assert [cells[0].strip("`/") for cells in rows(text)] == WINGS
    assert {path.parent.name for path in (ROOT / "src/metareward").glob("*/__init__.py")} == set(WINGS)
    ground = {path.name for path in (ROOT / "src/metareward").glob("*.py")} - {"__init__.py"}
    assert ground == set(re.findall(r"`(\w+\.py)`", text))


def test_the_wings_name_the_stages_that_depend_on_them():
    for wing, *_, listed in rows(section("The wings")):
        folder = f"src/metareward/{wing.strip('`/')}/"
        code = {name: [reruns.code_of(stage["deps"], e) for e in reruns.ENGINES] for name, stage in STAGES.items()}
        found = {name for name, files in code.items() if any(file.startswith(folder) for file in set().union(*files))}
        assert {"all": set(STAGES), "none": set()}.get(listed, set(listed.split(", "))) == found, wing


def test_each_step_of_the_walk_happens_in_its_stage():
    steps = rows(section("The walk of one response"))
    assert len(steps) >= 15
    for step, stage, functions, _ in steps:
        called = reruns.imports_of(script(stage.strip("`")), "transformers")
        for path in re.findall(r"\(\.\./([\w/.]+\.py)\)", functions):
            assert path in called, f"{step}: {stage} does not reach {path}"


def test_the_walk_names_columns_that_the_tables_have():
    seen = set()
    for *_, cell in rows(section("The walk of one response")):
        for part in cell.split("; "):
            if named := re.match(r"`(\w+)`: (.*)", part):
                columns = set(re.findall(r"`(\w+)`", named[2]))
                assert columns <= set(TABLES[named[1]].columns), part
                seen.add(named[1])
    assert seen >= {"prompts", "responses", "judgments", "scores", "actor_pairs", "battles", "elo", "judge_pairs"}


def follow(clone, heading, commands=99):
    """Do what a section of the page says, block by block; returns what its commands print.

    commands: how many blocks of commands are run; all files are written.
    """
    printed, waiting, written = "", commands, set()
    for block in BLOCK.finditer(section(heading)):
        path, body = block["path"], block["body"]
        if block["kind"] == "sh":
            printed += clone.run(f"set -e\n{body}") if waiting else ""
            waiting -= bool(waiting)
        elif block["kind"] == "diff":
            change(clone.folder / path, body)
            written.add(path)
        else:
            assert not (clone.folder / path).exists()
            written.add(path)
            (clone.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (clone.folder / path).write_text(body)
    code = " ".join(path for path in written if path.endswith(".py"))
    clone.run(f"ruff check --quiet {code} && ruff format --quiet --check {code}")
    return printed


def change(path, diff):
    """Take out the lines with -, put in those with +; the lines that stay say where, and stand there once."""
    lines = [(line[:1], line[1:]) for line in diff.splitlines()]
    old = "".join(f"{text}\n" for sign, text in lines if sign != "+")
    new = "".join(f"{text}\n" for sign, text in lines if sign != "-")
    whole = "\n" + path.read_text()
    assert whole.count("\n" + old) == 1, f"{path} holds these lines {whole.count(old)} times:\n{old}"
    path.write_text(whole.replace("\n" + old, "\n" + new)[1:])


def made_up(name, *given):
    """A table from rows of what matters here; the rest is the same in all of them."""
    fill = {pl.String: "x", pl.Int64: 1, pl.Float64: 0.5}
    table = TABLES[name]
    common = {column: None if column in table.nullable else fill.get(type_) for column, type_ in table.columns.items()}
    return check_table(pl.DataFrame([common | row for row in given], schema=dict(table.columns)), name)


@pytest.fixture
def clone(tmp_path):
    clone = Clone(tmp_path)
    clone.iteration = clone.folder / "data/iterations/m1"
    return clone


def give_checkpoints(clone, model):
    for name in ("seed", "sft", "m1"):
        shutil.copytree(model, clone.folder / "models" / name)
    write_text("open\n", clone.folder / "data/monitors/sft/training.gate")  # or `respond` would wait for its monitors


def test_add_a_stage(clone):
    texts = ["I'm sorry, I can't help with that.", "Paris.", "As an AI, I have no plans.", None]
    responses = [
        {"prompt_id": f"p{k // 3}", "response_id": f"r{k}", "sample": k, "response": text}
        for k, text in enumerate(texts)
    ]
    write_table(made_up("responses", *responses), clone.iteration / "unique_responses.parquet", "responses")
    printed = follow(clone, "Add a stage")
    assert "refusals@m1: 2 of 3 responses refuse" in printed
    table = pl.read_parquet(clone.iteration / "refusals.parquet")
    assert table.rows() == [("p0", 3, 2)]
    assert "refusals@m1" in yaml.safe_load((clone.folder / "dvc.lock").read_text())["stages"]
    assert "`stages/refusals.py` | refusals" in (clone.folder / "docs/reruns.md").read_text()


def test_add_an_engine(clone, tiny_model):
    give_checkpoints(clone, tiny_model)
    prompts = [{"prompt_id": "p", "prompt": "Why is the sky blue?"}, {"prompt_id": "q", "prompt": "word " * 100}]
    write_table(made_up("prompts", *prompts), clone.iteration / "prompts.parquet", "prompts")
    printed = follow(clone, "Add an engine")
    responses = read_table(clone.iteration / "responses.parquet", "responses")
    first, second = (responses.filter(prompt_id=name) for name in "pq")
    assert set(first["response"]) == {"Why is the sky blue?"}
    assert first["sample"].to_list() == [0, 1, 2, 3]
    assert set(first["finish_reason"]) == {"stop"}
    assert second.select("n_tokens", "finish_reason").unique().rows() == [(64, "length")]
    assert re.search(r"respond@m1 .* 8 .*complete", printed)  # the journal
    assert "(where `engine.name` is `echo`)" in (clone.folder / "docs/reruns.md").read_text()


def test_add_a_metric(clone, tiny_model):
    """In a run of one iteration with the engine of the example before, which makes it a matter of seconds."""
    give_checkpoints(clone, tiny_model)
    follow(clone, "Add an engine", commands=1)
    params = yaml.safe_load((clone.folder / "params.yaml").read_text())
    params["checkpoints"], params["iterations"] = ["seed", "sft", "m1"], {"m1": params["iterations"]["m1"]}
    clone.write_params(params, {"engine__name": "echo"})
    give_outputs(clone)
    # the stages before the change, in one process: importing what loads a tokenizer takes five seconds each time
    stages = "import sys; sys.path.insert(0, 'stages'); from evaluate import evaluate; from compare import compare"
    clone.run(
        f"python -c \"{stages}; [stage(name) for stage in (evaluate, compare) for name in ('seed', 'sft', 'm1')]\""
    )
    texts = journals(clone)
    wrote = {path.parts[-3] for path in texts}
    assert wrote == {f"{stage}@{name}" for stage in ("evaluate", "compare") for name in ("seed", "sft", "m1")}

    printed = follow(clone, "Add a metric")
    assert journals(clone) == texts  # nothing was generated anew
    settings = params["evaluate"]
    prompts = read_prompts(ROOT / settings["prompts"], "the test")["prompt"][: settings["n_prompts"]]
    share = round(prompts.str.ends_with("?").mean(), 4)
    assert 0 < share < 1
    metrics = json.loads((clone.folder / "metrics.json").read_text())
    assert metrics["held_out"]["questions"] == dict.fromkeys(("seed", "sft", "m1"), share)
    assert re.search(rf"\bm1 .* {short(share)} \[", printed)


def give_outputs(clone):
    """What the stages before `evaluate` would have written, without rows."""
    outs = [out for stage in STAGES.values() for out in stage.get("outs", ()) if isinstance(out, str)]
    for out in {out.replace("${key}", name) for out in outs for name in ("sft", "m1")}:
        path = Path(out)
        if path.suffix == ".json" and path.parent.name == "training":
            write_json({"rows_trained": 1}, clone.folder / path)
        elif path.suffix == ".parquet" and {"iterations", "training", "strong_judge", "monitors"} & set(path.parts):
            name = re.sub(r"^unique_|^(actor|judge)_(?=no_pairs)", "", path.stem)
            table = "training_steps" if path.parent.name == "training" else name
            table = "monitors" if "monitors" in path.parts else table
            rows = [{"rho": 0.0, "set_by": "params"}] if table == "length_control" else []
            write_table(table_of(rows, table), clone.folder / path, table)
    for name in ("seed", "sft", "m1"):
        for table in ("grades", "results", "outcomes"):
            write_table(empty_table(table), clone.folder / f"data/grades/{name}/{table}.parquet", table)


def journals(clone):
    """The completions of all journals: file -> when it was written."""
    return {path: path.stat().st_mtime_ns for path in (clone.folder / ".work").rglob("*.parquet")}
