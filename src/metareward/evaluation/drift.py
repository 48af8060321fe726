"""How a checkpoint's scores are spread, on the same held-out replies for every checkpoint: judge drift (METHOD §6)."""

import numpy as np
import polars as pl

from metareward.evaluation.intervals import Interval, bootstrap_sums
from metareward.tables import check_table

BIN = 0.5  # points
GRID = [k / 20 for k in range(101)]  # where the density is computed, from 0 to 5


def score_histogram(judgments: pl.DataFrame) -> pl.DataFrame:
    """score, share: of the valid scores the share in each bin of half a point, by the middle of the bin (0 to 5).

    Null where no score is valid.
    """
    scores = judgments["score"].drop_nulls()
    found = dict((scores / BIN).round().value_counts().iter_rows())
    n = scores.len()
    rows = [{"score": k * BIN, "share": found.get(float(k), 0) / n if n else None} for k in range(round(5 / BIN) + 1)]
    return pl.DataFrame(rows, schema={"score": pl.Float64, "share": pl.Float64})


def score_density(judgments: pl.DataFrame) -> pl.DataFrame:
    """score, density: a Gaussian kernel density of the valid scores, Scott's bandwidth, per point, at GRID.

    Null of fewer than two different scores: there is no bandwidth (`why_no_density`). Like every such density, part of
    it lies outside [0, 5].
    """
    from scipy.stats import gaussian_kde

    density = None if why_no_density(judgments) else gaussian_kde(judgments["score"].drop_nulls().to_numpy())(GRID)
    values = [None] * len(GRID) if density is None else density.tolist()
    return pl.DataFrame({"score": GRID, "density": values}, schema={"score": pl.Float64, "density": pl.Float64})


def why_no_density(judgments: pl.DataFrame) -> str | None:
    """Why the scores have no density, or null."""
    scores = judgments["score"].drop_nulls()
    if scores.is_empty():
        return "no judgment has a score"
    if scores.len() == 1:
        return f"its one score is {scores[0]:g}"
    return f"all {scores.len()} scores are {scores[0]:g}" if scores.n_unique() == 1 else None


def score_distribution(checkpoint: str, judgments: pl.DataFrame) -> pl.DataFrame:
    """The `score_distribution` table of what one checkpoint judged."""
    histogram = score_histogram(judgments).select(pl.lit("histogram").alias("kind"), "score", value="share")
    density = score_density(judgments).select(pl.lit("density").alias("kind"), "score", value="density")
    named = pl.concat([histogram, density]).with_columns(checkpoint=pl.lit(checkpoint))
    return check_table(named, "score_distribution")


def score_variance(judgments: pl.DataFrame, rounds: int, seed: int) -> tuple[float | None, Interval, int]:
    """Population variance of the valid scores, its interval (bootstrap over prompts), and their number.

    Equal scores have the variance 0 and no interval: they resample to themselves.
    """
    score = pl.col("score")
    sums = (
        judgments.filter(score.is_not_null())
        .group_by("prompt_id")
        .agg(n=pl.len(), total=score.sum(), squares=(score * score).sum())
        .sort("prompt_id")
    )
    if sums.is_empty():
        return None, (None, None), 0
    columns = sums.select("n", "total", "squares").to_numpy().astype(float)
    n, total, squares = columns.sum(axis=0)
    value = max(0.0, squares / n - (total / n) ** 2)
    if sums.height < 2 or judgments["score"].n_unique() < 2:
        return value, (None, None), int(n)
    n_drawn, totals, squares_drawn = bootstrap_sums(columns, rounds, seed).T
    low, high = np.percentile(squares_drawn / n_drawn - (totals / n_drawn) ** 2, [2.5, 97.5])
    return value, (float(max(0.0, low)), float(high)), int(n)
