"""Preference pairs of judgments, with the length filter (METHOD §4.6-4.7)."""

import polars as pl

from metareward.ids import content_ids
from metareward.selection.elo import TIE
from metareward.selection.pairs import Frame, checked, first_of_prompt, longer_than, no_pairs_table


def select_judge_pairs(
    prompts: Frame,
    choices: Frame,
    judgments: Frame,
    elo: Frame,
    judge_prompts: Frame,
    max_judgment_chars: int | None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The `judge_pairs` and `no_pairs` tables: the judgments of highest and lowest Elo of each chosen response.

    choices: an iteration that trains no judge has none, and every prompt ends in `no_pairs`.
    judge_prompts: prompt_id and messages, the full judge prompt of the chosen response.
    max_judgment_chars: a longer chosen judgment makes no pair (null: no limit).
    Elos within TIE of the extreme are tied with it: the shorter judgment is chosen, the longer rejected, then the
    lower sample. METHOD §4.6-4.7; Wu et al. 2024, section 2.2.
    """
    outcome = pick_judgments(prompts, choices, judgments, elo, max_judgment_chars)
    pairs = (
        outcome.lazy()
        .filter(pl.col("reason").is_null())
        .join(judge_prompts.lazy(), on="prompt_id", how="left")
        .with_columns(pair_id=content_ids("pair", "chosen_id", "rejected_id"))
    )
    return checked(pairs, "judge_pairs"), no_pairs_table(outcome, "judge")


def pick_judgments(
    prompts: Frame, choices: Frame, judgments: Frame, elo: Frame, max_judgment_chars: int | None
) -> pl.DataFrame:
    """A row per prompt: what a pair holds of chosen and rejected, their margin, and reason (null: they are a pair).

    judgments: of the texts (column judgment) it matters only whether two are the same. The rule is that of
    `select_judge_pairs`.
    """
    rating, highest, lowest = pl.col("elo"), pl.col("elo").max(), pl.col("elo").min()
    judged = judgments.lazy().select("judgment_id", "sample", "n_chars", "judgment", "finish_reason")
    rows = elo.lazy().join(judged, on="judgment_id", how="left").collect().lazy()  # one pass over the judgments
    chosen = first_of_prompt(
        rows.filter(highest.over("prompt_id") - rating <= TIE),
        {"n_chars": False, "sample": False},
        _columns("chosen"),
    )
    rejected = first_of_prompt(
        rows.filter(rating - lowest.over("prompt_id") <= TIE),
        {"n_chars": True, "sample": False},
        _columns("rejected"),
    )
    wins = (pl.col("wins_first") + pl.col("wins_second")).sum()
    summary = rows.group_by("prompt_id").agg(n_decided=wins, range=highest - lowest)
    chosen_response = choices.lazy().select("prompt_id", "response_id", no_choice="reason", listed=pl.lit(True))
    reason = (
        pl.when(pl.col("listed").is_null())
        .then(pl.lit("judge_not_trained"))
        .when(pl.col("no_choice").is_not_null())
        .then(pl.col("no_choice"))
        .when(pl.col("n_decided").fill_null(0) == 0)
        .then(pl.lit("no_decided_battle"))
        .when(pl.col("range") <= TIE)
        .then(pl.lit("equal_elo"))
        .when(pl.col("chosen") == pl.col("rejected"))
        .then(pl.lit("identical_judgments"))
        .when(longer_than(pl.col("chosen_chars"), max_judgment_chars))
        .then(pl.lit("chosen_judgment_too_long"))
    )
    return (
        prompts.lazy()
        .join(chosen_response, on="prompt_id", how="left")
        .join(summary, on="prompt_id", how="left")
        .join(chosen, on="prompt_id", how="left")
        .join(rejected, on="prompt_id", how="left")
        .with_columns(reason=reason, margin=pl.col("chosen_elo") - pl.col("rejected_elo"))
        .collect()
    )


def _columns(role: str) -> dict[str, str]:
    """What a pair holds of its chosen or rejected judgment, and what it is called there."""
    names = {"judgment_id": "id", "finish_reason": "finish", "n_chars": "chars", "elo": "elo"}
    return {"judgment": role} | {old: f"{role}_{new}" for old, new in names.items()}
