"""JSON Lines: each mistake is one line with file, line number and field."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metareward.errors import UserError


def read_rows(
    path: Path, key: str, fields: dict[str, Any], defaults: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """The objects of a JSON Lines file, each with the named fields of the named types, texts not empty."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        raise UserError(f"{path} cannot be read. ({key})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text. ({key})") from None
    empty = True
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number} is not JSON: {error.msg}. ({key})") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number} is no JSON object. ({key})")
        for name, kind in fields.items():
            if name not in row:
                raise UserError(f"{path}, line {number} has no field {name!r}. ({key})")
            value = row[name]
            if not isinstance(value, kind) or isinstance(value, bool) or value == "" or str(value).isspace():
                wanted = "a text that is not empty" if kind is str else "a number"
                raise UserError(f"{path}, line {number}: {name} is {value!r}; it must be {wanted}. ({key})")
        empty = False
        yield {**(defaults or {}), **row}
    if empty:
        raise UserError(f"{path} has no rows. ({key})")
