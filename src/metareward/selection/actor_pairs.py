"""Preference pairs of responses, with length control (METHOD §3.4)."""

from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

from metareward.ids import content_ids
from metareward.selection.pairs import EQUAL, Frame, checked, longer_than, no_pairs_table
from metareward.tables import table_of

HUNDREDTHS = [k / 100 for k in range(101)]  # the rhos that `balanced_rho` tries; the paper's are hundredths, too


class Candidates(NamedTuple):
    """What a pair is picked from, measured and sorted once for any rho.

    prompts: of each prompt n_responses, n_scored and range (of the mean scores; null without responses).
    shortest, longest: the scored responses, in the order in which chosen and rejected are looked for, with the
    distance of their mean score from the prompt's best (below) and worst (above).
    """

    prompts: pl.DataFrame
    shortest: pl.DataFrame
    longest: pl.DataFrame


def actor_candidates(prompts: Frame, scores: Frame) -> Candidates:
    """The candidates of each prompt for `pick_responses`; no texts are needed."""
    score, best, worst = pl.col("mean"), pl.col("mean").max(), pl.col("mean").min()
    rows = scores.lazy()
    summary = rows.group_by("prompt_id").agg(n_responses=pl.len(), n_scored=score.count(), range=best - worst)
    scored = (
        rows.select(
            "prompt_id",
            "response_id",
            "sample",
            "n_chars",
            "mean",
            below=best.over("prompt_id") - score,
            above=score - worst.over("prompt_id"),
            range=(best - worst).over("prompt_id"),
        )
        .filter(score.is_not_null())
        .collect()
    )
    return Candidates(
        prompts.lazy().select("prompt_id").join(summary, on="prompt_id", how="left").collect(),
        scored.sort("n_chars", "mean", "sample", descending=[False, True, False]),
        scored.sort("n_chars", "mean", "sample", descending=[True, False, False]),
    )


def pick_responses(candidates: Candidates, rho: float, max_chosen_chars: int | None) -> pl.DataFrame:
    """A row per prompt: ids, characters and scores of chosen and rejected, margin, and reason (null: they are a pair).

    The rule is that of `select_actor_pairs`.
    """
    reach = rho * pl.col("range") + EQUAL
    picked = candidates.prompts.lazy()
    for role, rows, distance in (("chosen", candidates.shortest, "below"), ("rejected", candidates.longest, "above")):
        first = (
            rows.lazy().filter(pl.col(distance) <= reach).unique("prompt_id", keep="first", maintain_order=True)
        ).select(
            "prompt_id",
            pl.col("response_id").alias(f"{role}_id"),
            pl.col("n_chars").alias(f"{role}_chars"),
            pl.col("mean").alias(f"{role}_score"),
        )
        picked = picked.join(first, on="prompt_id", how="left")
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
    return picked.with_columns(reason=reason, margin=margin).collect()


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
    outcome = pick_responses(actor_candidates(prompts, scores), rho, max_chosen_chars)
    message = pl.struct(role=pl.lit("user"), content=pl.col("prompt"))
    pairs = (
        outcome.lazy()
        .filter(pl.col("reason").is_null())
        .join(prompts.lazy().select("prompt_id", "prompt"), on="prompt_id", how="left")
        .join(_texts(responses, "chosen"), on="chosen_id", how="left")
        .join(_texts(responses, "rejected"), on="rejected_id", how="left")
        .with_columns(messages=pl.concat_list(message), pair_id=content_ids("pair", "chosen_id", "rejected_id"))
    )
    return checked(pairs, "actor_pairs"), no_pairs_table(outcome, "actor")


def find_rho(
    run: str | float, own: str | float, parts: Iterable[Candidates], max_chosen_chars: int | None
) -> pl.DataFrame:
    """The `length_control` table: the rho of an iteration, and what set it.

    run: params' top-level rho; own: the iteration's, which counts where run is "schedule". Either may be "balanced";
    only then the candidates of all prompts are read.
    """
    rho, set_by = own if run == "schedule" else run, "params"
    if rho == "balanced":
        rho, balanced = balanced_rho(parts, max_chosen_chars)
        set_by = "balanced" if balanced else "least_difference"
    return table_of([{"rho": float(rho), "set_by": set_by}], "length_control")


def balanced_rho(parts: Iterable[Candidates], max_chosen_chars: int | None) -> tuple[float, bool]:
    """The smallest of HUNDREDTHS at which chosen responses are on average no longer than rejected ones, and True.

    parts: the candidates of all prompts, part by part. The average is over the pairs that the rho gives. Where none
    balances them it is the rho at which chosen responses are longer by least (the smallest of several; 0 where no rho
    gives a pair), and False.

    METHOD §3.4: ours; the paper picks its rho by hand.
    """
    chars, pairs = [0] * len(HUNDREDTHS), [0] * len(HUNDREDTHS)
    longer = pl.col("chosen_chars") - pl.col("rejected_chars")
    for candidates in parts:
        for k, rho in enumerate(HUNDREDTHS):
            paired = pick_responses(candidates, rho, max_chosen_chars).filter(pl.col("reason").is_null())
            chars[k] += paired.select(longer.sum()).item()
            pairs[k] += paired.height
    differences = {rho: chars[k] / pairs[k] for k, rho in enumerate(HUNDREDTHS) if pairs[k]}
    balanced = [rho for rho, difference in differences.items() if difference <= 0]
    if balanced:
        return balanced[0], True
    return min(differences, key=lambda rho: (differences[rho], rho), default=0.0), False


def _texts(responses: Frame, role: str) -> pl.LazyFrame:
    """The texts of responses and how they ended, to join to the id of the chosen or rejected one."""
    names = {"response_id": f"{role}_id", "response": role, "finish_reason": f"{role}_finish"}
    return responses.lazy().select(pl.col(old).alias(new) for old, new in names.items())
