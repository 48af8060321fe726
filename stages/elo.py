"""Fit the meta-rewards: an Elo for each judgment that took part in battles."""

from metareward.elo import fit_elo
from metareward.tables import scan_table, write_table

from common import iteration, load, run, say


def elo(name: str) -> None:
    params = load()
    battles = scan_table(iteration(name) / "battles.parquet", "battles")
    table = write_table(fit_elo(battles, params.elo.ridge), iteration(name) / "elo.parquet", "elo")
    ridged = table.filter(table["ridge"] > 0)["response_id"].n_unique()
    say(f"Elo of {table.height} judgments of {table['response_id'].n_unique()} responses, {ridged} by the ridge")


if __name__ == "__main__":
    run(elo)
