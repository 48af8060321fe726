"""Public benchmarks: the questions, baseline's answers and reference answers in upstream's files.

Each file may be as upstream publishes it, or compact: one JSON object a line with just what is needed.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from metareward.errors import UserError, shown
from metareward.inputs.alpaca_eval_instructions import instruction_index
from metareward.inputs.lines import read_objects
from metareward.params import Benchmarks
from metareward.tables import TABLES, empty_table

NEEDED = {  # the files without which a benchmark is off; keys of its section
    "alpaca_eval": ("questions", "baseline"),
    "arena_hard": ("questions", "baseline"),
    "mt_bench": ("questions", "references"),
}
LENGTH_CONTROL = ("difficulty", "gamed")  # files without which AlpacaEval has no length-controlled win rate
WITH_REFERENCES = ("math", "reasoning", "coding")  # MT-Bench's categories that are judged with reference answers
Row = dict[str, Any]


def benchmark_files(benchmarks: Benchmarks, name: str) -> dict[str, Path]:
    """The files that the section of a benchmark names, by their keys."""
    section = getattr(benchmarks, name)
    keys = [*NEEDED[name], *(LENGTH_CONTROL if name == "alpaca_eval" else ())]
    return {key: Path(benchmarks.folder) / getattr(section, key) for key in keys}


def missing_files(benchmarks: Benchmarks, name: str) -> list[Path]:
    """The files that are not there and without which a benchmark is off; none: it is on."""
    files = benchmark_files(benchmarks, name)
    return list(dict.fromkeys(files[key] for key in NEEDED[name] if not files[key].exists()))


def benchmarks_on(benchmarks: Benchmarks) -> list[str]:
    """The names of the benchmarks whose files are there."""
    return [name for name in NEEDED if not missing_files(benchmarks, name)]


def read_questions(benchmarks: Benchmarks) -> pl.DataFrame:
    """The `questions` table of the benchmarks that are on, of each the first n.

    Raises UserError for a row that is not upstream's, a question that comes twice, or one without an answer of the
    baseline or without the reference answers that it is judged with.
    """
    readers = {"alpaca_eval": _alpaca_eval, "arena_hard": _arena_hard, "mt_bench": _mt_bench}
    tables = [empty_table("questions")]
    for name in benchmarks_on(benchmarks):
        rows = list(readers[name](benchmark_files(benchmarks, name)))[: getattr(benchmarks, name).n]
        common = {"benchmark": name, "category": None, "baseline": None, "references": None}
        numbered = [common | row | {"position": position} for position, row in enumerate(rows)]
        tables.append(pl.DataFrame(numbered, schema=dict(TABLES["questions"].columns)))
    return pl.concat(tables)


def describe_benchmarks(benchmarks: Benchmarks) -> Iterator[str]:
    """Which benchmarks are on, with how many questions and which judge, and what is missing of the others."""
    counts = dict(read_questions(benchmarks)["benchmark"].value_counts().iter_rows())
    for name in NEEDED:
        if missing := missing_files(benchmarks, name):
            yield f"benchmark {name} is off: {' and '.join(map(str, missing))} not there"
            continue
        judge = getattr(benchmarks, name).judge
        line = f"benchmark {name} is on: {counts[name]} questions, judged by {judge.model} ({judge.engine})"
        files = benchmark_files(benchmarks, name)
        absent = dict.fromkeys(files[key] for key in files if key in LENGTH_CONTROL and not files[key].exists())
        if absent:
            line += f"; no length-controlled win rate: {' and '.join(map(str, absent))} not there"
        yield line


def _alpaca_eval(files: Mapping[str, Path]) -> Iterator[Row]:
    """instruction, dataset and index; the baseline's output, found by instruction or, in a compact file, by index.

    Where rows have no index, it is upstream's place of the instruction, or the row's if not all are upstream's.
    """
    key = "params.yaml: benchmarks.alpaca_eval.baseline"
    outputs: dict[tuple[str, str], str] = {}
    for place, row in _rows(files["baseline"], key):
        if "instruction" in row:
            known_by = ("instruction", _text(row, "instruction", place, key))
        elif "index" in row:
            known_by = ("index", _index(row, place, key))
        else:
            raise UserError(f"{place} has neither instruction nor index, so nobody knows whose output it is. ({key})")
        _add(outputs, known_by, _text(row, "output", place, key, empty=True), place, key)
    key = "params.yaml: benchmarks.alpaca_eval.questions"
    rows = list(_rows(files["questions"], key))
    upstream = [instruction_index(_text(row, "instruction", place, key)) for place, row in rows]
    order = range(len(rows)) if None in upstream else upstream
    questions: dict[str, Row] = {}
    for number, (place, row) in zip(order, rows, strict=True):
        id_ = _index(row, place, key) if "index" in row else str(number)
        instruction, category = row["instruction"], _text_or_none(row, "dataset", place, key)
        output = outputs.get(("instruction", instruction), outputs.get(("index", id_)))
        if output is None:
            raise UserError(f"{files['baseline']} has no output for the instruction of {place}. ({key})")
        question = {"question_id": id_, "category": category, "turns": [instruction], "baseline": output}
        _add(questions, id_, question, place, key)
    yield from questions.values()


def _arena_hard(files: Mapping[str, Path]) -> Iterator[Row]:
    """uid or question_id, prompt or one turn; the baseline's answer under the same id."""
    key = "params.yaml: benchmarks.arena_hard.baseline"
    answers: dict[str, str] = {}
    for place, row in _rows(files["baseline"], key):
        _add(answers, _id_of(row, place, key), _only(_turns_of(row, place, key), place, key), place, key)
    key = "params.yaml: benchmarks.arena_hard.questions"
    questions: dict[str, Row] = {}
    for place, row in _rows(files["questions"], key):
        id_ = _id_of(row, place, key)
        turns = [_text(row, "prompt", place, key)] if "prompt" in row else _turns(row.get("turns"), place, key)
        if id_ not in answers:
            raise UserError(f"{files['baseline']} has no answer to question {id_}, {place}. ({key})")
        category = _text_or_none(row, "cluster", place, key) or _text_or_none(row, "category", place, key)
        turns = [_only(turns, place, key)]
        question = {"question_id": id_, "category": category, "turns": turns, "baseline": answers[id_]}
        _add(questions, id_, question, place, key)
    yield from questions.values()


def _mt_bench(files: Mapping[str, Path]) -> Iterator[Row]:
    """question_id, category and one or two turns; in three categories the reference answers to as many turns."""
    key = "params.yaml: benchmarks.mt_bench.references"
    references: dict[str, list[str]] = {}
    for place, row in _rows(files["references"], key):
        _add(references, _id_of(row, place, key), _turns_of(row, place, key), place, key)
    key = "params.yaml: benchmarks.mt_bench.questions"
    questions: dict[str, Row] = {}
    for place, row in _rows(files["questions"], key):
        id_, turns = _id_of(row, place, key), _turns(row.get("turns"), place, key)
        if len(turns) > 2:
            raise UserError(f"{place} has {len(turns)} turns; it must have one or two. ({key})")
        category = _text_or_none(row, "category", place, key)
        shown_to_judge = None
        if category in WITH_REFERENCES:
            shown_to_judge = references.get(id_, [])[: len(turns)]
            if len(shown_to_judge) < len(turns):
                raise UserError(
                    f"{files['references']} has reference answers to {len(shown_to_judge)} of the {len(turns)} turns "
                    f"of question {id_}, and {category} is judged with them. ({key})"
                )
        question = {"question_id": id_, "category": category, "turns": turns, "references": shown_to_judge}
        _add(questions, id_, question, place, key)
    yield from questions.values()


def _rows(path: Path, key: str) -> Iterator[tuple[str, Row]]:
    for place, row in read_objects(path, key):
        yield f"{path}, {place}", row


def _add(found: dict[Any, Any], id_: object, value: object, place: str, key: str) -> None:
    if id_ in found:
        raise UserError(f"{place} has {shown(id_)} a second time. ({key})")
    found[id_] = value


def _id_of(row: Row, place: str, key: str) -> str:
    name = next((name for name in ("question_id", "uid") if name in row), None)
    if name is None:
        raise UserError(f"{place} has neither question_id nor uid. ({key})")
    number = isinstance(row[name], int) and not isinstance(row[name], bool)
    return str(row[name]) if number else _text(row, name, place, key)


def _index(row: Row, place: str, key: str) -> str:
    """Upstream's place of an AlpacaEval instruction; the published difficulties are in that order."""
    if not isinstance(row["index"], int) or isinstance(row["index"], bool) or row["index"] < 0:
        raise UserError(f"{place}: index is {shown(row['index'])}; it must be a whole number >= 0. ({key})")
    return str(row["index"])


def _turns_of(row: Row, place: str, key: str) -> list[str]:
    """The turns of an answer: choices as FastChat writes them, messages as arena-hard-auto does now, or compact."""
    if "answer" in row:
        return [_text(row, "answer", place, key, empty=True)]
    if "turns" in row:
        return _turns(row["turns"], place, key, empty=True)
    try:
        if "messages" in row:
            content = row["messages"][-1]["content"]
            turns = [content["answer"] if isinstance(content, dict) else content]
        else:
            turns = row["choices"][0]["turns"]
    except (LookupError, TypeError):
        raise UserError(f"{place} has no answer: no choices[0].turns, messages, turns or answer. ({key})") from None
    return _turns(turns, place, key, empty=True)


def _turns(value: Any, place: str, key: str, empty: bool = False) -> list[str]:
    """A list of texts, or of objects with the text under content."""
    if not isinstance(value, list) or not value:
        raise UserError(f"{place}: turns is {shown(value)}; it must be a list with a text for each turn. ({key})")
    texts = [turn.get("content") if isinstance(turn, dict) else turn for turn in value]
    return [_text({"turn": text}, "turn", place, key, empty) for text in texts]


def _only(turns: list[str], place: str, key: str) -> str:
    if len(turns) != 1:
        raise UserError(f"{place} has {len(turns)} turns; it must have one. ({key})")
    return turns[0]


def _text_or_none(row: Row, name: str, place: str, key: str) -> str | None:
    return None if row.get(name) in (None, "") else _text(row, name, place, key)


def _text(row: Row, name: str, place: str, key: str, empty: bool = False) -> str:
    """A field that must be a text; empty: whether it may hold nothing, as a baseline's answer may."""
    if name not in row:
        raise UserError(f"{place} has no field {name!r}. ({key})")
    value = row[name]
    if not isinstance(value, str) or not (empty or value.strip()):
        allowed = "a text" if empty else "a text that is not empty"
        raise UserError(f"{place}: {name} is {shown(value)}; it must be {allowed}. ({key})")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise UserError(f"{place}: {name} has half of a surrogate pair, which is no text. ({key})")
    return value
