"""Pair responses by score, with length control."""

from metareward.pipeline.frame import load, run, say
from metareward.pipeline.parts import scan_parts, write_pairs
from metareward.pipeline.stage import Stage, iteration_folder
from metareward.selection.actor_pairs import effective_rho, select_actor_pairs


def actor_pairs(iteration: str) -> None:
    params, folder = load(), iteration_folder(iteration)
    own = params.iterations[iteration]
    rho, max_chars = effective_rho(params.rho, own.rho), own.max_chosen_chars
    parts = scan_parts(folder, "unique_responses", "scores")
    pairs = (select_actor_pairs(**part, rho=rho, max_chosen_chars=max_chars) for part in parts)
    say(Stage("actor_pairs", iteration), write_pairs(pairs, folder, "actor"))


if __name__ == "__main__":
    run(actor_pairs)
