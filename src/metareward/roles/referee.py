"""Referee: a frozen checkpoint compares the responses of two models, in both orders."""

from collections.abc import Iterator

import polars as pl

from metareward.engines.common.interface import Request
from metareward.ids import content_id
from metareward.params import SamplingSettings, WinnerFormat
from metareward.roles.requests import single_turn_request
from metareward.roles.verdicts import with_winners
from metareward.tables import TABLES
from metareward.templates.texts import Templates


def pair_responses(prompts: pl.DataFrame, model: pl.DataFrame, baseline: pl.DataFrame) -> pl.DataFrame:
    """prompt_id, prompt, model, baseline: the responses of two models to the same prompts; unwritten ones left out."""
    texts = prompts.select("prompt_id", "prompt").join(model.select("prompt_id", model="response"), on="prompt_id")
    return texts.join(baseline.select("prompt_id", baseline="response"), on="prompt_id").drop_nulls()


def comparison_requests(
    compared: pl.DataFrame, templates: Templates, settings: SamplingSettings, seed: int
) -> Iterator[Request]:
    """Referee: both orders of each row of `compared` (prompt_id, prompt, model, baseline: texts)."""
    for prompt_id, prompt, model, baseline in compared.select("prompt_id", "prompt", "model", "baseline").iter_rows():
        for model_first in (True, False):
            pair = (model, baseline) if model_first else (baseline, model)
            yield single_turn_request(
                _comparison_id(prompt_id, model_first), templates.compare_prompt(prompt, *pair), settings, seed
            )


def comparisons_table(compared: pl.DataFrame, completions: pl.DataFrame, format_: WinnerFormat) -> pl.DataFrame:
    """The `comparisons` table: the referee's verdict and winner of each row of `compared`, in both orders."""
    asked = [
        {"prompt_id": id_, "model_first": first, "request_id": _comparison_id(id_, first)}
        for id_ in compared["prompt_id"]
        for first in (True, False)
    ]
    schema = {"prompt_id": pl.String, "model_first": pl.Boolean, "request_id": pl.String}
    rows = pl.DataFrame(asked, schema=schema).join(with_winners(completions, format_), on="request_id")
    model_won = (pl.col("winner") == "a") == pl.col("model_first")
    winner = pl.when(pl.col("winner").is_not_null()).then(
        pl.when(model_won).then(pl.lit("model")).otherwise(pl.lit("baseline"))
    )
    return rows.with_columns(winner=winner).rename({"text": "comparison"}).select(list(TABLES["comparisons"].columns))


def _comparison_id(prompt_id: str, model_first: bool) -> str:
    return content_id("comparison", prompt_id, model_first)
