"""Inputs that only this clone has: neither git nor DVC would bring them to another one, or to an experiment's copy."""

import shlex
import subprocess
from pathlib import Path

from metareward.errors import UserError
from metareward.inputs.questions import NEEDED, benchmark_files
from metareward.params import Params

LARGE = 1_000_000  # bytes: what is larger belongs under DVC rather than into git
ALSO = "metareward check names all such files"


def input_paths(params: Params) -> dict[str, Path]:
    """Every file and folder of this machine that params name, by its key."""
    sections = {
        "prompts": {} if params.prompts.generated else {"file": params.prompts.file},
        "prompts.generate": params.prompts.generate.model_dump(include={"seeds", "template"}),
        "templates": params.templates.model_dump(),
        "eft": params.eft.files,
        "evaluate": params.evaluate.model_dump(include={"prompts", "judged"}),
        "benchmarks": {
            "folder": params.benchmarks.folder,
            "alpaca_eval.categories": params.benchmarks.alpaca_eval.categories,
        },
    }
    paths = {f"{name}.{key}": Path(path) for name, section in sections.items() for key, path in section.items()}
    paths |= {f"benchmarks.{name}.template": Path(getattr(params.benchmarks, name).template) for name in NEEDED}
    models = {"seed_model": params.seed_model}
    models |= {f"benchmarks.{name}.judge.model": getattr(params.benchmarks, name).judge.model for name in NEEDED}
    models["evaluate.strong_judge.judge.model"] = params.evaluate.strong_judge.judge.model
    if params.reward_model is not None:
        models["reward_model.model"] = params.reward_model.model
    return paths | {key: Path(model) for key, model in models.items() if Path(model).is_dir()}


def check_present(params: Params) -> None:
    """Raise UserError for the first input that is not here, with the command that brings it, if there is one.

    Of examples that eft.kinds leaves out, inputs/check.py says what will do.
    """
    unused = {f"eft.{name}" for name in params.eft.unused}
    for key, path in input_paths(params).items():
        if path.exists() or key in unused:
            continue
        name, inside = shlex.quote(str(path)), _is_inside(path) and Path(".git").exists()
        if inside and _git("ls-files", "--", str(path)):
            hint = f"Hint: git checkout -- {name}"
        elif inside and (owner := _dvc_owner(path)):
            hint = f"Hint: dvc {'pull' if owner.suffix == '.dvc' else 'repro'} {name}"
        else:
            hint = f"Neither git nor DVC has it: copy it from where it is. Hint: {ALSO}, with what mends it"
        raise UserError(f"{path} is missing. {hint} (params.yaml: {key})")


def only_here(params: Params) -> list[str]:
    """For each input that another clone would not have, or not as it is here: one line with the command that mends it.

    Nothing is asked of a remote: what git has committed and DVC has under control is taken for pushed.
    """
    lines = {}
    paths = input_paths(params)
    if _is_inside(paths["benchmarks.folder"]):
        # file by file: what else lies in the folder need not be in another clone
        del paths["benchmarks.folder"]
        found = {name: benchmark_files(params.benchmarks, name) for name in NEEDED}
        paths |= {f"benchmarks.{name}.{key}": path for name, files in found.items() for key, path in files.items()}
    for key, path in paths.items():
        if path.exists() and path not in lines and (problem := _problem(path)):
            lines[path] = f"{path} {problem} (params.yaml: {key})"
    return list(lines.values())


def _problem(path: Path) -> str | None:
    """Why another clone would not have an input as it is here, and what mends it; None: it would have it."""
    name = shlex.quote(str(path))
    if not _is_inside(path):
        inside = Path("inputs") / path.name
        mend = f"mkdir -p inputs && cp -r {name} inputs/ && dvc add {shlex.quote(str(inside))}"
        return f"lies outside this project: {mend}, and name {inside} instead"
    states = {line[:2] for line in _git("status", "--porcelain", "--ignored", "--untracked-files=all", "--", str(path))}
    if not states and _git("ls-files", "--", str(path)):
        return None
    if not states & {"??", "!!"}:
        return f"is not committed as it is here: git add {name} && git commit"
    if owner := _dvc_owner(path):
        files = [str(owner)] if owner.suffix == ".dvc" else ["dvc.yaml", "dvc.lock"]
        if not any(_git("status", "--porcelain", "--ignored", "--", file) for file in files):
            return None
        return f"is under DVC, which git does not know yet: git add {shlex.join(files)} && git commit"
    size = sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())
    if size < LARGE:
        mend = f"git add {'--force ' if '!!' in states else ''}{name} && git commit"
    elif "!!" in states:
        inside = Path("inputs") / path.name
        mend = f"git ignores it here: mkdir -p inputs && mv {name} inputs/ && dvc add {shlex.quote(str(inside))}, and "
        mend += f"name {inside} instead"
    else:
        mend = f"dvc add {name}"
    return f"is neither in git nor under DVC: {mend}"


def _is_inside(path: Path) -> bool:
    """Whether an input lies in this clone: not elsewhere, and no link to elsewhere."""
    return path.resolve().is_relative_to(Path.cwd().resolve())


def _git(*arguments: str) -> list[str]:
    """The lines that a git command prints."""
    result = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no output"])[-1]
        raise UserError(f"git {' '.join(arguments)} failed: {reason}")
    return result.stdout.splitlines()


def _dvc_owner(path: Path) -> Path | None:
    """The file, relative to here, by which DVC has an input or a folder around it: its .dvc file, or dvc.yaml."""
    from dvc.exceptions import DvcException, OutputNotFoundError
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            found = repo.find_outs_by_path(str(path.absolute()), strict=False)
    except OutputNotFoundError:
        return None
    except DvcException as error:
        raise UserError(f"DVC cannot be asked about {path}: {error}") from None
    return Path(found[0].stage.path_in_repo)
