"""Held-out evaluation of one checkpoint: its judge against people, and what of its texts can be read."""

import polars as pl

from metareward.evaluation.judge_bias import decided_battles
from metareward.evaluation.outcomes import outcomes_table, per_prompt
from metareward.selection.scores import exact_mean, exact_total, worth


def pair_outcomes(judged: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """prompt_id, outcome: 1 where the judge orders two replies of a prompt as people do, 0 where not, 0.5 for a tie.

    judged: prompt_id, response_id, rank (1 is the best); scores: response_id, mean (by `exact_mean`, so that a tie is
    one whatever the order of the judgments). All pairs of replies of one prompt with different ranks and a score each.
    """
    scored = judged.join(scores, on="response_id").drop_nulls("mean").select("prompt_id", "rank", "mean")
    pairs = scored.join(scored, on="prompt_id", suffix="_worse").filter(pl.col("rank") < pl.col("rank_worse"))
    outcome = (pl.col("mean") - pl.col("mean_worse")).sign() / 2 + 0.5
    return pairs.select("prompt_id", outcome=outcome)


def rank_correlations(judged: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """prompt_id, spearman: correlation of judge scores with human ranks, 1 for the same order.

    Prompts with fewer than two scored replies, or whose scores or ranks are all equal, have no correlation.
    """
    scored = judged.join(scores, on="response_id").drop_nulls("mean")
    varied = scored.group_by("prompt_id").agg(
        kept=(pl.col("mean").n_unique() > 1) & (pl.col("rank").n_unique() > 1),
        spearman=-pl.corr("rank", "mean", method="spearman"),
    )
    return varied.filter("kept").select("prompt_id", "spearman")


def likelihood_outcomes(checkpoint: str, judged: pl.DataFrame, likelihoods: pl.DataFrame) -> pl.DataFrame:
    """The `outcomes` of the metric likelihood_agreement: of two replies the one that people prefer is the likelier.

    By the log-probability of a token, so that a short reply is not the likelier one for being short. likelihoods: a
    `reply_likelihoods` table; an empty one gives no outcomes.
    """
    if likelihoods.is_empty():
        return outcomes_table(checkpoint, {})
    scores = likelihoods.select("response_id", mean=pl.col("logprob") / pl.col("n_tokens"))
    pairs = pair_outcomes(judged, scores)
    return outcomes_table(
        checkpoint, {"likelihood_agreement": per_prompt(pairs, pl.col("outcome"), judged["prompt_id"])}
    )


def repetition(text: str) -> float | None:
    """Share of a text's runs of four words that stand in it earlier, too; null with fewer than four words.

    seq-rep-4, over words (Welleck et al. 2020, Neural text generation with unlikelihood training, eq. 6).
    """
    words = text.split()
    runs = list(zip(words, words[1:], words[2:], words[3:], strict=False))
    return 1 - len(set(runs)) / len(runs) if runs else None


def decided(outcome: pl.Expr) -> pl.Expr:
    """Outcomes of pairs without the ties."""
    return pl.when(outcome != 0.5).then(outcome)


def held_out_outcomes(
    checkpoint: str, judged: pl.DataFrame, responses: pl.DataFrame, judgments: pl.DataFrame, verdicts: pl.DataFrame
) -> pl.DataFrame:
    """The `outcomes` of what one checkpoint wrote on the held-out sets.

    judged: the replies that people ranked; judgments: of them; verdicts: meta-judgments of these, a `battles` table.
    """
    asked, replied = responses["prompt_id"], judged["prompt_id"]
    scores = judgments.group_by("response_id").agg(mean=exact_mean(worth()))
    pairs, bias = pair_outcomes(judged, scores), decided_battles(verdicts, judgments)
    outcome, score = pl.col("outcome"), pl.col("score")
    repeated = pl.col("response").map_elements(repetition, return_dtype=pl.Float64)
    was_cut = pl.col("finish_reason") != "stop"  # also in its thought
    parts = {
        "readable_judgments": per_prompt(judgments, score.is_not_null(), replied),
        "readable_verdicts": per_prompt(verdicts, pl.col("winner").is_not_null(), replied),
        "agreement_ties_half": per_prompt(pairs, outcome, replied),
        "agreement_ties_left_out": per_prompt(pairs, decided(outcome), replied),
        "spearman": per_prompt(rank_correlations(judged, scores), pl.col("spearman"), replied),
        "score_mean": per_prompt(judgments, score, replied, total=exact_total(score)),
        "score_at_maximum": per_prompt(judgments, score == 5, replied),
        "higher_score_wins": per_prompt(bias, pl.col("higher_score"), replied),
        "first_position_wins": per_prompt(bias, pl.col("first_position"), replied),
        "response_chars": per_prompt(responses, pl.when(pl.col("response").is_not_null()).then("n_chars"), asked),
        "response_repetition": per_prompt(responses, repeated, asked),
        "responses_cut": per_prompt(responses, pl.when(pl.col("finish_reason") != "too_long").then(was_cut), asked),
    }
    return outcomes_table(checkpoint, parts)
