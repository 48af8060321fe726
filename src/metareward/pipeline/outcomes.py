"""Where the outcomes of a checkpoint lie."""

import polars as pl

from metareward.pipeline.stage import comparison_folder, evaluation_folder, grades_folder
from metareward.tables import read_table


def read_outcomes(checkpoint: str) -> pl.DataFrame:
    """The `outcomes` of a checkpoint on all prompts that every checkpoint is given: held-out sets and benchmarks."""
    folders = [evaluation_folder(checkpoint), comparison_folder(checkpoint), grades_folder(checkpoint)]
    return pl.concat([read_table(folder / "outcomes.parquet", "outcomes") for folder in folders])
