"""Does a referee prefer a checkpoint's responses to the seed's?

No public benchmark: the referee is a frozen checkpoint of the run itself, and is named in every result that it gave.
"""

import math

import numpy as np
import polars as pl
import scipy.stats

from metareward.evaluation.results import mean, results_table


def win_rate(comparisons: pl.DataFrame, rounds: int, seed: int) -> tuple[float | None, float | None, float | None]:
    """Share of prompts won by the model, a tie or unreadable verdict as 0.5, with a 95% interval.

    Outcomes are averaged over the two orders of a prompt first, so position bias cancels; then prompts are resampled
    (bootstrap, percentiles). Equal outcomes resample to themselves, which would make a point of the interval and claim
    certainty for six ties: they get Wilson's score interval, as wins of a coin tossed once a prompt. It supposes the
    greatest variance that outcomes of this mean can have, so it is wide rather than narrow. The interval is null with
    fewer than two prompts.
    """
    winner = pl.col("winner")
    outcome = pl.when(winner == "model").then(1.0).when(winner == "baseline").then(0.0).otherwise(0.5)
    values = comparisons.group_by("prompt_id").agg(outcome.mean().alias("outcome")).sort("prompt_id")["outcome"]
    if values.len() < 2:
        return mean(values), None, None
    if values.n_unique() == 1:
        return mean(values), *wilson_interval(values[0], values.len())
    interval = scipy.stats.bootstrap(
        (values.to_numpy(),), np.mean, n_resamples=rounds, method="percentile", rng=np.random.default_rng(seed)
    ).confidence_interval
    return mean(values), float(interval.low), float(interval.high)


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95% score interval of a share of n draws (Wilson 1927, eq. 4); never a point."""
    z = scipy.stats.norm.ppf(0.975)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, float(middle - reach)), min(1.0, float(middle + reach))


def comparison_results(
    checkpoint: str, comparisons: pl.DataFrame, referee: str, rounds: int, seed: int
) -> pl.DataFrame:
    """The `results` rows of what the referee said of one checkpoint's responses; rounds, seed: of the bootstrap."""
    rate, low, high = win_rate(comparisons, rounds, seed)
    decided = comparisons.drop_nulls("winner")
    first_won = (decided["winner"] == "model") == decided["model_first"]
    readable = comparisons["winner"].is_not_null()
    rows = [
        ("win_rate", rate, low, high, comparisons["prompt_id"].n_unique(), referee),
        ("comparisons_readable", mean(readable), None, None, comparisons.height, referee),
        ("comparisons_first_position", mean(first_won), None, None, decided.height, referee),
    ]
    return results_table(checkpoint, rows)
