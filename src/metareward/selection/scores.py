"""Scores: identical responses marked, and the statistics of each response's valid judgments (METHOD §3.2-3.3)."""

import polars as pl

from metareward.selection.pairs import Frame, checked

# Scores are averaged as whole millionths of a point: integer sums are exact, whatever the order of rows.
_MILLIONTHS = 1_000_000


def worth() -> pl.Expr:
    """What a judgment counts as in a mean: its expected score, or else its score. METHOD §3.3, Reading."""
    return pl.coalesce("expected", "score")


def exact_mean(score: pl.Expr) -> pl.Expr:
    """The mean of scores, in points; null where none is valid. METHOD §3.3, Arithmetic.

    Equal scores in any order give the same bits, so means may be compared for being equal.
    """
    n = score.count()
    return pl.when(n > 0).then(_in_millionths(score).sum() / (n * _MILLIONTHS))


def exact_total(score: pl.Expr) -> pl.Expr:
    """The sum of scores, in points, whatever the order of rows."""
    return _in_millionths(score).sum() / _MILLIONTHS


def _in_millionths(score: pl.Expr) -> pl.Expr:
    return (score * _MILLIONTHS).round().cast(pl.Int64)


def mark_duplicates(responses: Frame) -> pl.DataFrame:
    """The `responses` table with `duplicate_of`: the id of the lowest-sample identical response of the prompt.

    Null for that first response itself, and for responses that were never written (null text). METHOD §3.2.
    """
    first = pl.col("response_id").sort_by("sample").first().over("prompt_id", "response")
    is_duplicate = pl.col("response").is_not_null() & (first != pl.col("response_id"))
    return checked(responses.lazy().with_columns(duplicate_of=pl.when(is_duplicate).then(first)), "responses")


def score_statistics(responses: Frame, judgments: Frame) -> pl.DataFrame:
    """The `scores` table: one row per written response that is no duplicate, judged or not.

    mean and (population) variance are those of the valid scores, in points and points squared, null where there
    is none. METHOD §3.3, §4.1.
    """
    score = _in_millionths(pl.col("score"))
    statistics = (
        judgments.lazy()
        .filter(pl.col("score").is_not_null())
        .group_by("response_id")
        .agg(
            n_valid=pl.len().cast(pl.Int64),
            n_distinct=pl.col("judgment").n_unique().cast(pl.Int64),
            mean=exact_mean(worth()),
            total=score.sum(),
            squares=(score * score).sum(),
        )
    )
    n, total, squares = (pl.col(name).cast(pl.Float64) for name in ("n_valid", "total", "squares"))
    scores = (
        # a response that was never written is known by its finish reason: the text need not be read
        responses.lazy()
        .filter(pl.col("duplicate_of").is_null() & (pl.col("finish_reason") != "too_long"))
        .join(statistics, on="response_id", how="left")
        .with_columns(
            variance=(n * squares - total * total) / (n * _MILLIONTHS) ** 2,
            n_valid=pl.col("n_valid").fill_null(0),
            n_distinct=pl.col("n_distinct").fill_null(0),
        )
    )
    return checked(scores, "scores")
