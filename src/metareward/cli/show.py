"""`metareward show`: the metrics of all checkpoints, with their intervals, for a terminal of 80 columns."""

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any

import typer

from metareward.cli.intervals import BEFORE, Intervals, read_intervals
from metareward.cli.paper import show_paper
from metareward.cli.tables import WIDTH, Cell, print_table, short, with_interval
from metareward.errors import UserError

HELD_OUT = {"agreement_ties_half": "agreement", "spearman": "Spearman", "response_chars": "response chars"}
OTHERS = {"readable_judgments": "readable judgments", "readable_verdicts": "readable verdicts"}
WIN_RATE = "responses against the seed's, in both orders, by the checkpoint named; not AlpacaEval."


def show(
    group: Annotated[
        str | None, typer.Argument(help="a group of metrics.json, all its metrics; none: the main ones")
    ] = None,
    paper: Annotated[bool, typer.Option("--paper", help="the figures of Wu et al. 2024 beside this run's")] = False,
) -> None:
    """The metrics of all checkpoints, from metrics.json and plots/intervals.json."""
    try:
        metrics = json.loads(Path("metrics.json").read_text())
    except (OSError, ValueError):
        raise UserError("metrics.json is not there yet, or is not JSON. Hint: dvc repro makes it.") from None
    intervals = read_intervals()
    if paper:
        show_paper(metrics, intervals)
    elif group is None:
        _show_main(metrics, intervals)
    elif group in metrics:
        _show_group(metrics[group], list(metrics["held_out"]["response_chars"]), group, intervals)
    else:
        raise UserError(f"{group} is not a group of metrics. Known: {', '.join(metrics)}.")


def _show_main(metrics: dict[str, Any], intervals: Intervals) -> None:
    held_out = metrics["held_out"]
    checkpoints = list(held_out["response_chars"])
    columns = {name: name.replace("_", " ") for name in held_out if name.startswith("win_rate_by_")} | HELD_OUT

    def cell(metric: str, checkpoint: str) -> str:
        value = held_out.get(metric, {}).get(checkpoint)
        row = intervals.get(("held_out", metric, checkpoint), {})
        return with_interval(value, row.get("ci_low"), row.get("ci_high"))

    rows = [[name, *(cell(metric, name) for metric in columns)] for name in checkpoints]
    print_table("Held-out evaluation, with 95% intervals over prompts", ["checkpoint", *columns.values()], rows)
    pairs = {f"{role} pairs": metrics.get(f"{role}_pairs", {}).get("pairs", {}) for role in ("actor", "judge")}
    others = pairs | {name: held_out.get(metric, {}) for metric, name in OTHERS.items()}
    found: list[list[Cell]] = [[name, *(values.get(name) for values in others.values())] for name in checkpoints]
    print()
    print_table("Pairs trained on, texts that could be read", ["checkpoint", *others], found)
    for line in (_noise(intervals, columns), f"win rate: {WIN_RATE}"):
        print(fill(line, WIDTH))
    groups = [name for name in metrics if not name.startswith("difference_")]
    print(fill(f"metareward show GROUP has all metrics of a group: {', '.join(groups)}, difference_to_before.", WIDTH))
    print("metareward compare m1 m2 says what tells two checkpoints apart.")
    print("Every row of every table: data/ (Parquet). Pictures: dvc plots show.")


def _noise(intervals: Intervals, columns: dict[str, str]) -> str:
    """Which checkpoints differ from the one before by more than noise, in the columns shown."""
    found = {
        (metric, checkpoint): not row["ci_low"] <= 0 <= row["ci_high"]
        for (group, metric, checkpoint), row in intervals.items()
        if group == BEFORE and metric in columns and row["ci_low"] is not None
    }
    if not found:
        return "No intervals of differences are there (plots/intervals.json)."
    apart = [f"{columns[metric]} of {checkpoint}" for (metric, checkpoint), told in found.items() if told]
    if not apart:
        return (
            f"NOISE: no checkpoint can be told from the one before it: on the same prompts all {len(found)} "
            "differences have intervals that hold 0."
        )
    return (
        f"Told from the checkpoint before it on the same prompts: {', '.join(apart)}. The other "
        f"{len(found) - len(apart)} of {len(found)} differences are NOISE: their intervals hold 0. (Of 20 differences "
        "that are nothing, one interval leaves 0 out by chance.)"
    )


def _show_group(group: dict[str, Any], checkpoints: list[str], title: str, intervals: Intervals) -> None:
    def cell(metric: str, checkpoint: str, value: float | None) -> Cell:
        row = intervals.get((title, metric, checkpoint), {})
        if value is None or row.get("ci_low") is None:
            return value
        return f"{short(value)}\n{short(row['ci_low'])} {short(row['ci_high'])}"

    rows = [
        [name, *(cell(name, checkpoint, values.get(checkpoint)) for checkpoint in checkpoints)]
        for name, values in _metrics(group, "")
    ]
    below = any(key[0] == title for key, row in intervals.items() if row["ci_low"] is not None)
    print_table(title + (", 95% intervals below" if below else ""), ["metric", *checkpoints], rows)


def _metrics(group: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each metric's values by checkpoint; the reasons, which are nested one deeper, with their metric before them."""
    for name, values in group.items():
        if any(isinstance(value, dict) for value in values.values()):
            yield from _metrics(values, f"{prefix}{name}.")
        else:
            yield prefix + name, values
