"""What each held-out prompt brings to a metric: the one table from which values, intervals and differences come."""

import math
from collections.abc import Mapping, Sequence

import polars as pl

from metareward.evaluation.intervals import bootstrap_ratio, paired_difference
from metareward.tables import check_table, empty_table, table_of

# between which bounds what a metric is the mean of lies
SHARE = (0, 1)
BOUNDS = {
    "spearman": (-1, 1),
    "score_mean": (0, 5),
    "response_score": (0, 5),
    "response_chars": (0, math.inf),
    "alpaca_eval_win_rate": (0, 100),
    "arena_hard_score": (0, 100),
    "mt_bench_mean": (0, 10),
}
KEY = ["metric", "referee"]


def per_prompt(rows: pl.DataFrame, value: pl.Expr, prompts: pl.Series, total: pl.Expr | None = None) -> pl.DataFrame:
    """prompt_id, total, n: the sum and the number of a value over the rows of each of the prompts; nulls do not count.

    rows: prompt_id and what the value is made of. A prompt without a value stays, with total 0 and n 0. total: the sum
    of the value, where it takes care to be exact.
    """
    summed = value.cast(pl.Float64).sum() if total is None else total
    sums = rows.group_by("prompt_id").agg(total=summed, n=value.count().cast(pl.Int64))
    every = prompts.unique().sort().alias("prompt_id").to_frame()
    return every.join(sums, on="prompt_id", how="left").with_columns(pl.col("total", "n").fill_null(0))


def outcomes_table(checkpoint: str, parts: Mapping[str, pl.DataFrame], referee: str | None = None) -> pl.DataFrame:
    """The `outcomes` table of what `per_prompt` gave, by metric; referee: who said so, where somebody did."""
    named = [
        part.with_columns(
            checkpoint=pl.lit(checkpoint), metric=pl.lit(metric), referee=pl.lit(referee, dtype=pl.String)
        ).select(empty_table("outcomes").columns)
        for metric, part in parts.items()
    ]
    return check_table(pl.concat([empty_table("outcomes"), *named]), "outcomes")


def results_of(outcomes: pl.DataFrame, rounds: int, seed: int) -> list[tuple[object, ...]]:
    """Rows for `results_table`: each metric's total over its n, with the interval of a bootstrap over prompts.

    METHOD §6, Intervals. n counts what the value is a mean of: pairs, judgments, prompts.
    """
    rows: list[tuple[object, ...]] = []
    for (metric, referee), part in outcomes.group_by(KEY, maintain_order=True):
        rows.append((metric, *ratio(part, rounds, seed, BOUNDS.get(str(metric), SHARE)), referee))
    return rows


def ratio(
    sums: pl.DataFrame, rounds: int, seed: int, bounds: tuple[float, float] = SHARE
) -> tuple[float | None, float | None, float | None, int]:
    """Value, interval and n of what `per_prompt` gave: sum(total) / sum(n), null where n is 0."""
    totals, counts = sums["total"].to_numpy(), sums["n"].to_numpy()
    n, (least, most) = int(counts.sum()), bounds
    value = float(totals.sum() / n) if n else None
    return value, *bootstrap_ratio(totals, counts, rounds, seed, least=least, most=most), n


def differences_table(
    outcomes: Mapping[str, pl.DataFrame], pairs: Sequence[tuple[str, str]], rounds: int, seed: int
) -> pl.DataFrame:
    """The `differences` table: of each pair of checkpoints, the first one's value of each metric minus the other's.

    outcomes: those of each checkpoint. Both were given the same prompts, which are drawn for both at once
    (`paired_difference`); a prompt that one of them lacks is left out (`unpaired`), and so is a metric.
    """
    rows = []
    for checkpoint, other in pairs:
        both = outcomes[checkpoint].join(outcomes[other], on=[*KEY, "prompt_id"], suffix="_other", nulls_equal=True)
        for (metric, referee), part in both.sort(*KEY, "prompt_id").group_by(KEY, maintain_order=True):
            least, most = BOUNDS.get(str(metric), SHARE)
            first, second = ((part["total" + end], part["n" + end]) for end in ("", "_other"))
            value, (low, high), n = paired_difference(first, second, rounds, seed, least=least, most=most)
            names = {"checkpoint": checkpoint, "other": other, "metric": metric, "referee": referee}
            rows.append(names | {"value": value, "ci_low": low, "ci_high": high, "n": n})
    return check_table(table_of(rows, "differences"), "differences")


def unpaired(first: pl.DataFrame, second: pl.DataFrame) -> dict[str, int]:
    """Of each metric that two `outcomes` share, how many prompts only one of them has; metrics without one left out."""
    ours, theirs = (rows.select(*KEY, "prompt_id") for rows in (first, second))
    on = [*KEY, "prompt_id"]
    lonely = pl.concat(
        here.join(there, on=on, how="anti", nulls_equal=True).join(there, on=KEY, how="semi", nulls_equal=True)
        for here, there in ((ours, theirs), (theirs, ours))
    )
    return dict(sorted(lonely.group_by("metric").len().iter_rows()))


def value_of(outcomes: pl.DataFrame, metric: str, referee: str | None) -> float | None:
    """A metric's value: its total over its n; null of nothing."""
    part = outcomes.filter(pl.col("metric") == metric, pl.col("referee").eq_missing(referee))
    n = int(part["n"].sum())
    return float(part["total"].to_numpy().sum() / n) if n else None
