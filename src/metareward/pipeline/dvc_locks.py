"""DVC's list of locks, .dvc/tmp/rwlock: whether the DVC that runs a stage lives; mending a list that a kill tore."""

import json
import time
from pathlib import Path

import psutil

LIST = Path(".dvc/tmp/rwlock")


def lock_holders() -> set[int]:
    """The ids of the processes that hold DVC's locks in this checkout: each DVC that runs a stage, while it does.

    Raises ValueError when the list is torn: DVC writes it in place, and was killed in those milliseconds.
    """
    for waits in (True, False):
        try:
            locks = json.loads(LIST.read_text())
            break
        except FileNotFoundError:
            return set()
        except ValueError:
            if not waits:
                raise
            time.sleep(1)  # DVC may be writing it just now
    readers = [reader for path in locks.get("read", {}).values() for reader in path]
    return {holder["pid"] for holder in [*locks.get("write", {}).values(), *readers]}


def wait_for_dvc() -> None:
    """Return when the DVC that runs this stage is gone: at once, if it was killed before this could look.

    It is the ancestor of this process that holds locks. Whoever adopts an orphan (init, systemd, a container's
    runner) holds none, nor does the next DVC, which may by then run the same stage, stand among the ancestors.
    """
    holders = lock_holders()
    while any(ancestor.pid in holders for ancestor in psutil.Process().parents()):
        time.sleep(0.5)


def mend_lock_list() -> bool:
    """Remove a torn list, with which DVC refuses every command; whether there was one."""
    try:
        lock_holders()
    except ValueError:
        LIST.unlink()
        return True
    return False
