"""Which judgments battle: all ordered pairs, of the response that is judged least certainly (METHOD §4.1-4.2)."""

import polars as pl

from metareward.ids import content_ids
from metareward.selection.pairs import EQUAL, Frame, checked, first_of_prompt


def choose_responses(prompts: Frame, scores: Frame, seed: int) -> pl.DataFrame:
    """The `choices` table: per prompt the response whose judgments go into battle, or the reason why there is none.

    It is the response whose valid scores have the highest variance, among those with two valid, textually
    different judgments; of n_tied with equal variances the seed draws one. METHOD §4.1.
    """
    highest = pl.col("variance").max().over("prompt_id")
    tied = (
        scores.lazy()
        .filter(pl.col("n_distinct") >= 2)
        .filter(highest - pl.col("variance") <= EQUAL)
        .with_columns(
            n_tied=pl.len().over("prompt_id").cast(pl.Int64),
            # a hash of seed and id orders the tied at random, yet the same in every run and row order
            draw=content_ids(f"choice {seed}", "response_id"),
        )
    )
    drawn = first_of_prompt(
        tied, {"draw": False}, {"response_id": "response_id", "variance": "variance", "n_tied": "n_tied"}
    )
    choices = (
        prompts.lazy()
        .join(drawn, on="prompt_id", how="left")
        .with_columns(
            n_tied=pl.col("n_tied").fill_null(0),
            reason=pl.when(pl.col("response_id").is_null()).then(pl.lit("no_eligible_response")),
        )
    )
    return checked(choices, "choices")


def list_battles(choices: Frame, judgments: Frame) -> pl.DataFrame:
    """All ordered pairs of different valid judgments of the chosen responses: N (N - 1) rows for N of them.

    Columns prompt_id, response_id, judgment_a (shown first), judgment_b; sorted by all four. METHOD §4.2.
    """
    response = ["prompt_id", "response_id"]
    valid = judgments.lazy().filter(pl.col("score").is_not_null()).join(choices.lazy(), on=response, how="semi")
    first = valid.select(*response, judgment_a="judgment_id")
    second = valid.select(*response, judgment_b="judgment_id")
    battles = first.join(second, on=response).filter(pl.col("judgment_a") != pl.col("judgment_b"))
    return battles.collect().sort(*response, "judgment_a", "judgment_b")
