"""SIGKILL at any moment of `dvc repro`: the next one ends with the bytes of an undisturbed run, and repeats little.

METAREWARD_KILLS says how often; one of each kind unless told.
"""

import ctypes
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import time
from contextlib import contextmanager, nullcontext, suppress

import psutil
import pytest

from pipeline import Clone, outputs_in

STAGE = "judge@m1"
TABLE = "data/iterations/m1/judgments.parquet"
KILLS = int(os.environ.get("METAREWARD_KILLS", "3"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A clone at the door of a stage that writes several parts; the table it gives, and how many seconds it takes."""
    clone = Clone(tmp_path_factory.mktemp("kill"))
    journal = clone.folder / "src/metareward/engines/common/journal.py"  # several parts on a fast machine, too
    journal.write_text(re.sub(r"SECONDS_PER_PART = [\d.]+", "SECONDS_PER_PART = 0.5", journal.read_text()))
    clone.use_tiny_profile(
        prompts__per_iteration=24, judge__n=33, judge__max_tokens=128, engine__transformers__batch_tokens=4096
    )
    clone.run("dvc repro dedup@m1")
    clone.run("git add --force tiny")  # an experiment in a copy has what is committed
    clone.commit("all before the stage")
    start = time.monotonic()
    clone.run(f"dvc repro {STAGE}")
    seconds = time.monotonic() - start
    assert len(parts(clone)) >= 3
    return clone, (clone.folder / TABLE).read_bytes(), seconds


def parts(clone):
    """The journal's parts by path, as they are on disk."""
    return {path: path.stat().st_mtime_ns for path in (clone.folder / ".work" / STAGE).glob("*/*.parquet")}


def forget(clone):
    """As if the stage had never run."""
    clone.run("git checkout --quiet dvc.lock")
    (clone.folder / TABLE).unlink(missing_ok=True)
    shutil.rmtree(clone.folder / ".work", ignore_errors=True)
    shutil.rmtree(clone.folder / ".dvc/cache/runs", ignore_errors=True)


def repro(clone):
    command = ["dvc", "repro", STAGE]
    return psutil.Popen(
        command, cwd=clone.folder, env=clone.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def children(process):
    """The stage's processes under `dvc repro`, the shell that starts it included."""
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kill(processes):
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@contextmanager
def adopting():
    """This process adopts the orphans among its descendants, as a container's runner does, and not init."""
    prctl, set_child_subreaper = ctypes.CDLL(None).prctl, 36
    prctl(set_child_subreaper, 1)
    yield
    prctl(set_child_subreaper, 0)


def test_a_torn_lock_of_dvcs_is_mended(undisturbed):
    clone, _, _ = undisturbed
    (clone.folder / ".dvc/tmp/rwlock").write_text("")
    assert "corrupted" in clone.run(f"dvc repro {STAGE}", returncode=255)
    assert "rwlock was torn" in clone.run("metareward check")
    clone.run(f"dvc repro {STAGE}")
    assert "rwlock" not in clone.run("metareward check")


def test_a_stage_without_its_dvc_ends(undisturbed):
    clone, _, _ = undisturbed
    assert "DVC is gone" in clone.run("DVC_STAGE=judge@m1 python stages/judge.py m1 sft", returncode=1)


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_at_any_moment(undisturbed, number):
    clone, table, seconds = undisturbed
    forget(clone)
    kind = ("dvc and stage", "stage", "dvc")[number % 3]
    at_once = number == 2  # DVC dies before the stage's process has begun to watch it
    process = repro(clone)
    while (kind == "stage" or at_once) and not children(process):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0 if at_once else random.Random(number).uniform(0, seconds))
    stage = children(process)
    with adopting() if at_once else nullcontext():
        kill({"dvc and stage": [process, *stage], "stage": stage, "dvc": [process]}[kind])
        process.wait()
    written = parts(clone)

    try:
        json.loads((clone.folder / ".dvc/tmp/rwlock").read_text())
    except ValueError:  # torn: DVC was killed while it wrote
        clone.run("metareward check")
    clone.run(f"dvc repro {STAGE}")
    assert (clone.folder / TABLE).read_bytes() == table
    # every part that lay there lies there untouched, so what was generated twice is what had not made a part yet
    assert {path: at for path, at in parts(clone).items() if path in written} == written
    assert clone.run(f"dvc status {STAGE}").strip() == "Data and pipelines are up to date."


@pytest.mark.parametrize("how", ["--temp", "--queue"])
def test_an_experiment_goes_on_from_the_journal_of_the_checkout(undisturbed, how):
    """Experiments run in copies of the project that come and go; their journals do not."""
    clone, table, _ = undisturbed
    forget(clone)
    process = repro(clone)
    while len(parts(clone)) < 2:
        time.sleep(0.05)
    kill([process, *children(process)])
    process.wait()
    written = parts(clone)
    name = how.strip("-")
    clone.run(f"git checkout --quiet dvc.lock && dvc exp run {how} --name {name} {STAGE}")
    if how == "--queue":
        clone.run("dvc exp run --run-all")
    assert {path: at for path, at in parts(clone).items() if path in written} == written
    found = outputs_in(clone.run(f"dvc exp branch --quiet {name} kept-{name} && git show kept-{name}:dvc.lock"))
    assert found[TABLE] == hashlib.md5(table).hexdigest()
