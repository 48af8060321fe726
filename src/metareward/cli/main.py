"""The command `metareward`."""

import sys

import typer

from metareward.checkout import foreign_code
from metareward.cli.check import check
from metareward.cli.compare import compare
from metareward.cli.estimate import estimate
from metareward.cli.exp import exp
from metareward.cli.export_answers import export_answers
from metareward.cli.imports import imports
from metareward.cli.journal import journal
from metareward.cli.plan import plan
from metareward.cli.profile import profile
from metareward.cli.reliability import reliability
from metareward.cli.report import report
from metareward.cli.score import score
from metareward.cli.show import show
from metareward.cli.sql import sql
from metareward.cli.trace import trace
from metareward.cli.what_if import what_if
from metareward.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Check, run and read a pipeline of Meta-Rewarding. `dvc repro` runs it.",
)
COMMANDS = (
    check,
    profile,
    show,
    report,
    compare,
    exp,
    sql,
    trace,
    what_if,
    reliability,
    journal,
    plan,
    estimate,
    export_answers,
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(score, name="score")
app.add_typer(imports, name="import")


def main() -> None:
    """The entry point: a user's mistake is one line and exit code 2."""
    if foreign := foreign_code():
        print(f"warning: {foreign}. Hint: PYTHONPATH=src metareward ...", file=sys.stderr)
    try:
        app()
    except UserError as error:
        sys.stdout.flush()  # or in a file the error stands before what was said before it
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
