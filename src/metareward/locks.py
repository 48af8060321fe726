"""Folders in `.work` that one process at a time writes, though experiments side by side share them.

A folder's lock is the file `lock` inside it; a dead process holds none. Whoever deletes a folder holds its lock and
first takes the folder away by renaming, so that nothing is ever deleted under a process that has just begun.
"""

import os
import shutil
import socket
import sys
import time
import uuid
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout
from tqdm import tqdm

from metareward.errors import UserError

LOCK = "lock"
POLL_SECONDS = 1.0
GOING = (FileNotFoundError, FileExistsError)  # what making and locking a folder raise while another process deletes it
_kept: dict[Path, BaseFileLock] = {}  # as locks are, of the whole process


def acquire(folder: Path, wait_hours: float = 0.0) -> BaseFileLock:
    """Make a folder and lock it: until the lock is released, this process alone writes there.

    While another process has it, a line says which, and this one waits. Raises UserError after wait_hours (0: at once).
    """
    deadline, told = time.monotonic() + 3600 * wait_hours, ""
    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            break
        except GOING:
            if folder.is_file():
                raise
            continue
        except Timeout:
            name = holder(folder)
        if time.monotonic() >= deadline:
            raise UserError(
                f"{folder} is being written by {name}, also after {wait_hours:g} hours of waiting. End it, or let it "
                "end: this stage goes on from where it was. (params.yaml: resources.wait_hours)"
            )
        if name != told:
            told = name
            tqdm.write(f"waiting for {name}, which writes {folder}; {wait_hours:g} hours at most", file=sys.stderr)
        time.sleep(min(POLL_SECONDS, max(deadline - time.monotonic(), 0)))
    (folder / "holder").write_text(f"process {os.getpid()} on {socket.gethostname()} in {Path.cwd()}")
    return lock


def keep(folder: Path, wait_hours: float = 0.0) -> None:
    """As `acquire`, until this process ends or calls `discard`."""
    if folder not in _kept:
        _kept[folder] = acquire(folder, wait_hours)


def discard(folder: Path) -> None:
    """Delete a folder that this process keeps, and let the next one make it anew."""
    remove_own(folder)
    _kept.pop(folder).release()


def holder(folder: Path) -> str:
    """Who has a locked folder, in words."""
    try:
        return (folder / "holder").read_text() or "another process"
    except OSError:
        return "another process"


def is_locked(folder: Path) -> bool:
    """Whether a process is writing a folder just now."""
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except GOING:
        return False
    except Timeout:
        return True


def remove_unlocked(folder: Path) -> bool:
    """Delete a folder unless a process has it locked; whether it is gone."""
    try:
        with FileLock(folder / LOCK, timeout=0):
            remove_own(folder)
    except (Timeout, *GOING):
        return not folder.exists()
    return True


def remove_own(folder: Path) -> None:
    """Delete a folder that this process has locked."""
    doomed = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    folder.rename(doomed)
    shutil.rmtree(doomed)


def remove_leftovers(parent: Path) -> None:
    """Delete what a kill in the middle of a deletion left."""
    for doomed in parent.glob(".*.tmp"):
        shutil.rmtree(doomed, ignore_errors=True)
