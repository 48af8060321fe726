"""What the judges of all three public benchmarks share: answers beside their questions, and the `grades` table."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import polars as pl

from metareward.engines.common.interface import Request, Sampling
from metareward.ids import content_id
from metareward.roles.thoughts import with_thoughts
from metareward.tables import TABLES

Ask = Callable[[Callable[[], Iterable[Request]]], pl.DataFrame]  # a Sampler: requests in, completions out
Reading = tuple[str | None, float | None, str | None]  # label, value, why there is neither
Asked = dict[str, Any]  # question_id, part, model_first and messages


def answered_questions(questions: pl.DataFrame, answers: pl.DataFrame, benchmark: str) -> pl.DataFrame:
    """The questions of a benchmark in upstream's order, with a list of the model's answers, one a turn.

    An answer that was never written, or is nothing but a thought, is graded as an empty one, as upstream does it.
    """
    texts = answers.filter(benchmark=benchmark).sort("question_id", "turn")
    texts = texts.group_by("question_id", maintain_order=True).agg(answers=pl.col("answer").fill_null(""))
    return questions.filter(benchmark=benchmark).join(texts, on="question_id").sort("position")


def grade_requests(
    benchmark: str, asked: Iterable[Asked], temperature: float, max_tokens: int, seed: int, first_logprobs: int = 0
) -> list[Request]:
    """One request for each thing asked."""
    sampling = Sampling(temperature, 1.0, max_tokens)
    return [
        Request(_grade_id(benchmark, one), one["messages"], 1, sampling, seed, first_logprobs=first_logprobs)
        for one in asked
    ]


def with_completions(benchmark: str, asked: Sequence[Asked], completions: pl.DataFrame) -> list[Asked]:
    """What was asked with what came back: text, thought, n_tokens, finish_reason and first_logprobs."""
    found = {row["request_id"]: row for row in with_thoughts(completions).iter_rows(named=True)}
    return [one | found[_grade_id(benchmark, one)] for one in asked]


def grades_table(
    benchmark: str, judge: str, rows: Iterable[Asked], read: Callable[[Asked], Reading], how: str
) -> pl.DataFrame:
    """The `grades` table of rows of `with_completions`.

    read: of one row. A text that was cut is read where it holds what is looked for, as upstream does it; otherwise the
    reason is why it was cut. One that was never written has the reason prompt_too_long, one that is nothing but a
    thought only_thought.
    """
    made = []
    for row in rows:
        label, value, reason = read(row)
        if label is None and value is None:
            reason = _why(row, how, reason)
        made.append(
            {column: row.get(column) for column in TABLES["grades"].columns}
            | {"benchmark": benchmark, "judge": judge, "grade": row["text"], "how": how}
            | {"label": label, "value": value, "invalid_reason": reason}
        )
    return pl.DataFrame(made, schema=dict(TABLES["grades"].columns))


def _why(row: Asked, how: str, reason: str | None) -> str | None:
    if row["text"] is None:
        return "only_thought" if row["thought"] else "prompt_too_long"
    cut = how == "text" and row["finish_reason"] != "stop"
    return str(row["finish_reason"]) if cut and reason and reason.startswith("no_") else reason


def _grade_id(benchmark: str, one: Asked) -> str:
    return content_id("grade", benchmark, one["question_id"], one["part"])
