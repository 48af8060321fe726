"""Ray: another engine in many processes, on all GPUs of this machine or over all machines of a cluster.

Each worker is an actor with a copy of the model. Requests go out in the batches that one process would make of them,
so rows do not depend on how many workers there are. The batches of a worker that dies go to others; Ray starts it
again where there is room, and until then, or for good, the others do without it.
"""

import logging
import os
import socket
import sys
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from math import ceil
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from tqdm import tqdm

from metareward import params
from metareward.digests import digest
from metareward.engines.common.batches import encode, plan_batches
from metareward.engines.common.device import visible_gpus
from metareward.engines.common.interface import Completion, Generator, Request
from metareward.engines.common.load import load_local_engine
from metareward.engines.common.sampler import PACKAGE, text_code
from metareward.engines.common.tokenizer import load_tokenizer
from metareward.engines.ray.checkpoint import Source, at_hand, contents
from metareward.engines.ray.copies import batches_of_a_worker, gpus_per_copy, idle_gpus, plan_copies
from metareward.errors import UserError
from metareward.ids import content_id

# Batches that a worker has in hand; one more waits with it. vLLM runs up to 1,024 rows at once on a large GPU, and a
# batch of judgments with room for 1,024 tokens each has 50 to 60
SIDE_BY_SIDE = {"vllm": 32, "openai": 8, "transformers": 1}
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
        """resources.ray: join the cluster that RAY_ADDRESS names; false: start one of this machine, which ends with
        this process.

        resources.workers: how many; null: one for each GPU (or group of tensor_parallel), or without GPUs for each
        node. Without GPUs a worker has its share of a node's cores as threads. A node that does not have the checkpoint
        at its path is sent it. Raises UserError when no node has GPUs enough for a copy.
        """
        # what is wrong with the tokenizer is said before a worker is started
        self.tokenizer = load_tokenizer(model_path, chat_template_kwargs)
        each = gpus_per_copy(settings.name, resources.tensor_parallel)
        if resources.ray:
            join_cluster()
        else:
            start_here(resources.workers or 1)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and "CPU" in node["Resources"]]
        gpus, cores = [int(node.get("GPU", 0)) for node in nodes], [int(node["CPU"]) for node in nodes]
        count = plan_copies(gpus, each, resources.workers, len(nodes))
        on_gpus = bool(each and any(gpus))
        if line := idle_gpus(gpus, each, count, resources.workers) if on_gpus else None:
            tqdm.write(line, file=sys.stderr)
        threads = max(1, min(cores) // ceil(count / len(cores)))
        self.in_hand = SIDE_BY_SIDE[settings.name]
        model = model_path.resolve()
        sent, code = None, _code(settings.name)
        if resources.ray:
            sent, self.source = _send(model)  # the source lives as long as this engine: workers may be started again
        self.workers = [
            ray.remote(Worker)
            .options(
                num_cpus=1,  # and not all its threads: there must be room on another node
                num_gpus=each if on_gpus else 0,
                runtime_env={} if on_gpus else _threads(threads, None if resources.ray else place),
                max_restarts=RESTARTS,
                max_concurrency=self.in_hand,
                scheduling_strategy="SPREAD",
            )
            .remote(model, sent, code, settings, resources, seed + place, chat_template_kwargs)
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
        waiting: Iterator[list[Request]] = (b for b in batches if any(request.id not in done for request in b))
        returned: list[list[Request]] = []  # batches whose worker died
        live: set[Any] = set()  # workers that gave a sign and have lost no batch since
        running: dict[Any, tuple[Any, list[Request] | None]] = {}  # what Ray owes -> worker and batch, or none: a sign

        def await_sign(worker: Any) -> None:
            running[worker.is_ready.options(max_task_retries=-1).remote()] = worker, None

        for worker in self.workers:
            await_sign(worker)
        ahead = list(islice(waiting, len(self.workers) * (self.in_hand + 1)))
        most = batches_of_a_worker(len(ahead), len(self.workers), self.in_hand)
        waiting = chain(ahead, waiting)
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
                if load[worker] >= most:
                    break
                if (next_batch := returned.pop() if returned else next(waiting, None)) is None:
                    break
                finished_ids = {request.id for request in next_batch if request.id in done}
                running[worker.generate.remote(next_batch, finished_ids)] = worker, next_batch
                load[worker] += 1
            if live and not load.total():
                return
        raise UserError(f"no worker of Ray's is left: {reason}")


def join_cluster() -> None:
    """The cluster that RAY_ADDRESS names, or one on this machine. Workers have the code of this process."""
    code = {"py_modules": [str(PACKAGE.resolve())], "excludes": ["__pycache__"]}
    ray.init(address=None, runtime_env=code, ignore_reinit_error=True, log_to_driver=False, configure_logging=False)


def start_here(workers: int) -> None:
    """A Ray of this machine alone, with all its GPUs, that ends with this process, however that ends."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # it would say in each stage that it asks for a token, of which nobody here need know
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    cores = max(workers, visible_gpus(), len(os.sched_getaffinity(0)))  # at least a place for each worker
    ray.init(
        address="local",
        num_cpus=cores,
        num_gpus=visible_gpus(),
        include_dashboard=False,
        ignore_reinit_error=True,
        log_to_driver=False,
        configure_logging=False,
    )


def _send(model: Path) -> tuple[tuple[str, str], Any]:
    """What workers are told of a checkpoint, the names of its contents and of its sender; and the sender, an actor."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    name = f"checkpoint {uuid.uuid4().hex}"  # a handle among a worker's arguments makes Ray warn of its restarts
    actor = ray.remote(Source).options(num_cpus=0, scheduling_strategy=here, name=name).remote(model)
    return (contents(model), name), actor


def _code(engine: str) -> str:
    """The version of the code that decides a text."""
    return content_id([digest(path, "*.py") for path in text_code(engine)])


def _threads(threads: int, place: int | None) -> dict[str, Any]:
    """The environment of a worker that has some of a machine's cores. place: among the workers of this machine, each of
    which has cores of its own; null: in a cluster."""
    own = sorted(os.sched_getaffinity(0))[place * threads : (place + 1) * threads] if place is not None else []
    bound = {"VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, own))} if own else {}
    return {"env_vars": {"OMP_NUM_THREADS": str(threads), **bound}}


class Worker:
    """An engine in a process of its own, used by one thread: batches that are there together take turns."""

    def __init__(
        self,
        model_path: Path,
        sent: tuple[str, str] | None,
        code: str,
        settings: params.Engine,
        resources: params.Resources,
        seed: int,
        chat_template_kwargs: Mapping[str, params.Scalar],
    ) -> None:
        """sent: `_send`; null: this is the stage's machine. code: `_code` of the stage."""
        if _code(settings.name) != code:
            raise RuntimeError(f"another version of metareward is installed on {socket.gethostname()}, in {PACKAGE}")
        model = at_hand(model_path, sent[0], ray.get_actor(sent[1])) if sent else model_path
        self.thread = ThreadPoolExecutor(1)
        loading = self.thread.submit(load_local_engine, settings, resources, model, seed, chat_template_kwargs)
        self.engine: Generator = loading.result()

    def is_ready(self) -> bool:
        return True

    def generate(self, batch: list[Request], done: Collection[str]) -> list[Completion]:
        finished: list[Completion] = []
        completions = self.engine.generate(batch, done)
        while (more := self.thread.submit(next, completions, None).result()) is not None:
            finished += more
        return finished
