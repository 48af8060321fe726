"""Fit the meta-rewards: an Elo for each judgment that took part in battles."""

import polars as pl

from metareward.pipeline.frame import load, run, say
from metareward.pipeline.parts import scan_parts
from metareward.pipeline.stage import Stage, iteration_folder
from metareward.selection.elo import fit_elo, position_weights
from metareward.tables import scan_table, write_parts


def elo(iteration: str) -> None:
    params, folder = load(), iteration_folder(iteration)
    winners = scan_table(folder / "battles.parquet", "battles").select("winner").collect()["winner"]
    w1, w2 = position_weights(winners)
    fitted = (fit_elo(part["battles"], params.elo.ridge, (w1, w2)) for part in scan_parts(folder, "battles"))
    counts = write_parts(fitted, folder / "elo.parquet", "elo")
    written = scan_table(folder / "elo.parquet", "elo").select("response_id", "ridge")
    n_ridged = written.filter(pl.col("ridge") > 0).select(pl.col("response_id").n_unique()).collect().item()
    weights = f"position weights {w1:.2f}, {w2:.2f}"
    say(Stage("elo", iteration), f"Elo of {counts['elo']} judgments, of {n_ridged} responses by the ridge; {weights}")


if __name__ == "__main__":
    run(elo)
