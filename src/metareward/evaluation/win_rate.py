"""Does a referee prefer a checkpoint's responses to the seed's?

No public benchmark: the referee is a frozen checkpoint of the run itself, and is named in every result that it gave.
"""

import polars as pl

from metareward.evaluation.intervals import bootstrap_mean
from metareward.evaluation.results import mean, results_table


def win_rate(comparisons: pl.DataFrame, rounds: int, seed: int) -> tuple[float | None, float | None, float | None]:
    """Share of prompts won by the model, a tie or unreadable verdict as 0.5, with a 95% interval.

    Outcomes are averaged over the two orders of a prompt first, so position bias cancels; then prompts are resampled
    (`bootstrap_mean`: Wilson's interval where all outcomes are equal, none with fewer than two prompts).
    """
    winner = pl.col("winner")
    outcome = pl.when(winner == "model").then(1.0).when(winner == "baseline").then(0.0).otherwise(0.5)
    values = comparisons.group_by("prompt_id").agg(outcome.mean().alias("outcome")).sort("prompt_id")["outcome"]
    return mean(values), *bootstrap_mean(values, rounds, seed)


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
