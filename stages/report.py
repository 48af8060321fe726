"""Fold all tables into metrics.json and plots/*.json."""

import json
from pathlib import Path
from typing import Any

import polars as pl
from polars import selectors as cs

from metareward.evaluation.metrics import by_metric, held_out_metrics, iteration_metrics, result_rows, score_histogram
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import TRAINING, Stage, comparison_folder, evaluation_folder, iteration_folder
from metareward.tables import read_table, scan_table, write_json

SCHEMAS = {
    "unique_responses": "responses",
    "actor_no_pairs": "no_pairs",
    "judge_no_pairs": "no_pairs",
    **{name: name for name in ("judgments", "actor_pairs", "battles", "elo", "judge_pairs")},
}
THOUGHT = cs.by_name("thought", require_all=False).str.len_chars()  # whether there is one; the text is not needed
TEXTS = ["response", "judgment", "meta_judgment", "messages", "chosen", "rejected"]


def report() -> None:
    params = load()
    values: dict[str, dict[str, Any]] = {checkpoint: {} for checkpoint in params.checkpoints}
    histogram, results = [], []
    for name in params.checkpoints:
        if name in params.iterations:
            files = {table: iteration_folder(name) / f"{table}.parquet" for table in SCHEMAS}
            scans = {table: scan_table(path, SCHEMAS[table]) for table, path in files.items()}
            tables = {
                table: scan.drop(TEXTS, strict=False).with_columns(THOUGHT).collect() for table, scan in scans.items()
            }
            tables["responses"] = tables.pop("unique_responses")
            values[name] |= iteration_metrics(tables)
            histogram += [{"iteration": name, **row} for row in score_histogram(tables["judgments"])]
        if name != "seed":
            training = json.loads((TRAINING / f"{name}.json").read_text())
            values[name] |= {f"training.{metric}": value for metric, value in training.items()}
        folders = [evaluation_folder(name), comparison_folder(name)]
        rows = pl.concat([read_table(folder / "results.parquet", "results") for folder in folders])
        values[name] |= held_out_metrics(rows)
        results.append(rows)
    write_json(by_metric(values), Path("metrics.json"))
    table = pl.concat(results)
    for plot, metrics in {
        "win_rate": ["win_rate"],
        "judge_agreement": ["agreement_ties_half", "agreement_ties_left_out"],
        "readable": ["readable_judgments", "readable_verdicts"],
        "response_chars": ["response_chars"],
    }.items():
        write_json(result_rows(table, metrics), Path("plots") / f"{plot}.json")
    write_json(histogram, Path("plots/scores.json"))
    say(Stage("report"), f"metrics of {len(values)} checkpoints in metrics.json, plots in plots/")


if __name__ == "__main__":
    run(report)
