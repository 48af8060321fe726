"""METHOD.md §3-4 as plain loops over rows, in exact fractions: slow, and independent of metareward.select.

Each function gives for every prompt either the ids of its pair (or of its chosen response), or a reason.
"""

from fractions import Fraction
from typing import Any

import polars as pl

Row = dict[str, Any]
Pairs = dict[str, tuple[str, str] | str]


def rows_of(frame: pl.DataFrame, **equal: str) -> list[Row]:
    return [row for row in frame.iter_rows(named=True) if all(row[name] == value for name, value in equal.items())]


def duplicates(responses: pl.DataFrame) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for row in rows_of(responses):
        same = [
            other
            for other in rows_of(responses, prompt_id=row["prompt_id"])
            if row["response"] is not None and other["response"] == row["response"] and other["sample"] < row["sample"]
        ]
        found[row["response_id"]] = min(same, key=lambda other: other["sample"])["response_id"] if same else None
    return found


def statistics(responses: pl.DataFrame, judgments: pl.DataFrame) -> dict[str, Row]:
    found = {}
    for response in rows_of(responses):
        if response["response"] is None or response["duplicate_of"] is not None:
            continue
        judged = rows_of(judgments, response_id=response["response_id"])
        valid = [row for row in judged if row["score"] is not None]
        scores = [Fraction(str(row["score"])) for row in valid]
        mean = sum(scores) / len(scores) if scores else None
        found[response["response_id"]] = {
            "prompt_id": response["prompt_id"],
            "sample": response["sample"],
            "chars": len(response["response"]),
            "mean": mean,
            "variance": sum((score - mean) ** 2 for score in scores) / len(scores) if scores else None,
            "n_valid": len(valid),
            "n_distinct": len({row["judgment"] for row in valid}),
        }
    return found


def actor_pairs(
    prompts: pl.DataFrame, responses: pl.DataFrame, judgments: pl.DataFrame, rho: Fraction, cap: int | None
) -> Pairs:
    found: Pairs = {}
    every = statistics(responses, judgments)
    for prompt_id in prompts["prompt_id"]:
        written = {name: row for name, row in every.items() if row["prompt_id"] == prompt_id}
        scored = {name: row for name, row in written.items() if row["mean"] is not None}
        if len(written) < 2:
            found[prompt_id] = "too_few_responses"
            continue
        if len(scored) < 2:
            found[prompt_id] = "too_few_scored"
            continue
        best = max(row["mean"] for row in scored.values())
        worst = min(row["mean"] for row in scored.values())
        if best == worst:
            found[prompt_id] = "equal_scores"
            continue
        high = [name for name, row in scored.items() if row["mean"] >= (1 - rho) * best + rho * worst]
        low = [name for name, row in scored.items() if row["mean"] <= (1 - rho) * worst + rho * best]
        chosen = min(high, key=lambda name: (scored[name]["chars"], -scored[name]["mean"], scored[name]["sample"]))
        rejected = min(low, key=lambda name: (-scored[name]["chars"], scored[name]["mean"], scored[name]["sample"]))
        if scored[chosen]["mean"] <= scored[rejected]["mean"]:
            found[prompt_id] = "chosen_not_better"
        elif cap is not None and scored[chosen]["chars"] > cap:
            found[prompt_id] = "chosen_too_long"
        else:
            found[prompt_id] = (chosen, rejected)
    return found


def most_varied(prompts: pl.DataFrame, responses: pl.DataFrame, judgments: pl.DataFrame) -> dict[str, set[str]]:
    """The responses among which the seed may draw, none where no response is eligible."""
    found = {}
    every = statistics(responses, judgments)
    for prompt_id in prompts["prompt_id"]:
        eligible = {
            name: row["variance"]
            for name, row in every.items()
            if row["prompt_id"] == prompt_id and row["n_valid"] >= 2 and row["n_distinct"] >= 2
        }
        found[prompt_id] = {name for name, value in eligible.items() if value == max(eligible.values())}
    return found


def battles(choices: pl.DataFrame, judgments: pl.DataFrame) -> set[tuple[str, str]]:
    chosen = set(choices["response_id"].drop_nulls())
    valid = [row for row in rows_of(judgments) if row["response_id"] in chosen and row["score"] is not None]
    return {
        (first["judgment_id"], second["judgment_id"])
        for first in valid
        for second in valid
        if first["response_id"] == second["response_id"] and first["judgment_id"] != second["judgment_id"]
    }


def judge_pairs(
    prompts: pl.DataFrame, choices: pl.DataFrame, judgments: pl.DataFrame, elo: pl.DataFrame, limit: int | None
) -> Pairs:
    found: Pairs = {}
    judgment = {row["judgment_id"]: row for row in rows_of(judgments)}
    for prompt_id in prompts["prompt_id"]:
        choice = rows_of(choices, prompt_id=prompt_id)
        if not choice or choice[0]["reason"] is not None:
            found[prompt_id] = choice[0]["reason"] if choice else "judge_not_trained"
            continue
        rated = rows_of(elo, prompt_id=prompt_id)
        if not any(row["wins_first"] or row["wins_second"] for row in rated):
            found[prompt_id] = "no_decided_battle"
            continue
        highest, lowest = max(row["elo"] for row in rated), min(row["elo"] for row in rated)
        if highest - lowest <= 1e-6:
            found[prompt_id] = "equal_elo"
            continue
        top = [judgment[row["judgment_id"]] for row in rated if highest - row["elo"] <= 1e-6]
        bottom = [judgment[row["judgment_id"]] for row in rated if row["elo"] - lowest <= 1e-6]
        chosen = min(top, key=lambda row: (len(row["judgment"]), row["sample"]))
        rejected = min(bottom, key=lambda row: (-len(row["judgment"]), row["sample"]))
        if chosen["judgment"] == rejected["judgment"]:
            found[prompt_id] = "identical_judgments"
        elif limit is not None and len(chosen["judgment"]) > limit:
            found[prompt_id] = "chosen_judgment_too_long"
        else:
            found[prompt_id] = (chosen["judgment_id"], rejected["judgment_id"])
    return found
