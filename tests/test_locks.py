"""Folders of `.work` that experiments share: one writer, the others wait, and none is deleted in use."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from metareward import locks
from metareward.errors import UserError
from metareward.locks import acquire, discard, is_locked, keep, remove_leftovers, remove_own, remove_unlocked
from metareward.training.checkpoints import remove_others, replace_folder


@pytest.fixture(autouse=True)
def _poll_often(monkeypatch):
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.05)


def test_a_second_one_waits_and_is_told_for_whom(tmp_path, capsys):
    lock = acquire(tmp_path / "f")
    threading.Timer(0.5, lock.release).start()
    start = time.monotonic()
    with acquire(tmp_path / "f", wait_hours=1):
        assert time.monotonic() - start >= 0.5
    (line,) = capsys.readouterr().err.splitlines()  # once, however often it looks
    assert re.search(rf"waiting for process {os.getpid()} on \S+ in \S+, which writes \S+/f; 1 hours at most", line)


def test_waiting_has_an_end(tmp_path):
    with acquire(tmp_path / "f"):
        for hours in (0.0, 0.3 / 3600):
            start = time.monotonic()
            with pytest.raises(UserError, match=r"being written by process \d+ .*resources.wait_hours"):
                acquire(tmp_path / "f", hours)
            assert 3600 * hours <= time.monotonic() - start < 3600 * hours + 5


def test_a_folder_in_use_is_not_removed_and_a_free_one_is(tmp_path):
    lock = acquire(tmp_path / "f")
    assert is_locked(tmp_path / "f")
    assert not remove_unlocked(tmp_path / "f")
    assert (tmp_path / "f" / "holder").is_file()
    lock.release()
    assert not is_locked(tmp_path / "f")
    assert remove_unlocked(tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_who_waited_for_a_folder_that_is_gone_makes_it_anew(tmp_path):
    lock = acquire(tmp_path / "f")

    def end():
        remove_own(tmp_path / "f")
        lock.release()

    threading.Timer(0.3, end).start()
    with acquire(tmp_path / "f", wait_hours=1):
        assert {path.name for path in (tmp_path / "f").iterdir()} == {"lock", "holder"}


def test_a_kept_folder_is_this_processes_until_it_discards_it(tmp_path):
    keep(tmp_path / "f")
    keep(tmp_path / "f")  # a training run that stopped and is called again
    assert not remove_unlocked(tmp_path / "f")
    discard(tmp_path / "f")
    assert list(tmp_path.iterdir()) == []
    with acquire(tmp_path / "f"):
        assert is_locked(tmp_path / "f")


def test_the_same_training_twice_at_once_gives_the_same_weights_one_after_the_other(tmp_path, tiny_model):
    """The second waits, finds the folder gone, and trains again in one of its own."""
    command = [sys.executable, "-c", TRAIN, str(Path(__file__).parent), str(tiny_model), str(tmp_path)]
    runs = [
        subprocess.Popen([*command, name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for name in "ab"
    ]
    said = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert sum("waiting for process" in text for text in said) == 1
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
    assert first == second
    assert list((tmp_path / "work").iterdir()) == []


TRAIN = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_train import SFT, eft
from metareward.training import sft
model, folder, name = Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
(folder / f"ready-{name}").touch()
while len(list(folder.glob("ready-*"))) < 2:
    time.sleep(0.05)
load = sft.load_model
sft.load_model = lambda path: (time.sleep(3), load(path))[1]  # long enough for the other to come
sft.train_sft(model, eft(4), folder / name, SFT, folder / "work", 1, wait_hours=1)
"""


def test_what_a_killed_deletion_left_is_removed(tmp_path):
    (tmp_path / ".f.0123.tmp").mkdir()
    (tmp_path / "g").mkdir()
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["g"]


WORKER = """
import random, sys, time
from pathlib import Path
from metareward import locks
locks.POLL_SECONDS = 0.001
folder, number, end = Path(sys.argv[1]), sys.argv[2], time.monotonic() + 4
rounds = 0
while time.monotonic() < end:
    if random.random() < 0.3:
        locks.remove_unlocked(folder)
        continue
    lock = locks.acquire(folder, 1)
    state = folder / "state"
    state.mkdir(exist_ok=True)
    (state / "whose").write_text(number)
    time.sleep(0.001)
    assert (state / "whose").read_text() == number, "another one wrote here"
    if random.random() < 0.5:
        locks.remove_own(folder)
    lock.release()
    rounds += 1
print(rounds)
"""


def test_many_at_once_never_write_or_delete_under_one_another(tmp_path):
    command = [sys.executable, "-c", WORKER, str(tmp_path / "train-f")]
    workers = [
        subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    results = [worker.communicate() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, [errors[-500:] for _, errors in results]
    assert all(int(rounds) > 0 for rounds, _ in results)


def test_training_folders_of_others_go_unless_they_are_in_use(tmp_path):
    with acquire(tmp_path / "train-running"), acquire(tmp_path / "train-mine"):
        (tmp_path / "train-killed").mkdir()
        (tmp_path / "journal").mkdir()
        remove_others(tmp_path / "train-mine")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["journal", "train-mine", "train-running"]


def test_two_processes_that_replace_one_folder_write_in_places_of_their_own(tmp_path):
    """And what a killed one left beside it is removed."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    seen = []

    def write(temporary):
        temporary.mkdir()
        seen.append(temporary)
        if os.fork() == 0:  # the other process, at the same moment
            replace_folder(tmp_path / "rows", lambda other: (other.mkdir(), (other / "whole").touch()))
            os._exit(0)
        os.wait()
        assert temporary.is_dir()
        (temporary / "whole").touch()

    replace_folder(tmp_path / "rows", write)
    left = seen[0].with_name(seen[0].name.replace(str(os.getpid()), str(dead.pid)))
    left.mkdir()
    replace_folder(tmp_path / "rows", write)
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]
    assert (tmp_path / "rows" / "whole").is_file()
