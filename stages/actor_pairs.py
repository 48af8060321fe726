"""Pair responses by score, with length control."""

from metareward.select import select_actor_pairs

from common import iteration, load, run, scan_parts, write_pairs


def actor_pairs(name: str) -> None:
    params = load()
    folder = iteration(name)
    rho, max_chars = params.effective_rho(name), params.iterations[name].max_chosen_chars
    parts = scan_parts(folder, "unique_responses", "scores")
    write_pairs((select_actor_pairs(**part, rho=rho, max_chosen_chars=max_chars) for part in parts), folder, "actor")


if __name__ == "__main__":
    run(actor_pairs)
