"""`metareward show`: the metrics of all checkpoints, with their intervals, for a terminal of 80 columns."""

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any

import typer

from metareward.cli.benchmarks import BENCHMARKS, TITLES, judges_of, who_judged
from metareward.cli.costs import show_costs
from metareward.cli.intervals import BEFORE, Intervals, read_intervals
from metareward.cli.monitors import warnings
from metareward.cli.paper import show_paper
from metareward.cli.tables import WIDTH, Cell, print_table, short, with_interval
from metareward.errors import UserError

HELD_OUT = {
    "agreement_ties_half": "agreement",
    "spearman": "Spearman",
    "response_chars": "response chars",
}
MAIN_OF_BENCHMARKS = {
    "alpaca_eval": {"length_controlled_win_rate": "AlpacaEval LC win %", "win_rate": "AlpacaEval win %"},
    "arena_hard": {"score": "Arena-Hard score %"},
    "mt_bench": {"mean": "MT-Bench mean"},
}
OTHERS = {"readable_judgments": "readable judgments", "readable_verdicts": "readable verdicts"}
FEW = 20  # prompts; of fewer a bootstrap's intervals hold the truth less often than they say
WIN_RATE = "responses against the seed's, by the checkpoint named; not AlpacaEval."


def show(
    group: Annotated[
        str | None, typer.Argument(help="a group of metrics.json, all its metrics; none: the main ones")
    ] = None,
    costs: Annotated[bool, typer.Option("--costs", help="time, tokens and memory of each stage instead")] = False,
    paper: Annotated[bool, typer.Option("--paper", help="the figures of Wu et al. 2024 beside this run's")] = False,
) -> None:
    """The metrics of all checkpoints, from metrics.json and plots/intervals.json; or what the run took."""
    if costs:
        show_costs()
        return
    try:
        metrics = json.loads(Path("metrics.json").read_text())
    except (OSError, ValueError):
        raise UserError("metrics.json is not there yet, or is not JSON. Hint: dvc repro makes it.") from None
    if not isinstance(metrics, dict) or "response_chars" not in metrics.get("held_out", {}):
        raise UserError("metrics.json is not what a run writes. Hint: dvc repro --force metrics makes it anew.")
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

    rows = [[name, *(_cell(metrics, intervals, "held_out", one, name) for one in columns)] for name in checkpoints]
    print_table("Held-out evaluation, with 95% intervals", ["checkpoint", *columns.values()], rows)
    pairs = {f"{role} pairs": metrics.get(f"{role}_pairs", {}).get("pairs", {}) for role in ("actor", "judge")}
    others = pairs | {name: held_out.get(metric, {}) for metric, name in OTHERS.items()}
    found: list[list[Cell]] = [[name, *(values.get(name) for values in others.values())] for name in checkpoints]
    print()
    print_table("Pairs and readability", ["checkpoint", *others], found)
    _show_benchmarks(metrics, checkpoints, intervals)
    for line in (_noise(intervals, columns), *_sizes(intervals, columns), f"win rate: {WIN_RATE}"):
        print(fill(line, WIDTH))
    print(fill(f"metareward show GROUP has all metrics of a group: {', '.join(metrics)}.", WIDTH))
    print("metareward compare m1 m2 says what tells two checkpoints apart.")
    print("Every row of every table: data/ (Parquet). Pictures: dvc plots show.")
    if beyond := warnings():
        print("\n".join(beyond))
        print("Monitors warn of these: metareward show monitors has all of them, docs/method.md what they mean.")


def _cell(
    metrics: dict[str, Any], intervals: Intervals, group: str, metric: str, checkpoint: str, decimals: int | None = None
) -> str:
    """A value with its interval."""
    value = metrics[group].get(metric, {}).get(checkpoint)
    row = intervals.get((group, metric, checkpoint), {})
    return with_interval(value, row.get("ci_low"), row.get("ci_high"), decimals=decimals)


def _show_benchmarks(metrics: dict[str, Any], checkpoints: list[str], intervals: Intervals) -> None:
    """The main metrics of the public benchmarks that are on, and who judged."""
    headings, columns, notes = [], [], []
    for name, metrics_of in BENCHMARKS.items():
        for judge in judges_of(metrics.get(name, {}), metrics_of):
            for metric in MAIN_OF_BENCHMARKS[name]:
                named = f"{metric}_by_{judge}"
                if named in metrics[name]:
                    headings.append(MAIN_OF_BENCHMARKS[name][metric])
                    columns.append([_cell(metrics, intervals, name, named, one, 1) for one in checkpoints])
            notes.append(who_judged(name, judge, intervals))
    if columns:
        print()
        rows = [[name, *cells] for name, *cells in zip(checkpoints, *columns, strict=True)]
        print_table("Public benchmarks, with 95% intervals", ["checkpoint", *headings], rows)
        print("\n".join(fill(note, WIDTH) for note in notes))


def _sizes(intervals: Intervals, columns: dict[str, str]) -> list[str]:
    """What the last checkpoint's values are of."""
    n = {metric: row["n"] for (group, metric, _), row in intervals.items() if group == "held_out"}
    of = dict.fromkeys(columns, "prompts") | {"agreement_ties_half": "pairs of replies"}
    found = [f"{columns[metric]} {n[metric]} {of[metric]}" for metric in columns if metric in n]
    return [f"n of the last checkpoint: {', '.join(found)}."] if found else []


def _noise(intervals: Intervals, columns: dict[str, str]) -> str:
    """Which checkpoints differ from the one before by more than noise, in the columns shown and on the benchmarks."""
    found, prompts = {}, []
    for (group, metric, checkpoint), row in intervals.items():
        benchmark = next((title for name, title in TITLES.items() if metric.startswith(f"{name}_")), None)
        shown = columns.get(metric, benchmark)
        if group == BEFORE and shown and row["ci_low"] is not None:
            found[shown, checkpoint] = not row["ci_low"] <= 0 <= row["ci_high"]
            prompts.append(row["n"])
    if not found:
        return "No intervals of differences are there (plots/intervals.json)."
    few = f" Of {min(prompts)} prompts intervals are too narrow (docs/method.md)." if min(prompts) < FEW else ""
    apart = [f"{shown} of {checkpoint}" for (shown, checkpoint), told in found.items() if told]
    if not apart:
        return (
            f"NOISE: no checkpoint can be told from the one before it: on the same prompts all {len(found)} "
            f"differences have intervals that hold 0.{few}"
        )
    return (
        f"Told from the checkpoint before it on the same prompts: {', '.join(apart)}. The other "
        f"{len(found) - len(apart)} of {len(found)} differences are NOISE: their intervals hold 0. (Of 20 differences "
        f"that are nothing, one interval leaves 0 out by chance.){few}"
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
