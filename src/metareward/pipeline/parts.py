"""An iteration's tables, read part by part, and its preference pairs, written part by part."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from metareward.selection.parts import in_parts
from metareward.tables import empty_table, scan_table, tally, write_parts, write_table


def scan_parts(folder: Path, *files: str) -> Iterator[dict[str, pl.LazyFrame]]:
    """`prompts` and other tables of an iteration, part by part, each under the name of its schema.

    files: names without their ending; `unique_responses` comes as `responses`.
    """
    names = {file.removeprefix("unique_"): file for file in ("prompts", *files)}
    return in_parts({name: scan_table(folder / f"{file}.parquet", name) for name, file in names.items()})


def write_pairs(parts: Iterable[tuple[pl.DataFrame, pl.DataFrame]], folder: Path, role: str) -> str:
    """Write the preference pairs of a role and the prompts without one, which come part by part.

    Returns how many there are, in words.
    """
    no_pairs = [empty_table("no_pairs")]

    def pairs() -> Iterator[pl.DataFrame]:
        for with_pair, without in parts:
            no_pairs.append(without)
            yield with_pair

    counts = write_parts(pairs(), folder / f"{role}_pairs.parquet", f"{role}_pairs")
    reasons = write_table(pl.concat(no_pairs), folder / f"{role}_no_pairs.parquet", "no_pairs")["reason"]
    return f"{counts['prompt_id']} {role} pairs; prompts without: {tally(reasons)}"
