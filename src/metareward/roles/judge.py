"""Judge: requests for judgments of responses, and the `judgments` table of what came back."""

from collections.abc import Callable, Iterable, Iterator

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


def judged_responses(prompts: pl.DataFrame, responses: pl.DataFrame) -> pl.DataFrame:
    """The responses that a judge is asked about, with their prompt: no duplicates, none without a text.

    A response has none when it was never written, or is nothing but a thought.
    """
    wanted = responses.filter(pl.col("duplicate_of").is_null() & pl.col("response").is_not_null())
    return wanted.join(prompts.select("prompt_id", "prompt"), on="prompt_id").sort("prompt_id", "sample")


def judgment_requests(judged: pl.DataFrame, templates: Templates, settings: Samples, seed: int) -> Iterator[Request]:
    """Judge: n judgments of each row of `judged_responses`."""
    for response_id, prompt, response in judged.select("response_id", "prompt", "response").iter_rows():
        yield single_turn_request(response_id, templates.judge_prompt(prompt, response), settings, seed, settings.n)


def judge_messages(judged: pl.DataFrame, templates: Templates) -> pl.DataFrame:
    """prompt_id and messages: the full judge prompt of each response, as its judge pair is trained on."""
    rows = [
        {"prompt_id": prompt_id, "messages": single_turn(templates.judge_prompt(prompt, response))}
        for prompt_id, prompt, response in judged.select("prompt_id", "prompt", "response").iter_rows()
    ]
    return pl.DataFrame(rows, schema={"prompt_id": pl.String, "messages": MESSAGES})


def watch_judgments(
    judged: pl.DataFrame, settings: Judge, after: int | None, label: str
) -> Callable[[Iterable[Completion]], None]:
    """Stops a stage most of whose first `after` judgments have no score."""
    response_of = dict(judged.select("response_id", "response").iter_rows())

    def reason_of(completion: Completion) -> str | None:
        thought, text = split_thought(completion.text)
        response = response_of[completion.request_id]
        return _read(text, thought, completion.finish_reason, response, settings.format)[1]

    return stop_unreadable(reason_of, after, label, "judge.format", settings.format)


def judgments_table(judged: pl.DataFrame, completions: pl.DataFrame, format_: ScoreFormat) -> pl.DataFrame:
    """The `judgments` table: each completion with its score, or the reason why it has none.

    Beside the parser's reasons: length (cut before its end, so that a score in it need not be the last), only_thought
    (nothing is said) and prompt_too_long (never asked).
    """
    rows = (
        with_thoughts(completions)
        .rename({"request_id": "response_id", "text": "judgment"})
        .join(judged.select("prompt_id", "response_id", "response"), on="response_id")
    )
    texts = rows.select("judgment", "thought", "finish_reason", "response").iter_rows()
    scores = [_read(text, thought, ended, response, format_) for text, thought, ended, response in texts]
    read = pl.DataFrame(scores, schema={"score": pl.Float64, "invalid_reason": pl.String}, orient="row")
    rows = pl.concat([rows, read], how="horizontal").with_columns(
        content_ids("judgment", "response_id", "sample", "judgment").alias("judgment_id"),
        n_chars=pl.col("judgment").str.len_chars().cast(pl.Int64).fill_null(0),
    )
    return rows.select(list(TABLES["judgments"].columns))


def _read(
    text: str | None, thought: str | None, finish_reason: str, response: str, format_: ScoreFormat
) -> tuple[float | None, str | None]:
    """The score, and why there is none."""
    reason = why_unfinished(text, thought, finish_reason)
    if text is None or reason:
        return None, reason
    score = parse_score(text, response, format_)
    return score.value, score.invalid_reason
