"""The processes of one training run: how many they are, what the main one does alone, and how they stop together.

`torchrun` and `accelerate launch` start them. A process that raised alone would leave the others waiting for it until
the launcher ends them or half an hour is over, so what may fail in one process alone stands inside `together`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from accelerate import DistributedType, PartialState  # type: ignore[import-untyped]
from metareward.errors import UserError


def on_cpu() -> bool:
    """Whether training runs on the CPU: there is no GPU, or `accelerate launch --cpu` says so."""
    return not torch.cuda.is_available() or os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")


def divided() -> bool:
    """Whether FSDP divides the weights among the processes."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def this_process() -> PartialState:
    """This process among those of its run. The first call joins them: NCCL on GPUs, gloo on CPUs.

    Without `cpu=True` accelerate 1.15 sees one process where there is no GPU, however many there are; and with FSDP on
    CPUs it would let every process hold all, without a word.
    """
    if on_cpu() and divided():
        PartialState._prepare_backend = _as_on_gpus
        PartialState.set_device = _set_cpu
    return PartialState(cpu=on_cpu())


def _as_on_gpus(*_: Any, **__: Any) -> tuple[str, DistributedType]:
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    return "gloo", DistributedType.MULTI_GPU


def _set_cpu(state: PartialState) -> None:
    state.device = torch.device("cpu")


@contextmanager
def together() -> Iterator[None]:
    """If what stands inside raises in one process, it raises in all: nothing inside may wait for another process.

    The process that failed raises its own exception, the others a UserError with the same words.
    """
    problem: Exception | None = None
    try:
        yield
    except Exception as error:
        problem = error
    process = this_process()
    if process.num_processes > 1:
        failed = torch.tensor(float(problem is not None), device=process.device)
        torch.distributed.all_reduce(failed, op=torch.distributed.ReduceOp.MAX)
        if failed.item():
            said: list[str | None] = [None] * process.num_processes
            words = str(problem) if isinstance(problem, UserError) else f"{type(problem).__name__}: {problem}"
            torch.distributed.all_gather_object(said, words if problem else None)
            number, words = next((number, words) for number, words in enumerate(said) if words)
            problem = problem or UserError(f"process {number} of {process.num_processes} stopped: {words}")
    if problem:
        raise problem


def by_main(action: Callable[[], object]) -> None:
    """Let the main process do something alone while the others wait for it; if it fails, all fail."""
    with together():
        if this_process().is_main_process:
            action()


def check_finite(model: nn.Module, problem: str) -> None:
    """Raise UserError in every process when a weight is not finite in one: of a sharded model each sees its own shard.

    problem: the sentence that the error begins with.
    """
    with together():
        for name, weight in model.named_parameters():
            own = weight.to_local() if isinstance(weight, DTensor) else weight  # FSDP2 keeps a shard in a DTensor
            if not torch.isfinite(own).all():
                raise UserError(f"{problem}: its weight {name} holds NaN or infinite values.")
