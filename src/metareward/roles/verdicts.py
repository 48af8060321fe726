"""The winners that meta-judge and referee name."""

import polars as pl

from metareward.roles.requests import why_unfinished
from metareward.roles.thoughts import with_thoughts
from metareward.templates.winner import parse_winner


def with_winners(completions: pl.DataFrame) -> pl.DataFrame:
    """Completions with their thought apart, winner ("a", "b" or null) and invalid_reason."""
    completions = with_thoughts(completions)
    winners = []
    for text, thought, finish_reason in completions.select("text", "thought", "finish_reason").iter_rows():
        reason = why_unfinished(text, thought, finish_reason)
        verdict = None if reason else parse_winner(text)
        winners.append((verdict.winner, verdict.invalid_reason) if verdict else (None, reason))
    read = pl.DataFrame(winners, schema={"winner": pl.String, "invalid_reason": pl.String}, orient="row")
    return pl.concat([completions, read], how="horizontal")
