"""What AlpacaEval's length control needs beside the grades, from the files that params name."""

import polars as pl

from metareward.inputs.alpaca_eval_constants import read_difficulty, read_gamed
from metareward.inputs.questions import LENGTH_CONTROL, benchmark_files
from metareward.params import Benchmarks


def read_length_control(benchmarks: Benchmarks) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    """Difficulties of instructions and judgments of gamed baselines; null where one of the files is not there."""
    files = benchmark_files(benchmarks, "alpaca_eval")
    if not all(files[key].exists() for key in LENGTH_CONTROL):
        return None
    keys = [f"params.yaml: benchmarks.alpaca_eval.{key}" for key in LENGTH_CONTROL]
    difficulty = read_difficulty(files["difficulty"], keys[0])
    return difficulty, read_gamed(files["gamed"], difficulty, keys[1])
