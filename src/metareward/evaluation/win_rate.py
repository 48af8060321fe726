"""Does a referee prefer a checkpoint's responses to the seed's?

No public benchmark: the referee is a frozen checkpoint of the run itself, and is named in every result that it gave.
"""

import polars as pl

from metareward.evaluation.outcomes import outcomes_table, per_prompt
from metareward.selection.scores import exact_mean, exact_total, worth


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


def score_outcomes(
    checkpoint: str, responses: pl.DataFrame, baseline: pl.DataFrame, judgments: pl.DataFrame, referee: str
) -> pl.DataFrame:
    """The `outcomes` of the referee's judgments of one checkpoint's responses and of the seed's.

    responses, baseline: one response to each prompt, by the checkpoint and by the seed. win_rate: a prompt is won by
    the checkpoint (1) if the mean score of its response is the higher one, lost, or 0.5 for a tie; a prompt with an
    unscored response is left out, and the seed has none. response_score: the scores of the checkpoint's responses.
    """
    scores = judgments.group_by("response_id").agg(mean=exact_mean(worth()))
    ours, theirs = (
        rows.join(scores, on="response_id").select("prompt_id", "mean").drop_nulls() for rows in (responses, baseline)
    )
    of_prompt = ours.join(theirs, on="prompt_id", suffix="_seed")
    higher = (pl.col("mean") - pl.col("mean_seed")).sign() / 2 + 0.5
    own = judgments.join(responses.select("response_id"), on="response_id", how="semi")
    prompts = responses["prompt_id"]
    parts = {
        "response_score": per_prompt(own, worth(), prompts, total=exact_total(worth())),
        "comparisons_readable": per_prompt(own, pl.col("score").is_not_null(), prompts),
    }
    if checkpoint != "seed":
        parts = {"win_rate": per_prompt(of_prompt, higher, prompts)} | parts
    return outcomes_table(checkpoint, parts, referee)
