"""A checkpoint's answers in the files that upstream's own tools read."""

from typing import Any

import polars as pl

from metareward.roles.grades import answered_questions

Rows = list[dict[str, Any]]


def alpaca_eval_outputs(questions: pl.DataFrame, answers: pl.DataFrame, name: str) -> Rows:
    """The objects of alpaca_eval's `model_outputs.json`; name: of the generator."""
    rows = answered_questions(questions, answers, "alpaca_eval").iter_rows(named=True)
    return [
        {"dataset": row["category"], "instruction": row["turns"][0], "output": row["answers"][0], "generator": name}
        for row in rows
    ]


def arena_hard_answers(questions: pl.DataFrame, answers: pl.DataFrame, name: str, made: float) -> Rows:
    """The objects of arena-hard-auto's `model_answer/NAME.jsonl`; made: the time, in seconds since 1970.

    Each has the fields of version 0.1 and, beside them, those of today's version. token_len is in tokens of the
    checkpoint, the end of the turn included; upstream counts OpenAI's.
    """
    rows = []
    for row in _with_answers(questions, answers, "arena_hard"):
        text, length = row["answers"][0], {"token_len": row["n_tokens"][0]}
        messages = [
            {"role": "user", "content": row["turns"][0]},
            {"role": "assistant", "content": {"answer": text}},
        ]
        version_1 = {
            "question_id": row["question_id"],
            "answer_id": row["answer_id"][0],
            "model_id": name,
            "choices": [{"index": 0, "turns": [{"content": text}]}],
            "tstamp": made,
            "conv_metadata": length,
        }
        today = {"uid": row["question_id"], "ans_id": row["answer_id"][0], "model": name, "messages": messages}
        rows.append(version_1 | today | {"metadata": length})
    return rows


def mt_bench_answers(questions: pl.DataFrame, answers: pl.DataFrame, name: str, made: float) -> Rows:
    """The objects of FastChat's `model_answer/NAME.jsonl`; made: the time, in seconds since 1970."""
    return [
        {
            "question_id": int(row["question_id"]) if row["question_id"].isdecimal() else row["question_id"],
            "answer_id": row["answer_id"][0],
            "model_id": name,
            "choices": [{"index": 0, "turns": row["answers"]}],
            "tstamp": made,
        }
        for row in _with_answers(questions, answers, "mt_bench")
    ]


def _with_answers(questions: pl.DataFrame, answers: pl.DataFrame, benchmark: str) -> Rows:
    """`answered_questions` with answer_id and n_tokens, lists of one a turn."""
    ids = answers.filter(benchmark=benchmark).sort("question_id", "turn")
    ids = ids.group_by("question_id", maintain_order=True).agg("answer_id", "n_tokens")
    answered = answered_questions(questions, answers, benchmark)
    return answered.join(ids, on="question_id", maintain_order="left").to_dicts()
