"""The tables: their schemas, and the only way they are read and written.

A table is a Parquet file whose columns, types and missing values are declared here and checked on every read
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

Columns = Mapping[str, pl.DataType | type[pl.DataType]]
MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))


@dataclass(frozen=True)
class Table:
    """columns: name -> Polars type; nullable: columns that may hold null; key: sort order, unique."""

    columns: Columns
    key: tuple[str, ...]
    nullable: frozenset[str] = frozenset()


_PAIR: Columns = {
    "prompt_id": pl.String,
    "pair_id": pl.String,
    "messages": MESSAGES,
    "chosen": pl.String,
    "rejected": pl.String,
    "chosen_id": pl.String,
    "rejected_id": pl.String,
    "chosen_finish": pl.String,  # the finish_reason of the text: "stop", or it was cut
    "rejected_finish": pl.String,
}
_LENGTHS: Columns = {"chosen_chars": pl.Int64, "rejected_chars": pl.Int64, "margin": pl.Float64}

TABLES: dict[str, Table] = {
    "prompts": Table(
        {"prompt_id": pl.String, "prompt": pl.String, "source": pl.String},
        ("prompt_id",),
    ),
    "responses": Table(
        {
            "prompt_id": pl.String,
            "response_id": pl.String,
            "sample": pl.Int64,
            "response": pl.String,
            "thought": pl.String,  # between <think> tags; null: none
            "n_chars": pl.Int64,
            "n_tokens": pl.Int64,
            "finish_reason": pl.String,
            "duplicate_of": pl.String,
        },
        ("prompt_id", "sample"),
        frozenset({"response", "thought", "duplicate_of"}),
    ),
    "judgments": Table(
        {
            "prompt_id": pl.String,
            "response_id": pl.String,
            "judgment_id": pl.String,
            "sample": pl.Int64,
            "judgment": pl.String,
            "thought": pl.String,
            "score": pl.Float64,
            "invalid_reason": pl.String,
            "n_chars": pl.Int64,
            "n_tokens": pl.Int64,
            "finish_reason": pl.String,
        },
        ("prompt_id", "response_id", "sample"),
        frozenset({"judgment", "thought", "score", "invalid_reason"}),
    ),
    "scores": Table(
        {
            "prompt_id": pl.String,
            "response_id": pl.String,
            "sample": pl.Int64,  # the response index, the last tie-breaker of pair selection
            "n_chars": pl.Int64,  # of the response
            "mean": pl.Float64,
            "variance": pl.Float64,  # population variance of the valid scores
            "n_valid": pl.Int64,
            "n_distinct": pl.Int64,  # textually different valid judgments
        },
        ("prompt_id", "sample"),
        frozenset({"mean", "variance"}),
    ),
    "actor_pairs": Table(
        {**_PAIR, "chosen_score": pl.Float64, "rejected_score": pl.Float64, **_LENGTHS}, ("prompt_id",)
    ),
    "judge_pairs": Table(
        {**_PAIR, "response_id": pl.String, "chosen_elo": pl.Float64, "rejected_elo": pl.Float64, **_LENGTHS},
        ("prompt_id",),
    ),
    "no_pairs": Table(
        {"prompt_id": pl.String, "role": pl.String, "reason": pl.String},
        ("prompt_id",),
    ),
    "choices": Table(  # the one response of each prompt whose judgments go into battle, or why there is none
        {
            "prompt_id": pl.String,
            "response_id": pl.String,
            "variance": pl.Float64,
            "n_tied": pl.Int64,  # responses that shared the highest variance
            "reason": pl.String,
        },
        ("prompt_id",),
        frozenset({"response_id", "variance", "reason"}),
    ),
    "battles": Table(
        {
            "prompt_id": pl.String,
            "response_id": pl.String,
            "battle_id": pl.String,
            "judgment_a": pl.String,
            "judgment_b": pl.String,
            "meta_judgment": pl.String,
            "thought": pl.String,
            "winner": pl.String,  # "a", "b" or null
            "invalid_reason": pl.String,
            "n_tokens": pl.Int64,
            "finish_reason": pl.String,
        },
        ("prompt_id", "response_id", "judgment_a", "judgment_b"),
        frozenset({"meta_judgment", "thought", "winner", "invalid_reason"}),
    ),
    "elo": Table(
        {
            "prompt_id": pl.String,
            "response_id": pl.String,
            "judgment_id": pl.String,
            "elo": pl.Float64,
            "wins_first": pl.Int64,
            "wins_second": pl.Int64,
            "n_battles": pl.Int64,
            "ridge": pl.Float64,  # 0 where the likelihood has a finite maximiser of its own
        },
        ("prompt_id", "response_id", "judgment_id"),
    ),
    "eft": Table(
        {
            "example_id": pl.String,
            "kind": pl.String,  # judge, meta_judge, compare
            "messages": MESSAGES,
            "target": pl.String,
            "score": pl.Float64,
        },
        ("example_id",),
        frozenset({"score"}),
    ),
    "comparisons": Table(  # a referee's verdicts on the responses of two models to the same prompt
        {
            "prompt_id": pl.String,
            "model_first": pl.Boolean,
            "comparison": pl.String,
            "thought": pl.String,
            "winner": pl.String,  # "model", "baseline" or null
            "invalid_reason": pl.String,
            "n_tokens": pl.Int64,
            "finish_reason": pl.String,
        },
        ("prompt_id", "model_first"),
        frozenset({"comparison", "thought", "winner", "invalid_reason"}),
    ),
    "questions": Table(  # of the public benchmarks that are on
        {
            "benchmark": pl.String,  # alpaca_eval, arena_hard or mt_bench
            "question_id": pl.String,
            "position": pl.Int64,  # from 0, in upstream's order
            "category": pl.String,
            "turns": pl.List(pl.String),  # what the user says
            "baseline": pl.String,  # the baseline's answer
            "references": pl.List(pl.String),  # right answers that the judge is shown, one a turn
        },
        ("benchmark", "question_id"),
        frozenset({"category", "baseline", "references"}),
    ),
    "answers": Table(
        {
            "benchmark": pl.String,
            "question_id": pl.String,
            "turn": pl.Int64,  # 1 or 2
            "answer_id": pl.String,
            "answer": pl.String,
            "thought": pl.String,
            "n_chars": pl.Int64,
            "n_tokens": pl.Int64,
            "finish_reason": pl.String,
        },
        ("benchmark", "question_id", "turn"),
        frozenset({"answer", "thought"}),
    ),
    "grades": Table(
        {
            "benchmark": pl.String,
            "question_id": pl.String,
            "part": pl.Int64,  # alpaca_eval: 1; arena_hard: game 1 or 2; mt_bench: turn 1 or 2
            "judge": pl.String,  # the judge's model
            "model_first": pl.Boolean,  # whether the model's answer stood before the baseline's
            "grade": pl.String,  # what the judge wrote
            "thought": pl.String,
            "label": pl.String,  # alpaca_eval: m or M; arena_hard: A>>B, A>B, A=B, B>A or B>>A
            "value": pl.Float64,  # alpaca_eval: preference in [1, 2], 2: the model's answer; mt_bench: rating
            "how": pl.String,  # "logprobs" or "text"; "same_output": a tie of which nobody was asked
            "invalid_reason": pl.String,
            "n_tokens": pl.Int64,
            "finish_reason": pl.String,
        },
        ("benchmark", "question_id", "part"),
        frozenset({"model_first", "grade", "thought", "label", "value", "invalid_reason"}),
    ),
    "categories": Table(  # of AlpacaEval's instructions, by its judge
        {
            "question_id": pl.String,
            "category": pl.String,
            "text": pl.String,  # what the judge wrote
            "thought": pl.String,
            "invalid_reason": pl.String,
            "judge": pl.String,
            "n_tokens": pl.Int64,
            "finish_reason": pl.String,
        },
        ("question_id",),
        frozenset({"category", "text", "thought", "invalid_reason"}),
    ),
    "training_steps": Table(
        {
            "step": pl.Int64,
            "epoch": pl.Float64,
            "loss": pl.Float64,
            "learning_rate": pl.Float64,
            "grad_norm": pl.Float64,
            "reward_accuracy": pl.Float64,
            "reward_margin": pl.Float64,
        },
        ("step",),
        frozenset({"reward_accuracy", "reward_margin"}),
    ),
    "results": Table(
        {
            "checkpoint": pl.String,
            "benchmark": pl.String,
            "metric": pl.String,
            "value": pl.Float64,
            "ci_low": pl.Float64,
            "ci_high": pl.Float64,
            "n": pl.Int64,
            "referee": pl.String,
        },
        ("checkpoint", "benchmark", "metric"),
        frozenset({"value", "ci_low", "ci_high", "referee"}),
    ),
    "outcomes": Table(  # what each held-out prompt brings to a metric, whose value is sum(total) / sum(n)
        {
            "checkpoint": pl.String,
            "metric": pl.String,
            "referee": pl.String,  # who judged; null: nobody had to, or the checkpoint itself
            "prompt_id": pl.String,
            "total": pl.Float64,
            "n": pl.Int64,
        },
        ("checkpoint", "metric", "referee", "prompt_id"),
        frozenset({"referee"}),
    ),
    "differences": Table(  # a checkpoint's value minus another one's, on the same prompts
        {
            "checkpoint": pl.String,
            "other": pl.String,
            "metric": pl.String,
            "referee": pl.String,
            "value": pl.Float64,
            "ci_low": pl.Float64,
            "ci_high": pl.Float64,
            "n": pl.Int64,  # prompts
        },
        ("checkpoint", "other", "metric", "referee"),
        frozenset({"referee", "value", "ci_low", "ci_high"}),
    ),
    "judge_bias": Table(  # which of two judgments a meta-judge prefers
        {
            "meta_judge": pl.String,  # the checkpoint that decided
            "battles": pl.String,  # the iteration that they belong to, or held_out
            "preference": pl.String,  # higher_score, first_position
            "difference": pl.String,  # of the two scores, in points: all, 0, 0-1 (above 0, at most 1), ... 4-5
            "n": pl.Int64,  # decided battles
            "share": pl.Float64,
            "ci_low": pl.Float64,
            "ci_high": pl.Float64,
        },
        ("meta_judge", "battles", "preference", "difference"),
        frozenset({"share", "ci_low", "ci_high"}),
    ),
    "score_distribution": Table(  # of the scores that a checkpoint gives as a judge
        {
            "checkpoint": pl.String,
            "kind": pl.String,  # histogram: the share in a bin of half a point; density: Gaussian, per point
            "score": pl.Float64,  # the middle of the bin; the place of the density
            "value": pl.Float64,  # null: of scores that are all equal there is no density
        },
        ("checkpoint", "kind", "score"),
        frozenset({"value"}),
    ),
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
