"""Hashes of what files hold: of a model, of code. Those of large files are remembered, since a model has gigabytes.

What is remembered of a file goes by its inode, size and time of change, so a link is no other file, and a file that is
replaced is. Names and ages of links say nothing.
"""

import hashlib
import os
import re
import time
import uuid
from pathlib import Path

from metareward.ids import content_id

LARGE = 64_000_000  # bytes: less is hashed in a moment
KEPT_DAYS = 30.0  # since the last use


def digest(path: Path, pattern: str = "*", memory: Path | None = None) -> str:
    """A hash of a file, or of the names and bytes of a folder's files, hidden ones left out.

    memory: the folder in which the hashes of large files are kept from one process to the next; None: nowhere.
    """
    files = [path] if path.is_file() else sorted(path.rglob(pattern))
    shown = [file for file in files if file.is_file() and not file.name.startswith(".")]
    return content_id([(file.relative_to(path).as_posix(), _file_digest(file, memory)) for file in shown])


def _file_digest(file: Path, memory: Path | None) -> str:
    with file.open("rb") as opened:
        before = _identity(os.fstat(opened.fileno()))
        _, _, size, changed = before
        # a time of whole seconds was set by an archive, and the next file at this inode may have the same
        entry = memory / content_id(*before) if memory and size >= LARGE and changed % 10**9 else None
        if entry and (known := _look_up(entry)):
            return known
        found = hashlib.file_digest(opened, "sha256").hexdigest()
        if entry and _identity(os.fstat(opened.fileno())) == before:  # else it was written meanwhile
            _remember(entry, found)
        return found


def _identity(file: os.stat_result) -> tuple[int, int, int, int]:
    return file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns


def _look_up(entry: Path) -> str | None:
    try:
        text = entry.read_text()
        os.utime(entry)
    except (OSError, UnicodeDecodeError):
        return None
    return text if re.fullmatch("[0-9a-f]{64}", text) else None


def _remember(entry: Path, found: str) -> None:
    """Keep a hash, and forget those that nobody has asked for in KEPT_DAYS."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    for old in entry.parent.iterdir():
        try:
            if time.time() - old.stat().st_mtime > 86400 * KEPT_DAYS:
                old.unlink()
        except FileNotFoundError:
            continue  # another process forgot it
    temporary = entry.with_name(f".{entry.name}.{uuid.uuid4().hex}.tmp")
    temporary.write_text(found)
    os.replace(temporary, entry)
