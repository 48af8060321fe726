"""`metareward sql`: a run's tables in SQL."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metareward.errors import UserError

if TYPE_CHECKING:
    from metareward.query.connection import Run
    from metareward.query.reading import ReadingConnection


def sql(
    query: Annotated[str | None, typer.Argument(help="SQL; none: a prompt, or what is piped in")] = None,
    rev: Annotated[
        list[str] | None,
        typer.Option(
            "--rev",
            help="revisions to read: branch, tag, hash, HEAD~1, an experiment's name, workspace; several with commas. "
            "None: workspace, the working tree",
        ),
    ] = None,
    experiments: Annotated[
        bool, typer.Option("--experiments", help="all experiments, and workspace unless --rev names others")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="all rows as CSV")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="all rows as JSON; with --schema: the views")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="all rows as a Markdown table")] = False,
    parquet: Annotated[Path | None, typer.Option("--parquet", help="write all rows to a Parquet file")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="the views and their columns, and stop")] = False,
    database: Annotated[
        Path | None,
        typer.Option(
            "--database", help="write a DuckDB database of the views, for DuckDB's own shell and UI, and stop"
        ),
    ] = None,
) -> None:
    """Ask a run's tables in SQL (DuckDB). Only reads. --schema lists the views, docs/queries.md has examples."""
    from metareward.query.connection import read_run, reading_connection, views_of

    formats = {"--csv": as_csv, "--json": as_json, "--markdown": markdown, "--parquet": parquet}
    chosen = [name for name, given in formats.items() if given]
    if len(chosen) > 1:
        raise UserError(f"{' and '.join(chosen)} exclude each other")
    names = [name.strip() for value in rev or () for name in value.split(",") if name.strip()]
    if query is None and not (schema or database or sys.stdin.isatty()):
        query = sys.stdin.read()
    run = read_run(names, experiments=experiments, query=None if schema or database else query)
    for note in notes(run):
        print(f"note: {note}", file=sys.stderr)
    if database:
        _write_database(run, database)
        return
    try:
        if schema:
            _print_schema(run, query, as_json)
            return
        connection = reading_connection(run, views_of(query) if query else None)
        if query is None:
            from metareward.cli.sql_prompt import prompt

            prompt(connection)
        else:
            answer(connection, query, chosen[0] if chosen else None, parquet)
        sys.stdout.flush()
    except BrokenPipeError:  # `metareward sql ... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def answer(connection: "ReadingConnection", text: str, form: str | None = None, parquet: Path | None = None) -> None:
    """Print the rows of each statement of a text. Raises UserError."""
    import duckdb

    from metareward.cli import rows

    try:
        statements = connection.statements(text)
        if form and len(statements) != 1:
            raise UserError(f"{form} takes one statement, not {len(statements)}")
        if not statements:
            raise UserError("there is no statement in this. Hint: metareward sql 'FROM pairs LIMIT 5'")
        if parquet:
            print(f"{rows.write_parquet(connection.sql(statements[0]), parquet):,} rows in {parquet}")
            return
        for statement in statements:
            result = connection.execute(statement)
            names = [column[0] for column in result.description or ()]
            if statement.lstrip()[:7].lower() == "explain":
                for row in rows.rows_of(result):
                    print("\n".join(rows.printable(line) for line in row[-1].splitlines()))
            else:
                write = {
                    "--csv": rows.write_csv,
                    "--json": rows.write_json_rows,
                    "--markdown": rows.write_markdown,
                }.get(form or "", rows.print_rows)
                write(names, rows.rows_of(result), sys.stdout)
    except duckdb.Error as error:
        raise UserError(in_short(error)) from None


def in_short(error: Exception) -> str:
    """DuckDB's message in one line, with what it thinks was meant; of an unknown view, all that there are."""
    from metareward.query.connection import view_names

    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = lines[:1] + [line for line in lines[1:] if line.startswith(("Did you mean", "Candidate bindings"))]
    if lines and lines[0].startswith("Catalog Error: Table with name"):
        kept = [*kept[:1], *_meant(lines[0]), f"Views: {', '.join(view_names())}."]
    if lines and "out of memory" in lines[0].lower():
        kept.append("Hint: fewer columns of text, a WHERE or a LIMIT; nothing is spilled to a disk.")
    return " ".join(kept) or type(error).__name__


def _meant(line: str) -> list[str]:
    """The view that the message of an unknown table may have meant; DuckDB knows only those that a query names."""
    import difflib

    from metareward.query.connection import view_names

    near = difflib.get_close_matches(line.split("name ")[-1].split(" does not")[0], view_names(), 1)
    return [f'Did you mean "{near[0]}"?'] if near else []


def notes(run: "Run") -> list[str]:
    """What a user should know before the rows."""
    if any(run.files.values()):
        return run.notes
    return [*run.notes, "there are no tables yet, so every view of tables is empty. Hint: dvc repro makes them"]


def _print_schema(run: "Run", name: str | None, as_json: bool) -> None:
    """Every view, or one, with its columns."""
    import json
    from textwrap import fill

    from metareward.query.connection import describe

    views = describe(run)
    if name is not None:
        if name not in views:
            raise UserError(f"{name} is no view. Views: {', '.join(views)}.")
        views = {name: views[name]}
    if as_json:
        found = {
            view: {"about": about, "columns": {c: {"type": t, "about": a} for c, (t, a) in columns.items()}}
            for view, (about, columns) in views.items()
        }
        print(json.dumps(found, indent=1))
        return
    width = os.get_terminal_size().columns if sys.stdout.isatty() else 120
    for view, (about, columns) in views.items():
        print(fill(f"{view}: {about}", width, subsequent_indent="  "))
        for column, (type_, words) in columns.items():
            kind = "chat" if type_.startswith("STRUCT") else type_.lower()
            print(fill(f"  {column:<24} {kind:<10} {words}", width, subsequent_indent=" " * 38))
        print()
    print("Joins are written USING (rev, iteration, prompt_id).")


def _write_database(run: "Run", path: Path) -> None:
    """A DuckDB database of the views, renamed into place when it is whole."""
    import duckdb

    from metareward.query.connection import create_views

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UserError(f"{path} cannot be written: it is a folder, or its folder is not there")
    try:
        with duckdb.connect(str(temporary)) as connection:
            create_views(connection, run)
        os.replace(temporary, path)
    except (OSError, duckdb.Error) as error:
        raise UserError(f"{path} cannot be written: {str(error).splitlines()[0]}") from None
    finally:
        temporary.unlink(missing_ok=True)
    print(f"{path}: views that read the run's files where they lie; write it again when these move or a stage has run")
