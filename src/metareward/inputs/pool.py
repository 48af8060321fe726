"""The pool of prompts, and the slice of it that an iteration takes."""

from pathlib import Path

import polars as pl

from metareward.errors import UserError
from metareward.ids import content_id
from metareward.inputs.lines import read_rows
from metareward.params import Prompts
from metareward.tables import TABLES


def read_prompts(path: Path, key: str) -> pl.DataFrame:
    """The `prompts` table of a JSON Lines file with the field prompt and, optionally, category.

    Repeated prompts are read once. key: the name of the parameter that holds the path, for error messages.
    """
    rows = [
        {"prompt_id": content_id("prompt", row["prompt"]), "prompt": row["prompt"], "source": row["category"]}
        for row in read_rows(path, key, {"prompt": str}, {"category": path.stem})
    ]
    frame = pl.DataFrame(rows, schema=dict(TABLES["prompts"].columns))
    return frame.unique("prompt_id", keep="first", maintain_order=True)


def check_size(pool: pl.DataFrame, prompts: Prompts, n_iterations: int) -> None:
    """Raise UserError when a pool has fewer prompts than the iterations take."""
    needed = prompts.per_iteration * n_iterations
    if pool.height < needed:
        more = "; prompts.generate says how many to write and how often to try" if prompts.generated else ""
        raise UserError(
            f"{prompts.file} has {pool.height} different prompts; {n_iterations} iterations of {prompts.per_iteration} "
            f"need {needed}{more}. (params.yaml: prompts.per_iteration)"
        )


def slice_prompts(pool: pl.DataFrame, size: int, position: int, seed: int) -> pl.DataFrame:
    """The prompts of one iteration: slice number `position` of `size` prompts of the seeded permutation of the pool.

    Slices of different positions are disjoint, and stay the same when an iteration is added (METHOD §1).
    """
    draw = pl.col("prompt_id").map_elements(lambda id_: content_id("order", seed, id_), return_dtype=pl.String)
    return pool.sort(draw, "prompt_id").slice(position * size, size)
