"""Pair responses by score, with length control."""

from metareward.select import in_parts, select_actor_pairs
from metareward.tables import scan_table

from common import iteration, load, run, write_pairs


def actor_pairs(name: str) -> None:
    params = load()
    folder = iteration(name)
    rho, max_chars = params.effective_rho(name), params.iterations[name].max_chosen_chars
    tables = {
        "prompts": scan_table(folder / "prompts.parquet", "prompts"),
        "responses": scan_table(folder / "unique_responses.parquet", "responses"),
        "scores": scan_table(folder / "scores.parquet", "scores"),
    }
    parts = (select_actor_pairs(**part, rho=rho, max_chosen_chars=max_chars) for part in in_parts(tables))
    write_pairs(parts, folder, "actor")


if __name__ == "__main__":
    run(actor_pairs)
