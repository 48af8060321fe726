"""JSON Lines, and lists of JSON: each mistake is one line with file, line number and field."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metareward.errors import UserError, shown
from metareward.text_files import read_text

_KINDS = {str: "a text that is not empty", float: "a number", int: "a whole number"}
_LARGEST = 2**63 - 1  # what a column of a table holds


def read_rows(
    path: Path, key: str, fields: Mapping[str, type], defaults: Mapping[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """The objects of a JSON Lines file, each with the named fields of the named types.

    fields: name -> str (not empty), int (1.0 is read as 1) or float (an integer stays one). defaults: texts that a row
    may lack; null and "" are read as lacking. Other fields are passed on unread. Raises UserError for the first line
    that is no JSON object, has a key twice, or lacks a field of its type.
    """
    where = f"({key})"
    for place, row in _objects(read_text(path, where), path, where):
        for name, kind in fields.items():
            if name not in row:
                raise UserError(f"{place} has no field {name!r}. {where}")
            row[name] = _read_field(row[name], kind, f"{place}: {name}", where)
        for name, default in (defaults or {}).items():
            if row.get(name) is None or row[name] == "":
                row[name] = default
            row[name] = _read_field(row[name], str, f"{place}: {name}", where)
        yield row


def read_objects(path: Path, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a file of others' making, unread, each with its place in the file ("line 5", "item 5").

    The file is JSON Lines or one JSON list, and may be packed by gzip. Raises UserError for what is neither.
    """
    where = f"({key})"
    text = read_text(path, where, packed=True)
    if not text.lstrip("\ufeff \t\n").startswith("["):
        yield from ((place.removeprefix(f"{path}, "), row) for place, row in _objects(text, path, where))
        return
    rows = _parse(text.lstrip("\ufeff"), str(path), where)
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise UserError(f"{path}, item {number} is no JSON object but {shown(row)}. {where}")
        yield f"item {number}", row
    if not rows:
        raise UserError(f"{path} has no rows. {where}")


def number_of(value: object) -> float | None:
    """A finite number of a row, or null for whatever else stands there."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= _LARGEST else None  # false of NaN, too


def whole_number_of(value: object) -> int | None:
    """The same of a whole number; 5.0 is one."""
    number = number_of(value)
    return int(value) if number is not None and number.is_integer() else None  # type: ignore[call-overload]


def _objects(text: str, path: Path, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    empty = True
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removeprefix("\ufeff")  # of a file that was appended to another
        if not line.strip():
            continue
        place, empty = f"{path}, line {number}", False
        row = _parse(line, place, where)
        if not isinstance(row, dict):
            raise UserError(f"{place} is no JSON object; JSON Lines has one object on each line. {where}")
        yield place, row
    if empty:
        raise UserError(f"{path} has no rows. {where}")


def _parse(text: str, place: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise UserError(f"{place} is not JSON: {error.msg}, {line}column {error.colno}. {where}") from None
    except RecursionError:
        raise UserError(f"{place} is nested too deeply. {where}") from None
    except ValueError as error:  # a key twice, or a number of thousands of digits
        raise UserError(f"{place} is not JSON: {error}. {where}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it has the key {next(name for name in names if names.count(name) > 1)!r} twice")
    return found


def _read_field(value: Any, kind: type, place: str, where: str) -> Any:
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    right = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
    if right and isinstance(value, str):
        right = bool(value.strip())
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise UserError(f"{place} is {shown(value)}; it has half of a surrogate pair, which is no text. {where}")
    elif right:
        right = abs(value) <= _LARGEST  # false of NaN and infinity, too
    if not right:
        raise UserError(f"{place} is {shown(value)}; it must be {_KINDS[kind]}. {where}")
    return value
