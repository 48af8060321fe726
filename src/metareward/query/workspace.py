"""The working tree: where it begins, its tables, params and metrics."""

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from metareward.errors import UserError
from metareward.query.views import VIEWS, File

WORKSPACE = "workspace"


def project_root(folder: Path) -> Path:
    """The folder of the project that holds `folder`: the nearest one with a dvc.yaml or params.yaml."""
    folder = folder.resolve()
    for root in (folder, *folder.parents):
        if any((root / name).is_file() for name in ("dvc.yaml", "params.yaml")):
            return root
    raise UserError(f"{folder} is no folder of a metareward project: there is no dvc.yaml in it or above it")


def workspace_tables(root: Path) -> dict[str, Path]:
    """The tables in the working tree: path in the project -> where it lies."""
    return {path.relative_to(root).as_posix(): path for path in sorted((root / "data").rglob("*.parquet"))}


def is_inside(root: Path, file: Path) -> bool:
    """Whether a file of the working tree lies in the project, or is DVC's link into its cache."""
    place = file.resolve()
    if place.is_relative_to(root):
        return True
    from metareward.query.revisions import cache_folder

    return place.is_relative_to(cache_folder(root))


def files_of(rev: str, tables: dict[str, Path], bring: str = "") -> dict[str, list[File]]:
    """The files of each view among those of one revision.

    tables: path in the project -> where the file lies; bring: the command that fetches those that are not there.
    """
    problems = {path: problem for path, file in tables.items() if (problem := _problem(rev, path, file, bring))}
    return {
        name: [
            File(rev, label, str(tables[path]), problems.get(path))
            for pattern in view.files
            for label, path in _found(pattern, tables)
        ]
        for name, view in VIEWS.items()
    }


def _problem(rev: str, path: str, file: Path, bring: str) -> str | None:
    """Why a file cannot be read, as far as its place says."""
    if file.is_file():
        return None
    if rev == WORKSPACE:
        return f"{path} is no file"
    return f"{path} of {rev} is not in DVC's cache. Hint: {bring}"


def _found(pattern: str, paths: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """The paths that a view's pattern names, each with what * stands for."""
    head, brace, rest = pattern.partition("{")
    choices, _, tail = rest.partition("}")
    patterns = [head + choice + tail for choice in choices.split(",")] if brace else [pattern]
    found: dict[str, str] = {}
    for one in patterns:
        before, star, after = one.partition("*")
        for path in sorted(paths):
            if fnmatchcase(path, one) and "/" not in (
                label := path[len(before) : len(path) - len(after)] if star else ""
            ):
                found.setdefault(label, path)
    yield from sorted(found.items())


def param_rows(rev: str, params: Any) -> list[tuple[str, str, str | None]]:
    """Each value of params.yaml under its dotted name: a text as it is, anything else as JSON."""
    return [(rev, name, _as_text(value)) for name, value in _flat(params, "")]


def metric_rows(rev: str, metrics: Any) -> list[tuple[str, str, str, float | None]]:
    """Each value of metrics.json: group.metric, checkpoint, value."""
    rows = []
    for group, named in metrics.items() if isinstance(metrics, dict) else ():
        for metric, values in named.items() if isinstance(named, dict) else ():
            for checkpoint, value in values.items() if isinstance(values, dict) else ():
                if value is None or isinstance(value, int | float):
                    rows.append((rev, f"{group}.{metric}", checkpoint, None if value is None else float(value)))
    return rows


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and (value or not prefix):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
