"""Categories of AlpacaEval's instructions, as its judge sorts them: upstream publishes none as fine as these."""

from collections.abc import Iterator, Sequence

import polars as pl

from metareward.engines.common.interface import Request, Sampling
from metareward.ids import content_id
from metareward.roles.requests import why_unfinished
from metareward.roles.thoughts import with_thoughts
from metareward.tables import TABLES
from metareward.templates.chats import Chat, fill_chat

MAX_TOKENS = 32


def category_requests(questions: pl.DataFrame, chat: Chat, seed: int) -> Iterator[Request]:
    """One request for each of AlpacaEval's `questions`, in upstream's order."""
    for id_, turns in questions.sort("position").select("question_id", "turns").iter_rows():
        messages = fill_chat(chat, instruction=turns[0])
        yield Request(_request_id(id_), messages, 1, Sampling(0.0, 1.0, MAX_TOKENS), seed)


def categories_table(
    questions: pl.DataFrame, completions: pl.DataFrame, names: Sequence[str], judge: str
) -> pl.DataFrame:
    """The `categories` table. names: of the categories; judge: the name of its model."""
    ids = questions.select("question_id").with_columns(
        request_id=pl.col("question_id").map_elements(_request_id, return_dtype=pl.String)
    )
    rows = ids.join(with_thoughts(completions), on="request_id").with_columns(judge=pl.lit(judge))
    texts = rows.select("text", "thought", "finish_reason").iter_rows()
    read = [_read(text, thought, ended, names) for text, thought, ended in texts]
    found = pl.DataFrame(read, schema={"category": pl.String, "invalid_reason": pl.String}, orient="row")
    return pl.concat([rows, found], how="horizontal").select(list(TABLES["categories"].columns))


def read_category(text: str, names: Sequence[str]) -> tuple[str | None, str | None]:
    """The one category that a text names, in any case of letters, or why there is none."""
    rest, found = text.lower(), []
    for name in sorted(names, key=len, reverse=True):  # a name may stand within another
        if name.lower() in rest:
            found.append(name)
            rest = rest.replace(name.lower(), "\n")
    return (found[0], None) if len(found) == 1 else (None, "several_categories" if found else "no_category")


def _read(text: str | None, thought: str | None, ended: str, names: Sequence[str]) -> tuple[str | None, str | None]:
    category, reason = read_category(text or "", names)
    return (category, None) if category else (None, why_unfinished(text, thought, ended) or reason)


def _request_id(question_id: str) -> str:
    return content_id("category", question_id)
