"""Train an iteration's checkpoint by DPO on its actor and judge pairs."""

import polars as pl

from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import MODELS, TRAINING, Stage, iteration_folder
from metareward.tables import read_table, tally, write_json
from metareward.training.dpo import train_dpo
from metareward.training.launch import launched


def dpo(iteration: str, prev: str) -> None:
    params, stage, folder = load(), Stage("dpo", iteration), iteration_folder(iteration)
    if launched(params.resources):
        return
    columns = ["pair_id", "messages", "chosen", "rejected", "chosen_finish", "rejected_finish"]
    pairs, hints = [], []
    for role in ("actor", "judge"):
        table = read_table(folder / f"{role}_pairs.parquet", f"{role}_pairs")
        none = read_table(folder / f"{role}_no_pairs.parquet", "no_pairs")
        pairs.append(table.select(columns).with_columns(role=pl.lit(role)))
        hints.append(f"prompts without {role} pair: {tally(none['reason'])}")
    hint, resources, out = "; ".join(hints) + ".", params.resources, MODELS / iteration
    metrics = train_dpo(
        MODELS / prev,
        pl.concat(pairs),
        out,
        params.dpo,
        stage.work,
        params.seed,
        hint,
        resources.save_steps,
        params.train,
        steps=TRAINING / f"{iteration}.parquet",
        wait_hours=resources.wait_hours,
        chat_template_kwargs=params.chat_template_kwargs,
    )
    write_json(metrics, TRAINING / f"{iteration}.json")
    say(stage, f"{metrics['rows_trained']} of {metrics['rows_in']} pairs trained in {metrics.get('steps', 0)} steps")


if __name__ == "__main__":
    run(dpo)
