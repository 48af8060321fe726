"""The tables: the only way they are read and written.

A table is a Parquet file whose columns, types and missing values are declared in schemas.py and checked on every read
and write. Missing is null, never -1 or "". Rows are sorted by the ids, so equal content gives equal bytes.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from metareward.errors import UserError
from metareward.schemas import SCHEMAS

Columns = Mapping[str, pl.DataType | type[pl.DataType]]
MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))


@dataclass(frozen=True)
class Table:
    """columns: name -> Polars type; nullable: columns that may hold null; key: sort order, unique."""

    columns: Columns
    key: tuple[str, ...]
    nullable: frozenset[str] = frozenset()


_TYPES: Columns = {
    "String": pl.String,
    "Int64": pl.Int64,
    "Float64": pl.Float64,
    "Boolean": pl.Boolean,
    "Strings": pl.List(pl.String),
    "Messages": MESSAGES,
}
TABLES: dict[str, Table] = {
    name: Table(
        {column: _TYPES[type_.removesuffix("?")] for column, (type_, _) in schema.columns.items()},
        schema.key,
        frozenset(column for column, (type_, _) in schema.columns.items() if type_.endswith("?")),
    )
    for name, schema in SCHEMAS.items()
}


def empty_table(name: str) -> pl.DataFrame:
    """A table of the declared schema without rows."""
    return pl.DataFrame(schema=dict(TABLES[name].columns))


def table_of(rows: Iterable[Mapping[str, Any]], name: str) -> pl.DataFrame:
    """Rows as a table of the declared schema."""
    return pl.DataFrame(list(rows), schema=dict(TABLES[name].columns))


def check_table(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """The frame with its columns in declared order, sorted by the key.

    Raises ValueError when a column is missing or unknown, has another type, holds an undeclared null, or when
    two rows share a key: each of these is a bug in the stage that made the frame, so it is named and stopped.
    """
    table = TABLES[name]
    declared, found = dict(table.columns), dict(frame.schema)
    if set(declared) != set(found):
        missing, unknown = sorted(set(declared) - set(found)), sorted(set(found) - set(declared))
        raise ValueError(f"table {name}: columns missing {missing}, columns unknown {unknown}")
    wrong = {c: f"{found[c]} instead of {t}" for c, t in declared.items() if found[c] != t}
    if wrong:
        raise ValueError(f"table {name}: wrong types {wrong}")
    frame = frame.select(list(declared))
    nulls = [c for c in declared if c not in table.nullable and frame[c].null_count()]
    if nulls:
        raise ValueError(f"table {name}: null in {nulls}")
    frame = frame.sort(table.key)
    if frame.select(pl.struct(table.key).is_duplicated().any()).item():
        raise ValueError(f"table {name}: two rows share the key {table.key}")
    return frame


def read_table(path: Path, name: str) -> pl.DataFrame:
    """The rows of a Parquet file, checked against the schema. Raises UserError when the file is not such a table."""
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _unreadable(path, name, error) from error
    return check_table(frame, name)


def scan_table(path: Path, name: str) -> pl.LazyFrame:
    """The rows of a Parquet file, of which only those columns and row groups are read that a query needs.

    Names and types of columns are checked; rows are trusted as `write_table` checked them. Raises UserError when
    the file is not such a table.
    """
    try:
        frame = pl.scan_parquet(path)
        found = frame.collect_schema()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _unreadable(path, name, error) from error
    check_table(pl.DataFrame(schema=found), name)
    return frame


def _unreadable(path: Path, name: str, error: Exception) -> UserError:
    return UserError(f"{path} is not a readable {name} table ({type(error).__name__}). Hint: dvc repro makes it.")


def write_table(frame: pl.DataFrame, path: Path, name: str) -> pl.DataFrame:
    """Check, sort and write a table: to a temporary file first, then renamed, so a crash leaves no half file.

    Renaming matters twice: a DVC output can be a link into the cache, and writing through it would change the
    cached version. Returns the rows as written.
    """
    frame = check_table(frame, name)
    with _renamed(path) as temporary:
        frame.write_parquet(temporary, compression="zstd", statistics=True)
    return frame


def write_parts(parts: Iterable[pl.DataFrame], path: Path, name: str) -> dict[str, int]:
    """`write_table` for a table larger than memory, in parts that follow each other in the order of the key.

    A part is checked and sorted by itself; one that does not come after the part before it raises ValueError.
    Returns how many values each column holds, nulls not counted.
    """
    import pyarrow.parquet as pq  # Polars has no writer that is given one frame after the other

    key = TABLES[name].key
    schema = empty_table(name).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    counts, last = dict.fromkeys(schema.names, 0), None
    with _renamed(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for frame in (check_table(part, name) for part in parts):
            if frame.is_empty():
                continue
            keys = frame.select(key)
            if last is not None and keys.row(0) <= last:
                raise ValueError(f"table {name}: rows of {keys.row(0)} after those of {last}")
            last = keys.row(-1)
            counts = {column: n + frame[column].count() for column, n in counts.items()}
            writer.write_table(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
    return counts


def write_json(values: Any, path: Path) -> None:
    """Write metrics or plot data as JSON, keys in the order given, renamed into place like a table."""
    write_text(json.dumps(values, indent=2) + "\n", path)


def write_lines(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write JSON Lines, renamed into place like a table."""
    write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), path)


def write_text(text: str, path: Path) -> None:
    """Write a text in UTF-8, renamed into place like a table."""
    with _renamed(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    yield temporary
    os.replace(temporary, path)


def tally(column: pl.Series) -> str:
    """The values of a column with their counts, the most frequent first: "12 equal_scores, 3 chosen_too_long"."""
    found = column.drop_nulls().value_counts().sort("count", column.name, descending=[True, False])
    return ", ".join(f"{count} {value}" for value, count in found.iter_rows()) or "none"
