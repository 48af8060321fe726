"""The public benchmarks in what the commands print: their metrics, who judged, and what may be called official."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from metareward.cli.intervals import Intervals, judge_of


class Column(NamedTuple):
    """A metric: its heading in lines, decimals of the paper's value, what the run's values are multiplied by, decimals
    of such a value and of an interval's ends (null: as short as can be)."""

    heading: str
    of_paper: int
    factor: float
    decimals: int | None
    of_ends: int | None


PER_CENT = (1, 1, 1)
BENCHMARKS = {
    "alpaca_eval": {
        "length_controlled_win_rate": Column("LC win\nrate, %", 2, *PER_CENT),
        "win_rate": Column("win\nrate, %", 2, *PER_CENT),
        "mean_length": Column("mean\nlength", 0, 1, 0, 0),
    },
    "arena_hard": {"score": Column("score,\n%", 1, *PER_CENT)},
    "mt_bench": {
        "mean": Column("mean", 3, 1, 2, 2),
        "turn_1": Column("turn 1", 3, 1, 2, 2),
        "turn_2": Column("turn 2", 3, 1, 2, 2),
    },
}
TITLES = {"alpaca_eval": "AlpacaEval 2", "arena_hard": "Arena-Hard v0.1", "mt_bench": "MT-Bench"}
UPSTREAM = {"alpaca_eval": "gpt-4-1106-preview", "arena_hard": "gpt-4-1106-preview", "mt_bench": "gpt-4"}
_COUNTED = {"alpaca_eval": "win_rate", "arena_hard": "score", "mt_bench": "mean"}  # whose n says how much was judged


def judges_of(group: Mapping[str, Any], columns: Mapping[str, Column]) -> list[str]:
    """The judges who gave values of these metrics."""
    found = (judge_of(name, metric) for name in group for metric in columns)
    return sorted({judge for judge in found if judge})


def who_judged(name: str, judge: str, intervals: Intervals) -> str:
    """Who judged a benchmark, whether the values may be set beside official ones, and how much they are of."""
    metric = f"{_COUNTED[name]}_by_{judge}"
    n = sorted({row["n"] for (group, found, _), row in intervals.items() if (group, found) == (name, metric)})
    size = f" n: {' to '.join(map(str, n[:: max(1, len(n) - 1)]))}." if n else ""
    if judge != UPSTREAM[name]:
        return f"{TITLES[name]}: judged by {judge}. NOT OFFICIAL: upstream's judge is {UPSTREAM[name]}.{size}"
    return (
        f"{TITLES[name]}: judged by {judge}, as upstream; upstream's own tool reads what metareward export-answers "
        f"writes.{size}"
    )
