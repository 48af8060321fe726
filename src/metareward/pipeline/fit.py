"""Does a run fit its GPUs? What params ask for, and one line where it is more than a GPU has."""

import os
from collections.abc import Iterator
from pathlib import Path

from metareward.errors import UserError
from metareward.inputs.launch_file import read_launch
from metareward.inputs.seed_config import seed_config
from metareward.params import Dpo, Params, Sft
from metareward.pipeline.memory import UTILIZATION, Shape, disk, generation, helps, likelihood, shape_of, training

GB = 1e9


def seed_shape(params: Params) -> tuple[Shape | None, str]:
    """The shape of the seed, and where it was read; or None, and why it is not known."""
    found = seed_config(params.seed_model, params.seed_revision)
    if found is None:
        return None, f"the config.json of {params.seed_model} cannot be read before the stage seed has run"
    config, where = found
    try:
        shape = shape_of(config)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None, f"{where} does not describe a decoder"
    return shape, where if shape else f"{where} is a {config.get('model_type')}, whose parameters are not counted here"


def training_processes(params: Params) -> int:
    """How many processes train: those of params, or one for each GPU of this machine; on all machines together."""
    return (params.resources.processes or gpus_here() or 1) * read_launch(params.resources.launch).machines


def gpus_here() -> int:
    """NVIDIA GPUs that are visible, without loading a library that asks them."""
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return gpus if visible is None else min(gpus, len([one for one in visible.split(",") if one.strip()]))


def check_fit(params: Params, shape: Shape) -> None:
    """Raise UserError for the first stage that takes more of a GPU than resources.gpu_memory; null: for none."""
    limit = params.resources.gpu_memory
    if limit is None:
        return
    processes, divided = training_processes(params), read_launch(params.resources.launch).divides
    for section in ("sft", "dpo"):
        settings: Sft | Dpo = getattr(params, section)
        need = training(shape, params, settings, processes, divided).total / GB
        if need > limit:
            words, least = helps(shape, params, section, processes, divided)
            enough = "" if least / GB <= limit else ", which is not enough alone"
            raise UserError(
                f"{section} takes about {need:.1f} GB of each GPU, which has {limit:g}. What helps most is {words}: "
                f"{least / GB:.1f} GB{enough}. `metareward plan` says what takes them. "
                "(params.yaml: resources.gpu_memory)"
            )
    if found := generation(shape, params):
        share = UTILIZATION if params.engine.name == "vllm" else 1.0
        if found.total / GB > share * limit:
            key = "resources.tensor_parallel" if params.engine.name == "vllm" else "engine.transformers.batch_tokens"
            change = "a larger" if params.engine.name == "vllm" else "a smaller"
            raise UserError(
                f"generation takes at least {found.total / GB:.1f} GB of each GPU, {found.weights / GB:.1f} of them "
                f"weights, and {share * limit:g} are there for it. What helps most is {change} {key}. "
                "(params.yaml: resources.gpu_memory)"
            )
    need = likelihood(shape) / GB if params.evaluate.likelihood else 0.0
    if need > limit:
        raise UserError(
            f"likelihood takes about {need:.1f} GB of one GPU, which has {limit:g}. Set evaluate.likelihood: false. "
            "(params.yaml: resources.gpu_memory)"
        )


def training_rows(params: Params, shape: Shape, processes: int) -> Iterator[tuple[str, ...]]:
    """Rows of a table: what SFT and DPO take of a GPU, in GB, with activations kept or computed twice, and with all of
    it on each GPU or divided among the processes. A star marks what params say."""
    launch = read_launch(params.resources.launch)
    for section in ("sft", "dpo"):
        settings: Sft | Dpo = getattr(params, section)
        for divided in (False, True) if processes > 1 else (False,):
            for twice in (False, True):
                now = twice == settings.gradient_checkpointing and divided == (launch.divides and processes > 1)
                changed = settings.model_copy(update={"gradient_checkpointing": twice})
                need = training(shape, params, changed, processes, divided)
                parts = (need.weights, need.gradients, need.optimizer, need.activations, need.total)
                yield (
                    f"{section} {'*' if now else ''}".strip(),
                    f"divided by {processes}" if divided else "all",
                    "on" if twice else "off",
                    *(f"{part / GB:,.2f}" for part in parts),
                )


def generation_line(params: Params, shape: Shape) -> str | None:
    """What generation takes of a GPU; None where the engine is elsewhere."""
    found = generation(shape, params)
    if found is None:
        return None
    line = (
        f"generation on each GPU ({params.engine.name}): weights {found.weights / GB:.2f} GB, key-value cache "
        f"{found.context / GB:.2f} GB for {params.engine.max_context:,} tokens"
    )
    if params.engine.name == "vllm" and params.resources.gpu_memory:
        free = UTILIZATION * params.resources.gpu_memory - found.weights / GB
        return f"{line}, so {max(int(free / (found.context / GB)), 0):,} such requests at once"
    return f"{line}; {found.cache / GB:.2f} GB are reserved" if params.engine.name == "transformers" else line


def disk_lines(params: Params, shape: Shape) -> Iterator[str]:
    """What checkpoints take, and training states while a stage trains."""
    found, n = disk(shape, params), len(params.checkpoints)
    total = found.seed + (n - 1) * found.checkpoint
    yield (
        f"checkpoints: {n}, {total / GB:.2f} GB: the seed {found.seed / GB:.2f} GB, each other one "
        f"{found.checkpoint / GB:.2f} GB in {params.train.save_dtype}"
    )
    best = f", and twice {found.best / GB:.2f} GB of the best weights" if found.best else ""
    states = f"two states of {found.state / GB:.2f} GB{best}" if found.state else f"the trained weights{best}"
    yield f"training: at most {found.work / GB:.2f} GB in .work/ while a stage trains ({states})"
