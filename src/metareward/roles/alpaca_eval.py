"""AlpacaEval 2's judge: is the model's output better than the baseline's?

tatsu-lab/alpaca_eval, annotator weighted_alpaca_eval_gpt4_turbo: one comparison of each instruction, in an order drawn
by the instruction. The first output is called m, the second M. The preference is read from the probabilities of these
two as the judge's first token, or, of a judge that does not give them, from what it writes.
"""

import math
import random
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import polars as pl

from metareward.params import AlpacaEval
from metareward.roles.grades import Ask, Asked, Reading, grade_requests, grades_table, with_completions
from metareward.templates.chats import Chat, fill_chat

FIRST_LOGPROBS = 5
_SEED = "0"  # upstream's own
PreferenceOf = Callable[[Mapping[str, float], bool], float | None]
# a label by itself: not the m of "I'm" or "12 m"
_LABEL = re.compile(r"(?<![\w'])(?<!\d\s)([mM])(?![\w'])")


def grade_alpaca_eval(
    answered: pl.DataFrame,
    chats: Mapping[str, Chat],
    settings: AlpacaEval,
    ask: Ask,
    seed: int,
    preference_of: PreferenceOf,
) -> pl.DataFrame:
    """The `grades` of `answered_questions`; value is the preference in [1, 2], 2: the model's output.

    Of an output that is the baseline's own nothing is asked: it is a tie, as upstream.
    preference_of: of the log-probabilities by token, and whether the model stood first.
    """
    same = pl.col("answers").list.first() == pl.col("baseline")
    columns = ["question_id", "turns", "baseline", "answers"]
    asked = [
        {"question_id": id_, "part": 1, "model_first": model_first(turns[0])}
        | {"messages": _messages(chats[""], turns[0], baseline, answers[0])}
        for id_, turns, baseline, answers in answered.filter(~same).select(columns).iter_rows()
    ]
    logprobs = settings.judge.logprobs
    max_tokens, first_logprobs = (1, FIRST_LOGPROBS) if logprobs else (settings.max_grade_tokens, 0)
    requests = partial(grade_requests, "alpaca_eval", asked, 0.0, max_tokens, seed, first_logprobs)
    rows = with_completions("alpaca_eval", asked, ask(requests))
    read = partial(_read_logprobs, preference_of) if logprobs else _read_text
    judge = settings.judge.model
    ties = answered.filter(same).select(
        "benchmark", "question_id", part=pl.lit(1, pl.Int64), judge=pl.lit(judge), value=pl.lit(1.5),
        how=pl.lit("same_output"), n_tokens=pl.lit(0, pl.Int64), finish_reason=pl.lit("not_asked"),
    )  # fmt: skip
    grades = grades_table("alpaca_eval", judge, rows, read, "logprobs" if logprobs else "text")
    return pl.concat([grades, ties], how="diagonal")


def model_first(instruction: str) -> bool:
    """Whether upstream shows the model's output before the baseline's: a fair coin, seeded by the instruction."""
    return random.Random(f"is_switched_outputs{instruction}{_SEED}").choices([False, True])[0]


def read_verdict(text: str) -> tuple[str | None, str | None]:
    """The label m or M at the end of a judge's text, or why there is none: its last line may not name both."""
    last = text.strip().rsplit("\n", 1)[-1]
    found = list(_LABEL.finditer(last))
    if len({label[1] for label in found}) > 1:
        return None, "several_labels"
    if not found or re.search(r"\w", last[found[-1].end() :]):
        return None, "no_label"
    return found[-1][1], None


def _messages(chat: Chat, instruction: str, baseline: str, answer: str) -> list[dict[str, str]]:
    first, second = (answer, baseline) if model_first(instruction) else (baseline, answer)
    return fill_chat(chat, instruction=instruction, output_1=first, output_2=second)


def _read_text(row: Asked) -> Reading:
    label, reason = read_verdict(row["text"] or "")
    if label is None:
        return None, None, reason
    return label, 2.0 if (label == "m") == row["model_first"] else 1.0, None


def _read_logprobs(preference_of: PreferenceOf, row: Asked) -> Reading:
    if row["first_logprobs"] is None:
        return None, None, "no_logprobs"
    value = preference_of(_by_token(row["first_logprobs"]), row["model_first"])
    if value is None:
        return None, None, "no_label"
    return None if value == 1.5 else "m" if (value > 1.5) == row["model_first"] else "M", value, None


def _by_token(logprobs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Log-probabilities by text; tokens of the same text are added up."""
    masses: dict[str, float] = {}
    for one in logprobs:
        masses[str(one["token"])] = masses.get(str(one["token"]), 0.0) + math.exp(one["logprob"])
    return {token: math.log(mass) if mass else -math.inf for token, mass in masses.items()}
