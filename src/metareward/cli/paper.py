"""`metareward show --paper`: the figures of Wu et al. 2024 beside this run's."""

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from textwrap import fill
from typing import Any

from metareward.cli.benchmarks import BENCHMARKS, TITLES, Column, judges_of, who_judged
from metareward.cli.intervals import Intervals
from metareward.cli.tables import WIDTH, Cell, fixed, print_table

SHARE = (100, 1, 0)
NONE_ON = (
    "No public benchmark is on (data/benchmarks/README.md); docs/method.md has the paper's figures for them. What "
    "follows is about the judge."
)
TIES = {
    "agreement_ties_half": Column("ties as\nhalf, %", 2, *SHARE),
    "agreement_ties_left_out": Column("without\nties, %", 2, *SHARE),
}
PEOPLE = TIES | {"spearman": Column("\nSpearman", 3, 1, None, None)}
BIAS = {
    "higher_score_wins": Column("higher score\nwins, %", 2, *SHARE),
    "first_position_wins": Column("first position\nwins, %", 2, *SHARE),
}


def show_paper(metrics: Mapping[str, Any], intervals: Intervals) -> None:
    """Print the paper's tables with this run's values in them: of the benchmarks that are on, and of the judge."""
    paper, run = read_paper(), beside(metrics)
    print(fill(f"Paper: {paper['source']}. MR: Meta-Rewarding; SR + LC: Self-Rewarding with length control.", WIDTH))
    on = {name: judges_of(metrics.get(name, {}), BENCHMARKS[name]) for name in BENCHMARKS}
    for name, judges in on.items():
        for judge in judges:
            _print(TITLES[name], BENCHMARKS[name], paper, name, run, name, metrics, intervals, judge)
            print(fill(who_judged(name, judge, intervals), WIDTH))
    if not any(on.values()):
        print()
        print(fill(NONE_ON, WIDTH))
    _print("Judge against people", PEOPLE, paper, "people", run, "held_out", metrics, intervals)
    print("The people and the prompts are not the paper's: params.yaml: evaluate.judged.")
    strong = {f"strong_pairs_{metric}": column for metric, column in TIES.items()}
    judges = judges_of(metrics["held_out"], strong)
    for judge in judges:
        title = f"Judge against {judge} (the paper: GPT-4), on pairs that it chose"
        _print(title, strong, paper, "strong_judge", run, "held_out", metrics, intervals, judge)
    if not judges:
        print("\nJudge against a strong judge: off (evaluate.strong_judge.n_prompts is 0).")
    _print("Meta-judge in each iteration", BIAS, paper, "meta_judge", run, "meta_judge", metrics, intervals)


def read_paper() -> dict[str, Any]:
    """The paper's figures: table -> metric -> model -> value; `models` are the models' names, in order."""
    found: dict[str, Any] = json.loads((files("metareward.evaluation") / "paper.json").read_text())
    return found


def beside(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The paper's model beside which each checkpoint stands.

    Self-Rewarding's where no judge pair was trained on; where a reward model scored, the paper has its first iteration.
    """
    pairs = metrics.get("judge_pairs", {}).get("pairs", {})
    method = "sr" if pairs and not any(pairs.values()) else "mr"
    later = [name for name in metrics["held_out"]["response_chars"] if name not in ("seed", "sft")]
    own = {"seed": "seed", "sft": "sft"}
    if metrics.get("judge", {}).get("by_reward_model"):
        return own | {name: "external" if k == 1 else f"external RM {k}" for k, name in enumerate(later, 1)}
    return own | {name: f"{method}{k}" for k, name in enumerate(later, 1)}


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
                cells += [_paper(value, columns[metric].of_paper), ours(metric, of.get(model))]
            if any(cells):
                name = paper["models"].get(model, of.get(model))
                yield [f"{name} ({of[model]})" if of.get(model, name) not in (name, model) else name, *cells]

    headings = [part for column in columns.values() for part in (f"{column.heading}\npaper", "\n\nthis run")]
    print()
    print_table(title, ["model", *headings], list(rows()))


def _paper(value: Any, decimals: int) -> str | None:
    """A figure of the paper's, which may come with its interval."""
    if isinstance(value, list):
        figure, low, high = (fixed(number, decimals) for number in value)
        return f"{figure} [{low} {high}]"
    return None if value is None else fixed(value, decimals)


def _scaled(column: Column, value: float, row: Mapping[str, Any] | None) -> str:
    text = fixed(value * column.factor, column.decimals)
    if row is None or row["ci_low"] is None:
        return text
    low, high = (fixed(row[end] * column.factor, column.of_ends) for end in ("ci_low", "ci_high"))
    return f"{text} [{low} {high}]"
