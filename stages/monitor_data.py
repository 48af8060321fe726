"""Watch an iteration's data before anything is trained on them: warn, or stop."""

import polars as pl

from metareward.evaluation.judge_bias import decided_battles, judge_bias
from metareward.evaluation.metrics import iteration_metrics
from metareward.evaluation.monitors import data_values, effective_pairs
from metareward.pipeline.frame import load, run
from metareward.pipeline.iteration import read_iteration
from metareward.pipeline.monitors import watch
from metareward.pipeline.stage import Stage, iteration_folder
from metareward.tables import scan_table

TEXTS = ["chosen", "rejected", "chosen_finish", "rejected_finish"]


def monitor_data(iteration: str, prev: str) -> None:
    params, stage = load(), Stage("monitor-data", iteration)
    tables = read_iteration(iteration)
    decided = decided_battles(tables["battles"], tables["judgments"])
    bias = judge_bias(decided, prev, iteration, rounds=1, seed=0)  # of its shares; nobody reads the intervals
    folder = iteration_folder(iteration)
    files = {role: folder / f"{role}_pairs.parquet" for role in ("actor", "judge")}
    pairs = pl.concat(scan_table(path, f"{role}_pairs").select(TEXTS) for role, path in files.items()).collect()
    values = data_values(iteration_metrics(tables, bias), effective_pairs(pairs, params.dpo.cut_texts))
    watch(stage, iteration, "data", values, params.monitors)


if __name__ == "__main__":
    run(monitor_data)
