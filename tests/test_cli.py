"""The command line beside `check`, which test_bad_input.py covers."""

import json
import subprocess
import sys

import pytest

from metareward import cli
from metareward.errors import UserError


def test_profiles_are_listed_and_copied(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/small.yaml").write_text("# small: a test\nseed: 1\n")
    cli.profile()
    assert "small: a test" in capsys.readouterr().out
    cli.profile("small")
    assert (tmp_path / "params.yaml").read_text() == "# small: a test\nseed: 1\n"
    with pytest.raises(UserError, match=r"large is not a profile\. Known: small"):
        cli.profile("large")


def test_show_prints_a_row_for_each_checkpoint(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="dvc repro makes it"):
        cli.show()
    metrics = {
        "held_out": {"response_chars": {"seed": 200.0, "m1": 150.0}, "win_rate_by_sft": {"m1": 0.625}},
        "actor_pairs": {"pairs": {"m1": 7}},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    cli.show()
    rows = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if line.startswith("│")}
    assert "0.625" in rows["m1"]
    assert " 7 " in rows["m1"]
    assert "150" in rows["m1"]
    assert "0.625" not in rows["seed"]


def test_import_is_light():
    code = (
        "import sys, metareward, metareward.cli, metareward.params, metareward.select\n"
        "heavy = {'torch', 'transformers', 'trl', 'vllm', 'ray'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
