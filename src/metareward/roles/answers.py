"""Answers of a checkpoint to the questions of the public benchmarks, and the `answers` table."""

from collections.abc import Iterator

import polars as pl

from metareward.engines.common.interface import Request, Sampling
from metareward.ids import content_id, content_ids
from metareward.params import Benchmarks
from metareward.roles.requests import dialogue
from metareward.roles.thoughts import with_thoughts
from metareward.tables import TABLES

# of MT-Bench's categories, as FastChat's llm_judge/common.py has them; of any other category 0.7
TEMPERATURES = {
    "writing": 0.7,
    "roleplay": 0.7,
    "extraction": 0.0,
    "math": 0.0,
    "coding": 0.0,
    "reasoning": 0.0,
    "stem": 0.1,
    "humanities": 0.1,
}


def first_turn_requests(questions: pl.DataFrame, settings: Benchmarks, seed: int) -> Iterator[Request]:
    """The first turn of every question, in upstream's order."""
    for row in questions.sort("benchmark", "position").iter_rows(named=True):
        sampling = _sampling(row["benchmark"], row["category"], settings)
        yield Request(_request_id(row, 1), dialogue(row["turns"][:1]), 1, sampling, seed)


def second_turn_requests(
    questions: pl.DataFrame, first: pl.DataFrame, settings: Benchmarks, seed: int
) -> Iterator[Request]:
    """The second turn of every question that has one, behind the model's own first answer without its thought.

    first: `answers` to the first turns. An answer that was never written stands there as an empty one.
    """
    asked = questions.filter(pl.col("turns").list.len() > 1).sort("benchmark", "position")
    asked = asked.join(first.select("benchmark", "question_id", "answer"), on=["benchmark", "question_id"], how="left")
    for row in asked.iter_rows(named=True):
        turns = [row["turns"][0], row["answer"] or "", row["turns"][1]]
        sampling = _sampling(row["benchmark"], row["category"], settings)
        yield Request(_request_id(row, 2), dialogue(turns), 1, sampling, seed)


def answers_table(questions: pl.DataFrame, completions: pl.DataFrame, turn: int) -> pl.DataFrame:
    """The `answers` table of the completions of one turn."""
    asked = questions.filter(pl.col("turns").list.len() >= turn).select("benchmark", "question_id")
    ids = [_request_id(row, turn) for row in asked.iter_rows(named=True)]
    rows = asked.with_columns(request_id=pl.Series(ids, dtype=pl.String), turn=pl.lit(turn, pl.Int64))
    rows = rows.join(with_thoughts(completions), on="request_id").rename({"text": "answer"})
    rows = rows.with_columns(
        content_ids("answer", "benchmark", "question_id", "turn", "answer").alias("answer_id"),
        n_chars=pl.col("answer").str.len_chars().cast(pl.Int64).fill_null(0),
    )
    return rows.select(list(TABLES["answers"].columns))


def _sampling(benchmark: str, category: str | None, settings: Benchmarks) -> Sampling:
    if benchmark == "alpaca_eval":
        temperature = settings.alpaca_eval.temperature
    else:
        temperature = 0.0 if benchmark == "arena_hard" else TEMPERATURES.get(category or "", 0.7)
    return Sampling(temperature, 1.0, getattr(settings, benchmark).max_tokens)


def _request_id(row: dict[str, str], turn: int) -> str:
    return content_id("answer", row["benchmark"], row["question_id"], turn)
