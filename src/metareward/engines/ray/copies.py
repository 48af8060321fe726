"""How many copies of the model work side by side, and what stays idle."""

from collections.abc import Sequence
from math import ceil

from metareward.errors import UserError


def gpus_per_copy(engine: str, tensor_parallel: int) -> int:
    """GPUs of one copy of the model; 0 for an engine that needs none."""
    return {"vllm": tensor_parallel, "transformers": 1}.get(engine, 0)


def plan_copies(gpus: Sequence[int], per_copy: int, workers: int | None, without_gpus: int = 1) -> int:
    """As many copies as the GPUs hold, or `workers` where that is fewer; without any GPU `workers`, or without_gpus.

    gpus: how many each machine has; those of one copy are all in one. per_copy: GPUs of one copy, 0 if it needs none.
    Raises UserError when no machine has GPUs enough for one copy.
    """
    if not per_copy or not any(gpus):
        return workers or without_gpus
    fit = sum(here // per_copy for here in gpus)
    if not fit:
        raise UserError(
            f"tensor_parallel is {per_copy}, but no machine has more than {max(gpus)} GPUs here; a copy of the model "
            "can't be split among machines. (params.yaml: resources.tensor_parallel)"
        )
    return min(fit, workers or fit)


def batches_of_a_worker(n_batches: int, workers: int, in_hand: int) -> int:
    """How many batches one worker has at a time: those it works on, and one that waits; few are shared out evenly.

    Else the first worker that is ready would take them all. n_batches: of a stage, or at least
    as many as all can have.
    """
    return min(in_hand + 1, max(1, ceil(n_batches / workers)))


def idle_gpus(gpus: Sequence[int], per_copy: int, copies: int, workers: int | None) -> str | None:
    """One line that says how many GPUs stay idle, or that some workers have none; null: all is in use."""
    total, key = sum(gpus) if per_copy else 0, "resources.tensor_parallel, resources.workers"
    said = f"{_number(copies, 'copy', 'copies')} of the model on {_number(per_copy, 'GPU')} each"
    if total and workers and workers > copies:
        return f"{said}: no room for the {workers} that are asked for (params.yaml: {key})"
    if idle := total - copies * per_copy if total else 0:
        return f"{said}: {idle} of {_number(total, 'GPU')} stay idle (params.yaml: {key})"
    return None


def _number(n: int, one: str, many: str | None = None) -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"
