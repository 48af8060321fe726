"""A DuckDB connection with a view of each table of a run, which reads the run's files and no others."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from metareward.errors import UserError
from metareward.query.ready_made import READY_MADE
from metareward.query.views import VIEWS, File, quoted, text, values_sql, view_sql
from metareward.query.workspace import WORKSPACE, metric_rows, param_rows, project_root, workspace_files

if TYPE_CHECKING:
    import duckdb

PARAMS = {"rev": "VARCHAR", "name": "VARCHAR", "value": "VARCHAR"}
METRICS = {"rev": "VARCHAR", "name": "VARCHAR", "checkpoint": "VARCHAR", "value": "DOUBLE"}


def connect(
    revs: Sequence[str] = (), *, experiments: bool = False, folder: Path | str | None = None
) -> "duckdb.DuckDBPyConnection":
    """A DuckDB connection with the views of a run.

    revs: git revisions and DVC experiments, and `workspace` for the working tree; none: the working tree.
    experiments: the working tree and all experiments. folder: any folder of the project; None: where the process
    runs. Every view has the column `rev`. Raises UserError.
    """
    import duckdb

    if revs or experiments:
        raise UserError("only the working tree can be read yet")
    root = project_root(Path.cwd() if folder is None else Path(folder))
    files = workspace_files(root)
    connection = duckdb.connect()
    for name, sql in _definitions(root, files).items():
        connection.execute(f"CREATE VIEW {quoted(name)} AS {sql}")
    _lock(connection, [file for listed in files.values() for file in listed])
    return connection


def _definitions(root: Path, files: dict[str, list[File]]) -> dict[str, str]:
    """The SQL of all views, in the order in which they can be created."""
    params = metrics = None
    if (root / "params.yaml").is_file():
        params = yaml.safe_load((root / "params.yaml").read_text())
    if (root / "metrics.json").is_file():
        metrics = json.loads((root / "metrics.json").read_text())
    return {
        **{name: view_sql(name, files[name]) for name in VIEWS},
        "params": values_sql(PARAMS, param_rows(WORKSPACE, params or {})),
        "metrics": values_sql(METRICS, metric_rows(WORKSPACE, metrics)),
        **{name: view.sql for name, view in READY_MADE.items()},
    }


def _lock(connection: "duckdb.DuckDBPyConnection", files: list[File]) -> None:
    """Let the connection read these files and nothing else, for good."""
    allowed = ", ".join(text(path) for path in sorted({file.path for file in files}))
    connection.execute(f"""
        SET allowed_paths = [{allowed}];
        SET temp_directory = '';
        SET autoinstall_known_extensions = false;
        SET autoload_known_extensions = false;
        SET python_enable_replacements = false;
        SET enable_external_access = false;
        SET lock_configuration = true;
    """)
