"""Fit the meta-rewards: an Elo for each judgment that took part in battles."""

import polars as pl

from metareward.elo import fit_elo, position_weights
from metareward.select import in_parts
from metareward.tables import scan_table, write_parts

from common import iteration, load, run, say


def elo(name: str) -> None:
    params = load()
    folder = iteration(name)
    tables = {table: scan_table(folder / f"{table}.parquet", table) for table in ("prompts", "battles")}
    w1, w2 = position_weights(tables["battles"].select("winner").collect()["winner"])
    parts = (fit_elo(part["battles"], params.elo.ridge, (w1, w2)) for part in in_parts(tables))
    n_judgments = write_parts(parts, folder / "elo.parquet", "elo")
    written = scan_table(folder / "elo.parquet", "elo").select("response_id", "ridge")
    n_ridged = written.filter(pl.col("ridge") > 0).select(pl.col("response_id").n_unique()).collect().item()
    say(f"Elo of {n_judgments} judgments, of {n_ridged} responses by the ridge; position weights {w1:.2f}, {w2:.2f}")


if __name__ == "__main__":
    run(elo)
