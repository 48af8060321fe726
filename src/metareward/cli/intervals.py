"""plots/intervals.json: values with their intervals, as the commands look them up."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metareward.errors import UserError

INTERVALS = Path("plots/intervals.json")
KEYS = {"benchmark", "checkpoint", "other", "before", "metric", "referee", "value", "ci_low", "ci_high", "n"}
BEFORE = "difference_to_before"
# by group of metrics.json, metric and checkpoint: value, ci_low, ci_high, n
Intervals = Mapping[tuple[str, str, str], Mapping[str, Any]]


def read_intervals() -> Intervals:
    """Those of plots/intervals.json; none where a run has not made it. Raises UserError where it is another file."""
    try:
        text = INTERVALS.read_text()
    except OSError:
        return {}
    return parse_intervals(text)


def parse_intervals(text: str | bytes) -> Intervals:
    """The contents of plots/intervals.json. Raises UserError where they are another file's."""
    try:
        rows = json.loads(text)
    except ValueError:
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and set(row) >= KEYS for row in rows):
        raise UserError(f"{INTERVALS} is not what a run writes. Hint: dvc repro --force metrics makes it anew.")
    found = {}
    for row in rows:
        groups = [row["benchmark"]] if row["other"] is None else [f"difference_to_{row['other']}"]
        metric = row["metric"] + (f"_by_{row['referee']}" if row["referee"] else "")
        for group in [*groups, *([BEFORE] if row["before"] else [])]:
            found[group, metric, row["checkpoint"]] = row
    return found


def judge_of(name: str, metric: str) -> str | None:
    """The judge in the name that a metric has in metrics.json: win_rate_by_gpt-4 is gpt-4's; null: another metric's."""
    return name.removeprefix(f"{metric}_by_") if name.startswith(f"{metric}_by_") else None
