"""Hashes of files: by what they hold, and those of large files computed once."""

import hashlib
import os
import shutil
import subprocess
import sys
import time

import pytest

from metareward import digests
from metareward.digests import digest


@pytest.fixture
def hashed(monkeypatch):
    """The names of the files that are read to be hashed; a file of 4 bytes is a large one."""
    monkeypatch.setattr(digests, "LARGE", 4)
    read, real = [], hashlib.file_digest

    def file_digest(opened, name):
        read.append(os.path.basename(opened.name))
        return real(opened, name)

    monkeypatch.setattr(hashlib, "file_digest", file_digest)
    return read


def model(folder, **files):
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_names_and_bytes_decide_and_hidden_files_do_not(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "weights").write_bytes(b"1")
    before = digest(tmp_path)
    (tmp_path / ".hidden").write_bytes(b"1")
    assert digest(tmp_path) == before
    (tmp_path / "sub" / "weights").rename(tmp_path / "weights")
    assert digest(tmp_path) != before
    before = digest(tmp_path / "weights")
    (tmp_path / "weights").write_bytes(b"2")
    assert digest(tmp_path / "weights") != before


def test_a_large_file_is_read_once_and_the_hash_is_that_without_a_memory(tmp_path, hashed):
    folder, memory = model(tmp_path / "m", weights="1234", config="{}"), tmp_path / "memory"
    plain = digest(folder)
    hashed.clear()
    assert [digest(folder, memory=memory) for _ in range(3)] == [plain] * 3
    assert hashed == ["config", "weights", "config", "config"]
    assert len(list(memory.iterdir())) == 1


def test_a_link_is_the_same_file_and_a_file_put_in_its_place_is_another(tmp_path, hashed):
    """DVC's cache and every checkout of it name one inode; a copy keeps size and time, and not what it holds."""
    folder, memory = model(tmp_path / "m", weights="1234"), tmp_path / "memory"
    first = digest(folder, memory=memory)
    (tmp_path / "linked").mkdir()
    os.link(folder / "weights", tmp_path / "linked" / "weights")
    hashed.clear()
    assert digest(tmp_path / "linked", memory=memory) == first
    assert hashed == []
    other = model(tmp_path / "other", weights="4321")
    shutil.copystat(folder / "weights", other / "weights")
    os.replace(other / "weights", folder / "weights")
    assert digest(folder, memory=memory) != first
    assert hashed == ["weights"]


def test_a_file_written_again_in_its_place_is_told_by_its_time(tmp_path, hashed):
    folder, memory = model(tmp_path / "m", weights="1234"), tmp_path / "memory"
    first = digest(folder, memory=memory)
    (folder / "weights").write_text("4321")
    os.utime(folder / "weights", ns=(1, 1))
    assert digest(folder, memory=memory) != first


def test_a_time_of_whole_seconds_is_not_trusted(tmp_path, hashed):
    """Files of an archive have the archive's time, and a file that is deleted leaves its inode to the next one."""
    folder, memory = model(tmp_path / "m", weights="1234"), tmp_path / "memory"
    os.utime(folder / "weights", (1e9, 1e9))
    first = digest(folder, memory=memory)
    (folder / "weights").write_text("4321")  # the same inode
    os.utime(folder / "weights", (1e9, 1e9))
    assert digest(folder, memory=memory) != first
    assert not memory.exists()


def test_a_file_that_is_written_while_it_is_read_is_not_remembered(tmp_path, hashed, monkeypatch):
    folder, memory = model(tmp_path / "m", weights="1234"), tmp_path / "memory"
    real = hashlib.file_digest

    def slow(opened, name):
        found = real(opened, name)
        (folder / "weights").write_text("12345678")
        return found

    monkeypatch.setattr(hashlib, "file_digest", slow)
    digest(folder, memory=memory)
    assert not memory.exists()


@pytest.mark.parametrize("torn", [b"", b"12ab", b"\x00" * 64, b"\xff" * 64])
def test_a_torn_entry_is_not_believed_and_is_written_anew(tmp_path, hashed, torn):
    folder, memory = model(tmp_path / "m", weights="1234"), tmp_path / "memory"
    first = digest(folder, memory=memory)
    (entry,) = memory.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(torn)
    assert digest(folder, memory=memory) == first
    assert entry.read_bytes() == whole


def test_what_nobody_asked_for_in_a_month_is_forgotten(tmp_path, hashed):
    memory = tmp_path / "memory"
    folders = [model(tmp_path / name, weights=name * 4) for name in "abc"]
    for folder in folders[:2]:
        digest(folder, memory=memory)
    for entry in memory.iterdir():
        long_ago = time.time() - 40 * 86400
        os.utime(entry, (long_ago, long_ago))
    digest(folders[0], memory=memory)  # a use counts
    digest(folders[2], memory=memory)
    hashed.clear()
    for folder in folders:
        digest(folder, memory=memory)
    assert hashed == ["weights"]
    assert len(list(memory.iterdir())) == 3


def test_several_processes_at_once_find_the_same(tmp_path):
    folder, memory = model(tmp_path / "m", weights="1234" * 1000, more="4321"), tmp_path / "memory"
    script = (
        "import sys; from pathlib import Path; from metareward import digests; digests.LARGE = 4\n"
        "print({digests.digest(Path(sys.argv[1]), memory=Path(sys.argv[2])) for _ in range(200)})"
    )
    command = [sys.executable, "-c", script, str(folder), str(memory)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert {process.communicate()[0].strip() for process in started} == {repr({digest(folder)})}
    assert not any(process.returncode for process in started)
    assert len(list(memory.iterdir())) == 2
