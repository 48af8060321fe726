"""Rows of a query as a table for a terminal, Markdown, CSV, JSON or Parquet."""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from metareward.errors import UserError

if TYPE_CHECKING:
    from metareward.query.reading import ReadingConnection

SHOWN = 40  # rows that a terminal is given
WIDTH = 120  # where there is no terminal
LEAST = 8  # characters of a column; where there is less room, each row is written as lines
_BATCH = 2000


def rows_of(result: "ReadingConnection") -> Iterator[tuple[Any, ...]]:
    """The rows of a query that was executed, a batch at a time."""
    while batch := result.fetchmany(_BATCH):
        yield from batch


def print_rows(names: list[str], rows: Iterator[tuple[Any, ...]], out: TextIO) -> None:
    """A table that fits the terminal, of which a terminal is given the first rows; then how many there are."""
    terminal = out.isatty()
    shown = [row for row, _ in zip(rows, range(SHOWN), strict=False)] if terminal else list(rows)
    n = len(shown) + sum(1 for _ in rows)
    columns = os.get_terminal_size(out.fileno()).columns if terminal else int(os.environ.get("COLUMNS") or 0)
    width = columns or WIDTH
    if not names:
        return
    if len(names) > 1 and len(names) * (LEAST + 2) > width and sum(map(len, names)) + 2 * len(names) > width:
        _print_lines(names, shown, width, out)
    else:
        _print_table(names, shown, width, out)
    more = f"; the first {SHOWN} are shown. Hint: LIMIT, --csv, --parquet" if n > len(shown) else ""
    out.write(f"{n:,} row{'' if n == 1 else 's'}{more}\n")


def _print_table(names: list[str], rows: list[tuple[Any, ...]], width: int, out: TextIO) -> None:
    """Columns as wide as what they hold; where that is too much, the widest ones are cut to one width."""
    from rich.cells import cell_len

    cells = [[printable(name) for name in names], *([_cell(value, width) for value in row] for row in rows)]
    numbers = [
        all(
            row[k] is None or (isinstance(row[k], int | float | Decimal) and not isinstance(row[k], bool))
            for row in rows
        )
        for k in range(len(names))
    ]
    widths = [max(cell_len(line[k]) for line in cells) for k in range(len(names))]
    room = width - 2 * (len(names) - 1)
    while sum(widths) > room and max(widths) > 1:
        widest = max(widths)
        second = max([one for one in widths if one < widest], default=1)
        n = widths.count(widest)
        least = max(second, widest - -(-(sum(widths) - room) // n), 1)
        widths = [least if one == widest else one for one in widths]
    for k, line in enumerate(cells):
        fitted = [_fitted(cell, widths[j], numbers[j]) for j, cell in enumerate(line)]
        out.write("  ".join(fitted).rstrip() + "\n")
        if k == 0:
            out.write("─" * min(sum(widths) + 2 * (len(widths) - 1), width) + "\n")


def _fitted(text: str, width: int, right: bool = False) -> str:
    """A text in so many places of a terminal, cut with … where it is longer."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - cell_len(text)) + text if right else set_cell_size(text, width)


def _print_lines(names: list[str], rows: list[tuple[Any, ...]], width: int, out: TextIO) -> None:
    """Each row as lines of a column and its value."""
    room = max(len(printable(name)) for name in names)
    for k, row in enumerate(rows):
        out.write(f"row {k + 1}\n")
        for name, value in zip(names, row, strict=True):
            text = _fitted(_cell(value, width), max(width - room - 4, LEAST)).rstrip()
            out.write(f"  {printable(name):<{room}}  {text}\n")


def _cell(value: Any, width: int) -> str:
    """A value in one line, cut where no terminal could show more of it."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}" if isfinite(value) else str(value)
    text = as_text(value)
    return printable(text[: width + 1])


def printable(text: str) -> str:
    """A text in one line without characters that a terminal obeys; those are shown by their escapes."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def as_text(value: Any) -> str:
    """A value as CSV and Markdown hold it; lists and structs as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool | list | dict | tuple):
        return json.dumps(as_json(value), ensure_ascii=False)
    return str(value)


def as_json(value: Any) -> Any:
    """A value as JSON can hold it; what is no number, infinite or a date becomes null or a text."""
    if isinstance(value, dict):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    if isinstance(value, float | Decimal):
        return float(value) if isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def write_csv(names: list[str], rows: Iterable[tuple[Any, ...]], out: TextIO) -> None:
    """All rows as CSV, texts whole; null is an empty cell."""
    import csv

    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([as_text(value) for value in row] for row in rows)


def write_json_rows(names: list[str], rows: Iterable[tuple[Any, ...]], out: TextIO) -> None:
    """All rows as a JSON list of objects, one a line."""
    out.write("[")
    for k, row in enumerate(rows):
        values = dict(zip(_distinct(names), map(as_json, row), strict=True))
        out.write((",\n " if k else "\n ") + json.dumps(values, ensure_ascii=not _plain(out)))
    out.write("\n]\n")


def write_markdown(names: list[str], rows: Iterable[tuple[Any, ...]], out: TextIO) -> None:
    """All rows as a Markdown table; a text is one line."""
    for row in [tuple(names), ("---",) * len(names), *rows]:
        cells = ["" if value is None else printable(" ".join(as_text(value).splitlines())) for value in row]
        cells = [cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") for cell in cells]
        out.write(f"| {' | '.join(cells)} |\n")


def write_parquet(relation: Any, path: Path) -> int:
    """All rows of a relation as a Parquet file, renamed into place when it is whole; how many there are."""
    import pyarrow.parquet as pq

    temporary, n = path.with_name(f".{path.name}.{os.getpid()}.tmp"), 0
    try:
        reader = relation.to_arrow_reader(_BATCH * 50)
        with pq.ParquetWriter(temporary, reader.schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(batch)
                n += batch.num_rows
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return n


def _distinct(names: list[str]) -> list[str]:
    """Names of a JSON object: a second column of one name is called name_1."""
    found: list[str] = []
    for name in names:
        k, one = 0, name
        while one in found:
            k, one = k + 1, f"{name}_{k + 1}"
        found.append(one)
    return found


def _plain(out: TextIO) -> bool:
    """Whether a text may hold any character: not on a terminal, which obeys some."""
    return out is not sys.stdout or not out.isatty()
