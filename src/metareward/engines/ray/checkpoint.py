"""A checkpoint on its way to machines that do not have it: in pieces, through Ray's object store.

A machine keeps what it was sent in a cache folder, one copy for all its workers, under a name made of the contents. So
the next stage finds it there, and a folder of the same path that holds something else is not taken for it.
"""

import hashlib
import os
import shutil
import time
from collections import deque
from pathlib import Path
from typing import Any

import ray
from filelock import FileLock, Timeout

from metareward.ids import content_id

PIECE = 32 * 2**20  # bytes of one object
ON_THE_WAY = 4  # pieces of one checkpoint that a machine has asked for and not yet written
PROBES, PROBE = 1024, 4096  # places in a file that are looked at, and bytes at each
KEPT = 3  # checkpoints in a cache folder, and those used within the last hour
HOUR = 3600


def contents(folder: Path) -> str:
    """A name for what a checkpoint's folder holds: its files' names, sizes, and bytes at 1,024 places of each.

    Two checkpoints of one run differ almost everywhere, so this tells them apart without reading them in full. Hidden
    files are left out.
    """
    digests = []
    for file in _files(folder):
        size, hashed = file.stat().st_size, hashlib.blake2b()
        with file.open("rb") as opened:
            if size <= PROBES * PROBE:
                hashed.update(opened.read())
            else:
                for place in range(PROBES):
                    opened.seek(place * (size - PROBE) // (PROBES - 1))
                    hashed.update(opened.read(PROBE))
        digests.append((file.relative_to(folder).as_posix(), size, hashed.hexdigest()))
    return content_id(digests)


class Source:
    """The checkpoint where the stage runs, as an actor there: it reads the pieces that others ask for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sizes(self) -> dict[str, int]:
        """The files by name, in bytes."""
        return {file.relative_to(self.folder).as_posix(): file.stat().st_size for file in _files(self.folder)}

    def piece(self, name: str, start: int, size: int) -> tuple[bytes, str]:
        """So many bytes of a file, or what is left of it, and their digest."""
        with (self.folder / name).open("rb") as file:
            file.seek(start)
            read = file.read(size)
        return read, hashlib.blake2b(read).hexdigest()


def at_hand(folder: Path, named: str, source: Any) -> Path:
    """Where this machine has a checkpoint: in the folder itself, if it holds that one, else in its cache.

    folder: where it lies on the machine of the stage. named: `contents` of it there. source: the actor to fetch it from
    where neither has it. Raises OSError when it can't be written, RuntimeError when what came is not what was sent.
    """
    if folder.is_dir() and contents(folder) == named:
        return folder
    cache = _cache()
    kept = cache / named / folder.name  # the name is the model's for those who ask a server
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{named}.lock"):
        if not kept.is_dir():
            partial = cache / f".{named}"
            shutil.rmtree(partial, ignore_errors=True)
            _forget(cache)
            _fetch(source, partial / folder.name)
            os.replace(partial, kept.parent)
        os.utime(kept.parent)
    return kept


def _fetch(source: Any, target: Path) -> None:
    sizes = ray.get(source.sizes.remote())
    wanted = [(name, start) for name, size in sizes.items() for start in range(0, size or 1, PIECE)]
    coming: deque[Any] = deque()
    for place in range(len(wanted)):
        while len(coming) < ON_THE_WAY and place + len(coming) < len(wanted):
            coming.append(source.piece.remote(*wanted[place + len(coming)], PIECE))
        name, start = wanted[place]
        piece, digest = ray.get(coming.popleft())
        if hashlib.blake2b(piece).hexdigest() != digest or len(piece) != min(PIECE, sizes[name] - start):
            raise RuntimeError(f"{name} of the checkpoint came damaged, from byte {start} on")
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(piece)


def _forget(cache: Path) -> None:
    """Delete all but the KEPT - 1 that were used last, to make room; one that may still be read or written stays."""
    by_use = sorted((path.stat().st_mtime, path) for path in cache.iterdir() if path.is_dir())
    for _, path in by_use[: max(0, len(by_use) - (KEPT - 1))]:
        try:
            with FileLock(cache / f"{path.name.lstrip('.')}.lock", timeout=0):
                if time.time() - path.stat().st_mtime > HOUR:
                    shutil.rmtree(path, ignore_errors=True)
        except (Timeout, FileNotFoundError):
            continue


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metareward/checkpoints"


def _files(folder: Path) -> list[Path]:
    """All files but hidden ones, as the journal's digest of a model has them."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
