"""A DuckDB connection with a view of each table of a run, which reads the run's files and no others."""

import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from metareward.query.reading import ReadingConnection
from metareward.query.ready_made import READY_MADE
from metareward.query.views import METRICS, PARAMS, VIEWS, File, columns_of, quoted, text, values_sql, view_sql
from metareward.query.workspace import (
    WORKSPACE,
    files_of,
    is_inside,
    metric_rows,
    param_rows,
    project_root,
    workspace_tables,
)

if TYPE_CHECKING:
    import duckdb

FEW = 3  # files that are named one by one


@dataclass
class Run:
    """What the views are made of: the files of each, rows of params and metrics; notes: what a user should know."""

    files: dict[str, list[File]] = field(default_factory=lambda: {name: [] for name in VIEWS})
    params: list[tuple[Any, ...]] = field(default_factory=list)
    metrics: list[tuple[Any, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self, rev: str, tables: dict[str, Path], params: bytes | None, metrics: bytes | None, bring: str = ""
    ) -> None:
        for name, files in files_of(rev, tables, bring).items():
            self.files[name] += files
        try:
            self.params += param_rows(rev, yaml.safe_load(params) if params else {})
            self.metrics += metric_rows(rev, json.loads(metrics) if metrics else {})
        except (ValueError, yaml.YAMLError) as error:
            self.notes.append(f"params.yaml or metrics.json of {rev} cannot be read: {str(error).splitlines()[0]}")


def connect(
    revs: Sequence[str] = (), *, experiments: bool = False, folder: Path | str | None = None
) -> "duckdb.DuckDBPyConnection":
    """A DuckDB connection with the views of a run, which only reads.

    revs: git revisions and DVC experiments, and `workspace` for the working tree; none: the working tree.
    experiments: all experiments, and the working tree unless revs name others. folder: any folder of the project;
    None: where the process runs. Every view has the column `rev`. Raises UserError.
    """
    run = read_run(revs, experiments=experiments, folder=folder)
    for note in run.notes:
        warnings.warn(note, stacklevel=2)
    return cast("duckdb.DuckDBPyConnection", reading_connection(run))


def read_run(
    revs: Sequence[str] = (),
    *,
    experiments: bool = False,
    folder: Path | str | None = None,
    query: str | None = None,
) -> Run:
    """What `connect` makes views of. query: look only at files that it can need; None: at all."""
    root = project_root(Path.cwd() if folder is None else Path(folder))
    run = Run()
    if not revs or WORKSPACE in revs:
        paths = (root / "params.yaml", root / "metrics.json")
        params, metrics = (path.read_bytes() if path.is_file() else None for path in paths)
        run.add(WORKSPACE, workspace_tables(root), params, metrics)
        for name, files in run.files.items():
            run.files[name] = [
                file
                if is_inside(root, Path(file.path))
                else replace(file, problem=f"{file.path} is a link out of the project and DVC's cache; it is not read")
                for file in files
            ]
    names = [name for name in dict.fromkeys(revs) if name != WORKSPACE]
    if names or experiments:
        from metareward.query.revisions import all_experiments, cache_folder, file_at, find_revisions, tables_at

        found = find_revisions(root, names)
        if experiments:
            found += [one for one in all_experiments(root) if one.name not in names]
            if len(found) == len(names):
                run.notes.append("there are no experiments in this clone. Hint: dvc exp run, or dvc exp pull")
        cache = cache_folder(root)
        for revision in found:
            params, metrics = (file_at(root, revision, name) for name in ("params.yaml", "metrics.json"))
            run.add(revision.name, tables_at(root, cache, revision), params, metrics, revision.bring)
    _look_at_files(run, views_of(query) if query else set(VIEWS))
    return run


def reading_connection(run: Run, views: set[str] | None = None) -> ReadingConnection:
    """The views of a run in memory, behind settings that let nothing else be read, and nothing be written.

    views: those to create; None: all.
    """
    import duckdb

    connection = duckdb.connect()
    create_views(connection, run, views)
    _lock(connection, [file for files in run.files.values() for file in files if not file.problem])
    return ReadingConnection(connection)


def create_views(connection: "duckdb.DuckDBPyConnection", run: Run, views: set[str] | None = None) -> None:
    """Create views of a run; the ready-made ones stand on those of its tables. views: which; None: all."""
    definitions = {
        **{name: view_sql(name, files) for name, files in run.files.items()},
        "params": values_sql({name: type_ for name, (type_, _) in PARAMS.items()}, run.params),
        "metrics": values_sql({name: type_ for name, (type_, _) in METRICS.items()}, run.metrics),
        **{name: view.sql for name, view in READY_MADE.items()},
    }
    for name, sql in definitions.items():
        if views is not None and name not in views:
            continue
        connection.execute(f"CREATE VIEW {quoted(name)} AS {sql}")


def view_names() -> list[str]:
    """All views, in the order in which they are created."""
    return [*VIEWS, "params", "metrics", *READY_MADE]


def views_of(query: str) -> set[str]:
    """The views whose names stand in a query, with those that they are made of; all, if it asks what there is."""
    words = set(re.findall(r"\w+", query.lower()))
    if any(
        word in ("show", "information_schema") or word.startswith(("duckdb_", "pragma", "sqlite_")) for word in words
    ):
        return set(view_names())
    found, known = set[str](), set(view_names())
    while words:
        word = words.pop()
        if word in READY_MADE and word not in found:
            words |= set(re.findall(r"\w+", READY_MADE[word].sql))
        found |= {word} & known
    return found


def _look_at_files(run: Run, views: set[str]) -> None:
    """Find the files that are no tables, which a query is told that needs them, and note the columns not there yet."""
    import duckdb

    looked = {name: files for name, files in run.files.items() if name in views}
    paths = sorted({file.path for files in looked.values() for file in files if not file.problem})
    connection = duckdb.connect()
    columns: dict[str, set[str]] = {}
    broken: dict[str, str] = {}
    query = "SELECT file_name, list(name) FROM parquet_schema(?) GROUP BY ALL"
    try:
        columns = {path: set(names) for path, names in connection.execute(query, [paths]).fetchall()} if paths else {}
    except duckdb.Error:  # one of them is no Parquet file: which?
        for path in paths:
            try:
                columns |= {path: set(names) for path, names in connection.execute(query, [[path]]).fetchall()}
            except duckdb.Error:
                broken[path] = f"{path} is not a readable table. Hint: dvc repro makes it"
    missing: dict[str, set[str]] = {}
    for name, files in looked.items():
        run.files[name] = [replace(file, problem=broken.get(file.path, file.problem)) for file in files]
        wanted = [column for column in columns_of(name) if column not in ("rev", VIEWS[name].label)]
        for file in run.files[name]:
            lost = set(wanted) - columns.get(file.path, set(wanted))
            missing.setdefault(file.rev, set()).update(f"{name}.{column}" for column in lost)
    for rev, lost in missing.items():
        if lost:
            run.notes.append(f"{rev} is from before these columns, which are null there: {', '.join(sorted(lost))}")
    problems = [file.problem for name in looked for file in run.files[name] if file.problem]
    for problem in dict.fromkeys(problems[:FEW]):
        run.notes.append(f"{problem}; a query that needs it fails")
    if len(problems) > FEW:
        run.notes.append(f"the same holds of {len(problems) - FEW} more files")


def _lock(connection: "duckdb.DuckDBPyConnection", files: list[File]) -> None:
    """Let the connection read these files and nothing else, for good."""
    allowed = ", ".join(text(path) for path in sorted({file.path for file in files}))
    connection.execute(f"""
        SET allowed_paths = [{allowed}];
        SET temp_directory = '';
        SET enable_progress_bar = false;
        SET memory_limit = '{_memory()}B';
        SET autoinstall_known_extensions = false;
        SET autoload_known_extensions = false;
        SET python_enable_replacements = false;
        SET enable_external_access = false;
        SET lock_configuration = true;
    """)


def _memory() -> int:
    """Half of the machine's memory, in bytes: a query that needs more ends, since nothing is spilled to a disk."""
    import psutil

    return int(psutil.virtual_memory().total // 2)


def describe(run: Run) -> dict[str, tuple[str, dict[str, tuple[str, str]]]]:
    """Each view: what a row is; its columns with type and what they hold."""
    from metareward.query.views import about_view, columns_about

    connection = reading_connection(run)
    found = {name: (about_view(name), columns_about(name)) for name in VIEWS}
    found["params"] = ("a value of params.yaml", PARAMS)
    found["metrics"] = ("a value of metrics.json", METRICS)
    for name, view in READY_MADE.items():
        types = {row[0]: row[1] for row in connection.execute(f"DESCRIBE {quoted(name)}").fetchall()}
        found[name] = (view.about, {column: (types[column], about) for column, about in view.columns.items()})
    return found
