"""Training in two processes on the CPU: the steps of one process, and one end for both."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_train import DPO, FILES, SFT, change, compute_in, contents, eft, preference_pairs

from metareward.training.dpo import train_dpo
from metareward.training.sft import train_sft


@pytest.fixture(autouse=True)
def _one_thread_in_float32(monkeypatch):
    compute_in("float32", monkeypatch)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def start_processes(n: int, body: str, folder: Path, *arguments: object) -> list[subprocess.Popen]:
    """n processes of one run, without a launcher: nobody ends a process whose fellow is gone."""
    script = folder / "processes.py"
    script.write_text(IN_A_PROCESS + body)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(n), "LOCAL_WORLD_SIZE": str(n), "OMP_NUM_THREADS": "1"}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, str(script), str(Path(__file__).parent), str(folder), *map(str, arguments)]
    return [
        subprocess.Popen(
            command,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(n)
    ]


IN_A_PROCESS = """
import json, os, shutil, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from metareward.errors import UserError
from metareward.training import dpo, loop
from test_processes import *
torch.set_num_threads(1)
compute_in("float32", pytest.MonkeyPatch())
folder, rank = Path(sys.argv[2]), int(os.environ["RANK"])
"""
IN_TWO_PROCESSES = """
seen, named, results = [], [], {}
run_folder = loop.run_folder
loop.run_folder = lambda *arguments: named.append(arguments) or run_folder(*arguments)
compute_loss = dpo._Dpo.compute_loss
def count(self, model, inputs, *rest, **more):
    seen.append(len(inputs["input_ids"]) // 2)
    return compute_loss(self, model, inputs, *rest, **more)
dpo._Dpo.compute_loss = count
model = Path(sys.argv[3])
for name, method, n in [("sft", "sft", 10), ("dpo", "dpo", 10), ("ragged", "dpo", 9)]:
    seen.clear()
    results[name] = train_in_steps(method, model, n, folder / name, save_steps=1, micro_batch_size=1)
results["ragged rows seen"] = sum(seen)
results["model hashed"] = len(named)
try:
    train_sft(model, eft(8), folder / "out", change(SFT, micro_batch_size=4), folder / "work", 1)
except UserError as error:
    results["batch"] = str(error)
(folder / f"{rank}.json").write_text(json.dumps(results))
"""


@pytest.fixture(scope="module")
def two_processes(tiny_model, tmp_path_factory):
    """The folder in which two processes of torchrun trained, and what each of them returned."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "processes.py").write_text(IN_A_PROCESS + IN_TWO_PROCESSES)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", str(folder / "processes.py")]
    launch += [str(Path(__file__).parent), str(folder), str(tiny_model)]
    run = subprocess.run(launch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert run.returncode == 0, run.stdout
    return folder, [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def train_in_steps(method: str, model: Path, n: int, folder: Path, save_steps: int | None = None, **changes):
    """Two epochs of n rows in batches of 4; for DPO one pair more, held out."""
    if method == "sft":
        settings = change(SFT, epochs=2.0, **changes)
        return train_sft(model, eft(n), folder / "out", settings, folder / "work", 1, save_steps)
    settings = change(DPO, epochs=2.0, held_out=0.01, **changes)
    return train_dpo(model, preference_pairs(n + 1), folder / "out", settings, folder / "work", 1, "", save_steps)


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_two_processes_train_on_the_same_global_batches_as_one(tiny_model, tmp_path, two_processes, method):
    """Rows must be more than one global batch: else a batch that is not divided holds the same rows."""
    folder, results = two_processes
    one = train_in_steps(method, tiny_model, 10, tmp_path)
    assert (one["steps"], one["rows_trained"], one["not_reached"]) == (6, 10, 0)
    for result in results:
        assert result[method] == pytest.approx(one, abs=1e-5)
    before, weights, expected = (
        load_file(path / "model.safetensors") for path in (tiny_model, folder / method / "out", tmp_path / "out")
    )
    assert max(float((expected[name] - before[name]).abs().max()) for name in before) > 1e-3
    torch.testing.assert_close(weights, expected, atol=1e-5, rtol=0)
    assert set(contents(folder / method / "out")) == FILES
    assert not list((folder / method / "work").iterdir())


def test_one_of_two_processes_reads_the_model_to_name_the_folder(two_processes):
    """Eight processes that read 32 GB at once wait for the disk longer than for each other."""
    assert [result["model hashed"] for result in two_processes[1]] == [3, 0]


def test_rows_that_fill_up_the_last_step_of_two_processes_are_counted(two_processes):
    """9 rows are 5 micro-batches of one row in each process: one row comes twice, in each of two epochs."""
    for metrics in (result["ragged"] for result in two_processes[1]):
        counts = [metrics[name] for name in ("rows_trained", "not_reached", "repeated", "steps")]
        assert counts == [9, 0, 2, 6]
    seen = sum(result["ragged rows seen"] for result in two_processes[1])
    assert seen == 2 * (9 + 1) + 2 * 2  # the held-out pair is seen by each process after each epoch


def test_a_batch_that_two_processes_cannot_share_is_an_error(two_processes):
    for result in two_processes[1]:
        assert "batch_size 4 is not a multiple of micro_batch_size 4 times 2 process(es)" in result["batch"]


STOPPED = """
from torch.distributed.fsdp import fully_shard
from metareward.training.processes import check_finite, this_process
model, said, methods = Path(sys.argv[3]), {}, (dpo._Dpo.compute_loss, loop._Watch.on_log)

def stopped(case):
    try:
        case()
    except Exception as error:
        said[case.__name__] = f"{type(error).__name__}: {error}"
    dpo._Dpo.compute_loss, loop._Watch.on_log = methods
    loop._Watch.on_train_end = lambda *_, **__: None

def sft(model=model):
    train_sft(model, eft(8), folder / "out", change(SFT, micro_batch_size=1), folder / "work", 1)

def weight_on_disk():
    damaged = model
    if rank == 1:
        damaged = shutil.copytree(model, folder / "damaged")
        weights = load_file(damaged / "model.safetensors")
        weights["model.norm.weight"][3] = float("nan")
        save_file(weights, damaged / "model.safetensors", metadata={"format": "pt"})
    sft(damaged)

def weight_at_the_end():
    def damage(self, args, state, control, model, **_):
        if rank == 1:
            with torch.no_grad():
                next(model.parameters())[3] = float("nan")
    loop._Watch.on_train_end = damage
    sft()

def log():
    def damage(self, args, state, control, logs, **more):
        if rank == 1 and state.global_step == 1:
            logs = logs | {"grad_norm": float("nan")}
        methods[1](self, args, state, control, logs, **more)
    loop._Watch.on_log = damage
    sft()

def loss():
    def damage(self, *arguments, **more):
        loss = methods[0](self, *arguments, **more)
        return loss * float("nan") if rank == 1 and self.state.global_step == 1 else loss
    dpo._Dpo.compute_loss = damage
    settings = change(DPO, micro_batch_size=1)
    train_dpo(model, preference_pairs(8), folder / "out", settings, folder / "work", 1, save_steps=1)

def shard():
    sharded = AutoModelForCausalLM.from_pretrained(model)
    fully_shard(sharded)
    check_finite(sharded, "sound")
    if rank == 1:
        with torch.no_grad():
            sharded.model.norm.weight.to_local()[0] = float("nan")
    check_finite(sharded, "damaged")

def disk():
    def full(*_):
        raise OSError("no space left")
    loop.write_checkpoint = full
    sft()

for case in (weight_on_disk, weight_at_the_end, log, loss, shard, disk):
    stopped(case)
(folder / f"said-{rank}.json").write_text(json.dumps(said))
loss()
"""


def test_what_stops_one_process_stops_the_other_with_the_same_words(tiny_model, tmp_path):
    """Only the second of two meets it; the disk is full for the first alone, which writes.

    Nobody ends the other, which would wait half an hour for a gradient, a shard or a barrier.
    """
    processes = start_processes(2, STOPPED, tmp_path, tiny_model)
    try:
        for process in processes:
            output, _ = process.communicate(timeout=240)
            assert process.returncode == 1
            assert "UserError: training stopped at step 2 of 2: loss is nan" in output
    finally:
        for process in processes:
            process.kill()
    said = [json.loads((tmp_path / f"said-{rank}.json").read_text()) for rank in range(2)]
    second, beside = "UserError: ", "UserError: process 1 of 2 stopped: "
    for case, words in {
        "weight_on_disk": f"{tmp_path}/damaged cannot be trained: its weight model.norm.weight holds NaN or infinite",
        "weight_at_the_end": "training ended at step 2 and the model is not written: its weight model.embed_tokens",
        "log": "training stopped at step 1 of 2: grad_norm is nan",
        "shard": "damaged: its weight model.norm.weight holds NaN",
    }.items():
        assert said[1][case].startswith(second + words)
        assert said[0][case].startswith(beside + words)
    assert all(words["loss"].startswith("UserError: training stopped at step 2 of 2: loss is nan") for words in said)
    assert said[0]["disk"] == "OSError: no space left"
    assert said[1]["disk"] == "UserError: process 0 of 2 stopped: OSError: no space left"
    assert not (tmp_path / "out").exists()
