"""Does a referee prefer a checkpoint's responses to the seed's?

No public benchmark: the referee is a frozen checkpoint of the run itself, and is named in every result that it gave.
"""

import polars as pl

from metareward.evaluation.outcomes import outcomes_table, per_prompt


def comparison_outcomes(checkpoint: str, comparisons: pl.DataFrame, referee: str) -> pl.DataFrame:
    """The `outcomes` of what the referee said of one checkpoint's responses.

    win_rate: a prompt is won by the model (1), lost, or 0.5 for a tie or unreadable verdict; the outcomes of its two
    orders are averaged, so position bias cancels.
    """
    winner, prompts = pl.col("winner"), comparisons["prompt_id"]
    outcome = pl.when(winner == "model").then(1.0).when(winner == "baseline").then(0.0).otherwise(0.5)
    of_prompt = comparisons.group_by("prompt_id").agg(outcome=outcome.mean())
    first_won = (winner == "model") == pl.col("model_first")
    parts = {
        "win_rate": per_prompt(of_prompt, pl.col("outcome"), prompts),
        "comparisons_readable": per_prompt(comparisons, winner.is_not_null(), prompts),
        "comparisons_first_position": per_prompt(comparisons, first_won, prompts),
    }
    return outcomes_table(checkpoint, parts, referee)
