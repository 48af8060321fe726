"""How long work took, over all processes that did it: noted beside it as it goes on, so that a kill loses seconds."""

import json
import os
import time
import uuid
from pathlib import Path

import psutil

SECONDS_PER_NOTE = 5.0
PROCESS = uuid.uuid4().hex
THIS_PROCESS: list["Spent"] = []  # what this process has worked on


def _seconds_of_this_process() -> float:
    """Since it was started; on Linux psutil's moment of that is off by up to a second, as its boot time is whole."""
    status = Path("/proc/self/stat")
    if not status.exists():
        return time.time() - float(psutil.Process().create_time())
    ticks = int(status.read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


_charged = [time.monotonic() - _seconds_of_this_process()]  # up to when this process's time belongs to something


def seconds_so_far() -> float:
    """The seconds of this process that belong to nothing yet; they belong to the caller now."""
    now = time.monotonic()
    passed, _charged[0] = now - _charged[0], now
    return float(max(0.0, passed))


class Spent:
    """What this process spends on a piece of work, noted in the work's folder beside those that worked on it before.

    before: the notes of these, by process: seconds, tokens, ended (it was not killed). prompt_chars: of all prompts of
    the work. served: who computes, if it is another machine.
    """

    def __init__(self, folder: Path, seconds: float = 0.0, prompt_chars: int = 0, served: str | None = None) -> None:
        """seconds: those of this process that belong to the work already; it has waited for what passed since then."""
        seconds_so_far()
        self.path = folder / f".spent-{PROCESS}.json"
        self.before = _notes(folder)
        self.seconds, self.tokens = seconds, 0
        self.prompt_chars, self.served = prompt_chars, served
        self._noted = 0.0
        THIS_PROCESS.append(self)

    def note(self, tokens: int = 0, ended: bool = False, at_once: bool = False) -> None:
        """Add the time since the last note; tokens: that this process has written for it so far.

        On disk every few seconds, and where the process has ended the work, or leaves it.
        """
        self.seconds += seconds_so_far()
        self.tokens = tokens
        if not (ended or at_once) and time.time() - self._noted < SECONDS_PER_NOTE:
            return
        self._noted = time.time()
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"seconds": self.seconds, "tokens": tokens, "ended": ended}))
        os.replace(temporary, self.path)


def _notes(folder: Path) -> dict[str, dict[str, float]]:
    """The notes in a folder but for this process's, by process; one that cannot be read is left out."""
    found = {}
    for path in folder.glob(".spent-*.json"):
        try:
            note = json.loads(path.read_text())
            found[path.stem] = {name: float(note[name]) for name in ("seconds", "tokens", "ended")}
        except (OSError, ValueError, TypeError, KeyError):
            continue
    found.pop(f".spent-{PROCESS}", None)
    return found
