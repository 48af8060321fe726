"""Mean and variance of the valid scores of each response."""

import polars as pl

from metareward.select import in_parts, score_statistics
from metareward.tables import empty_table, scan_table, write_table

from common import iteration, run, say


def score(name: str) -> None:
    folder = iteration(name)
    tables = {
        "prompts": scan_table(folder / "prompts.parquet", "prompts"),
        "responses": scan_table(folder / "unique_responses.parquet", "responses"),
        "judgments": scan_table(folder / "judgments.parquet", "judgments"),
    }
    parts = [score_statistics(part["responses"], part["judgments"]) for part in in_parts(tables)]
    scores = write_table(pl.concat([empty_table("scores"), *parts]), folder / "scores.parquet", "scores")
    say(f"{scores.height - scores['mean'].null_count()} of {scores.height} responses have a score")


if __name__ == "__main__":
    run(score)
