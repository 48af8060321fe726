"""Actor: requests for responses, and the `responses` table of what came back."""

from collections.abc import Iterator

import polars as pl

from metareward.engines.common.interface import Request
from metareward.ids import content_ids
from metareward.params import Samples
from metareward.roles.requests import single_turn_request
from metareward.roles.thoughts import with_thoughts
from metareward.tables import TABLES


def response_requests(prompts: pl.DataFrame, settings: Samples, seed: int) -> Iterator[Request]:
    """Actor: n responses of each prompt."""
    for prompt_id, prompt in prompts.select("prompt_id", "prompt").iter_rows():
        yield single_turn_request(prompt_id, prompt, settings, seed, settings.n)


def responses_table(completions: pl.DataFrame) -> pl.DataFrame:
    """The `responses` table of completions whose request ids are prompt ids."""
    rows = (
        with_thoughts(completions)
        .rename({"request_id": "prompt_id", "text": "response"})
        .with_columns(
            content_ids("response", "prompt_id", "sample", "response").alias("response_id"),
            n_chars=pl.col("response").str.len_chars().cast(pl.Int64).fill_null(0),
            duplicate_of=pl.lit(None, pl.String),
        )
    )
    return rows.select(list(TABLES["responses"].columns))
