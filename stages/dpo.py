"""Train an iteration's checkpoint by DPO on its actor and judge pairs."""

import polars as pl

from metareward.tables import read_table
from metareward.train import train_dpo

from common import MODELS, TRAINING, iteration, load, run, say, work_directory, write_json


def dpo(name: str, prev: str) -> None:
    params = load()
    columns = ["pair_id", "messages", "chosen", "rejected"]
    pairs = pl.concat(
        read_table(iteration(name) / f"{role}_pairs.parquet", f"{role}_pairs")
        .select(columns)
        .with_columns(role=pl.lit(role))
        for role in ("actor", "judge")
    )
    work = work_directory() / f"dpo@{name}"
    metrics = train_dpo(MODELS / prev, pairs, MODELS / name, params.dpo, work, params.seed)
    write_json(metrics, TRAINING / f"{name}.json")
    say(f"{metrics['rows_trained']} of {pairs.height} pairs trained in {metrics['steps']} steps")


if __name__ == "__main__":
    run(dpo)
