"""What this project changes in other people's libraries: one way to do it, undone afterwards.

Each change stands in a file of its own: engines/transformers/extras.py, training/trl_internals.py; attention functions
(attention.py) go through an interface of transformers that is meant for them. tests/test_patches.py says which
versions they hold for, and what to look at when a library has moved.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import ModuleType
from typing import Any

from metareward.errors import UserError


@contextmanager
def patched(module: ModuleType, **replacements: Any) -> Iterator[None]:
    """A module with other functions in it; what was there before comes back at the end.

    Raises UserError, before anything is changed, when the module has no such function: its library has moved.
    """
    library = module.__name__.split(".")[0]
    for name in replacements:
        if not hasattr(module, name):
            raise UserError(
                f"{library} {version(library)} has no {module.__name__}.{name} any more, which is replaced here. "
                f"Hint: install the version of {library} that constraints.txt names."
            )
    before = {name: getattr(module, name) for name in replacements}
    try:
        for name, new in replacements.items():
            setattr(module, name, new)
        yield
    finally:
        for name, old in before.items():
            setattr(module, name, old)
