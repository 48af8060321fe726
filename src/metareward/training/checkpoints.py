"""Folders that are whole or not there: models as they are written, and the training checkpoints of a killed run."""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

from metareward.ids import content_id

MANIFEST = "complete.json"  # written last into a training checkpoint: its files and their bytes


def replace_folder(out: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a folder beside `out`, then put it in the place of `out` by renaming."""
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    write(temporary)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(temporary, out)


def run_folder(work: Path, model_path: Path, *parts: object) -> Path:
    """Where a run's training checkpoints lie: named by the model's weights and by all else that decides the result."""
    weights = hashlib.sha256()
    for path in sorted(model_path.glob("*.safetensors")):
        with path.open("rb") as file:
            weights.update(hashlib.file_digest(file, "sha256").digest())
    return work / f"train-{content_id(weights.hexdigest(), *parts)}"


def remove_others(folder: Path) -> None:
    """Make a run's folder, and remove those of runs with other inputs: each may hold gigabytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.parent.glob("train-*"):
        if other != folder:
            shutil.rmtree(other)


def mark_whole(checkpoint: Path) -> None:
    """Note the files of a training checkpoint that has just been written, and their sizes."""
    sizes = {path.name: path.stat().st_size for path in sorted(checkpoint.iterdir()) if path.is_file()}
    (checkpoint / MANIFEST).write_text(json.dumps(sizes))


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The newest training checkpoint that has all its files in full. Newer ones are torn: a warning names each."""
    by_step = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True)
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
