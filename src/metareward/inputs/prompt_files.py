"""Prompts of others' files (JSON, JSON Lines, CSV, Parquet; columns or chats), as the pool of prompts."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metareward.errors import UserError, shown
from metareward.inputs.lines import read_objects
from metareward.text_files import read_text

TEXTS = ("prompt", "instruction", "question", "text")
CHATS = ("messages", "conversations")
_USERS, _SYSTEMS = ("user", "human", "prompter"), ("system",)
Row = dict[str, Any]


@dataclass
class Pool:
    """prompts: text -> category (null: none is known), in the file's order. out: rows left out, by reason; with the
    prompts they add up to n_rows. column: where the prompts stood."""

    prompts: dict[str, str | None] = field(default_factory=dict)
    out: Counter[str] = field(default_factory=Counter)
    n_rows: int = 0
    column: str = ""


def read_prompt_file(
    path: Path,
    prompt: str | None = None,
    category: str | None = None,
    added: str | None = None,
    max_chars: int | None = None,
) -> Pool:
    """The different prompts of a file, and a count of the rows that give none.

    prompt, category: columns; null: the first of prompt, instruction, question, text, messages, conversations that the
    first row has, and category if it has that. added: a column that is put below the prompt where it is not empty, as
    Alpaca's `input`. max_chars: longer prompts are left out. A chat gives its only user turn; one with a system turn
    or several user turns is left out, since a prompt of the pool is a single turn.
    Raises UserError for a file that is none of the four kinds, and for columns that it does not have.
    """
    rows = _rows(path)
    first = next(rows, None)
    if first is None:
        raise UserError(f"{path} has no rows. (FILE)")
    column = prompt or next((name for name in (*TEXTS, *CHATS) if name in first), None)
    if column is None:
        raise UserError(
            f"{path} has none of the columns {', '.join((*TEXTS, *CHATS))}, but {_listed(first)}. Hint: --prompt COLUMN"
        )
    for option, name in {"--prompt": prompt, "--category": category, "--input": added}.items():
        if name is not None and name not in first:
            raise UserError(f"{path} has no column {name!r}, but {_listed(first)}. ({option})")
    pool = Pool(column=column)
    for row in _chained(first, rows):
        pool.n_rows += 1
        text = _text_of(row.get(column), pool.out)
        if text is None:
            continue
        extra = row.get(added) if added else None
        if isinstance(extra, str) and extra.strip():
            text = f"{text}\n\n{extra.strip()}"
        if any("\ud800" <= char <= "\udfff" for char in text):
            pool.out["not text (half of a surrogate pair)"] += 1
        elif max_chars is not None and len(text) > max_chars:
            pool.out[f"longer than {max_chars:,} characters"] += 1
        elif text in pool.prompts:
            pool.out["the same as an earlier one"] += 1
        else:
            kind = row.get(category or "category")
            pool.prompts[text] = kind.strip() or None if isinstance(kind, str) else None
    return pool


def _text_of(value: Any, out: Counter[str]) -> str | None:
    """The prompt that a value gives, without blanks around it; null where it gives none, and the reason is counted."""
    if isinstance(value, list):
        value = _user_turn(value, out)
        if value is None:
            return None
    if value is None:
        out["empty"] += 1
    elif not isinstance(value, str):
        out["not text"] += 1
    elif not value.strip():
        out["empty"] += 1
    else:
        return value.strip()
    return None


def _user_turn(turns: Sequence[Any], out: Counter[str]) -> Any:
    """The text of a chat's only user turn: role and content, or ShareGPT's from and value."""
    found = []
    for turn in turns:
        if not isinstance(turn, dict):
            out["not text"] += 1
            return None
        role = turn.get("role", turn.get("from"))
        content = turn.get("content", turn.get("value"))
        if role in _SYSTEMS and isinstance(content, str) and content.strip():
            out["a chat with a system turn"] += 1
            return None
        if role in _USERS:
            found.append(content)
    if not found:
        out["a chat without a user turn"] += 1
        return None
    if len(found) > 1:
        out["a chat with several user turns"] += 1
        return None
    return "" if found[0] is None else found[0]


def _rows(path: Path) -> Iterator[Row]:
    """The rows of a file; its kind is told by its content, not by its name."""
    head = _head(path)
    if head.startswith(b"PAR1"):
        yield from _parquet(path)
    elif head.startswith(b"\x1f\x8b") or head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[", b""):
        yield from (row for _, row in read_objects(path, "FILE"))
    else:
        yield from _csv(path)


def _head(path: Path) -> bytes:
    try:
        if path.is_file():
            with path.open("rb") as file:
                return file.read(4096)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. (FILE)") from None
    read_text(path, "(FILE)")  # says why it cannot be read
    return b""


def _parquet(path: Path) -> Iterator[Row]:
    import polars as pl

    try:
        yield from pl.read_parquet(path).iter_rows(named=True)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is not a readable Parquet file: {reason}. (FILE)") from None


def _csv(path: Path) -> Iterator[Row]:
    lines = io.StringIO(read_text(path, "(FILE)"), newline="")
    csv.field_size_limit(2**27)
    reader = csv.reader(lines, strict=True)
    try:
        names = next(reader, [])
        for values in reader:
            if not values:
                continue
            if len(values) != len(names):
                raise UserError(
                    f"{path}, line {reader.line_num} has {len(values)} values, and the first line has {len(names)} "
                    "columns; a CSV file has as many in each row. (FILE)"
                )
            yield dict(zip(names, values, strict=True))
    except csv.Error as error:
        raise UserError(
            f"{path} is neither JSON nor Parquet, and no CSV: line {reader.line_num}, {error}. (FILE)"
        ) from None


def _chained(first: Row, rows: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rows


def _listed(row: Row) -> str:
    return ", ".join(map(shown, row)) or "no columns"
