"""Where the outcomes of a checkpoint lie."""

import polars as pl

from metareward.pipeline.stage import comparison_folder, evaluation_folder, grades_folder, likelihood_folder
from metareward.tables import read_table


def read_outcomes(checkpoint: str) -> pl.DataFrame:
    """The `outcomes` of a checkpoint on all prompts that every checkpoint is given: held-out sets and benchmarks."""
    places = (evaluation_folder, comparison_folder, likelihood_folder, grades_folder)
    folders = [place(checkpoint) for place in places]
    return pl.concat([read_table(folder / "outcomes.parquet", "outcomes") for folder in folders])
