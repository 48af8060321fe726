"""Fine-tune the seed on the judge examples: the checkpoint sft."""

from pathlib import Path

from metareward.journal import work_directory
from metareward.tables import read_table, write_json
from metareward.train import train_sft

from common import EFT, MODELS, TRAINING, load, run, say


def sft() -> None:
    params = load()
    examples = read_table(EFT / "eft.parquet", "eft")
    work, save_steps = work_directory(Path.cwd()) / "sft", params.resources.save_steps
    metrics = train_sft(MODELS / "seed", examples, MODELS / "sft", params.sft, work, params.seed, save_steps)
    write_json(metrics, TRAINING / "sft.json")
    say(f"{metrics['rows_trained']} of {examples.height} examples trained in {metrics['steps']} steps")


if __name__ == "__main__":
    run(sft)
