"""What actor and judge pairs share: reasons, ties, the shape of their tables.

Every function takes tables (Polars frames, eager or lazy) and gives tables. All of them work prompt by prompt, so
tables larger than memory go through in parts (`in_parts`), and no result depends on the order of rows. A prompt
ends in exactly one of two places: with a pair, or in `no_pairs` with one of REASONS.
"""

from collections.abc import Mapping

import polars as pl

from metareward.tables import TABLES, check_table

Frame = pl.DataFrame | pl.LazyFrame
# Why a prompt has no pair. The first that holds is recorded; the order below is the order of the tests.
REASONS = {
    # actor pairs
    "too_few_responses": "fewer than two different responses were written",
    "too_few_scored": "fewer than two responses have a valid judgment",
    "equal_scores": "all scored responses have the same mean score",
    "chosen_not_better": "length control picked a chosen response that scores no higher than the rejected one",
    "chosen_too_long": "the chosen response is longer than max_chosen_chars",
    # judge pairs
    "judge_not_trained": "the iteration trains no judge, so no response was chosen for battle",
    "no_eligible_response": "no response has two valid, textually different judgments",
    "no_decided_battle": "the meta-judge gave no readable verdict that names a winner",
    "equal_elo": "all judgments have the same Elo",
    "identical_judgments": "the judgments of highest and of lowest Elo are the same text",
    "chosen_judgment_too_long": "the chosen judgment is longer than max_judgment_chars",
}
# Means, variances and the bounds of length control count as equal within this: far below the smallest difference
# that 11 scores of two decimals can make (7e-9, of variances), far above rounding.
EQUAL = 1e-9


def first_of_prompt(rows: pl.LazyFrame, order: Mapping[str, bool], names: Mapping[str, str]) -> pl.LazyFrame:
    """Of each prompt the first row in an order (column -> descending), its columns renamed."""
    return (
        rows.sort(list(order), descending=list(order.values()))
        .unique("prompt_id", keep="first", maintain_order=True)
        .select("prompt_id", *(pl.col(old).alias(new) for old, new in names.items()))
    )


def longer_than(n_chars: pl.Expr, limit: int | None) -> pl.Expr:
    return pl.lit(False) if limit is None else n_chars > limit


def checked(rows: pl.LazyFrame, name: str) -> pl.DataFrame:
    return check_table(rows.select(TABLES[name].columns.keys()).collect(), name)


def no_pairs_table(outcome: pl.DataFrame, role: str) -> pl.DataFrame:
    rows = outcome.lazy().filter(pl.col("reason").is_not_null()).with_columns(role=pl.lit(role))
    return checked(rows, "no_pairs")
