"""Fetch or copy the seed model into models/seed."""

from metareward.seed_model import save_seed_model

from common import MODELS, load, run, say


def seed() -> None:
    params = load()
    save_seed_model(params.seed_model, MODELS / "seed")
    say(f"{params.seed_model} is saved in {MODELS / 'seed'}")


if __name__ == "__main__":
    run(seed)
