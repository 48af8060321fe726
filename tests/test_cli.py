"""The command line beside `check`, which test_bad_input.py covers."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from metareward.cli import journal, plan, profile
from metareward.errors import UserError
from metareward.pipeline import machine


def test_profiles_are_listed_and_copied(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/small.yaml").write_text("# small: a test\nseed: 1\n")
    profile.profile()
    assert "small: a test" in capsys.readouterr().out
    profile.profile("small")
    assert (tmp_path / "params.yaml").read_text() == "# small: a test\nseed: 1\n"
    with pytest.raises(UserError, match=r"large is not a profile\. Known: small"):
        profile.profile("large")


def test_journals_that_nothing_needs_are_cleared(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    for stage, files in {"respond@m1": ("complete",), "judge@m1": ()}.items():
        folder = tmp_path / ".work" / stage / "f"
        folder.mkdir(parents=True)
        for name in ("lock", *files):
            (folder / name).touch()
    journal.journal()
    rows = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if line.startswith("│")}
    assert "complete" in rows["respond@m1"]
    assert "unfinished" in rows["judge@m1"]
    journal.journal(clear=True)
    assert "deleted 1 of 2" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / ".work").glob("*/f")] == ["f"]
    journal.journal(clear=True, everything=True)
    assert "deleted 1 of 1" in capsys.readouterr().out
    assert list((tmp_path / ".work").glob("*/f")) == []


def test_plan_counts_what_the_params_ask_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(Path(__file__).parents[1])
    params = yaml.safe_load(Path("profiles/demo.yaml").read_text())
    params["prompts"]["per_iteration"] = 8
    params["respond"]["n"], params["judge"]["n"] = 4, 3
    params["evaluate"] |= {"n_prompts": 6, "n_judged_prompts": 6, "n_judgments": 2, "compare": "verdicts"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.setattr(plan, "PARAMS", tmp_path / "params.yaml")
    plan.plan(prefill_rate=1000.0, decode_rate=100.0, load_seconds=60.0, gpus=2)
    out = capsys.readouterr().out
    rows = {line.split()[1]: line.split()[3::2] for line in out.splitlines() if line.startswith("│")}
    assert rows["respond@m1"][:2] == ["8", "32"]  # 8 prompts, 4 responses of each
    assert rows["judge@m1"][:2] == ["32", "96"]  # 3 judgments of each
    assert rows["meta-judge@m1"][:2] == ["48", "48"]  # of 8 responses, 3 judgments in 6 ordered pairs
    assert rows["meta-judge@m3"][:2] == ["0", "0"]
    assert rows["evaluate@seed"][:2] == ["36", "54"]  # 6 prompts, 18 replies judged twice, 12 verdicts
    assert rows["compare@m4"][:2] == ["12", "12"]  # 6 prompts in both orders
    assert "compare@seed" not in rows
    prefill, decode = (int(cell.replace(",", "")) for cell in rows["total"][2:5:2])
    asked = [name for name, row in rows.items() if name not in ("stage", "total") and row[0] != "0"]
    seconds = (prefill / 1000 + decode / 100) / 2 + 60 * len(asked)
    assert len(asked) == 21
    shown = re.search(r"time: (\d+):(\d\d):(\d\d) of generation, (\d+\.\d\d) GPU-hours", out)
    found = sum(int(number) * unit for number, unit in zip(shown.groups()[:3], (3600, 60, 1), strict=True))
    assert found == pytest.approx(seconds, abs=len(asked))
    assert float(shown[4]) == pytest.approx(2 * seconds / 3600, abs=0.02)


def test_plan_counts_the_judgments_of_ranked_replies(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(Path(__file__).parents[1])
    params = yaml.safe_load(Path("profiles/demo.yaml").read_text())
    params["eft"] |= {"source": "ranked", "file": "data/samples/eval_judged.jsonl", "n": 4}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.setattr(plan, "PARAMS", tmp_path / "params.yaml")
    plan.plan()
    rows = {line.split()[1]: line.split()[3::2] for line in capsys.readouterr().out.splitlines() if "│" in line}
    replies = len(Path("data/samples/eval_judged.jsonl").read_text().splitlines())
    assert rows["eft-judge"][:2] == [str(replies), str(4 * replies)]
    params["eft"]["kinds"] = ["meta_judge"]  # no judge examples, so the seed judges nothing
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    plan.plan()
    assert "eft-judge" not in capsys.readouterr().out


def test_plan_counts_what_a_strong_judge_is_asked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(Path(__file__).parents[1])
    params = yaml.safe_load(Path("profiles/demo.yaml").read_text())
    monkeypatch.setattr(plan, "PARAMS", tmp_path / "params.yaml")

    def planned(**changes):
        params["evaluate"]["strong_judge"] |= changes
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        plan.plan()
        out = capsys.readouterr().out
        return out, {line.split()[1]: line.split()[3:6:2] for line in out.splitlines() if line.startswith("│")}

    _, off = planned()
    assert not {"strong-respond", "strong-judge"} & set(off)
    out, on = planned(n_prompts=5, n_responses=7, n_judgments=11)
    assert on["strong-respond"] == ["5", "35"]
    assert on["strong-judge"] == ["35", "385"]
    asked = [int(on["evaluate@m1"][k]) - int(off["evaluate@m1"][k]) for k in (0, 1)]
    assert asked == [35, 385]
    assert "judge embedded (transformers): 35 requests" in out
    endpoint = {"engine": "openai", "model": "big", "logprobs": False}
    params["resources"]["judges"] = {"big": {"dollars_per_million_in": 1e6, "dollars_per_million_out": 0.0}}
    out, elsewhere = planned(judge=endpoint)
    assert "strong-judge" not in elsewhere  # this machine has nothing to generate
    said = re.search(r"judge big \(openai\): 35 requests, ([\d,]+) prompt tokens.*, \$([\d,]+)\.", out)
    tokens, dollars = (int(number.replace(",", "")) for number in said.groups())
    assert abs(tokens - dollars) <= 1


def test_import_is_light():
    code = (
        "import sys, metareward, metareward.cli.main, metareward.params, metareward.selection.judge_pairs\n"
        "heavy = {'torch', 'transformers', 'trl', 'vllm', 'ray'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "installed", "gpus", "expected"),
    [
        ("transformers", [], 0, "engine transformers; this machine has no GPU and could use no other"),
        ("transformers", ["vllm", "openai"], 0, "no GPU and could use vllm or openai"),
        ("vllm", ["vllm"], 8, "engine vllm; this machine has 8 GPUs and could use transformers"),
        ("transformers", ["vllm"], 1, "1 GPU and could use vllm. vllm is faster on a GPU (params.yaml: engine.name)"),
        ("transformers", [], 1, "vllm is faster on a GPU, after pip install '.[vllm]' (params.yaml: engine.name)"),
    ],
)
def test_check_says_what_else_the_machine_could_use(monkeypatch, name, installed, gpus, expected):
    monkeypatch.setattr(machine, "find_spec", lambda library: library in installed or None)
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([Path(f"/dev/nvidia{k}") for k in range(gpus)]))
    assert expected in machine.other_engines(name)
