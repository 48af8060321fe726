"""Which of two judgments a meta-judge prefers: the one of the higher score, the one that stands first (METHOD §6)."""

import polars as pl

from metareward.evaluation.outcomes import per_prompt, ratio
from metareward.tables import check_table, table_of

EQUAL_SCORES = "0"
DIFFERENCES = ["0-1", "1-2", "2-3", "3-4", "4-5"]  # points: above the first, at most the second


def decided_battles(battles: pl.DataFrame, judgments: pl.DataFrame) -> pl.DataFrame:
    """The battles with a winner: prompt_id, first_position and higher_score (did it win?), difference of the scores.

    battles, judgments: tables of these names, or those of their columns that are used. higher_score is null where the
    scores are equal; difference is one of DIFFERENCES, or "0".
    """
    score = judgments.select("judgment_id", "score")
    rows = (
        battles.select("prompt_id", "judgment_a", "judgment_b", "winner")
        .drop_nulls("winner")
        .join(score.rename({"score": "score_a"}), left_on="judgment_a", right_on="judgment_id")
        .join(score.rename({"score": "score_b"}), left_on="judgment_b", right_on="judgment_id")
    )
    ahead = (pl.col("score_a") - pl.col("score_b")).round(6)  # the last bits of 4.9 - 3.9 say nothing
    first = pl.col("winner") == "a"
    most = ahead.abs().ceil().cast(pl.Int64)
    bins = pl.when(ahead == 0).then(pl.lit(EQUAL_SCORES)).otherwise(pl.format("{}-{}", most - 1, most))
    return rows.select(
        "prompt_id",
        first_position=first,
        higher_score=pl.when(ahead != 0).then((ahead > 0) == first),
        difference=bins,
    )


def judge_bias(decided: pl.DataFrame, meta_judge: str, battles: str, rounds: int, seed: int) -> pl.DataFrame:
    """The `judge_bias` table of `decided_battles`: shares overall and by the difference of the two scores.

    meta_judge: the checkpoint that decided; battles: the iteration, or held_out. Intervals: bootstrap over prompts.
    """
    rows = []
    for preference in ("higher_score", "first_position"):
        equal = [EQUAL_SCORES] if preference == "first_position" else []
        for difference in ["all", *equal, *DIFFERENCES]:
            part = decided if difference == "all" else decided.filter(difference=difference)
            sums = per_prompt(part, pl.col(preference), part["prompt_id"])
            share, low, high, n = ratio(sums, rounds, seed)
            names = {"meta_judge": meta_judge, "battles": battles, "preference": preference, "difference": difference}
            rows.append(names | {"n": n, "share": share, "ci_low": low, "ci_high": high})
    return check_table(table_of(rows, "judge_bias"), "judge_bias")
