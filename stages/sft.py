"""Fine-tune the seed on the judge examples: the checkpoint sft."""

from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import EFT, MODELS, TRAINING, Stage
from metareward.tables import read_table, write_json
from metareward.training.sft import train_sft


def sft() -> None:
    params, stage = load(), Stage("sft")
    examples = read_table(EFT / "eft.parquet", "eft")
    save_steps = params.resources.save_steps
    metrics = train_sft(
        MODELS / "seed",
        examples,
        MODELS / "sft",
        params.sft,
        stage.work,
        params.seed,
        save_steps,
        chat_template_kwargs=params.chat_template_kwargs,
    )
    write_json(metrics, TRAINING / "sft.json")
    say(stage, f"{metrics['rows_trained']} of {examples.height} examples trained in {metrics['steps']} steps")


if __name__ == "__main__":
    run(sft)
