"""The winners that meta-judge and referee name."""

import polars as pl

from metareward.params import WinnerFormat
from metareward.roles.requests import why_unfinished
from metareward.roles.thoughts import with_thoughts
from metareward.templates.winner import parse_winner


def with_winners(completions: pl.DataFrame, format_: WinnerFormat) -> pl.DataFrame:
    """Completions with their thought apart, winner ("a", "b" or null) and invalid_reason."""
    completions = with_thoughts(completions)
    texts = completions.select("text", "thought", "finish_reason").iter_rows()
    winners = [read_winner(text, thought, finish_reason, format_) for text, thought, finish_reason in texts]
    read = pl.DataFrame(winners, schema={"winner": pl.String, "invalid_reason": pl.String}, orient="row")
    return pl.concat([completions, read], how="horizontal")


def read_winner(
    text: str | None, thought: str | None, finish_reason: str, format_: WinnerFormat
) -> tuple[str | None, str | None]:
    """The winner, and why there is none."""
    reason = why_unfinished(text, thought, finish_reason)
    if text is None or reason:
        return None, reason
    verdict = parse_winner(text, format_)
    return verdict.winner, verdict.invalid_reason
