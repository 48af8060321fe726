"""Arena-Hard's judgments and answers, in the forms that upstream has given them."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from metareward.errors import UserError, shown
from metareward.inputs.judged import Row, Tally, fields_of, keep, name_in, select_model
from metareward.inputs.lines import number_of, read_objects

ReadLabel = Callable[[str], tuple[str | None, str | None]]
_GAMES = {"question_id": pl.String, "game": pl.Int64, "label": pl.String}


@dataclass(frozen=True)
class Games:
    """games: question_id, game (1: the baseline is A, 2: the model is A), label (null: none), in the file's order.

    The names are null where the file has none.
    """

    games: pl.DataFrame
    model: str | None
    baseline: str | None
    judge: str | None


def read_games(path: Path, tally: Tally, read_label: ReadLabel, model: str | None = None) -> Games:
    """The games of one model; what is odd in the file is in the tally.

    Upstream's rows have question_id (or uid), model, judge and games: two, each with score (the label) and judgment
    (the text, or the text as answer of an object). read_label: of a text, the label or why there is none; texts are
    read where a game has no score. model: whose rows, where there are several. Of several rows of one question the
    first with a label stays.
    Raises UserError for a file that is no JSON, that has several models, baselines or judges, or no label.
    """
    objects, name = select_model(path, list(read_objects(path, "FILE")), "model", model)
    baseline, judge = (name_in(path, objects, key) for key in ("baseline", "judge"))
    kept: dict[Hashable, tuple[Any, ...]] = {}
    for place, row in objects:
        question, games = _question(row), row.get("games")
        if question is None:
            tally.count("rows without question_id or uid, left out", f"{place}, with {fields_of(row)}")
            continue
        if not isinstance(games, list) or not games:
            tally.count("rows without games, left out", f"{place}, {shown(games)}")
            continue
        if len(games) != 2:
            tally.count("rows of other than two games, of which the first two count", f"{place}, {len(games)}")
        for number, game in enumerate(games[:2], 1):
            where = f"{place}, game {number}"
            found = (question, number, _label(game, read_label, where, tally))
            keep(kept, (question, f"game {number}"), found, where, tally)
    frame = pl.DataFrame(list(kept.values()), schema=_GAMES, orient="row")
    if not frame["label"].count():
        raise UserError(f"{path} has no game with a label; its first row has {fields_of(objects[0][1])}. (FILE)")
    return Games(frame, name, baseline, judge)


def read_tokens(path: Path, tally: Tally, model: str | None = None) -> pl.Series:
    """The tokens of each answer, in upstream's model_answer files of any version; token_len of a row will do, too.

    model: who was judged. Raises UserError for a file that is no JSON, is of another model, or has no token_len.
    """
    objects = list(read_objects(path, "--answers"))
    key = "model_id" if any("model_id" in row for _, row in objects) else "model"
    names = {row[key] for _, row in objects if isinstance(row.get(key), str)}
    if model is not None and names and model not in names:
        raise UserError(
            f"{path} has answers of {', '.join(map(shown, sorted(names)[:8]))}, not {shown(model)}. (--answers)"
        )
    if len(names) > 1:
        objects, _ = select_model(path, objects, key, model)
    kept: dict[Hashable, tuple[Any, ...]] = {}
    for number, (place, row) in enumerate(objects):
        tokens = next((count for count in _token_counts(row) if count is not None and count >= 0), None)
        if tokens is None:
            tally.count("answers without token_len, left out", f"{place}, with {fields_of(row)}")
        keep(kept, _question(row) or number, (tokens,), place, tally)
    counts = pl.Series([tokens for (tokens,) in kept.values() if tokens is not None], dtype=pl.Float64)
    if not len(counts):
        raise UserError(
            f"{path} has no answer with token_len; its first row has {fields_of(objects[0][1])}. (--answers)"
        )
    return counts


def _label(game: object, read_label: ReadLabel, place: str, tally: Tally) -> str | None:
    if not isinstance(game, dict) or (game.get("score") is None and "score" in game):
        tally.count("games without a label", f"{place}, {shown(game if not isinstance(game, dict) else None)}")
        return None
    if "score" in game:
        score = game["score"]
        label, _ = read_label(f"[[{score}]]") if isinstance(score, str) else (None, None)
        if label is None:
            tally.count("labels that are none of the five, left out", f"{place}, {shown(score)}")
        return label
    text = game.get("judgment")
    text = text.get("answer") if isinstance(text, dict) else text
    label, reason = read_label(text if isinstance(text, str) else "")
    if reason:
        tally.count(f"texts of judges without one label ({reason}), left out", place)
    return label


def _question(row: Row) -> str | None:
    value = row.get("question_id", row.get("uid"))
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _token_counts(row: Row) -> Iterator[float | None]:
    """Wherever upstream has written them: the turn, then conv_metadata, then metadata."""
    yield number_of(row.get("token_len"))
    for key in ("conv_metadata", "metadata"):
        if isinstance(inner := row.get(key), dict):
            yield number_of(inner.get("token_len"))
    try:
        yield number_of(row["choices"][0]["turns"][0]["token_len"])
    except (KeyError, IndexError, TypeError):
        yield None
