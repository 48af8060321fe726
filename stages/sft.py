"""Fine-tune the seed on the judge examples: the checkpoint sft."""

from metareward.tables import read_table
from metareward.train import train_sft

from common import EFT, MODELS, TRAINING, load, run, say, work_directory, write_json


def sft() -> None:
    params = load()
    examples = read_table(EFT / "eft.parquet", "eft")
    metrics = train_sft(MODELS / "seed", examples, MODELS / "sft", params.sft, work_directory() / "sft", params.seed)
    write_json(metrics, TRAINING / "sft.json")
    say(f"{metrics['rows_trained']} of {examples.height} examples trained in {metrics['steps']} steps")


if __name__ == "__main__":
    run(sft)
