"""Ray: the rows of one process, from many, also when a machine dies in the middle."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import astuple
from pathlib import Path

import psutil
import pytest
import ray
import torch
from ray.cluster_utils import Cluster

from metareward.engines.common.interface import Request, Sampling
from metareward.engines.common.load import load_engine
from metareward.errors import UserError
from metareward.load_params import load_params

ROOT = Path(__file__).parents[1]
PARAMS = load_params(ROOT / "profiles/tiny.yaml")
LOCAL = PARAMS.engine.transformers.model_copy(update={"batch_tokens": 600})
ENGINE = PARAMS.engine.model_copy(update={"transformers": LOCAL})
RAY = PARAMS.resources.model_copy(update={"ray": True})
TEXTS = [json.loads(line)["prompt"] for line in (ROOT / "data/samples/prompts.jsonl").read_text().splitlines()]
REQUESTS = [
    Request(f"r{number}", [{"role": "user", "content": text}], 3, Sampling(0.8, 0.95, 24), 1, number % 3)
    for number, text in enumerate(TEXTS[:48])
]


@pytest.fixture
def cores():
    return 2


@pytest.fixture
def cluster(monkeypatch, cores):
    """Two nodes, each with as many cores, and so with room for as many workers."""
    if any(map(str.isspace, sys.executable)):
        pytest.skip("Ray cannot start workers of a Python whose path has a blank in it")
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": cores})
    nodes.add_node(num_cpus=cores)
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture
def expected(tiny_model, cores):
    threads = torch.get_num_threads()
    torch.set_num_threads(cores)  # as in a worker: with other threads sums are rounded in another order
    yield rows(load_engine(ENGINE, PARAMS.resources, tiny_model, 1).generate(REQUESTS))
    torch.set_num_threads(threads)


def rows(batches):
    return sorted(astuple(c) for batch in batches for c in batch)


def test_two_nodes_give_the_rows_of_one_process(cluster, tiny_model, expected):
    engine = load_engine(ENGINE, RAY, tiny_model, 1)
    assert len(engine.workers) == 2
    batches = list(engine.generate(REQUESTS))
    assert len(batches) > 4
    assert rows(batches) == expected
    rest = rows(engine.generate(REQUESTS, {request.id for request in REQUESTS[5:]}))
    assert rest == [row for row in expected if row[0] in {request.id for request in REQUESTS[:5]}]


@pytest.mark.parametrize("cores", [1])
def test_workers_on_this_machine_alone_need_no_cluster(monkeypatch, tiny_model, expected):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # of a cluster that nobody asked for
    engine = load_engine(ENGINE, PARAMS.resources.model_copy(update={"workers": 2}), tiny_model, 1)
    assert len(engine.workers) == len(ray.nodes()) + 1 == 2
    few = REQUESTS[:4]
    assert rows(engine.generate(few)) == [row for row in expected if row[0] in {request.id for request in few}]
    ray.shutdown()


def test_gpus_are_all_used_and_one_that_is_not_is_named(monkeypatch, tiny_model, capsys):
    """Ray is told of three GPUs that are not there; a worker without one takes the processor."""
    for place in ("metareward.engines.common.device", "metareward.engines.ray.engine"):
        monkeypatch.setattr(f"{place}.visible_gpus", lambda: 3)
    engine = load_engine(ENGINE, PARAMS.resources.model_copy(update={"workers": 2}), tiny_model, 1)
    assert "2 copies of the model on 1 GPU each: 1 of 3 GPUs stay idle" in capsys.readouterr().err
    assert {row[:2] for row in rows(engine.generate(REQUESTS[:2]))} == {(f"r{n}", k) for n in (0, 1) for k in range(3)}
    assert ray.available_resources()["GPU"] == 1
    ray.shutdown()


STAGE = """
import sys
sys.path.insert(0, sys.argv[1])
from test_engine_ray import *
two = PARAMS.resources.model_copy(update={"workers": 2})
next(load_engine(ENGINE, two, Path(sys.argv[2]), 1).generate(REQUESTS))
print("generating", flush=True)
time.sleep(600)
"""


def test_a_killed_stage_leaves_no_process_of_rays(tiny_model):
    mark = f"TEST_OF_{os.getpid()}"
    command = [sys.executable, "-c", STAGE, str(Path(__file__).parent), str(tiny_model)]
    stage = subprocess.Popen(command, env={**os.environ, mark: "1"}, stdout=subprocess.PIPE, text=True)
    assert stage.stdout.readline() == "generating\n"
    assert len(marked(mark)) > 4  # the stage, Ray's own and the workers
    os.kill(stage.pid, signal.SIGKILL)
    stage.wait()
    deadline = time.monotonic() + 60
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left


def marked(mark):
    """The commands of living processes with a variable in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and mark in process.environ():
                found.append(" ".join(process.cmdline())[:100])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.mark.parametrize("cores", [1, 2])
def test_a_node_that_dies_in_the_middle_loses_nothing(cluster, tiny_model, expected):
    engine = load_engine(ENGINE, RAY, tiny_model, 1)
    batches = engine.generate(REQUESTS)
    first = next(batches)
    cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
    assert rows([first, *batches]) == expected


def test_when_no_worker_is_left_the_reason_is_named(cluster, tiny_model, tmp_path):
    broken = shutil.copytree(tiny_model, tmp_path / "broken", ignore=shutil.ignore_patterns("*.safetensors"))
    engine = load_engine(ENGINE, RAY, broken, 1)
    with pytest.raises(UserError, match=r"no worker of Ray's is left: .*safetensors"):
        next(engine.generate(REQUESTS))


def test_a_python_that_ray_cannot_start_is_refused(monkeypatch, tiny_model):
    """Ray would wait for its workers for ever."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(sys, "executable", "/home/my clone/.venv/bin/python")
    with pytest.raises(UserError, match=r"workers of /home/my clone/\.venv/bin/python, since that path has a blank"):
        load_engine(ENGINE, RAY, tiny_model, 1)
