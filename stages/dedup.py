"""Mark identical responses of a prompt; they are not judged."""

import polars as pl

from metareward.select import in_parts, mark_duplicates
from metareward.tables import scan_table, write_parts

from common import iteration, run, say


def dedup(name: str) -> None:
    folder = iteration(name)
    tables = {table: scan_table(folder / f"{table}.parquet", table) for table in ("prompts", "responses")}
    parts = (mark_duplicates(part["responses"]) for part in in_parts(tables))
    n_responses = write_parts(parts, folder / "unique_responses.parquet", "responses")
    written = scan_table(folder / "unique_responses.parquet", "responses")
    duplicates = written.select(pl.col("duplicate_of").count()).collect().item()
    say(f"{duplicates} of {n_responses} responses are duplicates")


if __name__ == "__main__":
    run(dedup)
