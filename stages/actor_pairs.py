"""Pair responses by score, with length control."""

from metareward.pipeline.frame import load, run, say
from metareward.pipeline.parts import scan_parts, write_pairs
from metareward.pipeline.stage import Stage, iteration_folder
from metareward.selection.actor_pairs import actor_candidates, find_rho, select_actor_pairs
from metareward.tables import write_table


def actor_pairs(iteration: str) -> None:
    params, folder = load(), iteration_folder(iteration)
    own = params.iterations[iteration]
    max_chars = own.max_chosen_chars
    candidates = (actor_candidates(**part) for part in scan_parts(folder, "scores"))
    control = find_rho(params.rho, own.rho, candidates, max_chars)
    write_table(control, folder / "length_control.parquet", "length_control")
    (rho, set_by), parts = control.row(0), scan_parts(folder, "unique_responses", "scores")
    pairs = (select_actor_pairs(**part, rho=rho, max_chosen_chars=max_chars) for part in parts)
    warning = "; no rho makes chosen responses as short as rejected ones" if set_by == "least_difference" else ""
    say(Stage("actor_pairs", iteration), f"{write_pairs(pairs, folder, 'actor')}; rho {rho:g}{warning}")


if __name__ == "__main__":
    run(actor_pairs)
