"""Train an iteration's checkpoint by DPO on its actor and judge pairs."""

from pathlib import Path

import polars as pl

from metareward.journal import work_directory
from metareward.tables import read_table, tally, write_json
from metareward.train import train_dpo

from common import MODELS, TRAINING, iteration, load, run, say


def dpo(name: str, prev: str) -> None:
    params = load()
    columns = ["pair_id", "messages", "chosen", "rejected"]
    pairs, hints = [], []
    for role in ("actor", "judge"):
        table = read_table(iteration(name) / f"{role}_pairs.parquet", f"{role}_pairs")
        none = read_table(iteration(name) / f"{role}_no_pairs.parquet", "no_pairs")
        pairs.append(table.select(columns).with_columns(role=pl.lit(role)))
        hints.append(f"prompts without {role} pair: {tally(none['reason'])}")
    work = work_directory(Path.cwd()) / f"dpo@{name}"
    hint, save_steps = "; ".join(hints) + ".", params.resources.save_steps
    metrics = train_dpo(MODELS / prev, pl.concat(pairs), MODELS / name, params.dpo, work, params.seed, hint, save_steps)
    write_json(metrics, TRAINING / f"{name}.json")
    say(f"{metrics['rows_trained']} of {metrics['rows_in']} pairs trained in {metrics.get('steps', 0)} steps")


if __name__ == "__main__":
    run(dpo)
