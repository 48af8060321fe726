"""The views over a run's tables: which files each one reads, and its SQL."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from metareward.schemas import SCHEMAS


@dataclass(frozen=True)
class BaseView:
    """A view over the files of one table of schema `table`.

    files: patterns of paths, * for the iteration or checkpoint. Of files in braces, as in {a,b}.parquet, the first
    that is there is read. label: the column that holds what * stands for; None: the table says it itself.
    """

    table: str
    files: tuple[str, ...]
    label: str | None = None
    about: str = ""


_TYPES = {
    "String": "VARCHAR",
    "Int64": "BIGINT",
    "Float64": "DOUBLE",
    "Boolean": "BOOLEAN",
    "Strings": "VARCHAR[]",
    "Messages": 'STRUCT("role" VARCHAR, "content" VARCHAR)[]',
}
_ITERATION, _HELD_OUT, _COMPARED = "data/iterations/*", "data/evaluations/*", "data/comparisons/*"
_LIKELY = "data/likelihoods/*"
_MEASURED = (_HELD_OUT, _COMPARED, _LIKELY, "data/grades/*")


def _of_iteration(table: str, *names: str) -> BaseView:
    return BaseView(table, tuple(f"{_ITERATION}/{name}.parquet" for name in names or (table,)), "iteration")


VIEWS: dict[str, BaseView] = {
    "prompts": _of_iteration("prompts"),
    "new_prompts": BaseView("new_prompts", ("data/prompts/generated.parquet",)),
    # the table with duplicates marked holds all of the other one
    "responses": _of_iteration("responses", "{unique_responses,responses}"),
    "judgments": _of_iteration("judgments"),
    "scores": _of_iteration("scores"),
    "actor_pairs": _of_iteration("actor_pairs"),
    "length_control": _of_iteration("length_control"),
    "choices": _of_iteration("choices"),
    "battles": _of_iteration("battles"),
    "elo": _of_iteration("elo"),
    "judge_pairs": _of_iteration("judge_pairs"),
    "no_pairs": _of_iteration("no_pairs", "actor_no_pairs", "judge_no_pairs"),
    "eft": BaseView("eft", ("data/eft/eft.parquet",)),
    "training_steps": BaseView("training_steps", ("data/training/*.parquet",), "checkpoint"),
    "comparisons": BaseView("comparisons", (f"{_COMPARED}/comparisons.parquet",), "checkpoint"),
    "referee_judgments": BaseView(
        "judgments", (f"{_COMPARED}/judgments.parquet",), "checkpoint", "of held-out responses, by the referee"
    ),
    "reply_likelihoods": BaseView("reply_likelihoods", (f"{_LIKELY}/reply_likelihoods.parquet",), "checkpoint"),
    "results": BaseView("results", tuple(f"{folder}/results.parquet" for folder in _MEASURED)),
    "outcomes": BaseView("outcomes", tuple(f"{folder}/outcomes.parquet" for folder in _MEASURED)),
    "differences": BaseView("differences", ("data/differences/*.parquet",)),
    "judge_bias": BaseView("judge_bias", (f"{_HELD_OUT}/judge_bias.parquet", f"{_ITERATION}/judge_bias.parquet")),
    "score_distribution": BaseView("score_distribution", (f"{_HELD_OUT}/score_distribution.parquet",)),
    "monitors": BaseView(
        "monitors", ("data/monitors/*/data.parquet", "data/monitors/*/training.parquet"), "checkpoint"
    ),
    "questions": BaseView("questions", ("data/questions.parquet",)),
    "categories": BaseView("categories", ("data/categories.parquet",)),
    "answers": BaseView("answers", ("data/answers/*.parquet",), "checkpoint"),
    "grades": BaseView("grades", ("data/grades/*/grades.parquet",), "checkpoint"),
    "held_out_responses": BaseView(
        "responses", (f"{_HELD_OUT}/responses.parquet",), "checkpoint", "to held-out prompts, by each checkpoint"
    ),
    "held_out_judgments": BaseView(
        "judgments", (f"{_HELD_OUT}/judgments.parquet",), "checkpoint", "of ranked human replies, by each checkpoint"
    ),
    "held_out_battles": BaseView(
        "battles", (f"{_HELD_OUT}/verdicts.parquet",), "checkpoint", "of these judgments, by each checkpoint"
    ),
    "strong_responses": BaseView(
        "responses", ("data/strong_judge/responses.parquet",), None, "of the seed, for the strong judge"
    ),
    "strong_judgments": BaseView(
        "judgments", ("data/strong_judge/judgments.parquet",), None, "of these responses, by the strong judge"
    ),
    "strong_own_judgments": BaseView(
        "judgments", (f"{_HELD_OUT}/strong_judgments.parquet",), "checkpoint", "of the same, by each checkpoint"
    ),
    "eft_judgments": BaseView(
        "judgments", ("data/eft/judgments.parquet",), None, "of ranked human replies, by the seed, for EFT"
    ),
}
_REV = {"rev": ("VARCHAR", "where the row comes from: workspace, a revision, an experiment")}
_LABELS = {
    "iteration": ("VARCHAR", "m1, m2, ..."),
    "checkpoint": ("VARCHAR", "seed, sft, m1, ..."),
}
PARAMS = _REV | {
    "name": ("VARCHAR", "its name with dots: judge.n"),
    "value": ("VARCHAR", "a text as it is, anything else as JSON"),
}
METRICS = _REV | {
    "name": ("VARCHAR", "group.metric"),
    "checkpoint": ("VARCHAR", "seed, sft, m1, ..."),
    "value": ("DOUBLE", "its value; null: there is none"),
}


@dataclass(frozen=True)
class File:
    """A file of a view.

    rev: workspace, or the revision; label: the iteration or checkpoint; path: where it lies, absolute; problem: why
    it cannot be read, which a query is told that needs it.
    """

    rev: str
    label: str
    path: str
    problem: str | None = None


def columns_of(name: str) -> dict[str, str]:
    """The columns of a base view with their DuckDB types, in order."""
    return {column: type_ for column, (type_, _) in columns_about(name).items()}


def columns_about(name: str) -> dict[str, tuple[str, str]]:
    """The columns of a base view with their DuckDB types and what they hold, in order."""
    view = VIEWS[name]
    columns = {
        column: (_TYPES[type_.removesuffix("?")], about)
        for column, (type_, about) in SCHEMAS[view.table].columns.items()
    }
    label = {view.label: _LABELS[view.label]} if view.label and view.label not in columns else {}
    return _REV | label | columns


def about_view(name: str) -> str:
    """What a row of a base view is."""
    view = VIEWS[name]
    return f"{SCHEMAS[view.table].about} ({view.about})" if view.about else SCHEMAS[view.table].about


def view_sql(name: str, files: Iterable[File]) -> str:
    """The SELECT of a base view. A column that a file does not have yet is null in its rows."""
    columns, view = columns_of(name), VIEWS[name]
    empty = ", ".join(f"NULL::{type_} AS {quoted(column)}" for column, type_ in columns.items())
    parts = [f"SELECT {empty} WHERE false"]
    for file in files:
        label = f", {text(file.label)} AS {quoted(view.label)}" if view.label else ""
        rows = f", * FROM read_parquet({text(file.path)})"
        if file.problem:  # evaluated unless rev or label rule it out; a null column would let any filter do that
            problem = f"error({text(file.problem)})"
            own = (column for column in columns if column not in ("rev", view.label))
            rows = "".join(f", {problem}::{columns[column]} AS {quoted(column)}" for column in own)
            rows += f" WHERE {problem} IS NULL"
        parts.append(f"SELECT {text(file.rev)} AS rev{label}{rows}")
    return f"SELECT {', '.join(map(quoted, columns))} FROM ({' UNION ALL BY NAME '.join(parts)})"


def values_sql(columns: Mapping[str, str], rows: Iterable[tuple[object, ...]]) -> str:
    """A SELECT of rows that are given here."""
    empty = ", ".join(f"NULL::{type_} AS {quoted(column)}" for column, type_ in columns.items())
    lines = [f"({', '.join(map(_literal, row))})" for row in rows]
    return f"SELECT {empty} WHERE false" + (f" UNION ALL SELECT * FROM (VALUES {', '.join(lines)})" if lines else "")


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    return text(value) if isinstance(value, str) else f"{value!r}::DOUBLE"
