"""What a stage took: over kills, where it is written, what nothing may depend on it, and how it is shown."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from metareward.cli.costs import show_costs
from metareward.errors import UserError
from metareward.load_params import load_params
from metareward.pipeline.costs import COSTLY, costly_stages, costs_file
from metareward.schemas import SCHEMAS
from metareward.tables import table_of, write_table

ROOT = Path(__file__).parents[1]
# A stage that generates 6 texts of 10 tokens, each in a fifth of a second, and says what it took
STAGE = """
import sys, time
from pathlib import Path
import metareward.spent
metareward.spent.SECONDS_PER_NOTE = 0.0
from metareward.engines.common.interface import Completion
from metareward.engines.common.journal import Journal, run
from metareward.pipeline.frame import say
from metareward.pipeline.stage import Stage

def texts(done):
    for name in "abcdef":
        if name not in done:
            time.sleep(0.2)
            yield [Completion(name, 0, name, 10, "stop")]

stage = Stage("respond", "m1")
run(texts, 6, Journal(stage.work, "test"), seconds_per_part=0, prompt_chars=440)
say(stage, "done")
"""


def run_stage(folder, kill_after=None):
    """Run STAGE in a process of its own; it is killed when its journal has so many parts."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen([sys.executable, "-c", STAGE], cwd=folder, env=environment) as process:
        while kill_after and len(list(folder.glob(".work/respond@m1/test/*.parquet"))) < kill_after:
            assert process.poll() is None
            time.sleep(0.01)
        if kill_after:
            process.send_signal(signal.SIGKILL)
        assert process.wait() == (-signal.SIGKILL if kill_after else 0)


def test_the_time_and_the_tokens_of_killed_processes_count(tmp_path):
    (tmp_path / ".dvc").mkdir()
    begun = time.time()
    run_stage(tmp_path, kill_after=2)
    run_stage(tmp_path)
    lasted = time.time() - begun
    costs = json.loads((tmp_path / "data/costs/respond-m1.json").read_text())
    assert (costs["stage"], costs["processes"], costs["killed"]) == ("respond@m1", 2, 1)
    assert costs["tokens_written"] in (60, 70)  # a text that was generated, but not kept, is generated again
    assert costs["prompt_chars"] == 440
    assert 6 * 0.2 < costs["seconds"] < lasted + 0.1
    assert costs["seconds"] > lasted / 2  # the start of both processes is in it; what lay between them is not
    assert costs["tokens_per_second"] == pytest.approx(costs["tokens_written"] / costs["seconds"], rel=0.005)
    assert costs["hardware"]
    assert (costs["gpus"], costs["gpu_memory_gb"]) == (0, None)
    assert 0.02 < costs["memory_gb"] < 4
    run_stage(tmp_path)  # all is in the journal
    again = json.loads((tmp_path / "data/costs/respond-m1.json").read_text())
    assert (again["processes"], again["killed"]) == (3, 1)
    assert again["tokens_written"] == costs["tokens_written"]
    assert again["seconds"] > costs["seconds"]


def test_every_costly_stage_leaves_its_costs_and_no_stage_depends_on_them():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name, stage in stages.items():
        own, each = stage.get("do", stage), "-${item}" if stage.get("foreach") == "${checkpoints}" else "-${key}"
        file = f"data/costs/{name}{each if 'do' in stage else ''}.json"
        assert (file in own.get("outs", [])) == (name.replace("-", "_") in COSTLY), name
        assert not any("data/costs" in dep for dep in own["deps"])
    labels = costly_stages(load_params(ROOT / "profiles/demo.yaml"))
    assert {label.split("@")[0] for label in labels} == set(COSTLY)
    assert costs_file("meta_judge@m1") == Path("data/costs/meta-judge-m1.json")


def test_tokens_of_a_training_are_those_of_its_epochs(tmp_path, monkeypatch):
    from metareward.pipeline import costs
    from metareward.pipeline.stage import Stage

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(costs, "THIS_PROCESS", [])
    row = dict.fromkeys(SCHEMAS["training_steps"].columns, None)
    rows = [row | {"step": k, "epoch": k * 0.5, "loss": 1.0, "learning_rate": 1.0, "grad_norm": 1.0} for k in (1, 2, 3)]
    write_table(table_of(rows, "training_steps"), Path("data/training/m1.parquet"), "training_steps")
    Path("data/training/m1.json").write_text('{"tokens": 1000}')
    costs.write_costs(Stage("dpo", "m1"))
    assert json.loads(Path("data/costs/dpo-m1.json").read_text())["tokens_trained"] == 1500
    costs.write_costs(Stage("dedup", "m1"))
    assert len(list(Path("data/costs").iterdir())) == 1


def test_what_the_stages_took_is_one_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "profiles/demo.yaml").read_text())
    with pytest.raises(UserError, match="no stage has left what it took yet"):
        show_costs()
    (tmp_path / "data/costs").mkdir(parents=True)
    common = {"processes": 1, "hardware": "NVIDIA H100", "gpus": 2, "memory_gb": 3.21}
    for stage, more in {
        "sft": {"seconds": 90.4, "killed": 0, "prompt_chars": 0, "tokens_written": 0, "tokens_trained": 9000,
                "tokens_per_second": 99.6, "gpu_memory_gb": 20.0},
        "respond@m1": {"seconds": 3600.0, "killed": 1, "prompt_chars": 4400, "tokens_written": 36_000,
                       "tokens_trained": 0, "tokens_per_second": 10.0, "gpu_memory_gb": 70.04},
    }.items():  # fmt: skip
        costs_file(stage).write_text(json.dumps({"stage": stage, **common, **more}))
    show_costs()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["sft", "0:01:30", "-", "-", "9,000", "100", "3.2", "20.0"] in lines
    assert ["respond@m1", "1:00:00*", "1,000", "36,000", "-", "10", "3.2", "70.0"] in lines
    assert ["total", "1:01:30", "1,000", "36,000", "9,000"] in [line[:5] for line in lines]
    assert ["hardware:", "NVIDIA", "H100,", "2", "visible"] in lines
    assert ["*:", "with", "the", "time", "of", "1", "process"] in [line[:7] for line in lines]
