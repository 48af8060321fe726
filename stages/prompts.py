"""Give an iteration its own slice of the prompt pool."""

from pathlib import Path

from metareward.inputs import read_prompts, slice_prompts
from metareward.tables import write_table

from common import iteration, load, run, say


def prompts(name: str) -> None:
    params = load()
    pool = read_prompts(Path(params.prompts.file), "params.yaml: prompts.file")
    chosen = slice_prompts(pool, params.prompts.per_iteration, params.position(name), params.seed)
    write_table(chosen, iteration(name) / "prompts.parquet", "prompts")
    say(f"{chosen.height} of {pool.height} prompts")


if __name__ == "__main__":
    run(prompts)
