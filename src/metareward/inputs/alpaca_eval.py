"""AlpacaEval's annotations: what a judge preferred, in upstream's annotations.json or as index, lengths, preference."""

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from metareward.errors import UserError, shown
from metareward.inputs.alpaca_eval_instructions import instruction_index
from metareward.inputs.judged import Row, Tally, fields_of, keep, name_in, read_number, select_model
from metareward.inputs.lines import read_objects, whole_number_of

Find = Callable[[str], int | None]
_ROWS = {"index": pl.Int64, "len_1": pl.Int64, "len_2": pl.Int64, "preference": pl.Float64}


@dataclass(frozen=True)
class Annotations:
    """rows: of one model, one of each instruction: index (null: not known), len_1, len_2, preference (null: none).

    The names are null where the file has none.
    """

    rows: pl.DataFrame
    model: str | None
    baseline: str | None
    annotator: str | None


def read_annotations(
    path: Path,
    tally: Tally,
    find: Find = instruction_index,
    known: Iterable[int] = range(805),
    model: str | None = None,
) -> Annotations:
    """The annotations of one model; what is odd in the file is in the tally.

    Upstream's rows have instruction, output_1 (the baseline's), output_2 (the model's), preference, generator_1,
    generator_2, annotator. A row may have len_1 and len_2 in the place of outputs, index in that of the instruction.
    find: an instruction's index; known: the indices there are; model: whose rows, where there are several.

    A preference that is no number in [1, 2] is null; 0 is a tie, as upstream. Rows without outputs or lengths, and
    those of no instruction of the benchmark, are left out; where no row is of one, all stay, without an index. Where
    all rows lack instruction and index, they are in the benchmark's order if there are as many. Of several rows of one
    instruction the first with a preference stays.
    Raises UserError for a file that is no JSON, that has several models, baselines or annotators, or no preference.
    """
    everything = list(read_objects(path, "FILE"))
    objects, name = select_model(path, everything, "generator_2", model)
    baseline, annotator = (name_in(path, objects, key) for key in ("generator_1", "annotator"))
    indices = set(known)
    places: list[int | None] = [_index(row, find) for _, row in objects]
    if len(objects) == len(indices) and not any("instruction" in row or "index" in row for _, row in objects):
        tally.count("files without instruction and index, taken to be in the benchmark's order", f"{len(objects)} rows")
        places = [*sorted(indices)]
    strange = not indices.intersection(places)
    kept: dict[Hashable, tuple[Any, ...]] = {}
    for number, ((place, row), index) in enumerate(zip(objects, places, strict=True)):
        if strange:
            text = row.get("instruction")
            key: Hashable = text if isinstance(text, str) else number
        elif index in indices:
            key = f"instruction {index}"
        else:
            example = shown(row.get("instruction", row.get("index")))
            tally.count("rows that match no instruction of the benchmark, left out", f"{place}, {example}")
            continue
        lengths = _length(row, 1), _length(row, 2)
        if None in lengths:
            tally.count("rows without outputs or their lengths, left out", f"{place}, with {fields_of(row)}")
            continue
        keep(kept, key, (None if strange else index, *lengths, _preference(row, place, tally)), place, tally)
    rows = pl.DataFrame(list(kept.values()), schema=_ROWS, orient="row")
    if not rows["preference"].count():
        raise UserError(
            f"{path} has no row with output_1 and output_2 (or len_1 and len_2) and a preference in [1, 2]; its first "
            f"row has {fields_of(everything[0][1])}. (FILE)"
        )
    return Annotations(rows, name, baseline, annotator)


def _index(row: Row, find: Find) -> int | None:
    """By the instruction where there is one: upstream's own index is the number of a row, whatever is missing."""
    text = row.get("instruction")
    return find(text) if isinstance(text, str) else whole_number_of(row.get("index"))


def _length(row: Row, side: int) -> int | None:
    text, length = row.get(f"output_{side}"), whole_number_of(row.get(f"len_{side}"))
    if isinstance(text, str):
        return len(text)
    return length if length is not None and length >= 0 else None


def _preference(row: Row, place: str, tally: Tally) -> float | None:
    value = row.get("preference")
    number, example = read_number(value, "preference", place, tally), f"{place}, {shown(value)}"
    if number is not None and math.isnan(number):
        tally.count("rows without a preference", example)
        return None
    if number == 0:
        tally.count("preferences of 0, read as ties as upstream does", example)
        return 1.5
    if number is None or not 1 <= number <= 2:
        tally.count("preferences that are no number in [1, 2], left out", example)
        return None
    return number
