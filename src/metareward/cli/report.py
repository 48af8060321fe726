"""`metareward report`: the page of a run, with the revision that it is of."""

import html
import subprocess
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from metareward.errors import UserError
from metareward.pipeline.stage import REPORT, work_directory
from metareward.tables import write_text

REVISION = "<!-- revision -->"  # where explore/report/page.py leaves room for it


def report(
    show: Annotated[bool, typer.Option("--open", help="open it in a browser")] = False,
    to: Annotated[Path | None, typer.Option(metavar="FILE", help="write it there, to give away")] = None,
) -> None:
    """Show or copy report.html, with the git revision that it is of.

    The stage makes the page from the tables alone, so that the same run gives the same page in every clone; which
    commit and day it belongs to is only known here.
    """
    try:
        page = REPORT.read_text(encoding="utf-8")
    except OSError as error:
        hint = "dvc repro makes it, dvc pull brings it"
        raise UserError(f"{REPORT} cannot be read: {error.strerror}. Hint: {hint}.") from None
    if REVISION not in page:
        raise UserError(f"{REPORT} is not what a run writes. Hint: dvc repro --force report makes it anew.")
    found = revision()
    line = f'<p class="note">{html.escape(found)}</p>' if found else ""
    if to is None:
        to = work_directory(Path.cwd()) / REPORT.name if show else None
    elif to.is_dir():
        raise UserError(f"{to} is a folder, not a file. Hint: metareward report --to {to / REPORT.name}")
    if to is not None:
        write_text(page.replace(REVISION, line, 1), to)
    print(f"{to or REPORT}: {len(page.encode()) / 1e6:.1f} MB. {found or 'No git revision is known.'}")
    if show and not webbrowser.open(str(to and to.resolve().as_uri())):
        print("No browser could be started: open the file in one.")


def revision() -> str | None:
    """The commit of the run and its day, in words; null outside a git repository or before the first commit."""
    last = _git("log", "-1", "--format=%h of %cs", "--", "dvc.lock")
    head = _git("log", "-1", "--format=%h of %cs")
    if not head:
        return None
    if not last or _git("status", "--porcelain", "--", "dvc.lock", "params.yaml"):
        return f"Not committed yet, on top of revision {head}."
    return f"Revision {last}."


def _git(*arguments: str) -> str | None:
    try:
        found = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return found.stdout.strip() if found.returncode == 0 else None
