"""The journals of all stages: what `metareward journal` lists and clears."""

import dataclasses
import shutil
import time
from collections.abc import Collection
from pathlib import Path

import polars as pl
from filelock import FileLock, Timeout


@dataclasses.dataclass(frozen=True)
class Entry:
    """A journal on disk: completions, its size in bytes, the seconds since its last part, and whom it belongs to.

    state: "being written by ...", "complete" (its stage has all it needs), "left behind" (a younger journal of the same
    stage has other inputs, params or code) or "unfinished" (the stage will go on from it).
    """

    stage: str
    fingerprint: str
    completions: int
    size: int
    age: float
    state: str
    folder: Path


def list_journals(work: Path) -> list[Entry]:
    """All journals of a work directory, the youngest first."""
    entries: list[Entry] = []
    folders = [path.parent for path in work.glob("*/*/lock")]
    ages = {folder: time.time() - max(file.stat().st_mtime for file in folder.iterdir()) for folder in folders}
    for folder, age in sorted(ages.items(), key=lambda item: item[1]):
        holder = folder / "holder"
        if _is_locked(folder):
            state = f"being written by {holder.read_text() if holder.is_file() else 'another process'}"
        elif (folder / "complete").exists():
            state = "complete"
        else:
            state = "left behind" if folder.parent.name in {entry.stage for entry in entries} else "unfinished"
        size = sum(file.stat().st_size for file in folder.iterdir())
        completions = sum(_rows(path) for path in folder.glob("*.parquet"))
        entries.append(Entry(folder.parent.name, folder.name, completions, size, age, state, folder))
    return entries


def clear_journals(entries: Collection[Entry]) -> list[Entry]:
    """Delete journals; returns those deleted: one that is being written stays."""
    gone = []
    for entry in entries:
        if not _is_locked(entry.folder):
            shutil.rmtree(entry.folder)
            gone.append(entry)
    return gone


def _rows(path: Path) -> int:
    try:
        return int(pl.scan_parquet(path).select(pl.len()).collect().item())
    except (OSError, pl.exceptions.PolarsError):
        return 0


def _is_locked(folder: Path) -> bool:
    lock = FileLock(folder / "lock", timeout=0)
    try:
        with lock:
            return False
    except Timeout:
        return True
