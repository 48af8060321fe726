"""`metareward journal`: what stages have generated so far."""

from pathlib import Path
from typing import Annotated

import typer


def journal(
    clear: Annotated[bool, typer.Option("--clear", help="delete those that are complete or left behind")] = False,
    everything: Annotated[bool, typer.Option("--all", help="with --clear: the unfinished, too")] = False,
) -> None:
    """List what stages have generated so far, and delete what no stage will go on from."""
    from rich.console import Console
    from rich.table import Table

    from metareward.pipeline.journals import clear_journals, list_journals
    from metareward.pipeline.stage import work_directory

    work = work_directory(Path.cwd())
    entries = list_journals(work)
    if clear:
        useless = [entry for entry in entries if everything or entry.state in ("complete", "left behind")]
        gone = clear_journals(useless)
        print(f"deleted {len(gone)} of {len(entries)} journals, {sum(entry.size for entry in gone) / 1e6:.1f} MB")
        return
    table = Table(title=f"Journals in {work}")
    for heading in ("stage", "fingerprint", "completions", "MB", "hours old", "state"):
        table.add_column(heading, justify="right" if heading in ("completions", "MB", "hours old") else "left")
    for entry in entries:
        size, age = f"{entry.size / 1e6:.1f}", f"{entry.age / 3600:.1f}"
        table.add_row(entry.stage, entry.fingerprint, str(entry.completions), size, age, entry.state)
    Console(width=max(120, Console().width)).print(table)
