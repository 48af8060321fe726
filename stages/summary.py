"""Fold a checkpoint's tables into its metrics and plot rows, behind those of the checkpoints before it.

Each summary holds the ones before it, so that `report` depends on the last one alone and so, through it, on exactly
the checkpoints that the params name.
"""

import json
from typing import Annotated, Any

import polars as pl
import typer
from polars import selectors as cs

from metareward.evaluation.metrics import held_out_metrics, iteration_metrics, score_histogram, training_curves
from metareward.pipeline.frame import run, say
from metareward.pipeline.stage import (
    SUMMARIES,
    TRAINING,
    Stage,
    comparison_folder,
    evaluation_folder,
    iteration_folder,
)
from metareward.tables import read_table, scan_table, write_json

SCHEMAS = {
    "unique_responses": "responses",
    "actor_no_pairs": "no_pairs",
    "judge_no_pairs": "no_pairs",
    **{name: name for name in ("judgments", "actor_pairs", "battles", "elo", "judge_pairs")},
}
THOUGHT = cs.by_name("thought", require_all=False).str.len_chars()  # whether there is one; the text is not needed
TEXTS = ["response", "judgment", "meta_judgment", "messages", "chosen", "rejected"]


def summary(checkpoint: str, prev: Annotated[str | None, typer.Argument(help="none: sft, from seed")] = None) -> None:
    before = json.loads((SUMMARIES / f"{prev}.json").read_text()) if prev else [held_out("seed")]
    entry = held_out(checkpoint)
    training = json.loads((TRAINING / f"{checkpoint}.json").read_text())
    entry["metrics"] |= {f"training.{metric}": value for metric, value in training.items()}
    entry["curves"] = training_curves(read_table(TRAINING / f"{checkpoint}.parquet", "training_steps"))
    if prev:
        files = {table: iteration_folder(checkpoint) / f"{table}.parquet" for table in SCHEMAS}
        scans = {table: scan_table(path, SCHEMAS[table]) for table, path in files.items()}
        tables = {
            table: scan.drop(TEXTS, strict=False).with_columns(THOUGHT).collect() for table, scan in scans.items()
        }
        tables["responses"] = tables.pop("unique_responses")
        entry["metrics"] |= iteration_metrics(tables)
        entry["scores"] = score_histogram(tables["judgments"])
    write_json([*before, entry], SUMMARIES / f"{checkpoint}.json")
    say(Stage("summary", checkpoint), f"{len(entry['metrics'])} metrics, behind {len(before)} other checkpoints")


def held_out(checkpoint: str) -> dict[str, Any]:
    """A summary's entry with what a checkpoint did on the held-out sets, and no more."""
    folders = [evaluation_folder(checkpoint), comparison_folder(checkpoint)]
    results = pl.concat([read_table(folder / "results.parquet", "results") for folder in folders])
    metrics = held_out_metrics(results)
    return {"checkpoint": checkpoint, "metrics": metrics, "results": results.to_dicts(), "curves": [], "scores": []}


if __name__ == "__main__":
    run(summary)
