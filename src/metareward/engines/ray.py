"""Ray: another engine in many processes, over all machines of a cluster.

Each worker is an actor with a copy of the model. Requests go out in the batches that one process would make of them,
so rows do not depend on how many workers there are; a batch whose worker or machine dies is done again by another.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import ray

from metareward import params
from metareward.engines import Completion, Generator, Request, load_engine, local_engine
from metareward.engines.batches import encode, load_tokenizer, plan

QUEUED = 2  # batches with each worker: one running, one waiting
RESTARTS = 10  # of one worker, before its batch is given up


class RayEngine:
    """A Generator that shares batches out among workers, each with an engine of its own."""

    def __init__(self, model_path: Path, settings: params.Engine, resources: params.Resources, seed: int) -> None:
        """resources.workers: how many; null: one for each GPU (or group of tensor_parallel) of the cluster, or node.

        Joins the cluster that RAY_ADDRESS names, or starts one on this machine. The checkpoint must lie at the same
        path on every node.
        """
        ray.init(address=None, ignore_reinit_error=True, log_to_driver=False, configure_logging=False)
        gpus = int(ray.cluster_resources().get("GPU", 0))
        each = settings.tensor_parallel if gpus else 0
        count = resources.workers or (gpus // each if gpus else len([node for node in ray.nodes() if node["Alive"]]))
        inner = settings.model_copy(update={"name": local_engine(settings.worker, has_gpu=gpus > 0)})
        remote = ray.remote(Worker).options(
            num_cpus=1, num_gpus=each, max_restarts=RESTARTS, max_task_retries=RESTARTS, scheduling_strategy="SPREAD"
        )
        self.workers = [
            remote.remote(model_path.resolve(), inner, resources, seed + place) for place in range(max(1, count))
        ]
        self.tokenizer = load_tokenizer(model_path)
        self.settings = settings

    def generate(self, requests: Iterable[Request], done: Collection[str] = ()) -> Iterator[list[Completion]]:
        """Completions of one batch after the other, as they finish. See engines.Generator."""
        prompts = encode(self.tokenizer, requests, self.settings.max_context)
        batches = ([prompt.request for prompt in batch] for batch in plan(prompts, self.settings.batch_tokens))
        waiting = (batch for batch in batches if any(request.id not in done for request in batch))
        running: dict[Any, int] = {
            self._send(worker, batch, done): worker
            for worker, batch in zip(list(range(len(self.workers))) * QUEUED, waiting, strict=False)
        }
        while running:
            (finished,), _ = ray.wait(list(running))
            worker = running.pop(finished)
            for batch in islice(waiting, 1):
                running[self._send(worker, batch, done)] = worker
            yield ray.get(finished)

    def _send(self, worker: int, batch: list[Request], done: Collection[str]) -> Any:
        return self.workers[worker].generate.remote(batch, {request.id for request in batch if request.id in done})


class Worker:
    """An engine in a process of its own."""

    def __init__(self, model_path: Path, settings: params.Engine, resources: params.Resources, seed: int) -> None:
        self.engine: Generator = load_engine(settings, resources, model_path, seed)

    def generate(self, batch: list[Request], done: Collection[str]) -> list[Completion]:
        return [completion for completions in self.engine.generate(batch, done) for completion in completions]
