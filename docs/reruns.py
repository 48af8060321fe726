"""Which stages run again when a module is edited: reads dvc.yaml and the imports of each stage, and writes reruns.md.

    python docs/reruns.py

A stage depends on every module of ours that its script imports, directly or through others: no less, no more, but for
the few in UNABLE. tests/test_dependencies.py holds dvc.yaml and the journals' fingerprint to that.
"""

import ast
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
ENGINES = ("transformers", "vllm", "openai")
DISPATCHER = SOURCE / "metareward/engines/common/load.py"  # imports the engine that params name, and no other
# Modules that no stage depends on, and why an edit of them cannot change a row that a stage writes.
UNABLE = {
    "src/metareward/__init__.py": "sets how often progress lines come, and how long threads wait awake",
    "src/metareward/errors.py": "ends a stage, and writes nothing",
    "src/metareward/digests.py": "names journals and training states by what files hold",
    "src/metareward/locks.py": "says who may write a folder of `.work`, and how long others wait",
    "src/metareward/checkout.py": "ends a stage that would run the code of another copy of the project",
    "src/metareward/params.py": "types of params: what a stage reads of them it names in dvc.yaml",
    "src/metareward/spelling.py": "reads a value of params.yaml: what a stage reads of them it names in dvc.yaml",
    "src/metareward/load_params.py": "reads params.yaml, or ends the stage",
    "src/metareward/schemas.py": "columns of tables: one of another schema is refused by the stage that reads it",
    "src/metareward/tables.py": "checks and sorts: a table of another schema is refused by the stage that reads it",
    "src/metareward/inputs/launch_file.py": "reads accelerate's file, or ends the stage",
    "src/metareward/training/launch.py": "starts the processes of a training, on which no batch depends",
    "src/metareward/inputs/check.py": "reads the user's files early, or ends the stage",
    "src/metareward/pipeline/clones.py": "says which inputs are missing, or missing elsewhere",
    "src/metareward/pipeline/frame.py": "how a stage begins and ends",
    "src/metareward/pipeline/costs.py": "writes what a stage took, which is no row and on which nothing costly depends",
    "src/metareward/spent.py": "notes how long work takes",
    "src/metareward/pipeline/dvc_locks.py": "ends a stage whose DVC is gone",
    "src/metareward/engines/ray/engine.py": "carries requests to engines in other processes, and decides no text",
    "src/metareward/engines/ray/copies.py": "says how many processes these are",
    "src/metareward/engines/ray/checkpoint.py": "carries the checkpoint to other machines, whole",
}


def imported(path: Path) -> set[Path]:
    """Our modules that a file imports, wherever in the file; not those for type checkers alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "metareward":
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "metareward"]
        for name in names:
            file = SOURCE / f"{name.replace('.', '/')}.py"
            if file.is_file():
                found.add(file)
    return found


def imports_of(script: Path, engine: str) -> set[str]:
    """The script and all our modules that it imports, directly or not, when params name this engine; UNABLE left out.

    Paths are relative to the root.
    """
    others = [SOURCE / "metareward/engines" / name for name in ENGINES if name != engine]
    seen, waiting = set(), [script]
    while waiting:
        file = waiting.pop()
        name = file.relative_to(ROOT).as_posix()
        if name in seen or name in UNABLE:
            continue
        seen.add(name)
        chosen = imported(file)
        if file == DISPATCHER:
            chosen = {module for module in chosen if not any(module.is_relative_to(other) for other in others)}
        waiting += chosen
    return seen


def code_of(dependencies: list[str], engine: str, packages: bool = False) -> set[str]:
    """The Python files among a stage's dependencies, those in folders included, when params name this engine.

    packages: also the `__init__.py` of those folders, which hold nothing but words.
    """
    found = set()
    for dependency in dependencies:
        path = ROOT / re.sub(r"(?<=engines/)\$\{[\w.]+\}", engine, dependency)
        if path.is_relative_to(SOURCE) or path.is_relative_to(ROOT / "stages"):
            found |= {path} if path.is_file() else set(path.rglob("*.py"))
    return {path.relative_to(ROOT).as_posix() for path in found if packages or path.name != "__init__.py"}


def stages() -> dict[str, dict]:
    """The stages of dvc.yaml by name, those of a `foreach` once."""
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return {name: stage.get("do", stage) for name, stage in declared.items()}


def table() -> str:
    """The page: for each module the stages that run again, by engine where they differ."""
    lines = ["| edited | stages that run again |", "|---|---|"]
    by_module: dict[str, dict[str, list[str]]] = {}
    for name, stage in stages().items():
        for engine in ENGINES:
            for module in code_of(stage["deps"], engine, packages=True):
                by_module.setdefault(module, {}).setdefault(name, []).append(engine)
    for module, engines in sorted(by_module.items()):
        always = [name for name, found in engines.items() if len(found) == len(ENGINES)]
        some = {tuple(found) for found in engines.values() if len(found) < len(ENGINES)}
        parts = [", ".join(always)] if always else []
        for found in sorted(some):
            names = ", ".join(name for name in engines if tuple(engines[name]) == found)
            parts.append(f"{names} (where `engine.name` is {' or '.join(f'`{engine}`' for engine in found)})")
        lines.append(f"| `{module}` | {'; '.join(parts)} |")
    lines += ["", "No stage depends on these:", "", "| edited | why no row can change |", "|---|---|"]
    lines += [f"| `{module}` | {reason} |" for module, reason in sorted(UNABLE.items())]
    return HEAD + "\n".join(lines) + "\n" + UPGRADE


HEAD = """# What runs again when a file is edited

Made by `python docs/reruns.py` from [dvc.yaml](../dvc.yaml), and held to the code's imports by
`tests/test_dependencies.py`. DVC compares contents: a comment is an edit, too. The stage itself runs again; the stages
after it do only if its output changed. What decides a text, given its request (`engines/common`, `ids.py` and the
folder of the engine that params name), is in the fingerprint of the journals as well: after an edit there no stage goes
on from what the old code has generated. After any other edit a stage that generates finds its texts in the journal and
reads them anew. In the stages `strong-judge`, `categories` and `grade`, `engine.name` stands for the judge's engine.

"""
UPGRADE = """
## Taking an upgrade without generating anew

An upgrade of this project that touches a file in the first table reruns its stages, even where rows cannot differ (a
reworded comment, a faster loop). To keep what you have:

1. `dvc status` lists the stages and, for each, the files that changed.
2. `git diff OLD NEW -- FILE` shows each change. Look for whatever could change a row: a draw, a number, a text, the
   order of rows. CHANGELOG.md names the changes that do.
3. If nothing can, `dvc commit respond@m1` (any stage's name; without one, all stages) records the new code with the
   outputs that are there, and `dvc repro` finds nothing to do.
4. If in doubt, let it run: `dvc repro`. A stage whose new output equals the old one stops the rerun there.

Versions of libraries are not watched: constraints.txt pins them. Who installs another torch, transformers, trl or vllm
knows best whether rows can differ: `dvc repro --force respond@m1` makes a stage anew, and `metareward journal --clear
--all` forgets what was generated before.

An unfinished generating stage starts its journal anew after an edit of a file in its fingerprint: finish it before the
upgrade.
"""


if __name__ == "__main__":
    (ROOT / "docs/reruns.md").write_text(table())
