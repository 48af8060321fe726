"""Fine-tune the seed on the judge examples: the checkpoint sft."""

from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import EFT, MODELS, TRAINING, Stage
from metareward.tables import read_table, write_json
from metareward.training.sft import train_sft


def sft() -> None:
    params, stage = load(), Stage("sft")
    examples = read_table(EFT / "eft.parquet", "eft")
    save_steps = params.resources.save_steps
    out, steps = MODELS / "sft", TRAINING / "sft.parquet"
    metrics = train_sft(MODELS / "seed", examples, out, params.sft, stage.work, params.seed, save_steps, steps=steps)
    write_json(metrics, TRAINING / "sft.json")
    say(stage, f"{metrics['rows_trained']} of {examples.height} examples trained in {metrics['steps']} steps")


if __name__ == "__main__":
    run(sft)
