"""A reward model in the judge's place: conversations of responses, and the `judgments` table of their scores."""

from collections.abc import Iterator

import polars as pl

from metareward.ids import content_ids
from metareward.roles.requests import single_turn
from metareward.tables import TABLES


def reward_conversations(judged: pl.DataFrame) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The id of each row of `judged_responses`, and its conversation: the prompt, then the response."""
    for response_id, prompt, response in judged.select("response_id", "prompt", "response").iter_rows():
        yield response_id, [*single_turn(prompt), {"role": "assistant", "content": response}]


def rewards_table(judged: pl.DataFrame, completions: pl.DataFrame) -> pl.DataFrame:
    """The `judgments` table of a reward model: one row a response, with a score and without a text.

    completions: of `score_conversations`. A conversation that was too long for the model has no score, and the reason
    prompt_too_long, as a judge's prompt has.
    """
    rows = completions.rename({"request_id": "response_id"}).join(
        judged.select("prompt_id", "response_id"), on="response_id"
    )
    none = pl.lit(None, pl.String)
    rows = rows.with_columns(
        content_ids("reward", "response_id", "text").alias("judgment_id"),
        judgment=none,
        thought=none,
        score=pl.col("text").cast(pl.Float64),
        expected=pl.lit(None, pl.Float64),
        invalid_reason=pl.when(pl.col("text").is_null()).then(pl.lit("prompt_too_long")),
        n_chars=pl.lit(0, pl.Int64),
        n_tokens=pl.lit(0, pl.Int64),
    )
    return rows.select(list(TABLES["judgments"].columns))
