"""Ray: another engine in many processes, over all machines of a cluster.

Each worker is an actor with a copy of the model. Requests go out in the batches that one process would make of them,
so rows do not depend on how many workers there are. The batches of a worker that dies go to others; Ray starts it
again where there is room, and until then, or for good, the others do without it.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError

from metareward import params
from metareward.engines.common.batches import encode, plan_batches
from metareward.engines.common.interface import Completion, Generator, Request
from metareward.engines.common.load import load_local_engine
from metareward.engines.common.tokenizer import load_tokenizer
from metareward.errors import UserError

SIDE_BY_SIDE = {"vllm": 8, "openai": 8, "transformers": 1}  # batches that a worker has in hand; one more waits with it
SERVED_TOKENS = 65536  # key-value slots of a batch for an engine that makes batches of its own
RESTARTS = 10  # of one worker


class RayEngine:
    """A Generator that shares batches out among workers, each with an engine of its own."""

    def __init__(
        self,
        model_path: Path,
        settings: params.Engine,
        resources: params.Resources,
        seed: int,
        chat_template_kwargs: Mapping[str, params.Scalar],
    ) -> None:
        """resources.workers: how many; null: one for each GPU (or group of tensor_parallel) of the cluster, or node.

        Joins the cluster that RAY_ADDRESS names, or starts one on this machine. The checkpoint must lie at the same
        path on every node. Without GPUs a worker has its share of a node's cores as threads.
        """
        self.tokenizer = load_tokenizer(
            model_path, chat_template_kwargs
        )  # what is wrong with it is said before a worker is
        ray.init(address=None, ignore_reinit_error=True, log_to_driver=False, configure_logging=False)
        gpus = int(ray.cluster_resources().get("GPU", 0))
        cores = [int(node["Resources"]["CPU"]) for node in ray.nodes() if node["Alive"] and "CPU" in node["Resources"]]
        each = resources.tensor_parallel if gpus else 0
        count = max(1, resources.workers or (gpus // each if gpus else len(cores)))
        threads = max(1, min(cores) // ceil(count / len(cores)))
        self.in_hand = SIDE_BY_SIDE[settings.name]
        remote = ray.remote(Worker).options(
            num_cpus=1,  # and not all its threads: there must be room on another node
            num_gpus=each,
            runtime_env={} if gpus else {"env_vars": {"OMP_NUM_THREADS": str(threads)}},
            max_restarts=RESTARTS,
            max_concurrency=self.in_hand,
            scheduling_strategy="SPREAD",
        )
        self.workers = [
            remote.remote(model_path.resolve(), settings, resources, seed + place, chat_template_kwargs)
            for place in range(count)
        ]
        self.max_context = settings.max_context
        self.batch_tokens = settings.transformers.batch_tokens if settings.name == "transformers" else SERVED_TOKENS

    def generate(self, requests: Iterable[Request], done: Collection[str] = ()) -> Iterator[list[Completion]]:
        """Completions of one batch after the other, as they finish. See interface.Generator.

        Raises UserError when no worker is left.
        """
        prompts = encode(self.tokenizer, requests, self.max_context)
        batches = ([prompt.request for prompt in batch] for batch in plan_batches(prompts, self.batch_tokens))
        waiting = (batch for batch in batches if any(request.id not in done for request in batch))
        returned: list[list[Request]] = []  # batches whose worker died
        live: set[Any] = set()  # workers that gave a sign and have lost no batch since
        running: dict[Any, tuple[Any, list[Request] | None]] = {}  # what Ray owes -> worker and batch, or none: a sign

        def await_sign(worker: Any) -> None:
            running[worker.is_ready.options(max_task_retries=-1).remote()] = worker, None

        for worker in self.workers:
            await_sign(worker)
        reason = ""
        while running:
            (answer,), _ = ray.wait(list(running))
            worker, batch = running.pop(answer)
            try:
                finished = ray.get(answer)
            except (RayActorError, NodeDiedError, ObjectLostError) as error:
                reason = str(error).strip().splitlines()[-1]
                if batch is not None:
                    returned.append(batch)
                    if worker in live:
                        live.remove(worker)
                        await_sign(worker)
            else:
                if batch is None:
                    live.add(worker)
                else:
                    yield finished
            load = Counter(worker for worker, batch in running.values() if batch is not None)
            while live:
                worker = min(live, key=load.__getitem__)
                if load[worker] > self.in_hand:
                    break
                if (next_batch := returned.pop() if returned else next(waiting, None)) is None:
                    break
                finished_ids = {request.id for request in next_batch if request.id in done}
                running[worker.generate.remote(next_batch, finished_ids)] = worker, next_batch
                load[worker] += 1
            if live and not load.total():
                return
        raise UserError(f"no worker of Ray's is left: {reason}")


class Worker:
    """An engine in a process of its own, used by one thread: batches that are there together take turns."""

    def __init__(
        self,
        model_path: Path,
        settings: params.Engine,
        resources: params.Resources,
        seed: int,
        chat_template_kwargs: Mapping[str, params.Scalar],
    ) -> None:
        self.thread = ThreadPoolExecutor(1)
        loading = self.thread.submit(load_local_engine, settings, resources, model_path, seed, chat_template_kwargs)
        self.engine: Generator = loading.result()

    def is_ready(self) -> bool:
        return True

    def generate(self, batch: list[Request], done: Collection[str]) -> list[Completion]:
        finished: list[Completion] = []
        completions = self.engine.generate(batch, done)
        while (more := self.thread.submit(next, completions, None).result()) is not None:
            finished += more
        return finished
