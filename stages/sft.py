"""Fine-tune the seed on the judge examples: the checkpoint sft."""

from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import EFT, MODELS, TRAINING, Stage
from metareward.tables import read_table, write_json
from metareward.training.launch import launched
from metareward.training.rows import check_first_token
from metareward.training.sft import train_sft


def sft() -> None:
    params, stage = load(), Stage("sft")
    if launched(params.resources):
        return
    if params.judge.read == "first_token":
        check_first_token(MODELS / "seed", params.chat_template_kwargs)
    examples = read_table(EFT / "eft.parquet", "eft")
    resources, out, steps = params.resources, MODELS / "sft", TRAINING / "sft.parquet"
    metrics = train_sft(
        MODELS / "seed",
        examples,
        out,
        params.sft,
        stage.work,
        params.seed,
        resources.save_steps,
        params.train,
        steps=steps,
        wait_hours=resources.wait_hours,
        chat_template_kwargs=params.chat_template_kwargs,
    )
    write_json(metrics, TRAINING / "sft.json")
    say(stage, f"{metrics['rows_trained']} of {examples.height} examples trained in {metrics['steps']} steps")


if __name__ == "__main__":
    run(sft)
