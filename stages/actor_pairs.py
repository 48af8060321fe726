"""Pair responses by score, with length control."""

import polars as pl

from metareward.select import in_parts, select_actor_pairs
from metareward.tables import empty_table, scan_table, tally, write_table

from common import iteration, load, run, say


def actor_pairs(name: str) -> None:
    params = load()
    folder = iteration(name)
    rho, max_chars = params.effective_rho(name), params.iterations[name].max_chosen_chars
    tables = {
        "prompts": scan_table(folder / "prompts.parquet", "prompts"),
        "responses": scan_table(folder / "unique_responses.parquet", "responses"),
        "scores": scan_table(folder / "scores.parquet", "scores"),
    }
    pairs, no_pairs = [empty_table("actor_pairs")], [empty_table("no_pairs")]
    for part in in_parts(tables):
        with_pair, without = select_actor_pairs(part["prompts"], part["responses"], part["scores"], rho, max_chars)
        pairs.append(with_pair)
        no_pairs.append(without)
    paired = write_table(pl.concat(pairs), folder / "actor_pairs.parquet", "actor_pairs")
    unpaired = write_table(pl.concat(no_pairs), folder / "actor_no_pairs.parquet", "no_pairs")
    say(f"{paired.height} actor pairs at rho {rho}; without: {tally(unpaired['reason'])}")


if __name__ == "__main__":
    run(actor_pairs)
