"""Watch a checkpoint after training and evaluation, before it generates the next data: warn, or stop."""

import json

from metareward.evaluation.monitors import training_values
from metareward.pipeline.frame import load, run
from metareward.pipeline.monitors import watch
from metareward.pipeline.stage import TRAINING, Stage, evaluation_folder
from metareward.tables import read_table


def monitor_training(checkpoint: str, prev: str) -> None:
    params, stage = load(), Stage("monitor-training", checkpoint)
    training = json.loads((TRAINING / f"{checkpoint}.json").read_text())
    results = [read_table(evaluation_folder(name) / "results.parquet", "results") for name in (checkpoint, prev)]
    watch(stage, checkpoint, "training", training_values(training, *results), params.monitors)


if __name__ == "__main__":
    run(monitor_training)
