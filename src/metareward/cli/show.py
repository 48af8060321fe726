"""`metareward show`: the metrics of all checkpoints, for a terminal of 80 columns."""

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill, wrap
from typing import Annotated, Any

import typer

from metareward.errors import UserError

COLUMNS = {
    "agreement_ties_half": "agreement",
    "spearman": "Spearman",
    "readable_judgments": "readable judgments",
    "readable_verdicts": "readable verdicts",
    "response_chars": "response chars",
}
WIN_RATE = "responses against the seed's, in both orders, by the checkpoint named; not AlpacaEval."


def show(
    group: Annotated[
        str | None, typer.Argument(help="a group of metrics.json, all its metrics; none: the main ones")
    ] = None,
) -> None:
    """The metrics of all checkpoints, from metrics.json."""
    try:
        metrics = json.loads(Path("metrics.json").read_text())
    except (OSError, ValueError):
        raise UserError("metrics.json is not there yet, or is not JSON. Hint: dvc repro makes it.") from None
    if group is None:
        _show_main(metrics)
    elif group in metrics:
        _show_group(metrics[group], list(metrics["held_out"]["response_chars"]), group)
    else:
        raise UserError(f"{group} is not a group of metrics. Known: {', '.join(metrics)}.")


def _show_main(metrics: dict[str, Any]) -> None:
    held_out = metrics["held_out"]
    win_rates = {name: name.replace("_", " ") for name in held_out if name.startswith("win_rate_by_")}
    columns = win_rates | COLUMNS
    rows = []
    for checkpoint in held_out["response_chars"]:
        pairs = [metrics.get(f"{role}_pairs", {}).get("pairs", {}).get(checkpoint) for role in ("actor", "judge")]
        rows.append([checkpoint, *pairs, *(held_out.get(metric, {}).get(checkpoint) for metric in columns)])
    _print("Held-out evaluation", ["checkpoint", "actor pairs", "judge pairs", *columns.values()], rows)
    print(fill(f"win rate: {WIN_RATE} metareward show GROUP has all metrics of a group: {', '.join(metrics)}.", 80))
    print("Every row of every table: data/ (Parquet). Pictures: dvc plots show.")


def _show_group(group: dict[str, Any], checkpoints: list[str], title: str) -> None:
    rows = [[name, *(values.get(checkpoint) for checkpoint in checkpoints)] for name, values in _metrics(group, "")]
    _print(title, ["metric", *checkpoints], rows)


def _metrics(group: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each metric's values by checkpoint; the reasons, which are nested one deeper, with their metric before them."""
    for name, values in group.items():
        if any(isinstance(value, dict) for value in values.values()):
            yield from _metrics(values, f"{prefix}{name}.")
        else:
            yield prefix + name, values


def _print(title: str, headings: list[str], rows: list[list[Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=SIMPLE_HEAD, show_edge=False, padding=0)
    for i, heading in enumerate(headings):
        lines = wrap(heading, 8, break_long_words=False)
        table.add_column("\n".join(lines), justify="right" if i else "left", no_wrap=True)
    for first, *values in rows:
        table.add_row(first, *map(_number, values))
    Console(width=max(80, Console().width)).print(table)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    # what rounds to nothing has no sign
    return (
        str(value) if isinstance(value, int) else f"{value:.0f}" if abs(value) >= 10 else f"{round(value, 3) + 0.0:.3f}"
    )
