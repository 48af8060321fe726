"""Meta-judge: requests for battles of judgments, and the `battles` table of what came back."""

from collections.abc import Callable, Iterable, Iterator

import polars as pl

from metareward.engines.common.interface import Completion, Request
from metareward.ids import content_id, content_ids
from metareward.params import MetaJudge, SamplingSettings, WinnerFormat
from metareward.roles.readable import stop_unreadable
from metareward.roles.requests import single_turn_request
from metareward.roles.thoughts import split_thought
from metareward.roles.verdicts import read_winner, with_winners
from metareward.tables import TABLES
from metareward.templates.texts import Templates


def battle_requests(
    pairs: pl.DataFrame,
    prompts: pl.DataFrame,
    responses: pl.DataFrame,
    judgments: pl.DataFrame,
    templates: Templates,
    settings: SamplingSettings,
    seed: int,
) -> Iterator[Request]:
    """Meta-judge: one verdict for each row of `list_battles`; the request id is the battle's."""
    chosen = judgments.join(pairs, on="response_id", how="semi")
    text_of = dict(chosen.select("judgment_id", "judgment").iter_rows())
    rows = pairs.join(prompts.select("prompt_id", "prompt"), on="prompt_id").join(
        responses.select("response_id", "response"), on="response_id"
    )
    rows = rows.sort("prompt_id", "response_id", "judgment_a", "judgment_b")
    for a, b, prompt, response in rows.select("judgment_a", "judgment_b", "prompt", "response").iter_rows():
        text = templates.meta_judge_prompt(prompt, response, text_of[a], text_of[b])
        yield single_turn_request(content_id("battle", a, b), text, settings, seed)


def watch_verdicts(settings: MetaJudge, after: int | None, label: str) -> Callable[[Iterable[Completion]], None]:
    """Stops a stage most of whose first `after` verdicts cannot be read; a tie can."""

    def reason_of(completion: Completion) -> str | None:
        thought, text = split_thought(completion.text)
        return read_winner(text, thought, completion.finish_reason, settings.format)[1]

    return stop_unreadable(reason_of, after, label, "meta_judge.format", settings.format)


def battles_table(pairs: pl.DataFrame, completions: pl.DataFrame, format_: WinnerFormat) -> pl.DataFrame:
    """The `battles` table: each ordered pair with its verdict and winner."""
    rows = pairs.with_columns(content_ids("battle", "judgment_a", "judgment_b").alias("battle_id")).join(
        with_winners(completions, format_), left_on="battle_id", right_on="request_id"
    )
    return rows.rename({"text": "meta_judgment"}).select(list(TABLES["battles"].columns))
