"""What length control needs beside the annotations: difficulties of instructions, and judgments of gamed baselines."""

import csv
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import polars as pl

from metareward.errors import UserError, shown
from metareward.inputs.judged import Row
from metareward.inputs.lines import number_of, read_objects, whole_number_of
from metareward.text_files import read_text

HUB, GAMED = "tatsu-lab/alpaca_eval", "df_gamed.csv"
_PATIENCE = 5.0  # seconds that the hub has to answer


def read_difficulty(path: Path, key: str = "--difficulty") -> pl.DataFrame:
    """index, instruction_difficulty, and instruction (null where the file has none).

    JSON Lines with these fields, or a CSV file of upstream's (instruction_difficulty.csv, df_gamed.csv). Raises
    UserError for a row without them, or an index with two difficulties.
    """
    found: dict[int, tuple[float, str | None]] = {}
    for place, row in _rows(path, key):
        index = _field(row, ("index", ""), path, place, key, whole=True)
        value = _field(row, ("instruction_difficulty",), path, place, key)
        text = row.get("instruction")
        before = found.setdefault(int(index), (value, text if isinstance(text, str) else None))
        if before[0] != value:
            raise UserError(
                f"{path}, {place}: instruction {int(index)} has the difficulty {value:g}, and {before[0]:g} before. "
                f"({key})"
            )
    rows = [(index, *values) for index, values in sorted(found.items())]
    if not rows:
        raise UserError(f"{path} has no rows. ({key})")
    types = {"index": pl.Int64, "instruction_difficulty": pl.Float64, "instruction": pl.String}
    return pl.DataFrame(rows, schema=types, orient="row")


def read_gamed(path: Path, difficulty: pl.DataFrame, key: str = "--gamed") -> pl.DataFrame:
    """index, std_delta_len and preference (in [0, 1]) of every judgment of the gamed baselines, in the file's order.

    JSON Lines with these fields (or reconstructed_preference), or upstream's df_gamed.csv, whose missing preferences
    are left out. Raises UserError for a row without them, or of an instruction without a difficulty.
    """
    rows, known = [], set(difficulty["index"])
    for place, row in _rows(path, key):
        if row.get("preference") == "":
            continue
        index = int(_field(row, ("index",), path, place, key, whole=True))
        length = _field(row, ("std_delta_len",), path, place, key)
        preference = _field(row, ("preference", "reconstructed_preference"), path, place, key)
        if not 0 <= preference <= 1:
            raise UserError(f"{path}, {place}: preference is {preference:g}; it must lie in [0, 1]. ({key})")
        if index not in known:
            raise UserError(f"{path}, {place}: instruction {index} has no difficulty. ({key})")
        rows.append((index, length, preference))
    if not rows:
        raise UserError(f"{path} has no rows. ({key})")
    types = {"index": pl.Int64, "std_delta_len": pl.Float64, "preference": pl.Float64}
    return pl.DataFrame(rows, schema=types, orient="row")


def read_questions(path: Path) -> dict[str, int]:
    """The index of each instruction: from the field index, else the number of its row, from 0 on."""
    found: dict[str, int] = {}
    for number, (place, row) in enumerate(read_objects(path, "--questions")):
        text = row.get("instruction")
        if not isinstance(text, str):
            raise UserError(f"{path}, {place}: instruction is {shown(text)}; it must be a text. (--questions)")
        index = whole_number_of(row.get("index", number))
        if index is None:
            raise UserError(
                f"{path}, {place}: index is {shown(row['index'])}; it must be a whole number. (--questions)"
            )
        found[text.strip()] = index
    return found


def fetch_gamed() -> Path:
    """Upstream's df_gamed.csv, with difficulties and gamed judgments, from the hub or its cache.

    Raises UserError within seconds when it cannot be had.
    """
    result: list[Any] = []

    def fetch() -> None:
        try:
            from huggingface_hub import hf_hub_download

            result.append(hf_hub_download(HUB, GAMED, repo_type="dataset", etag_timeout=_PATIENCE / 2))
        except Exception as error:  # the hub client raises a dozen kinds: offline, gated, misspelt, ...
            result.append(error)

    # the client tries again and again, and has no limit of its own for all that
    thread = Thread(target=fetch, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    if result and isinstance(result[0], str):
        return Path(result[0])
    reason = str(result[0]).strip().splitlines()[0] if result and str(result[0]).strip() else "it does not answer"
    raise UserError(f"{GAMED} of the dataset {HUB} cannot be fetched from the hub: {reason}")


def _rows(path: Path, key: str) -> Iterator[tuple[str, Row]]:
    """Of JSON or CSV, whichever it is."""
    text = read_text(path, f"({key})", packed=True)
    if text.lstrip("\ufeff \t\n")[:1] in ("", "{", "["):
        yield from read_objects(path, key)
        return
    try:
        for number, row in enumerate(csv.DictReader(text.split("\n")), 2):
            yield f"line {number}", dict(row)
    except csv.Error as error:
        raise UserError(f"{path} is neither JSON Lines nor CSV: {error}. ({key})") from None


def _field(row: Row, names: tuple[str, ...], path: Path, place: str, key: str, whole: bool = False) -> float:
    name = next((name for name in names if name in row), None)
    if name is None:
        raise UserError(f"{path}, {place} has no field {names[0]!r}. ({key})")
    value: Any = row[name]
    if isinstance(value, str):  # of a CSV file
        with suppress(ValueError):
            value = float(value)
    number = number_of(value)
    if number is None or (whole and not number.is_integer()):
        kind = "a whole number" if whole else "a number"
        raise UserError(f"{path}, {place}: {names[0]} is {shown(row[name])}; it must be {kind}. ({key})")
    return number
