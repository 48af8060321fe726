"""Git revisions and DVC experiments: their tables where they lie in DVC's cache, their params and metrics from git.

Nothing is checked out or fetched. dvc.lock of a revision holds the hash of every output; an experiment is a commit
under refs/exps/.
"""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from metareward.errors import UserError, shown
from metareward.query.views import VIEWS

_EXPERIMENT = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(?P<name>.+)")


@dataclass(frozen=True)
class Revision:
    """name: as the user gave it, the value of `rev`; commit: its full hash; bring: what fetches its tables."""

    name: str
    commit: str
    bring: str = "dvc fetch --all-commits"


def find_revisions(root: Path, names: Sequence[str]) -> list[Revision]:
    """The revisions of these names: a branch, tag, hash or its beginning, HEAD~1, or an experiment's name."""
    named = _experiments(root)
    return [_find(root, name, named) for name in names]


def all_experiments(root: Path) -> list[Revision]:
    """Every experiment of this clone. Of several with one name, each has its commit behind the name."""
    found = []
    for name, commits in _experiments(root).items():
        for commit in commits:
            found.append(Revision(name if len(commits) == 1 else f"{name}@{commit[:7]}", commit, _pull(name)))
    return found


def _find(root: Path, name: str, experiments: dict[str, list[str]]) -> Revision:
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if commit is not None:
        return Revision(name, commit.decode().strip())
    if name in experiments:
        commits = experiments[name]
        if len(commits) > 1:
            options = ", ".join(commit[:7] for commit in commits)
            raise UserError(f"there are {len(commits)} experiments named {name}. Name one by its commit: {options}")
        return Revision(name, commits[0], _pull(name))
    known = ", ".join(experiments) or "none"
    raise UserError(f"{shown(name)} is no git revision and no experiment of this clone. Experiments: {known}.")


def _pull(name: str) -> str:
    """What fetches an experiment's tables, which lie in no branch."""
    return f"dvc exp pull --force origin {shlex.quote(name)}"


def _experiments(root: Path) -> dict[str, list[str]]:
    """Experiments by name, each with its commits."""
    listed = _git(root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps") or b""
    found: dict[str, list[str]] = {}
    for line in listed.decode().splitlines():
        commit, _, ref = line.partition(" ")
        if match := _EXPERIMENT.fullmatch(ref):
            found.setdefault(match["name"], []).append(commit)
    return found


def parent_and_date(root: Path, revision: Revision) -> tuple[str, str]:
    """The commit that a revision began from, an experiment's baseline ("" of a first commit), and its date and time."""
    printed = _git(root, "show", "--no-patch", "--no-show-signature", "--format=%P\t%cI", revision.commit) or b"\t"
    parents, _, date = printed.decode().strip("\n").partition("\t")
    return parents.split(" ")[0], date


def file_at(root: Path, revision: Revision, path: str) -> bytes | None:
    """What a file of the project held at a revision; None: it was not there."""
    return _git(root, "show", f"{revision.commit}:./{path}")


def tables_at(root: Path, cache: Path, revision: Revision) -> dict[str, Path]:
    """The tables of a revision: path in the project -> where the cache has it, or would have it."""
    lock = file_at(root, revision, "dvc.lock")
    if lock is None:
        raise UserError(f"{revision.name} has no dvc.lock: nothing was run and committed there")
    return dict(_tables(_outputs(lock), cache))


def _tables(outputs: dict[str, str], cache: Path) -> Iterator[tuple[str, Path]]:
    for path, md5 in outputs.items():
        if not path.startswith("data/"):
            continue
        if path.endswith(".parquet"):
            yield path, cached(cache, md5)
        elif md5.endswith(".dir"):
            listed = cached(cache, md5)
            if listed.is_file():
                for entry in json.loads(listed.read_text()):
                    if entry["relpath"].endswith(".parquet"):
                        yield f"{path}/{entry['relpath']}", cached(cache, entry["md5"])
            else:  # what it holds is not known either: each table that may be in it is missing
                for pattern in {pattern for view in VIEWS.values() for pattern in view.files}:
                    folder, _, name = pattern.rpartition("/")
                    if fnmatchcase(path, folder) and "*" not in name:
                        yield f"{path}/{name}", listed


def _outputs(lock: bytes) -> dict[str, str]:
    """The outputs of all stages with their hashes. Deps and params, most of the file, are left unread."""
    lines, kept = lock.decode().splitlines(), []
    inside = True
    for line in lines:
        indent = len(line) - len(line.lstrip(" "))
        if indent == 4 and not line.startswith("    - "):
            inside = line.startswith("    outs:")
        elif indent < 4:
            inside = True
        if inside:
            kept.append(line)
    stages: Any = yaml.load("\n".join(kept), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    found = {}
    for stage in (stages.get("stages") or {}).values():
        for out in (stage or {}).get("outs") or ():
            if out.get("md5"):
                found[out["path"]] = out["md5"]
    return found


def cached(cache: Path, md5: str) -> Path:
    """Where DVC's cache has the file of a hash."""
    return cache / "files/md5" / md5[:2] / md5[2:]


def cache_folder(root: Path) -> Path:
    """DVC's cache, which a temporary experiment or another clone may share."""
    from dvc.config import Config
    from dvc.exceptions import DvcException

    dvc = next((folder / ".dvc" for folder in (root, *root.parents) if (folder / ".dvc").is_dir()), root / ".dvc")
    try:
        folder = Config(str(dvc), validate=False)["cache"].get("dir")
    except DvcException as error:
        raise UserError(f"DVC's configuration cannot be read: {error}") from None
    return (dvc / folder).resolve() if folder else (dvc / "cache").resolve()


def _git(root: Path, *arguments: str) -> bytes | None:
    """What a git command prints; None: it failed."""
    try:
        result = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    except OSError as error:
        raise UserError(f"git cannot be run: {error}") from None
    return None if result.returncode else result.stdout
