"""Monitors: figures that say that an iteration goes wrong, each with a limit beyond which a run warns or stops."""

from collections.abc import Mapping
from typing import Any, Literal

import polars as pl

from metareward.params import Monitors
from metareward.tables import check_table, table_of

ENDED = "stop"  # the finish reason of a text that the model ended itself
_PAIRS = "SELECT chosen_chars, rejected_chars, margin, chosen FROM {role}_pairs WHERE iteration = '{{}}' "
_LONGER = _PAIRS + "ORDER BY chosen_chars - rejected_chars DESC LIMIT 20"
# of each monitor: which side of its limit is bad, and the query that shows more; {} is the iteration or checkpoint
MONITORS: dict[str, tuple[Literal["above", "below"], str]] = {
    "readable_judgments": (
        "below",
        "SELECT invalid_reason, count(*) AS n FROM judgments WHERE iteration = '{}' GROUP BY ALL ORDER BY ALL",
    ),
    "score_at_maximum": (
        "above",
        "SELECT score, count(*) AS n FROM judgments WHERE iteration = '{}' GROUP BY ALL ORDER BY ALL",
    ),
    "readable_verdicts": (
        "below",
        "SELECT invalid_reason, count(*) AS n FROM battles WHERE iteration = '{}' GROUP BY ALL ORDER BY ALL",
    ),
    "first_position_wins": (
        "above",
        "SELECT winner, count(*) AS n FROM battles WHERE iteration = '{}' GROUP BY ALL ORDER BY ALL",
    ),
    "actor_length_difference": ("above", _LONGER.format(role="actor")),
    "judge_length_difference": ("above", _LONGER.format(role="judge")),
    "effective_pairs": (
        "below",
        "SELECT role, outcome, count(*) AS n FROM prompt_outcomes WHERE iteration = '{}' GROUP BY ALL ORDER BY ALL",
    ),
    "pairs_in_training": (
        "below",
        "SELECT role, chosen_finish, rejected_finish, count(*) AS n FROM pairs WHERE iteration = '{}' "
        "GROUP BY ALL ORDER BY ALL",
    ),
    "reward_accuracy": (
        "below",
        "SELECT step, loss, reward_accuracy, reward_margin FROM training_steps WHERE checkpoint = '{}' ORDER BY step",
    ),
    "response_growth": (
        "above",
        "SELECT checkpoint, value, ci_low, ci_high, n FROM results WHERE metric = 'response_chars'",
    ),
}


def data_values(metrics: Mapping[str, Any], effective: int) -> dict[str, float | None]:
    """What is known of an iteration before its training, from its `iteration_metrics` and `effective_pairs`.

    Null: there is nothing to measure, as of verdicts where no judge is trained. METHOD §6, Monitors.
    """
    return {
        "readable_judgments": metrics.get("judge.readable"),
        "score_at_maximum": metrics.get("judge.score_at_maximum"),
        "readable_verdicts": metrics.get("meta_judge.readable"),
        "first_position_wins": metrics.get("meta_judge.first_position_wins"),
        "actor_length_difference": _longer(metrics, "actor"),
        "judge_length_difference": _longer(metrics, "judge"),
        "effective_pairs": float(effective),
    }


def training_values(
    training: Mapping[str, Any], results: pl.DataFrame, results_before: pl.DataFrame
) -> dict[str, float | None]:
    """What is known of a checkpoint after training and evaluation. Null: there is nothing to measure.

    training: the metrics that `train_dpo` or `train_sft` returned; of SFT the pairs are null. results: the held-out
    `results` of this checkpoint, and of the one before it. METHOD §6, Monitors.
    """
    given, aside = training["rows_in"], training.get("rows_held_out")
    chars, before = (_value(rows, "response_chars") for rows in (results, results_before))
    return {
        "pairs_in_training": (training["rows_trained"] + aside) / given if given and aside is not None else None,
        "reward_accuracy": training.get("reward_accuracy"),
        "response_growth": chars / before - 1 if chars is not None and before else None,
    }


def effective_pairs(pairs: pl.DataFrame, cut_texts: Literal["open", "drop"]) -> int:
    """How many different pairs of texts there are to train on, whatever their prompts. METHOD §6, Monitors.

    pairs: chosen, rejected, chosen_finish, rejected_finish. As in training, a pair of equal texts does not count, nor
    one with a text that was cut where dpo.cut_texts is "drop", or cut before it had a character.
    """
    lost = pl.col("chosen") == pl.col("rejected")
    for role in ("chosen", "rejected"):
        cut = pl.col(f"{role}_finish") != ENDED
        lost |= cut if cut_texts == "drop" else cut & (pl.col(role) == "")
    return pairs.filter(~lost).select("chosen", "rejected").n_unique()


def monitors_table(name: str, values: Mapping[str, float | None], settings: Monitors) -> pl.DataFrame:
    """The `monitors` table of an iteration's or a checkpoint's values; a monitor whose limit is null has no row.

    A value on its limit passes. passed is null where there is nothing to measure.
    """
    rows = []
    for monitor, value in values.items():
        (direction, query), setting = MONITORS[monitor], getattr(settings, monitor)
        if setting.limit is None:
            continue
        beyond = None if value is None else value > setting.limit if direction == "above" else value < setting.limit
        rows.append(
            {
                "monitor": monitor,
                "value": value,
                "limit": setting.limit,
                "direction": direction,
                "action": setting.action,
                "passed": None if beyond is None else not beyond,
                "look": f'metareward sql "{query.format(name)}"',
            }
        )
    return check_table(table_of(rows, "monitors"), "monitors")


def monitor_metrics(monitors: pl.DataFrame) -> dict[str, Any]:
    """The values of a `monitors` table by metric, and how many lie beyond their limits."""
    measured = monitors.drop_nulls("value")
    values = {f"monitors.{name}": value for name, value in measured.select("monitor", "value").iter_rows()}
    return values | {"monitors.beyond_limit": measured.filter(~pl.col("passed")).height}


def _longer(metrics: Mapping[str, Any], role: str) -> float | None:
    """By how many characters the chosen texts are longer than the rejected ones, on average."""
    chosen, rejected = (metrics.get(f"{role}_pairs.{side}_chars") for side in ("chosen", "rejected"))
    return None if chosen is None or rejected is None else chosen - rejected


def _value(results: pl.DataFrame, metric: str) -> float | None:
    found = results.filter(metric=metric)["value"]
    return found[0] if found.len() else None
