"""Write the metrics and plots of all checkpoints: metrics.json and plots/*.json."""

import json
from pathlib import Path

from metareward.evaluation.metrics import by_metric, interval_rows, monitor_rows, plot_rows
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import SUMMARIES, Stage
from metareward.tables import write_json


def metrics() -> None:
    params = load()
    entries = json.loads((SUMMARIES / f"{params.checkpoints[-1]}.json").read_text())
    write_json(by_metric({entry["checkpoint"]: entry["metrics"] for entry in entries}), Path("metrics.json"))
    plots = plot_rows(entries) | {"intervals": interval_rows(entries), "monitors": monitor_rows(entries)}
    for plot, rows in plots.items():
        write_json(rows, Path("plots") / f"{plot}.json")
    say(Stage("metrics"), f"metrics of {len(entries)} checkpoints in metrics.json, plots in plots/")


if __name__ == "__main__":
    run(metrics)
