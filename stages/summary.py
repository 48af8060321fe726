"""Fold a checkpoint's tables into its metrics and plot rows, behind those of the checkpoints before it.

Each summary holds the ones before it, so that `metrics` depends on the last one alone and so, through it, on exactly
the checkpoints that the params name.
"""

import json
from typing import Annotated, Any

import polars as pl
import typer

from metareward.evaluation.drift import score_histogram
from metareward.evaluation.judge_bias import decided_battles, judge_bias
from metareward.evaluation.metrics import (
    benchmark_metrics,
    category_rows,
    difference_metrics,
    held_out_metrics,
    iteration_metrics,
    length_control_metrics,
    training_curves,
)
from metareward.evaluation.monitors import monitor_metrics
from metareward.evaluation.outcomes import differences_table
from metareward.params import Params
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.iteration import read_iteration
from metareward.pipeline.monitors import read_monitors
from metareward.pipeline.outcomes import read_outcomes
from metareward.pipeline.stage import (
    DIFFERENCES,
    SUMMARIES,
    TRAINING,
    Stage,
    comparison_folder,
    evaluation_folder,
    grades_folder,
    iteration_folder,
    likelihood_folder,
)
from metareward.schemas import SCORED
from metareward.tables import read_table, write_json, write_table


def summary(checkpoint: str, prev: Annotated[str | None, typer.Argument(help="none: sft, from seed")] = None) -> None:
    params, stage = load(), Stage("summary", checkpoint)
    before = json.loads((SUMMARIES / f"{prev}.json").read_text()) if prev else [held_out("seed")]
    entry = held_out(checkpoint)
    training = json.loads((TRAINING / f"{checkpoint}.json").read_text())
    entry["metrics"] |= {f"training.{metric}": value for metric, value in training.items()}
    entry["curves"] = training_curves(read_table(TRAINING / f"{checkpoint}.parquet", "training_steps"))
    others = dict.fromkeys([prev or "seed", "sft"])
    differences = compared(checkpoint, [other for other in others if other != checkpoint], params)
    write_table(differences, DIFFERENCES / f"{checkpoint}.parquet", "differences")
    entry["metrics"] |= difference_metrics(differences, before=prev or "seed")
    entry["differences"] = differences.to_dicts()
    monitors = read_monitors(checkpoint)
    entry["metrics"] |= monitor_metrics(monitors)
    entry["monitors"] = monitors.to_dicts()
    if prev:
        add_iteration(entry, checkpoint, prev, params)
    write_json([*before, entry], SUMMARIES / f"{checkpoint}.json")
    say(stage, f"{len(entry['metrics'])} metrics, behind {len(before)} other checkpoints")


def held_out(checkpoint: str) -> dict[str, Any]:
    """A summary's entry with what a checkpoint did on the held-out sets and the benchmarks, and no more."""
    folders = [place(checkpoint) for place in (evaluation_folder, comparison_folder, likelihood_folder)]
    results = pl.concat([read_table(folder / "results.parquet", "results") for folder in folders])
    bias = read_table(evaluation_folder(checkpoint) / "judge_bias.parquet", "judge_bias")
    spread = read_table(evaluation_folder(checkpoint) / "score_distribution.parquet", "score_distribution")
    graded = read_table(grades_folder(checkpoint) / "results.parquet", "results")
    return {
        "checkpoint": checkpoint,
        "metrics": held_out_metrics(results) | benchmark_metrics(graded),
        "results": results.to_dicts(),
        "benchmarks": graded.to_dicts(),
        "categories": category_rows(graded).to_dicts(),
        "bias": bias.to_dicts(),
        "distribution": spread.to_dicts(),
        "differences": [],
        "curves": [],
        "scores": [],
        "monitors": [],
    }


def compared(checkpoint: str, others: list[str], params: Params) -> pl.DataFrame:
    """The `differences` of a checkpoint to others."""
    outcomes = {name: read_outcomes(name) for name in (checkpoint, *others)}
    pairs = [(checkpoint, other) for other in others]
    return differences_table(outcomes, pairs, params.evaluate.bootstrap, params.seed)


def add_iteration(entry: dict[str, Any], iteration: str, prev: str, params: Params) -> None:
    """Add what the tables of the iteration say, which the checkpoint before made."""
    tables = read_iteration(iteration)
    control = read_table(iteration_folder(iteration) / "length_control.parquet", "length_control")
    decided = decided_battles(tables["battles"], tables["judgments"])
    bias = judge_bias(decided, prev, iteration, params.evaluate.bootstrap, params.seed)
    write_table(bias, iteration_folder(iteration) / "judge_bias.parquet", "judge_bias")
    entry["metrics"] |= iteration_metrics(tables, bias) | length_control_metrics(control)
    entry["bias"] = bias.to_dicts() + entry["bias"]
    judged = tables["judgments"].filter(pl.col("finish_reason") != SCORED)  # a reward model's scores have no bins
    entry["scores"] = score_histogram(judged).to_dicts()


if __name__ == "__main__":
    run(summary)
