"""The journals of all stages: what `metareward journal` lists and clears."""

import dataclasses
import time
from collections.abc import Collection
from pathlib import Path

import polars as pl

from metareward.locks import LOCK, holder, is_locked, remove_leftovers, remove_unlocked


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
    found = [path.parent for path in work.glob(f"*/*/{LOCK}") if not path.parent.name.startswith((".", "train-"))]
    ages = {folder: time.time() - max(file.stat().st_mtime for file in folder.iterdir()) for folder in found}
    for folder, age in sorted(ages.items(), key=lambda item: item[1]):
        if is_locked(folder):
            state = f"being written by {holder(folder)}"
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
    gone = [entry for entry in entries if remove_unlocked(entry.folder)]
    for parent in {entry.folder.parent for entry in entries}:
        remove_leftovers(parent)
    return gone


def _rows(path: Path) -> int:
    try:
        return int(pl.scan_parquet(path).select(pl.len()).collect().item())
    except (OSError, pl.exceptions.PolarsError):
        return 0
