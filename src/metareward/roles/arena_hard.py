"""Arena-Hard v0.1's judge: two games of each question, the baseline as assistant A in the first, the model in game 2.

lmarena/arena-hard-auto at its v0.1 (gen_judgment.py): a text without a label is followed by one request to go on and
end in a label, and both texts are read together.
"""

from collections.abc import Callable, Mapping
from functools import partial

import polars as pl

from metareward.params import ArenaHard
from metareward.roles.grades import Ask, Asked, Reading, grade_requests, grades_table, with_completions
from metareward.templates.chats import Chat, fill_chat

GO_ON = "Please finish your comparison, and write the label of your verdict at its end."
ReadLabel = Callable[[str], tuple[str | None, str | None]]


def grade_arena_hard(
    answered: pl.DataFrame, chats: Mapping[str, Chat], settings: ArenaHard, ask: Ask, seed: int, read_label: ReadLabel
) -> pl.DataFrame:
    """The `grades` of both games of `answered_questions`. read_label: of a text, a label or why there is none."""
    asked = []
    for id_, turns, baseline, answers in answered.select("question_id", "turns", "baseline", "answers").iter_rows():
        for game, (a, b) in enumerate([(baseline, answers[0]), (answers[0], baseline)], 1):
            messages = fill_chat(chats[""], question_1=turns[0], answer_1=a, answer_2=b)
            asked.append({"question_id": id_, "part": game, "model_first": game == 2, "messages": messages})
    rows = _ask(asked, settings, ask, seed)
    unlabelled = [row for row in rows if row["text"] is not None and read_label(row["text"])[1] == "no_label"]
    again = {(row["question_id"], row["part"]): row for row in _ask(_again(unlabelled), settings, ask, seed)}
    rows = [_joined(row, again.get((row["question_id"], row["part"]))) for row in rows]
    return grades_table("arena_hard", settings.judge.model, rows, partial(_read, read_label), "text")


def _ask(asked: list[Asked], settings: ArenaHard, ask: Ask, seed: int) -> list[Asked]:
    requests = partial(grade_requests, "arena_hard", asked, 0.0, settings.max_grade_tokens, seed)
    return with_completions("arena_hard", asked, ask(requests))


def _again(rows: list[Asked]) -> list[Asked]:
    """The same dialogues, gone on with."""
    return [
        {key: row[key] for key in ("question_id", "part", "model_first")}
        | {
            "messages": [
                *row["messages"],
                {"role": "assistant", "content": row["text"]},
                {"role": "user", "content": GO_ON},
            ]
        }
        for row in rows
    ]


def _joined(row: Asked, again: Asked | None) -> Asked:
    """A judgment with what was added to it; one that could not be added to stays what it was."""
    if again is None or again["text"] is None:
        return row
    thoughts = [thought for thought in (row["thought"], again["thought"]) if thought]
    return row | {
        "text": f"{row['text']}\n{again['text']}",
        "thought": "\n".join(thoughts) or None,
        "n_tokens": row["n_tokens"] + again["n_tokens"],
        "finish_reason": again["finish_reason"],
    }


def _read(read_label: ReadLabel, row: Asked) -> Reading:
    label, reason = read_label(row["text"] or "")
    return label, None, reason
