"""The tables of an iteration, as its metrics and monitors are computed from them."""

import polars as pl
from polars import selectors as cs

from metareward.pipeline.stage import iteration_folder
from metareward.tables import scan_table

SCHEMAS = {
    "unique_responses": "responses",
    "actor_no_pairs": "no_pairs",
    "judge_no_pairs": "no_pairs",
    **{name: name for name in ("judgments", "actor_pairs", "battles", "elo", "judge_pairs")},
}
THOUGHT = cs.by_name("thought", require_all=False).str.len_chars()  # whether there is one; the text is not needed
TEXTS = ["response", "judgment", "meta_judgment", "messages", "chosen", "rejected"]


def read_iteration(iteration: str) -> dict[str, pl.DataFrame]:
    """The tables that `iteration_metrics` takes, by name, without their texts."""
    folder = iteration_folder(iteration)
    scans = {table: scan_table(folder / f"{table}.parquet", schema) for table, schema in SCHEMAS.items()}
    tables = {table: scan.drop(TEXTS, strict=False).with_columns(THOUGHT).collect() for table, scan in scans.items()}
    return {table.removeprefix("unique_"): rows for table, rows in tables.items()}
