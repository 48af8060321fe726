"""Copies of the project side by side: each runs its own code, and what they share they do not spoil for one another."""

import os
import re
import subprocess
import time

import polars as pl
import psutil
import pytest

from metareward.pipeline.journals import list_journals

from pipeline import ROOT, Clone, outputs_in

EDITED = "prompts of the edited copy"
TABLE = "data/iterations/m1/prompts.parquet"


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone with the tiny profile in which git has every input, as experiments in copies need it."""
    clone = Clone(tmp_path_factory.mktemp("experiments"))
    clone.use_tiny_profile()
    clone.run("git add --force tiny")
    clone.commit("the inputs")
    return clone


def edit(folder):
    """Change what the stage `prompts` writes into the column `source`."""
    with (folder / "src/metareward/inputs/pool.py").open("a") as module:
        module.write(
            "\n\n_read = read_prompts\n\n\ndef read_prompts(*arguments):\n"
            f'    return _read(*arguments).with_columns(source=pl.lit("{EDITED}"))\n'
        )


def outputs_of(clone, experiment):
    """The content hash of every output of an experiment, by path."""
    branch = f"of-{experiment}"
    return outputs_in(clone.run(f"dvc exp branch --quiet {experiment} {branch} && git show {branch}:dvc.lock"))


def sources(clone, experiment):
    """The column `source` of the table that an experiment wrote."""
    md5 = outputs_of(clone, experiment)[TABLE]
    return set(pl.read_parquet(clone.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:])["source"])


def test_an_experiment_runs_the_code_of_its_own_copy_and_not_what_is_installed(clone, monkeypatch):
    """`import metareward` means this project's src (as an editable install does), and the experiment's is edited."""
    edit(clone.folder)
    monkeypatch.setattr(clone, "environment", lambda: Clone.environment(clone) | {"PYTHONPATH": str(ROOT / "src")})
    clone.run("dvc exp run --temp --name temp prompts@m1")
    clone.run("dvc exp run --queue --name queue prompts@m1 && git checkout --quiet src")
    assert EDITED not in (clone.folder / "src/metareward/inputs/pool.py").read_text()
    clone.run("dvc exp run --run-all")
    clone.run("dvc exp run --temp --name unedited prompts@m1")
    assert sources(clone, "temp") == sources(clone, "queue") == {EDITED}
    assert EDITED not in sources(clone, "unedited")


def test_a_worktree_runs_its_own_code_and_says_so_where_it_cannot(clone, monkeypatch):
    clone.run("git worktree add --quiet -b other '../a worktree'")
    other = clone.folder.parent / "a worktree"
    edit(other)
    installed = {"PYTHONPATH": str(ROOT / "src")}
    monkeypatch.setattr(clone, "environment", lambda: Clone.environment(clone) | installed)
    clone.run("cd '../a worktree' && python stages/prompts.py m1")
    assert set(pl.read_parquet(other / TABLE)["source"]) == {EDITED}

    refused = clone.run("cd '../a worktree' && PYTHONSAFEPATH=1 python stages/prompts.py m1", returncode=2)
    assert f"error: this is the code of {ROOT}, not of {other}" in refused
    assert f"warning: this is the code of {ROOT}, not of {other}" in clone.run(
        "cd '../a worktree' && metareward profile"
    )
    assert "warning" not in clone.run("cd /tmp && metareward --help")  # no copy of the project is there


def judging(folder):
    """The processes that run the stage `judge` in a clone or in one of its experiments, by id."""
    found = {}
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words, cwd = process.info["cmdline"] or [], process.info["cwd"] or ""
        if words[1:2] == ["stages/judge.py"] and cwd.startswith(str(folder)):
            found[process.pid] = process
    return found


def until(condition, seconds=300):
    """Wait until a condition holds, and return what it gives."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.1)
    return value


def generating(clone):
    """The id of the process that writes a journal of the stage `judge` just now."""
    states = [entry.state for entry in list_journals(clone.folder / ".work") if entry.stage == "judge@m1"]
    found = [re.search(r"being written by process (\d+)", state) for state in states]
    return next((int(match[1]) for match in found if match), None)


def parts(clone):
    return {path: path.stat().st_mtime_ns for path in (clone.folder / ".work/judge@m1").glob("*/*.parquet")}


@pytest.mark.skipif("METAREWARD_KILLS" not in os.environ, reason="takes minutes: make test-kills")
def test_four_in_the_queue_two_at_a_time_from_an_unfinished_generation_on_with_one_killed(tmp_path):
    clone = Clone(tmp_path)
    journal = clone.folder / "src/metareward/engines/common/journal.py"
    journal.write_text(re.sub(r"SECONDS_PER_PART = [\d.]+", "SECONDS_PER_PART = 0.5", journal.read_text()))
    clone.use_tiny_profile(
        prompts__per_iteration=24,
        judge__n=33,
        judge__max_tokens=128,
        engine__transformers__batch_tokens=4096,
        iterations__m1__train_judge=False,
    )
    clone.run("git add --force tiny")
    clone.run("dvc repro dedup@m1")
    clone.commit("all before the generation")
    process = psutil.Popen(
        ["dvc", "repro", "judge@m1"], cwd=clone.folder, env=clone.environment(), stdout=subprocess.DEVNULL
    )
    until(lambda: len(parts(clone)) >= 2)
    for each in [process, *process.children(recursive=True)]:
        each.kill()
    process.wait()
    written = parts(clone)

    changes = {"one": "rho=0.1", "two": "rho=0.9", "three": "dpo.beta=0.2", "four": "dpo.learning_rate=0.001"}
    clone.run("git checkout --quiet dvc.lock")
    for name, change in changes.items():
        clone.run(f"dvc exp run --queue --name {name} -S {change} dpo@m1")
    clone.run("dvc queue start --jobs 2 > /dev/null 2>&1")  # its workers would keep the pipe open
    both = until(lambda: (found := judging(clone.folder)) and len(found) == 2 and generating(clone) and found)
    until(lambda: len(parts(clone)) > len(written))
    killed = generating(clone)
    assert killed in both
    both[killed].kill()

    def ended():
        status = dict(re.findall(r"\s(one|two|three|four)\s.*\s(\w+)\s*$", clone.run("dvc queue status"), re.MULTILINE))
        return status if set(status.values()) <= {"Success", "Failed"} and len(status) == 4 else None

    status = until(ended, 900)
    assert sorted(status.values()) == ["Failed", "Success", "Success", "Success"]
    (failed,) = [name for name, word in status.items() if word == "Failed"]
    others = [name for name in changes if name != failed]
    assert any(f"waiting for process {killed} on" in clone.run(f"dvc queue logs {name}") for name in others)

    clone.run(f"dvc exp run --queue --name again -S {changes[failed]} dpo@m1 && dvc exp run --run-all")
    assert {path: at for path, at in parts(clone).items() if path in written} == written
    outs = [outputs_of(clone, name) for name in [*others, "again"]]
    assert len({out["data/iterations/m1/judgments.parquet"] for out in outs}) == 1
    assert len({out["models/m1"] for out in outs}) == 4  # four experiments, four models
    undisturbed = clone.run("rm -rf .work && dvc repro --force --single-item judge@m1") and clone.outputs()
    assert undisturbed["data/iterations/m1/judgments.parquet"] == outs[0]["data/iterations/m1/judgments.parquet"]
