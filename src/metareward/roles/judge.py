"""Judge: requests for judgments of responses, and the `judgments` table of what came back."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from math import exp
from typing import Any

import polars as pl

from metareward.engines.common.interface import Completion, Request
from metareward.ids import content_ids
from metareward.params import Judge, Samples, ScoreFormat
from metareward.roles.readable import stop_unreadable
from metareward.roles.requests import single_turn, single_turn_request, why_unfinished
from metareward.roles.thoughts import split_thought, with_thoughts
from metareward.tables import MESSAGES, TABLES
from metareward.templates.score import parse_score
from metareward.templates.texts import Templates

FIRST_LOGPROBS = 20  # of the first token: as many as every engine gives
DIGITS = tuple("012345")
LEAST_SHARE = 0.5  # of the first token's probability that scores must have, or what they are the mean of is left-overs
SLICE = 10_000  # judgments whose likeliest tokens are Python objects at once: twenty each
NO_FIRST_DIGIT = "no_first_digit"  # why a judgment is unreadable by its first token


def judged_responses(prompts: pl.DataFrame, responses: pl.DataFrame) -> pl.DataFrame:
    """The responses that a judge is asked about, with their prompt: no duplicates, none without a text.

    A response has none when it was never written, or is nothing but a thought.
    """
    wanted = responses.filter(pl.col("duplicate_of").is_null() & pl.col("response").is_not_null())
    return wanted.join(prompts.select("prompt_id", "prompt"), on="prompt_id").sort("prompt_id", "sample")


def judgment_requests(
    judged: pl.DataFrame, templates: Templates, settings: Samples, seed: int, read: str = "text"
) -> Iterator[Request]:
    """Judge: n judgments of each row of `judged_responses`; read: as `Judge.read`."""
    first_logprobs = FIRST_LOGPROBS if read == "first_token" else 0
    for response_id, prompt, response in judged.select("response_id", "prompt", "response").iter_rows():
        text = templates.judge_prompt(prompt, response)
        yield single_turn_request(response_id, text, settings, seed, settings.n, first_logprobs)


def judge_messages(judged: pl.DataFrame, templates: Templates) -> pl.DataFrame:
    """prompt_id and messages: the full judge prompt of each response, as its judge pair is trained on."""
    rows = [
        {"prompt_id": prompt_id, "messages": single_turn(templates.judge_prompt(prompt, response))}
        for prompt_id, prompt, response in judged.select("prompt_id", "prompt", "response").iter_rows()
    ]
    return pl.DataFrame(rows, schema={"prompt_id": pl.String, "messages": MESSAGES})


def watch_judgments(
    judged: pl.DataFrame, settings: Judge, after: int | None, label: str, read: str = "text"
) -> Callable[[Iterable[Completion]], None]:
    """Stops a stage most of whose first `after` judgments have no score; read: as `Judge.read`."""
    response_of = dict(judged.select("response_id", "response").iter_rows())

    def reason_of(completion: Completion) -> str | None:
        thought, text = split_thought(completion.text)
        response = response_of[completion.request_id]
        score, reason = _read(text, thought, completion.finish_reason, response, settings.format)
        if score is None or read == "text":
            return reason
        first = [{"token": token, "logprob": logprob} for token, logprob in completion.first_logprobs or ()]
        return None if _expected(text, thought, score, first) is not None else NO_FIRST_DIGIT

    return stop_unreadable(reason_of, after, label, "judge.format", settings.format)


def judgments_table(
    judged: pl.DataFrame, completions: pl.DataFrame, format_: ScoreFormat, read: str = "text"
) -> pl.DataFrame:
    """The `judgments` table: each completion with its score, or the reason why it has none.

    read: as `Judge.read`; with first_token every readable judgment has an expected score, too. Beside the parser's
    reasons: length (cut before its end, so that a score in it need not be the last), only_thought (nothing is said),
    prompt_too_long (never asked) and no_first_digit (its first token is not this score, or is most likely none).
    """
    rows = (
        with_thoughts(completions)
        .rename({"request_id": "response_id", "text": "judgment"})
        .join(judged.select("prompt_id", "response_id", "response"), on="response_id")
    )
    scores: list[tuple[float | None, float | None, str | None]] = []
    firsts: Iterable[Any] = [None] * rows.height
    if read == "first_token":
        firsts = chain.from_iterable(part["first_logprobs"].to_list() for part in rows.iter_slices(SLICE))
    texts = rows.select("judgment", "thought", "finish_reason", "response").iter_rows()
    for (text, thought, ended, response), first in zip(texts, firsts, strict=True):
        score, reason = _read(text, thought, ended, response, format_)
        expected = None if score is None or read == "text" else _expected(text, thought, score, first)
        if read == "first_token" and reason is None and expected is None:
            score, reason = None, NO_FIRST_DIGIT
        scores.append((score, expected, reason))
    schema = {"score": pl.Float64, "expected": pl.Float64, "invalid_reason": pl.String}
    found = pl.DataFrame(scores, schema=schema, orient="row")
    rows = pl.concat([rows, found], how="horizontal").with_columns(
        content_ids("judgment", "response_id", "sample", "judgment").alias("judgment_id"),
        n_chars=pl.col("judgment").str.len_chars().cast(pl.Int64).fill_null(0),
    )
    return rows.select(list(TABLES["judgments"].columns))


def _expected(
    text: str | None, thought: str | None, score: float, first: Iterable[Mapping[str, Any]] | None
) -> float | None:
    """The mean of the scores 0 to 5 among the likeliest first tokens, by their probabilities.

    None where the first token of this judgment is not its score: it begins with a thought, with another text or
    another number, or its tokenizer puts another token before a digit, which is then the likely one.
    """
    if thought is not None or (text or "").lstrip()[:1] != f"{score:g}":
        return None
    shares: dict[int, float] = {}
    for likely in first or ():
        if (digit := likely["token"].strip()) in DIGITS:
            shares[int(digit)] = shares.get(int(digit), 0.0) + exp(likely["logprob"])
    whole = sum(shares.values())
    return sum(digit * share for digit, share in shares.items()) / whole if whole >= LEAST_SHARE else None


def _read(
    text: str | None, thought: str | None, finish_reason: str, response: str, format_: ScoreFormat
) -> tuple[float | None, str | None]:
    """The score, and why there is none."""
    reason = why_unfinished(text, thought, finish_reason)
    if text is None or reason:
        return None, reason
    score = parse_score(text, response, format_)
    return score.value, score.invalid_reason
