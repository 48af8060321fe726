"""Params start the processes of a training: the steps of one process, by DDP and by FSDP, and one end for all."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file
from test_processes import _one_thread_in_float32, train_in_steps
from test_train import FILES, compute_in, contents
from transformers import AutoModelForCausalLM

from metareward.errors import UserError
from metareward.inputs.launch_file import Launch, check_launch, read_launch
from metareward.load_params import load_params

from pipeline import ROOT, Clone

__all__ = ["_one_thread_in_float32"]
FSDP = ROOT / "accelerate/fsdp2.yaml"
DDP = ROOT / "accelerate/ddp.yaml"
STAGE = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from metareward.params import Resources
from metareward.training.launch import launched
folder, model, launch = Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
if not launched(Resources.model_construct(processes=2, launch=None if launch == "None" else launch)):
    from test_processes import *
    from metareward.training import loop
    torch.set_num_threads(1)
    compute_in("float32", pytest.MonkeyPatch())
    rank = int(os.environ["RANK"])
    exec(sys.argv[5])
"""
TRAIN = """
methods = ("sft", "dpo")
results = {method: train_in_steps(method, model, 10, folder / method, 2, micro_batch_size=1) for method in methods}
(folder / f"{rank}.json").write_text(json.dumps(results))
"""


def start(folder: Path, model: Path, launch: Path | None, body: str, processes: int = 2) -> subprocess.Popen:
    """A script that starts processes of itself, each of which runs `body`."""
    (folder / "stage.py").write_text(STAGE.replace("processes=2", f"processes={processes}"))
    command = map(str, [sys.executable, folder / "stage.py", ROOT / "tests", folder, model, launch, body])
    return subprocess.Popen(list(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def stage(folder: Path, model: Path, launch: Path | None, body: str, returncode: int = 0) -> str:
    """What such a script prints, of two processes."""
    run = start(folder, model, launch, body)
    said, _ = run.communicate()
    assert run.returncode == returncode, said
    return said


@pytest.fixture(scope="module")
def alone(tiny_model, tmp_path_factory):
    """The folder in which one process trained, and what it returned."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:  # of a fixture for a test comes too late for one of the module
        compute_in("float32", patch)
        results = {method: train_in_steps(method, tiny_model, 10, folder / method, 2) for method in ("sft", "dpo")}
    return folder, results


@pytest.mark.parametrize("launch", [None, DDP, FSDP])
def test_two_processes_that_params_start_train_as_one(tiny_model, tmp_path, alone, launch):
    stage(tmp_path, tiny_model, launch, TRAIN)
    folder, one = alone
    for rank in range(2):
        results = json.loads((tmp_path / f"{rank}.json").read_text())
        for method in ("sft", "dpo"):
            assert results[method] == pytest.approx(one[method], abs=2e-5)
    assert one["dpo"]["loss_first"] == pytest.approx(0.693147, abs=1e-5)
    for method in ("sft", "dpo"):
        before, weights, expected = (
            load_file(path / "model.safetensors")
            for path in (tiny_model, tmp_path / method / "out", folder / method / "out")
        )
        assert max(float((expected[name] - before[name]).abs().max()) for name in before) > 1e-3
        torch.testing.assert_close(weights, expected, atol=1e-4, rtol=0)
        assert set(contents(tmp_path / method / "out")) == FILES
        assert AutoModelForCausalLM.from_pretrained(tmp_path / method / "out").dtype == torch.float32


@pytest.mark.parametrize("launch", [DDP, FSDP])
def test_log_probabilities_of_several_processes_are_not_rounded(tiny_model, tmp_path, launch):
    """What a model divided by FSDP returns is by itself: DPO's sums would go in steps of 1 from 128 nats on."""
    body = """
compute_in("bfloat16", pytest.MonkeyPatch())
seen = []
def on_train_begin(self, args, state, control, model, **_):
    model.register_forward_hook(lambda module, inputs, output: seen.append(str(output.log_probs.dtype)))
loop._Watch.on_train_begin = on_train_begin
for method in ("sft", "dpo"):
    train_in_steps(method, model, 10, folder / method, micro_batch_size=1)
(folder / f"{rank}.json").write_text(json.dumps(seen))
"""
    stage(tmp_path, tiny_model, launch, body)
    for rank in range(2):
        assert set(json.loads((tmp_path / f"{rank}.json").read_text())) == {"torch.float32"}


@pytest.mark.parametrize("launch", [DDP, FSDP])
def test_a_killed_process_ends_all_and_the_next_run_goes_on(tiny_model, tmp_path, launch):
    """The second of two is killed in step 5 of 6; the run after it begins at step 4, where the last state is."""
    kill = """
def on_step_begin(self, args, state, *_, **__):
    with open(folder / f"steps-{rank}", "a") as file:
        print(state.global_step, file=file)
    if rank == 1 and state.global_step == 4 and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), 9)
loop._Watch.on_step_begin = on_step_begin
results = train_in_steps("dpo", model, 10, folder / "run", 2, micro_batch_size=1)
"""
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    (undisturbed / "killed").touch()
    stage(undisturbed, tiny_model, launch, kill)
    said = stage(tmp_path, tiny_model, launch, kill, returncode=1)
    assert "error: process 1 of 2 ended with signal 9, so all were ended." in said
    stage(tmp_path, tiny_model, launch, kill)
    assert (tmp_path / "steps-0").read_text().split() == [*"01234", *"45"]
    assert contents(tmp_path / "run/out") == contents(undisturbed / "run/out")


def test_two_machines_meet_by_the_same_command(tiny_model, tmp_path, alone):
    """Two launchers on this machine, one process each, stand for two machines that share a disk."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meet = {"num_machines": 2, "rdzv_backend": "c10d", "main_process_ip": "127.0.0.1", "main_process_port": port}
    (path := tmp_path / "launch.yaml").write_text(yaml.safe_dump(FILES_SHIPPED["ddp"] | meet))
    body = 'train_in_steps("sft", model, 10, folder / "sft", micro_batch_size=1)'
    machines = [start(tmp_path, tiny_model, path, body, processes=1) for _ in range(2)]
    try:
        for machine in machines:
            said, _ = machine.communicate(timeout=300)
            assert machine.returncode == 0, said
    finally:
        for machine in machines:
            machine.kill()
    weights, expected = (load_file(path / "sft/out/model.safetensors") for path in (tmp_path, alone[0]))
    torch.testing.assert_close(weights, expected, atol=1e-4, rtol=0)


def test_a_user_error_is_said_once_and_another_with_its_traceback(tiny_model, tmp_path):
    said = stage(tmp_path, tiny_model, None, USER_ERROR, returncode=2)
    assert said.count("error: ") == said.count("error: both") == 1
    said = stage(tmp_path, tiny_model, None, "raise ValueError('rank', rank)", returncode=1)
    assert "ValueError: ('rank', " in said


USER_ERROR = """
from metareward.errors import UserError
from metareward.pipeline import frame
def both() -> None:
    raise UserError("both")
sys.argv = sys.argv[:1]
frame.foreign_code = lambda: None
frame.run(both)
"""


def test_ddp_is_what_no_file_says():
    assert read_launch(None) == Launch(divides=False, machines=1)
    found = {path.name: read_launch(str(path)) for path in (ROOT / "accelerate").iterdir()}
    assert {name: one.divides for name, one in found.items()} == {"ddp.yaml": False, "fsdp2.yaml": True}


FILES_SHIPPED = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "accelerate").iterdir()}


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("fsdp2", {"fsdp_state_dict_type": "SHARDED_STATE_DICT"}, "it must be FULL_STATE_DICT: else no weights"),
        ("fsdp2", {"fsdp_state_dict_type": None}, "fsdp_state_dict_type is missing; it must be FULL_STATE_DICT"),
        ("fsdp2", {"fsdp_cpu_ram_efficient_loading": True}, "it must be false: else DPO's reference holds zeros"),
        ("fsdp2", {"fsdp_cpu_ram_efficient_loading": None}, "fsdp_cpu_ram_efficient_loading is missing"),
        ("fsdp2", {"fsdp_version": 1}, "fsdp_version is 1; it must be 2"),
        ("fsdp2", {"fsdp_activation_checkpointing": True}, "sft.gradient_checkpointing and dpo.gradient_checkpointing"),
        ("fsdp2", {"distributed_type": "TPU"}, "distributed_type is 'TPU'; it must be one of MULTI_GPU, FSDP"),
        ("fsdp2", {"distributed_type": ["FSDP"]}, "distributed_type is ['FSDP']; it must be one of MULTI_GPU, FSDP"),
        ("fsdp2", {"mixed_precision": "fp16"}, "mixed_precision is 'fp16'; it must be 'no'"),
        ("fsdp2", {"num_machines": 2}, "rdzv_backend is missing; it must be c10d"),
        ("fsdp2", {"num_machines": 2, "rdzv_backend": "c10d"}, "main_process_ip is missing"),
        (
            "ddp",
            {"num_machines": 2, "rdzv_backend": "c10d", "same_network": True},
            "same_network is True; it must be false",
        ),
        ("fsdp2", {"num_machines": 0}, "num_machines is 0"),
        ("fsdp2", {"fsdp_config": [1]}, "fsdp_config is [1]; it must be a mapping"),
        ("ddp", {"distributed_type": "DEEPSPEED"}, "distributed_type is DEEPSPEED, which trains weights in bfloat16"),
    ],
)
def test_a_launch_that_could_not_end_well_is_refused(tmp_path, name, changes, said):
    values = json.loads(json.dumps(FILES_SHIPPED[name]))
    section = "fsdp_config"
    for key, value in changes.items():
        place = values[section] if key in values.get(section, {}) else values
        if value is None:
            del place[key]
        else:
            place[key] = value
    (path := tmp_path / "launch.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(UserError) as raised:
        read_launch(str(path))
    assert said in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("content", ["", "[1]", "a: [", "\0"])
def test_what_is_no_file_of_accelerates_is_one_line(tmp_path, content):
    (path := tmp_path / "launch.yaml").write_text(content)
    with pytest.raises(UserError, match=str(path)):
        read_launch(str(path))
    with pytest.raises(UserError, match=r"resources\.launch"):
        read_launch(str(tmp_path / "none.yaml"))


def test_a_key_that_accelerate_does_not_know_is_named(tiny_model, tmp_path):
    for place, word in ({"fsdp_config": {"fsdp_shard": 1}}, "fsdp_shard"), ({"machines": 2}, "machines"):
        values = FILES_SHIPPED["fsdp2"] | place
        values["fsdp_config"] = FILES_SHIPPED["fsdp2"]["fsdp_config"] | place.get("fsdp_config", {})
        (path := tmp_path / "launch.yaml").write_text(yaml.safe_dump(values))
        said = stage(tmp_path, tiny_model, path, "raise SystemExit(3)", returncode=1)
        assert f"UserError: {word}" in said or (f"UserError: accelerate refuses {path}" in said and word in said)


def test_a_batch_that_known_processes_cannot_share_is_refused_before_anything_runs():
    params = load_params(ROOT / "profiles/tiny.yaml")
    resources = params.resources.model_copy(update={"processes": 3})
    with pytest.raises(UserError, match=r"sft\.batch_size"):
        check_launch(params.model_copy(update={"resources": resources}))


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone at the door of SFT in two processes, and what it makes undisturbed."""
    clone = Clone(tmp_path_factory.mktemp("launch"))
    clone.use_tiny_profile(
        resources__processes=2, resources__save_steps=2, sft__micro_batch_size=4, sft__max_steps=12, sft__batch_size=8
    )
    clone.run("dvc repro sft")
    return clone, contents(clone.folder / "models/sft")


def processes_of(clone: Clone) -> list[psutil.Process]:
    """Processes that run a stage of this clone, wherever they hang."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(clone.folder) and "stages/sft.py" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("victim", ["dvc", "launcher", "worker"])
def test_a_kill_leaves_no_process_and_the_next_run_makes_the_same_weights(clone, victim):
    clone, weights = clone
    clone.run("git checkout --quiet dvc.lock 2>/dev/null || true; rm -rf models/sft .dvc/cache/runs dvc.lock")
    dvc = psutil.Popen(
        ["dvc", "repro", "sft"],
        cwd=clone.folder,
        env=clone.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not list((clone.folder / ".work/sft").glob("train-*/checkpoint-*/complete.json")):
        assert dvc.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    started = processes_of(clone)
    workers = [process for process in started if "RANK" in process.environ()]
    launcher = next(process for process in started if process not in workers)
    assert len(workers) == 2
    os.kill({"dvc": dvc.pid, "launcher": launcher.pid, "worker": workers[1].pid}[victim], signal.SIGKILL)
    dvc.wait(60)
    _, alive = psutil.wait_procs([launcher, *workers], timeout=60)
    assert not alive, [process.cmdline() for process in alive]
    assert processes_of(clone) == []
    clone.run("metareward check; dvc repro sft")
    assert contents(clone.folder / "models/sft") == weights
