"""`metareward show --paper`: the figures of Wu et al. 2024 beside this run's."""

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from textwrap import fill
from typing import Any, NamedTuple

from metareward.cli.intervals import Intervals, judge_of
from metareward.cli.tables import WIDTH, Cell, fixed, print_table


class Column(NamedTuple):
    """A metric: its heading, what its values are multiplied by, decimals of its value and of its interval's ends."""

    heading: str
    factor: float
    decimals: int
    decimals_of_ends: int


PER_CENT, LENGTH, RATING = (1, 1, 1), (1, 0, 0), (1, 2, 2)
BENCHMARKS = {
    "alpaca_eval": {
        "length_controlled_win_rate": Column("LC win rate, %", *PER_CENT),
        "win_rate": Column("win rate, %", *PER_CENT),
        "mean_length": Column("length", *LENGTH),
    },
    "arena_hard": {"score": Column("score, %", *PER_CENT)},
    "mt_bench": {
        "mean": Column("mean", *RATING),
        "turn_1": Column("turn 1", *RATING),
        "turn_2": Column("turn 2", *RATING),
    },
}
TITLES = {"alpaca_eval": "AlpacaEval 2", "arena_hard": "Arena-Hard v0.1", "mt_bench": "MT-Bench"}
UPSTREAM = {"alpaca_eval": "gpt-4-1106-preview", "arena_hard": "gpt-4-1106-preview", "mt_bench": "gpt-4"}
TIES = {
    "agreement_ties_half": Column("ties half, %", 100, 1, 0),
    "agreement_ties_left_out": Column("no ties, %", 100, 1, 0),
}
PEOPLE = TIES | {"spearman": Column("Spearman", 1, 2, 2)}
BIAS = {
    "higher_score_wins": Column("higher score wins, %", 100, 1, 0),
    "first_position_wins": Column("first position wins, %", 100, 1, 0),
}


def show_paper(metrics: Mapping[str, Any], intervals: Intervals) -> None:
    """Print the paper's tables with this run's values in them: of the benchmarks that are on, and of the judge."""
    paper, run = read_paper(), beside(metrics)
    print(fill(f"Paper: {paper['source']}. MR: Meta-Rewarding; SR + LC: Self-Rewarding with length control.", WIDTH))
    on = {name: judges_of(metrics.get(name, {}), BENCHMARKS[name]) for name in BENCHMARKS}
    for name, judges in on.items():
        for judge in judges:
            _print(TITLES[name], BENCHMARKS[name], paper, name, run, name, metrics, intervals, judge)
            print(fill(_who(name, judge, intervals), WIDTH))
    if not any(on.values()):
        print("\nNo public benchmark is on (data/benchmarks/README.md), so the paper's figures for these")
        print("are not shown; docs/method.md has them. What follows is about the judge.")
    _print("Judge against people", PEOPLE, paper, "people", run, "held_out", metrics, intervals)
    print("The people and the prompts are not the paper's: params.yaml: evaluate.judged.")
    strong = {f"strong_pairs_{metric}": column for metric, column in TIES.items()}
    judges = judges_of(metrics["held_out"], strong)
    for judge in judges:
        title = f"Judge against {judge} (the paper: GPT-4), on pairs that it chose"
        _print(title, strong, paper, "strong_judge", run, "held_out", metrics, intervals, judge)
    if not judges:
        print("\nJudge against a strong judge: off (params.yaml: evaluate.strong_judge.n_prompts).")
    _print("Meta-judge in each iteration", BIAS, paper, "meta_judge", run, "meta_judge", metrics, intervals)


def read_paper() -> dict[str, Any]:
    """The paper's figures: table -> metric -> model -> value; `models` are the models' names, in order."""
    found: dict[str, Any] = json.loads((files("metareward.evaluation") / "paper.json").read_text())
    return found


def beside(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The paper's model beside which each checkpoint stands; Self-Rewarding's where no judge pair was trained on."""
    pairs = metrics.get("judge_pairs", {}).get("pairs", {})
    method = "sr" if pairs and not any(pairs.values()) else "mr"
    later = [name for name in metrics["held_out"]["response_chars"] if name not in ("seed", "sft")]
    return {"seed": "seed", "sft": "sft"} | {name: f"{method}{k}" for k, name in enumerate(later, 1)}


def judges_of(group: Mapping[str, Any], columns: Mapping[str, Column]) -> list[str]:
    """The judges who gave values of these metrics."""
    found = [judge_of(name, metric) for name in group for metric in columns]
    return sorted({judge for judge in found if judge})


def _print(
    title: str,
    columns: Mapping[str, Column],
    paper: Mapping[str, Any],
    table: str,
    run: Mapping[str, str],
    group: str,
    metrics: Mapping[str, Any],
    intervals: Intervals,
    judge: str | None = None,
) -> None:
    """One table: of each metric the paper's value and the run's, a model's or checkpoint's in a row."""
    theirs = {metric: paper[table].get(metric.removeprefix("strong_pairs_"), {}) for metric in columns}
    models = [*paper["models"], *(place for place in run.values() if place not in paper["models"])]
    of = {place: name for name, place in run.items()}

    def ours(metric: str, checkpoint: str | None) -> str | None:
        for name in (f"{metric}_by_{judge}", metric) if judge else (metric,):
            value = metrics.get(group, {}).get(name, {}).get(checkpoint)
            if value is not None:
                return _scaled(columns[metric], value, intervals.get((group, name, str(checkpoint))))
        return None

    def rows() -> Iterator[list[Cell]]:
        for model in models:
            cells: list[Cell] = []
            for metric in columns:
                value = theirs[metric].get(model)
                cells += [None if value is None else str(value), ours(metric, of.get(model))]
            if any(cells):
                name = paper["models"].get(model, of.get(model))
                yield [f"{name} ({of[model]})" if of.get(model, name) not in (name, model) else name, *cells]

    headings = [part for column in columns.values() for part in (f"{column.heading} paper", "this run")]
    print()
    print_table(title, ["model", *headings], list(rows()))


def _scaled(column: Column, value: float, row: Mapping[str, Any] | None) -> str:
    text = fixed(value * column.factor, column.decimals)
    if row is None or row["ci_low"] is None:
        return text
    low, high = (fixed(row[end] * column.factor, column.decimals_of_ends) for end in ("ci_low", "ci_high"))
    return f"{text} [{low} {high}]"


def _who(name: str, judge: str, intervals: Intervals) -> str:
    """Who judged, on how much, and whether that may be set beside official figures."""
    metric = next(reversed(BENCHMARKS[name])) if name == "mt_bench" else "score" if name == "arena_hard" else "win_rate"
    n = [row["n"] for (group, found, _), row in intervals.items() if (group, found) == (name, f"{metric}_by_{judge}")]
    size = f" n: {min(n)} to {max(n)}." if n and min(n) < max(n) else f" n: {n[0]}." if n else ""
    by = f"This run: judged by {judge}."
    if judge != UPSTREAM[name]:
        return f"{by} NOT OFFICIAL: upstream's judge is {UPSTREAM[name]}.{size}"
    return f"{by[:-1]}, as upstream; upstream's own tool reads what metareward export-answers writes.{size}"
