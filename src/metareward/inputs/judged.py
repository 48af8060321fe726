"""What the readers of files of judgments share: models and judges by name, repeated rows, the count of what is odd."""

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from metareward.errors import UserError, shown
from metareward.inputs.lines import number_of

Row = dict[str, Any]


class Tally:
    """What was left out, or read in another way than it stands in the file: reasons with their count and first case."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def count(self, reason: str, example: str) -> None:
        """One more case of a reason ("rows without a preference"); example: where it is, and what stands there."""
        number, first = self._found.get(reason, (0, example))
        self._found[reason] = (number + 1, first)

    def lines(self) -> Iterator[str]:
        """A line for each reason, in the order in which they were met."""
        for reason, (number, first) in self._found.items():
            yield f"{reason}: {number} (the first: {first})"


def select_model(
    path: Path, rows: Sequence[tuple[str, Row]], key: str, model: str | None
) -> tuple[list[tuple[str, Row]], str | None]:
    """The rows of one model and its name, null where the file names none; key: the field with the name.

    Raises UserError if the file has several and model says not which, or names another.
    """
    names = _names(rows, lambda row: row.get(key))
    if model is None and len(names) < 2:
        return list(rows), next(iter(names), None)
    if model is None:
        raise UserError(f"{path} has judgments of several models; name one: --model {' | '.join(map(shown, names))}")
    if model not in names:
        raise UserError(f"{path} has no judgments of {shown(model)}, but of {_listed(names)}. (--model)")
    return [(place, row) for place, row in rows if row.get(key) == model], model


def name_in(path: Path, rows: Sequence[tuple[str, Row]], key: str) -> str | None:
    """The one name under a field (the judge, the baseline), null where there is none.

    FastChat writes a judge as a list: its name, and that of its prompt. Raises UserError for several names: figures of
    two judges have no common mean.
    """
    names = _names(rows, lambda row: row[key][0] if isinstance(row.get(key), list) and row[key] else row.get(key))
    if len(names) > 1:
        raise UserError(f"{path} has judgments with several names as {key}: {_listed(names)}; give a file of each.")
    return next(iter(names), None)


def keep(
    kept: dict[Hashable, tuple[Any, ...]], key: Hashable, found: tuple[Any, ...], place: str, tally: Tally
) -> None:
    """Enter what a row holds, its judgment last (null: none), unless an earlier row of the same key has a judgment."""
    before = kept.setdefault(key, found)
    if before is found:
        return
    example = f"{place}, {_plain(key)}"
    if before == found:
        tally.count("rows that repeat an earlier one, left out", example)
    elif found[-1] is None:
        tally.count("rows without a judgment that an earlier row has, left out", example)
    elif before[-1] is None:
        kept[key] = found
        tally.count("rows without a judgment that a later row has, left out", example)
    else:
        differ = f"{shown(found[-1])} after {shown(before[-1])}"
        tally.count("rows that contradict an earlier one, left out", f"{example}: {differ}")


def read_number(value: object, name: str, place: str, tally: Tally) -> float | None:
    """The number under a field, written as text, too; NaN for one that is missing: null, NaN or -1; else null."""
    if isinstance(value, str):
        with suppress(ValueError):
            number = float(value)
            tally.count(f"{name} written as text, read as a number", f"{place}, {shown(value)}")
            value = number
    found = number_of(value)
    missing = value is None or found == -1 or (isinstance(value, float) and math.isnan(value))
    return math.nan if missing else found


def fields_of(row: Row) -> str:
    """The fields of a row, as an error line names them."""
    return f"the fields {', '.join(map(str, list(row)[:12]))}" if row else "no fields"


def _names(rows: Sequence[tuple[str, Row]], name_of: Callable[[Row], object]) -> list[str]:
    return sorted({name for _, row in rows if isinstance(name := name_of(row), str)})


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return (", ".join(map(shown, names[:8])) or "none") + more


def _plain(key: Hashable) -> str:
    return " ".join(str(part) for part in key) if isinstance(key, tuple) else str(key)
