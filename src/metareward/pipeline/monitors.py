"""Where monitors lie, and what a run does with a figure beyond its limit."""

import sys
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from metareward.errors import UserError
from metareward.evaluation.monitors import monitors_table
from metareward.params import Monitors
from metareward.pipeline.frame import say
from metareward.pipeline.stage import Stage
from metareward.tables import read_table, write_table, write_text

MONITORS = Path("data/monitors")


def monitors_folder(name: str) -> Path:
    """The folder of an iteration's monitors, under the name of the checkpoint that it trains."""
    return MONITORS / name


def read_monitors(name: str) -> pl.DataFrame:
    """All `monitors` of an iteration; sft has those of its training alone."""
    files = sorted(monitors_folder(name).glob("*.parquet"))
    return pl.concat(read_table(file, "monitors") for file in files)


def watch(stage: Stage, name: str, part: str, values: Mapping[str, float | None], settings: Monitors) -> None:
    """Write the `monitors` of values, print those beyond their limits, and open the gate unless one of them stops.

    The costly stages behind depend on the gate alone, whose content never changes: a limit can be changed, and nothing
    but this stage runs again. Raises UserError where a monitor stops the run.
    """
    folder = monitors_folder(name)
    gate = folder / f"{part}.gate"
    gate.unlink(missing_ok=True)  # DVC has done so; a stage that is run by hand has not
    monitors = write_table(monitors_table(name, values, settings), folder / f"{part}.parquet", "monitors")
    beyond = monitors.filter(~pl.col("passed"))
    for row in beyond.iter_rows(named=True):
        print(f"{row['action']}: {described(name, row)}\n  look: {row['look']}", file=sys.stderr)
    stops = beyond.filter(action="stop")["monitor"].to_list()
    if stops:
        keys = ", ".join(f"monitors.{monitor}" for monitor in stops)
        raise UserError(
            f"{stage.label} stops the run: {', '.join(stops)} beyond the limit. Nothing behind it has run, and what is "
            f"there is kept. To go on, change the limit, or action to warn, and give dvc repro again. "
            f"(params.yaml: {keys})"
        )
    write_text("open\n", gate)
    say(stage, f"{beyond.height} of {monitors['passed'].count()} monitors beyond their limits")


def described(name: str, row: Mapping[str, object]) -> str:
    """score_at_maximum of m1 is 0.62, above its limit 0.5."""
    return f"{row['monitor']} of {name} is {row['value']:.4g}, {row['direction']} its limit {row['limit']:.4g}"
