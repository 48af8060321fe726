"""Rows of the `results` table."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from metareward.tables import TABLES


@dataclass(frozen=True)
class Score:
    """One figure of a benchmark: its value, a 95% interval where there is one, and the number of things it is of.

    value, low and high are None where nothing can be computed.
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int


def results_table(checkpoint: str, rows: Sequence[tuple[object, ...]], benchmark: str = "held_out") -> pl.DataFrame:
    """Rows of metric, value, ci_low, ci_high, n, referee as a `results` table."""
    names = ["metric", "value", "ci_low", "ci_high", "n", "referee"]
    types = TABLES["results"].columns
    frame = pl.DataFrame(rows, schema={name: types[name] for name in names}, orient="row")
    return frame.with_columns(checkpoint=pl.lit(checkpoint), benchmark=pl.lit(benchmark))


def mean(values: pl.Series) -> float | None:
    """The mean, or null of nothing."""
    return float(value) if isinstance(value := values.cast(pl.Float64).mean(), float) else None
