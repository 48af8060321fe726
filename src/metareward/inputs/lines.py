"""JSON Lines, and lists in JSON: each mistake is one line with file, line number and field."""

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
    empty = True
    for number, line in enumerate(read_text(path, where).split("\n"), 1):
        line = line.removeprefix("\ufeff")  # of a file that was appended to another
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        row = _read_object(line, place, where)
        for name, kind in fields.items():
            if name not in row:
                raise UserError(f"{place} has no field {name!r}. {where}")
            row[name] = _read_field(row[name], kind, f"{place}: {name}", where)
        for name, default in (defaults or {}).items():
            if row.get(name) is None or row[name] == "":
                row[name] = default
            row[name] = _read_field(row[name], str, f"{place}: {name}", where)
        empty = False
        yield row
    if empty:
        raise UserError(f"{path} has no rows. {where}")


def read_objects(path: Path, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a file of a public benchmark, each with its place for error messages.

    The file is JSON Lines, or one JSON list, gzip or not: whichever upstream publishes. Raises UserError for the first
    that is no object, or has a key twice, and where there is none.
    """
    where = f"({key})"
    text = read_text(path, where, packed=True)
    if text.lstrip().startswith("["):
        items = _parse(text, str(path), where)
        for number, item in enumerate(items, 1):
            if not isinstance(item, dict):
                raise UserError(f"{path}, item {number} is {shown(item)}; it must be a JSON object. {where}")
            yield f"{path}, item {number}", item
        lines = []
    else:
        items = lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    for number, line in lines:
        place = f"{path}, line {number}"
        yield place, _read_object(line.removeprefix("\ufeff"), place, where)
    if not items:
        raise UserError(f"{path} has no rows. {where}")


def _read_object(line: str, place: str, where: str) -> dict[str, Any]:
    row = _parse(line, place, where)
    if not isinstance(row, dict):
        raise UserError(f"{place} is no JSON object; JSON Lines has one object on each line. {where}")
    return row


def _parse(text: str, place: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if "\n" in text else ""
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
