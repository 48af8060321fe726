"""Only statements that read: which ones these are, and a connection that runs no others."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from metareward.errors import UserError

if TYPE_CHECKING:
    import duckdb

ALLOWED = "SELECT, WITH, FROM, VALUES, DESCRIBE, SHOW, SUMMARIZE, PIVOT, UNPIVOT, EXPLAIN"
_NODES = {
    "SELECT_NODE",
    "SET_OPERATION_NODE",
    "RECURSIVE_CTE_NODE",
    "CTE_NODE",
}  # of a parsed query, all that only read
_WRITING = {"copy", "insert", "update", "delete", "merge", "truncate"}


class ReadingConnection:
    """A DuckDB connection of which every statement is looked at before it runs; all else is DuckDB's own.

    DuckDB's settings keep statements from all files but the run's own tables. Those it lets a statement read, it also
    lets COPY write (`USE_TMP_FILE false`), even one inside of WITH: so whatever is no query is refused.
    """

    def __init__(self, connection: "duckdb.DuckDBPyConnection") -> None:
        self._connection = connection

    def execute(self, query: Any, parameters: Any = None) -> "ReadingConnection":
        self._connection.execute(self._checked(query), parameters)
        return self

    def executemany(self, query: Any, parameters: Any = None) -> "ReadingConnection":
        self._connection.executemany(self._checked(query), parameters)
        return self

    def sql(self, query: Any, **options: Any) -> Any:
        return self._connection.sql(self._checked(query), **options)

    query = from_query = sql

    def cursor(self) -> "ReadingConnection":
        return ReadingConnection(self._connection.cursor())

    duplicate = cursor

    def statements(self, sql: str) -> list[str]:
        """The statements of a text. Raises UserError for one that does more than read."""
        return reading_statements(self._connection, sql)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def __enter__(self) -> "ReadingConnection":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _checked(self, query: Any) -> Any:
        reading_statements(self._connection, query if isinstance(query, str) else query.query)
        return query


def reading_statements(connection: "duckdb.DuckDBPyConnection", sql: str) -> list[str]:
    """The statements of a text, all of which only read. Raises UserError for any other, duckdb.Error for no SQL."""
    return [_checked(connection, statement) for statement in connection.extract_statements(sql)]


def _checked(connection: "duckdb.DuckDBPyConnection", statement: "duckdb.Statement") -> str:
    """The text of a statement that only reads."""
    import duckdb

    sql = statement.query
    try:
        kind: object = statement.type
    except ValueError:  # a kind that DuckDB's own list for Python lacks, as UPDATE EXTENSIONS
        kind = None
    words = list(_words(sql))
    first = words[0][0].upper() if words else "an empty statement"
    if words[:1] and words[0][0] == "explain" and kind in (duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI):
        rest = words[2 if words[1:2] and words[1][0] == "analyze" else 1 :]
        if rest:
            inside = connection.extract_statements(sql.encode()[rest[0][1] :].decode())  # ANALYZE runs what it explains
            for one in inside:
                _checked(connection, one)
            return sql
    if kind == duckdb.StatementType.SELECT and _only_queries(connection, sql):
        return sql
    if kind == duckdb.StatementType.MULTI:  # PIVOT without IN: it is parsed into two, of which no tree is given
        if words[0][0] in {"pivot", "with", "from", "select", "("} and not _WRITING & {word for word, _ in words}:
            return sql
    elif kind == duckdb.StatementType.SELECT:
        first = "a WITH that writes"
    raise UserError(f"{first} is no query, and a run is only read here. Allowed: {ALLOWED}.")


def _only_queries(connection: "duckdb.DuckDBPyConnection", sql: str) -> bool:
    """Whether DuckDB's own tree of a SELECT holds nothing but queries; WITH may hold COPY, INSERT, UPDATE, DELETE."""
    row = connection.cursor().execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchone()
    tree = json.loads(row[0]) if row else {"error": True}
    if tree["error"]:
        return False
    waiting: list[Any] = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            kind = value.get("type")
            if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _NODES:
                return False
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return True


def _words(sql: str) -> Iterator[tuple[str, int]]:
    """The words and signs of a statement in small letters, each with the byte where it begins; no comments."""
    import duckdb

    tokens, text = duckdb.tokenize(sql), sql.encode()
    ends = [start for start, _ in tokens[1:]] + [len(text)]
    for (start, kind), end in zip(tokens, ends, strict=True):
        if kind != duckdb.token_type.comment:
            yield text[start:end].decode().strip().lower(), start
