"""The one exception that stands for a mistake of the user's, and how it shows a value."""

import reprlib

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlist = 3, 80, 80, 8


class UserError(Exception):
    """A mistake in params, data or model folder: one line that says what, why and what to do.

    Stages and the CLI print it without a traceback and exit with code 2. It stays one line whatever a file's name or
    value holds: line ends and other characters that cannot be printed are shown by their escapes.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(char if char.isprintable() else ascii(char)[1:-1] for char in message))


def shown(value: object) -> str:
    """A value from a user's file as an error line shows it: as Python writes it, a long or deep one cut short."""
    return _SHORT.repr(value)
