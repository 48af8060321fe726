"""MT-Bench's judge: a rating of each answer, the first alone, the second with the whole dialogue.

lm-sys/FastChat, fastchat/llm_judge (gen_judgment.py, mode single): questions of mathematics, reasoning and coding are
judged with reference answers.
"""

from collections.abc import Callable, Mapping
from functools import partial

import polars as pl

from metareward.params import MtBench
from metareward.roles.grades import Ask, Asked, Reading, grade_requests, grades_table, with_completions
from metareward.templates.chats import Chat, fill_chat

ReadRating = Callable[[str], tuple[float | None, str | None]]


def grade_mt_bench(
    answered: pl.DataFrame, chats: Mapping[str, Chat], settings: MtBench, ask: Ask, seed: int, read_rating: ReadRating
) -> pl.DataFrame:
    """The `grades` of every turn of `answered_questions`. read_rating: of a text, a rating or why there is none."""
    asked = [
        {
            "question_id": id_,
            "part": turn,
            "model_first": None,
            "messages": _messages(chats, turns, answers, right, turn),
        }
        for id_, turns, answers, right in answered.select("question_id", "turns", "answers", "references").iter_rows()
        for turn in range(1, len(turns) + 1)
    ]
    requests = partial(grade_requests, "mt_bench", asked, 0.0, settings.max_grade_tokens, seed)
    rows = with_completions("mt_bench", asked, ask(requests))
    return grades_table("mt_bench", settings.judge.model, rows, partial(_read, read_rating), "text")


def _messages(
    chats: Mapping[str, Chat], turns: list[str], answers: list[str], right: list[str] | None, turn: int
) -> list[dict[str, str]]:
    chat = chats[("single-math-v1" if right else "single-v1") + ("-multi-turn" if turn == 2 else "")]
    values = {f"ref_answer_{number}": text for number, text in enumerate(right or [], 1)}
    if turn == 1:
        return fill_chat(chat, question=turns[0], answer=answers[0], **values)
    dialogue = {"question_1": turns[0], "answer_1": answers[0], "question_2": turns[1], "answer_2": answers[1]}
    return fill_chat(chat, **dialogue, **values)


def _read(read_rating: ReadRating, row: Asked) -> Reading:
    rating, reason = read_rating(row["text"] or "")
    return None, rating, reason
