"""A checkpoint as a judge against a strong judge, on the same responses of the seed (METHOD §6)."""

import polars as pl

from metareward.evaluation.held_out import decided
from metareward.evaluation.outcomes import outcomes_table, per_prompt
from metareward.selection.actor_pairs import select_actor_pairs
from metareward.selection.scores import score_statistics


def strong_judge_outcomes(
    checkpoint: str,
    prompts: pl.DataFrame,
    responses: pl.DataFrame,
    judgments: pl.DataFrame,
    own_judgments: pl.DataFrame,
    strong_judge: str,
) -> pl.DataFrame:
    """The `outcomes` of a checkpoint's judgments against the strong judge's; none without responses.

    prompts, responses: what was judged, duplicates marked; judgments: the strong judge's; own_judgments: the
    checkpoint's. A judge chooses one pair of each prompt as an actor pair is chosen with rho 0: its response of highest
    mean score and the one of lowest. The other judge agrees (1), has a tie (0.5) or disagrees (0). Pairs that the
    strong judge chose, and pairs that the checkpoint chose, are counted apart, both with ties as halves and without.
    A pair to which the other one gave no score is left out and counted. Wu et al. 2024, table 3.
    """
    if responses.is_empty():
        return outcomes_table(checkpoint, {})
    asked = responses["prompt_id"]
    prompts = prompts.join(responses, on="prompt_id", how="semi")
    readable = pl.col("score").is_not_null()
    parts = {"strong_judgments_readable": per_prompt(judgments, readable, asked)}
    strong, own = (score_statistics(responses, given) for given in (judgments, own_judgments))
    for name, choosing, other in (("strong_pairs", strong, own), ("own_pairs", own, strong)):
        pairs, _ = select_actor_pairs(prompts, responses, choosing, 0.0, None)
        mean = other.select("response_id", "mean")
        pairs = pairs.join(mean, left_on="chosen_id", right_on="response_id").join(
            mean, left_on="rejected_id", right_on="response_id", suffix="_rejected"
        )
        ahead = pl.col("mean") - pl.col("mean_rejected")  # null where one of them has no score
        outcome = ahead.sign() / 2 + 0.5
        chosen = prompts.select("prompt_id", paired=pl.col("prompt_id").is_in(pairs["prompt_id"].implode()))
        parts |= {
            f"{name}_agreement_ties_half": per_prompt(pairs, outcome, asked),
            f"{name}_agreement_ties_left_out": per_prompt(pairs, decided(outcome), asked),
            f"{name}_unscored": per_prompt(pairs, ahead.is_null(), asked),
            f"{name}_none": per_prompt(chosen, ~pl.col("paired"), asked),
        }
    return outcomes_table(checkpoint, parts, strong_judge)
