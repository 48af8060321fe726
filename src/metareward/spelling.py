"""What a value of params.yaml means: the type of its field says, whatever spelling YAML or `dvc exp run -S` gave it.

YAML 1.1, YAML 1.2 and the grammar of `-S` disagree about which words are numbers, booleans and null, and DVC writes
floats as 5e-06 and null as nothing at all. So each reader takes every spelling of its type, and leaves what it cannot
read as it is: the field's own type then refuses it.
"""

import re
from typing import Any

_INTEGER = re.compile(r"[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-f_]+|[0-9][0-9_]*)", re.ASCII | re.IGNORECASE)
_REAL = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?", re.ASCII | re.IGNORECASE)
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on", "y"), True),
    **dict.fromkeys(("false", "no", "off", "n"), False),
}
_NULLS = {"", "~", "null", "none"}
_MOST_DIGITS = 400  # more than any float has, and fewer than Python refuses to read
_LARGEST = 2**63 - 1  # what a column of a table holds


class Respelled(int):
    """A whole number that params.yaml writes in another way than Python does: 007, 0x10, 1_000.

    As a number it is what it is. As a text it is refused: DVC, which puts texts of params into dvc.yaml, would use 7,
    16 and 1000 as the names.
    """


def number(value: Any) -> Any:
    """A float of any spelling of a number: 5e-6, "5e-6", 1, 1., .5, +1, 1_000, 0x10, 010 (ten, as in YAML 1.2)."""
    value = _parsed(value)
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return float("inf")
    return value


def whole_number(value: Any) -> Any:
    """An int of any spelling of a whole number: those of `number`, and 1.0 or 1e3. Raises ValueError beyond 64 bits."""
    value = _parsed(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if isinstance(value, float) and not value.is_integer():
        return value
    if not -_LARGEST <= value <= _LARGEST:
        raise ValueError(f"it must be a whole number of at most {_LARGEST}")
    return int(value)


def boolean(value: Any) -> Any:
    """A bool of the words true, false, yes, no, on, off, y, n in any case; 0 and 1 stay numbers."""
    return _BOOLEANS.get(value.strip().lower(), value) if isinstance(value, str) else value


def null(value: Any) -> Any:
    """None of null, Null, NULL, None, none, ~ and an empty text."""
    return None if isinstance(value, str) and value.strip().lower() in _NULLS else value


def word(value: Any) -> Any:
    """A text of a word or a whole number: a folder may be named 123, and a checkpoint may be named on.

    Raises ValueError for what YAML read as another thing, and for characters that no file's name and no UTF-8 has.
    """
    if isinstance(value, bool):
        return str(value).lower()  # as DVC puts it into dvc.yaml
    if type(value) is int:
        return str(value)
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
            raise ValueError("it must be a text without NUL characters and lone surrogates")
        return value
    if value is None or isinstance(value, list | dict):
        return value
    raise ValueError("YAML reads it as a number or a date; it must be a text. Hint: put it in quotes")


def _parsed(value: Any) -> Any:
    """The number that a text spells, or what came."""
    if not isinstance(value, str):
        return int(value) if type(value) is Respelled else value
    text = value.strip()
    if len(text) > _MOST_DIGITS:
        return value
    try:
        if _INTEGER.fullmatch(text):
            return int(text, 0 if text.lstrip("+-")[:2].lower() in ("0b", "0o", "0x") else 10)
        if _REAL.fullmatch(text):
            return float(text)
    except ValueError:  # misplaced underscores
        pass
    return value
