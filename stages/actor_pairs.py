"""Pair responses by score, with length control."""

from metareward.select import select_actor_pairs
from metareward.tables import read_table, tally, write_table

from common import iteration, load, run, say


def actor_pairs(name: str) -> None:
    params = load()
    folder = iteration(name)
    pairs, no_pairs = select_actor_pairs(
        read_table(folder / "prompts.parquet", "prompts"),
        read_table(folder / "unique_responses.parquet", "responses"),
        read_table(folder / "scores.parquet", "scores"),
        params.effective_rho(name),
        params.iterations[name].max_chosen_chars,
    )
    pairs = write_table(pairs, folder / "actor_pairs.parquet", "actor_pairs")
    no_pairs = write_table(no_pairs, folder / "actor_no_pairs.parquet", "no_pairs")
    say(f"{pairs.height} actor pairs at rho {params.effective_rho(name)}; without: {tally(no_pairs['reason'])}")


if __name__ == "__main__":
    run(actor_pairs)
