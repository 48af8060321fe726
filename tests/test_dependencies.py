"""What a stage depends on is what can change its rows: dvc.yaml and the journals against the code's imports."""

import ast
import re
import sys
from pathlib import Path

import pytest

from metareward.engines.common.sampler import text_code
from metareward.params import Params

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
import reruns  # noqa: E402

STAGES = reruns.stages()
GENERATING = {
    *("generate-prompts", "eft-judge", "respond", "judge", "meta-judge", "strong-respond", "evaluate", "compare"),
    "answer",
}
GRADING = {"strong-judge", "categories", "grade"}  # they ask a judge that params name apart, with an engine of its own
WINGS = [
    *("templates", "inputs", "engines", "roles", "selection", "training", "evaluation", "pipeline", "query", "explore"),
    "cli",
]


def script(name):
    """A stage's script is named as the stage is; summary-sft is where the chain of summaries begins."""
    return ROOT / "stages" / f"{name.removesuffix('-sft').replace('-', '_')}.py"


def test_every_stage_has_its_script_and_every_script_its_stage():
    assert {script(name) for name in STAGES} == set((ROOT / "stages").glob("*.py"))
    for name, stage in STAGES.items():
        assert stage["cmd"].split()[:2] == ["python", f"stages/{script(name).name}"]


@pytest.mark.parametrize("engine", reruns.ENGINES)
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_the_modules_that_it_imports_and_on_no_others(name, engine):
    code = {file for file in reruns.code_of(STAGES[name]["deps"], engine) if file.endswith(".py")}
    assert code == reruns.imports_of(script(name), engine)


def test_the_report_depends_on_all_that_lies_beside_its_modules():
    folder = ROOT / "src/metareward/explore/report"
    beside = {path.relative_to(ROOT).as_posix() for path in folder.iterdir() if path.suffix in (".html", ".js", ".css")}
    assert len(beside) == 3
    assert beside <= set(STAGES["report"]["deps"])


def test_the_imports_of_a_stage_are_followed_through_functions_and_other_modules():
    found = reruns.imports_of(script("respond"), "vllm")
    assert "src/metareward/engines/vllm/engine.py" in found  # imported inside a function of a module it imports
    assert "src/metareward/engines/transformers/tree.py" not in found


@pytest.mark.parametrize("engine", reruns.ENGINES)
def test_the_journals_fingerprint_holds_the_code_that_stands_between_request_and_text(engine):
    """All that a generating stage imports of the engines, and of what these import; the rest of it makes requests."""
    listed = [path.relative_to(ROOT).as_posix() for path in text_code(engine)]
    for name in GENERATING | GRADING:
        assert set(listed) <= {re.sub(r"(?<=engines/)\$\{[\w.]+\}", engine, dep) for dep in STAGES[name]["deps"]}
    covered = reruns.code_of(listed, engine)
    assert reruns.imports_of(ROOT / "src/metareward/engines/common/sampler.py", engine) == covered


def test_every_generating_stage_is_known():
    assert {name for name in STAGES if "Sampler(" in script(name).read_text()} == GENERATING
    assert {name for name in STAGES if "load_judge" in script(name).read_text()} == GRADING


def params_read(name):
    """The sections of params that a stage's script reads; `Sampler(params, ...)` reads those that decide a text."""
    text = script(name).read_text()
    sampled = {"engine", "chat_template_kwargs"} if "Sampler(params, " in text else set()
    sampled |= {"engine"} if "load_judge(" in text else set()
    sampled |= set(Params.model_fields) - {"resources"} if "params.decisive()" in text else set()
    return sampled | (set(re.findall(r"\bparams\.(\w+)", text)) - {"yaml", "resources", "decisive"})


@pytest.mark.parametrize("name", sorted(GENERATING | {"sft", "dpo"}))
def test_wherever_chats_are_encoded_the_templates_variables_are_passed(name):
    assert "chat_template_kwargs" in params_read(name)
    assert "chat_template_kwargs" in STAGES[name]["params"]


def test_a_stage_names_the_params_that_it_reads():
    """Sections; within engine, rho and iterations the stage says itself what it needs."""
    for name, stage in STAGES.items():
        read = params_read(name)
        files = set(re.findall(r"\$\{(\w+)\.\w+\}", " ".join(stage["deps"]))) - {"item"}
        declared = {param.split(".")[0] for param in stage.get("params", [])}
        assert declared <= read | ({"rho"} & read), name
        assert read - declared <= files | ({"iterations"} if "checkpoints" in declared else set()), name


def test_where_a_run_works_changes_nothing_that_is_there():
    """Ray around the same engine, more GPUs, another endpoint: no stage runs again."""
    for name, stage in STAGES.items():
        declared = stage.get("params", [])
        assert not [param for param in declared if param.split(".")[0] == "resources"], name
        if name in GENERATING:
            assert {"engine.name", "engine.max_context", "engine.${engine.name}"} <= set(declared), name
        assert "engine" not in declared, name


def test_packages_hold_nothing_but_words():
    for path in (ROOT / "src/metareward").glob("*/**/__init__.py"):
        word, *rest = ast.parse(path.read_text()).body
        assert isinstance(word, ast.Expr)
        assert not rest or path.parent.name == "query"  # `connect`, for notebooks


def test_wings_import_along_the_way_of_the_data():
    for path in (ROOT / "src/metareward").rglob("*.py"):
        inside = path.relative_to(ROOT / "src/metareward").parts
        own = WINGS.index(inside[0]) if inside[0] in WINGS else -1
        for module in reruns.imported(path):
            wing = module.relative_to(ROOT / "src/metareward").parts[0]
            assert (WINGS.index(wing) if wing in WINGS else -1) <= own, f"{path} imports {module}"


def test_the_page_is_what_the_script_makes():
    """If this fails after a change that is meant: python docs/reruns.py"""
    assert (ROOT / "docs/reruns.md").read_text() == reruns.table()
