"""Preference pairs of responses, with length control (METHOD §3.4)."""

import polars as pl

from metareward.ids import content_ids
from metareward.selection.pairs import EQUAL, Frame, checked, first_of_prompt, longer_than, no_pairs_table


def effective_rho(schedule: str | float, own: float) -> float:
    """The rho of an iteration: its own where the top-level value is "schedule", else the number that stands there."""
    return own if isinstance(schedule, str) else float(schedule)


def select_actor_pairs(
    prompts: Frame, responses: Frame, scores: Frame, rho: float, max_chosen_chars: int | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The `actor_pairs` and `no_pairs` tables: length-controlled pairs of responses, at most one per prompt.

    With S the mean score of a response, Smax and Smin the extremes of its prompt and rho in [0, 1]:
    chosen is the shortest response with Smax - S <= rho (Smax - Smin), rejected the longest with
    S - Smin <= rho (Smax - Smin); rho = 0 is selection by score alone. Equal lengths: the better score for
    chosen, the worse for rejected, then the lower sample. A chosen response of more than max_chosen_chars
    characters makes no pair (null: no cap). METHOD §3.4; Wu et al. 2024, section 2.1.
    """
    score, best, worst = pl.col("mean"), pl.col("mean").max(), pl.col("mean").min()
    reach = rho * (best - worst).over("prompt_id") + EQUAL
    rows = scores.lazy()
    chosen = first_of_prompt(
        rows.filter(best.over("prompt_id") - score <= reach),
        {"n_chars": False, "mean": True, "sample": False},
        {"response_id": "chosen_id", "n_chars": "chosen_chars", "mean": "chosen_score"},
    )
    rejected = first_of_prompt(
        rows.filter(score - worst.over("prompt_id") <= reach),
        {"n_chars": True, "mean": False, "sample": False},
        {"response_id": "rejected_id", "n_chars": "rejected_chars", "mean": "rejected_score"},
    )
    margin = pl.col("chosen_score") - pl.col("rejected_score")
    reason = (
        pl.when(pl.col("n_responses").fill_null(0) < 2)
        .then(pl.lit("too_few_responses"))
        .when(pl.col("n_scored") < 2)
        .then(pl.lit("too_few_scored"))
        .when(pl.col("range") <= EQUAL)
        .then(pl.lit("equal_scores"))
        .when(margin <= EQUAL)
        .then(pl.lit("chosen_not_better"))
        .when(longer_than(pl.col("chosen_chars"), max_chosen_chars))
        .then(pl.lit("chosen_too_long"))
    )
    summary = rows.group_by("prompt_id").agg(n_responses=pl.len(), n_scored=score.count(), range=best - worst)
    outcome = (
        prompts.lazy()
        .join(summary, on="prompt_id", how="left")
        .join(chosen, on="prompt_id", how="left")
        .join(rejected, on="prompt_id", how="left")
        .with_columns(reason=reason, margin=margin)
        .collect()
    )
    message = pl.struct(role=pl.lit("user"), content=pl.col("prompt"))
    pairs = (
        outcome.lazy()
        .filter(pl.col("reason").is_null())
        .join(_texts(responses, "chosen"), on="chosen_id", how="left")
        .join(_texts(responses, "rejected"), on="rejected_id", how="left")
        .with_columns(messages=pl.concat_list(message), pair_id=content_ids("pair", "chosen_id", "rejected_id"))
    )
    return checked(pairs, "actor_pairs"), no_pairs_table(outcome, "actor")


def _texts(responses: Frame, role: str) -> pl.LazyFrame:
    """The texts of responses and how they ended, to join to the id of the chosen or rejected one."""
    names = {"response_id": f"{role}_id", "response": role, "finish_reason": f"{role}_finish"}
    return responses.lazy().select(pl.col(old).alias(new) for old, new in names.items())
