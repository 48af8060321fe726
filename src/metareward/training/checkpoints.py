"""Folders that are whole or not there: models as they are written, and the training checkpoints of a killed run."""

import glob
import json
import os
import shutil
import socket
import warnings
from collections.abc import Callable
from pathlib import Path

import psutil

from metareward.digests import digest
from metareward.ids import content_id
from metareward.locks import remove_leftovers, remove_unlocked

MANIFEST = "complete.json"  # written last into a training checkpoint: its files and their bytes
CHECKPOINTS = "checkpoint-*"  # as the Trainer names them, by step


def replace_folder(out: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a folder beside `out`, then put it in the place of `out` by renaming.

    The name of the folder beside it says whose it is, so that no two processes write the same one. Those of processes
    that were killed are removed.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{out.name}.{socket.gethostname()}."
    for left in out.parent.glob(f"{glob.escape(prefix)}*.tmp"):
        if not psutil.pid_exists(int(left.name.removeprefix(prefix).removesuffix(".tmp"))):
            shutil.rmtree(left, ignore_errors=True)
    temporary = out.with_name(f"{prefix}{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    write(temporary)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(temporary, out)


def run_folder(work: Path, model_path: Path, *parts: object) -> Path:
    """Where a run's training checkpoints lie: named by the model's weights and by all else that decides the result."""
    weights = digest(model_path, "*.safetensors", work.parent / "digests")
    return work / f"train-{content_id(weights, *parts)}"


def remove_others(folder: Path) -> None:
    """Remove the folders of runs with other inputs, each of which may hold gigabytes; not of those that go on now."""
    for other in folder.parent.glob("train-*"):
        if other != folder:
            remove_unlocked(other)
    remove_leftovers(folder.parent)


def mark_whole(checkpoint: Path) -> None:
    """Note the files of a training checkpoint that has just been written, and their sizes, all of them on the disk."""
    files = [path for path in sorted(checkpoint.rglob("*")) if path.is_file()]
    (checkpoint / MANIFEST).write_text(
        json.dumps({str(path.relative_to(checkpoint)): path.stat().st_size for path in files})
    )
    for path in (*files, checkpoint / MANIFEST):
        with path.open("rb") as file:
            os.fsync(file.fileno())


def remove_checkpoints_but(checkpoint: Path | None, folder: Path) -> None:
    """Leave one training checkpoint in a folder: at 8 billion parameters each holds 96 GB."""
    for other in folder.glob(CHECKPOINTS):
        if other != checkpoint:
            shutil.rmtree(other)


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The newest training checkpoint that has all its files in full. Newer ones are torn: a warning names each."""
    by_step = sorted(folder.glob(CHECKPOINTS), key=lambda path: int(path.name.split("-")[1]), reverse=True)
    for checkpoint in by_step:
        if _is_whole(checkpoint):
            return checkpoint
        warnings.warn(f"{checkpoint} is torn; training goes on from the one before it.", stacklevel=2)
    return None


def _is_whole(checkpoint: Path) -> bool:
    try:
        sizes = json.loads((checkpoint / MANIFEST).read_text())
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):  # no manifest, half a manifest, or a file of it is missing
        return False
