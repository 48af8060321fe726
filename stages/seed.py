"""Fetch or copy the seed model into models/seed."""

from metareward.inputs.seed_model import save_seed_model
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import MODELS, Stage


def seed() -> None:
    params = load()
    save_seed_model(params.seed_model, MODELS / "seed", params.seed_revision)
    at = f" at {params.seed_revision}" if params.seed_revision else ""
    say(Stage("seed"), f"{params.seed_model}{at} is saved in {MODELS / 'seed'}")


if __name__ == "__main__":
    run(seed)
