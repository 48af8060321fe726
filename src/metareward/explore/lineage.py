"""Where an id lives, and all rows of its prompt: what `trace` makes a tree of."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from metareward.errors import UserError
from metareward.query.views import text

if TYPE_CHECKING:
    import duckdb

    from metareward.query.reading import ReadingConnection

    Connection = duckdb.DuckDBPyConnection | ReadingConnection
Row = dict[str, Any]
# what has an id: the views that hold it, and its column
KINDS = {
    "prompt": (["prompts"], "prompt_id"),
    "response": (["responses"], "response_id"),
    "judgment": (["judgments"], "judgment_id"),
    "battle": (["battles"], "battle_id"),
    "pair": (["actor_pairs", "judge_pairs"], "pair_id"),
}
VIEWS = [
    *("prompts", "responses", "judgments", "scores", "choices", "battles", "elo", "actor_pairs", "judge_pairs"),
    "no_pairs",
]
_ORDER = {"responses": "sample", "scores": "sample", "judgments": "response_id, sample"}
_FIRST = 3  # ids of each kind that an error names


@dataclass(frozen=True)
class Place:
    """One id: what it is of, and where."""

    kind: str
    id: str
    rev: str
    iteration: str
    prompt_id: str


@dataclass(frozen=True)
class PromptRows:
    """All rows of one prompt, by view.

    params: those of its revision, by dotted name; rho, set_by: the iteration's row of `length_control`, null where
    there is none; others: more prompts that hold the id that was asked for.
    """

    place: Place
    rows: dict[str, list[Row]]
    params: dict[str, Any]
    rho: float | None = None
    set_by: str | None = None
    others: list[str] = field(default_factory=list)


def find(connection: "Connection", id_: str, rev: str, iteration: str | None = None) -> tuple[Place, list[str]]:
    """The place of the one id that begins so, and other prompts that hold it, too, where the tables are broken.

    Raises UserError when no id of the revision or iteration begins so, when several do, or when several iterations
    have it.
    """
    ids = " UNION ALL ".join(
        f"SELECT '{kind}' AS kind, iteration, {column} AS id, prompt_id FROM {view} WHERE rev = {text(rev)}"
        + (f" AND iteration = {text(iteration)}" if iteration else "")
        + f" AND starts_with({column}, {text(id_)})"
        for kind, (views, column) in KINDS.items()
        for view in views
    )
    counted = connection.execute(
        f"SELECT kind, count(DISTINCT id), list_sort(list_distinct(min(id, {2 * _FIRST})))[:{_FIRST}] "
        f"FROM ({ids}) GROUP BY kind"
    ).fetchall()
    found = {kind: (n, first) for kind, n, first in counted}
    where = f"{rev}, iteration {iteration}" if iteration else rev
    if not found:
        searched = ", ".join(view for views, _ in KINDS.values() for view in views)
        raise UserError(
            f"no id of {where} begins with {id_!r} (searched: {searched}). Hint: --rev REV looks in a commit or an "
            'experiment; metareward sql "SELECT * FROM pairs" lists pairs'
        )
    if sum(n for n, _ in found.values()) > 1:
        kinds = [
            f"{n} {kind}{'s' * (n > 1)} ({', '.join(first)}{', ...' * (n > len(first))})"
            for kind, (n, first) in ((kind, found[kind]) for kind in KINDS if kind in found)
        ]
        raise UserError(f"{id_!r} begins more than one id of {where}: {', '.join(kinds)}. Hint: give more of it")
    rows = connection.execute(f"SELECT DISTINCT kind, id, iteration, prompt_id FROM ({ids}) ORDER BY ALL").fetchall()
    iterations = sorted({row[2] for row in rows})
    if len(iterations) > 1:
        raise UserError(
            f"{rows[0][0]} {rows[0][1]} is in iterations {', '.join(iterations)}. Hint: --iteration {iterations[0]}"
        )
    kind, whole, iteration, prompt_id = rows[0]
    return Place(kind, whole, rev, iteration, prompt_id), [row[3] for row in rows[1:]]


def rows_of_prompt(connection: "Connection", place: Place, others: list[str]) -> PromptRows:
    """Everything that the run holds of the prompt. Tables are sorted by prompt, so little of them is read."""
    rows = {}
    for view in VIEWS:
        prompt = f"rev = {text(place.rev)} AND iteration = {text(place.iteration)}"
        prompt += f" AND prompt_id = {text(place.prompt_id)}"
        columns = "* EXCLUDE (messages)" if view in ("actor_pairs", "judge_pairs") else "*"
        cursor = connection.execute(f"SELECT {columns} FROM {view} WHERE {prompt} ORDER BY {_ORDER.get(view, 'ALL')}")
        names = [column[0] for column in cursor.description]
        rows[view] = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    params = connection.execute(f"SELECT name, value FROM params WHERE rev = {text(place.rev)}").fetchall()
    control = connection.execute(
        f"SELECT rho, set_by FROM length_control WHERE rev = {text(place.rev)} AND iteration = {text(place.iteration)}"
    ).fetchone()
    rho, set_by = control or (None, None)
    return PromptRows(place, rows, {name: _value(value) for name, value in params}, rho, set_by, others)


def _value(written: str | None) -> Any:
    """A param's value; a word without quotes is that word."""
    try:
        return json.loads(written or "null")
    except ValueError:
        return written
