"""Held-out evaluation of one checkpoint: its judge against people, and what of its texts can be read."""

import polars as pl

from metareward.evaluation.results import mean, results_table
from metareward.selection.scores import exact_mean


def pairwise_agreement(judged: pl.DataFrame, scores: pl.DataFrame) -> tuple[float | None, float | None, int]:
    """How often the judge orders two replies of a prompt as people do: (ties as 0.5, ties left out, pairs).

    judged: prompt_id, response_id, rank (1 is the best); scores: response_id, mean (by `exact_mean`, so that a tie is
    one whatever the order of the judgments). All pairs of replies of one
    prompt with different ranks and a score each; null where there is no pair (or none without a tie).
    """
    scored = judged.join(scores, on="response_id").drop_nulls("mean")
    scored = scored.select("prompt_id", "rank", "mean")
    pairs = scored.join(scored, on="prompt_id", suffix="_worse").filter(pl.col("rank") < pl.col("rank_worse"))
    outcome = (pl.col("mean") - pl.col("mean_worse")).sign() / 2 + 0.5
    outcomes = pairs.select(outcome.alias("outcome"))["outcome"]
    decided = outcomes.filter(outcomes != 0.5)
    return mean(outcomes), mean(decided), outcomes.len()


def rank_correlation(judged: pl.DataFrame, scores: pl.DataFrame) -> tuple[float | None, int]:
    """Spearman correlation of judge scores with human ranks, mean over prompts (1 = same order), and their number.

    Prompts with fewer than two scored replies, or whose scores or ranks are all equal, have no correlation.
    """
    scored = judged.join(scores, on="response_id").drop_nulls("mean")
    varied = scored.group_by("prompt_id").agg(
        kept=(pl.col("mean").n_unique() > 1) & (pl.col("rank").n_unique() > 1),
        spearman=-pl.corr("rank", "mean", method="spearman"),
    )
    values = varied.filter("kept").sort("prompt_id")["spearman"]  # the last digit of a mean depends on the order
    return mean(values), values.len()


def held_out_results(
    checkpoint: str, judged: pl.DataFrame, responses: pl.DataFrame, judgments: pl.DataFrame, verdicts: pl.DataFrame
) -> pl.DataFrame:
    """The `results` rows of what one checkpoint wrote on the held-out sets.

    judged: the replies that people ranked; judgments: of them; verdicts: meta-judgments of these, a `battles` table.
    """
    scores = judgments.group_by("response_id").agg(mean=exact_mean())
    half, out, n_pairs = pairwise_agreement(judged, scores)
    spearman, n_correlated = rank_correlation(judged, scores)
    seen = responses.drop_nulls("response")
    written = responses.filter(pl.col("finish_reason") != "too_long")  # one that was cut in its thought, too
    rows = [
        ("readable_judgments", mean(judgments["score"].is_not_null()), judgments.height),
        ("readable_verdicts", mean(verdicts["winner"].is_not_null()), verdicts.height),
        ("agreement_ties_half", half, n_pairs),
        ("agreement_ties_left_out", out, n_pairs),
        ("spearman", spearman, n_correlated),
        ("score_mean", judgments.select(exact_mean()).item(), judgments["score"].count()),
        ("response_chars", mean(seen["n_chars"]), seen.height),
        ("responses_cut", mean(written["finish_reason"] != "stop"), written.height),
    ]
    return results_table(checkpoint, [(metric, value, None, None, n, None) for metric, value, n in rows])
