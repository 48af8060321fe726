"""Give an iteration its own slice of the prompt pool."""

from pathlib import Path

from metareward.inputs.pool import check_size, read_prompts, slice_prompts
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import Stage, iteration_folder
from metareward.tables import write_table


def prompts(iteration: str) -> None:
    params = load()
    pool = read_prompts(Path(params.prompts.file), "params.yaml: prompts.file")
    check_size(pool, params.prompts, len(params.checkpoints) - 2)
    position = params.checkpoints.index(iteration) - params.checkpoints.index("sft") - 1
    chosen = slice_prompts(pool, params.prompts.per_iteration, position, params.seed)
    write_table(chosen, iteration_folder(iteration) / "prompts.parquet", "prompts")
    say(Stage("prompts", iteration), f"{chosen.height} of {pool.height} prompts")


if __name__ == "__main__":
    run(prompts)
