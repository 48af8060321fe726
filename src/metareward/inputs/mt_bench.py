"""MT-Bench's judgments, in FastChat's gpt-4_single.jsonl."""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from metareward.errors import UserError, shown
from metareward.inputs.judged import Tally, fields_of, keep, name_in, read_number, select_model
from metareward.inputs.lines import read_objects, whole_number_of

ReadRating = Callable[[str], tuple[float | None, str | None]]
_RATINGS = {"question_id": pl.Int64, "turn": pl.Int64, "category": pl.String, "rating": pl.Float64}


@dataclass(frozen=True)
class Ratings:
    """ratings: question_id, turn (1, 2), category (null: none), rating (null: none). A name may be null, too."""

    ratings: pl.DataFrame
    model: str | None
    judge: str | None


def read_ratings(
    path: Path, tally: Tally, read_rating: ReadRating, categories: dict[int, str | None], model: str | None = None
) -> Ratings:
    """The ratings of one model; what is odd in the file is in the tally.

    FastChat's rows have question_id, turn, model, judge, score (-1: none) and judgment. read_rating: of a text, the
    rating or why there is none; texts are read where a row has no score. categories: of each question there is. model:
    whose rows, where there are several. Of several rows of one turn the first with a rating stays.
    Raises UserError for a file that is no JSON, that has several models or judges, or no rating.
    """
    objects, name = select_model(path, list(read_objects(path, "FILE")), "model", model)
    judge = name_in(path, objects, "judge")
    kept: dict[Hashable, tuple[Any, ...]] = {}
    for place, row in objects:
        question, turn = whole_number_of(row.get("question_id")), whole_number_of(row.get("turn"))
        if question is None or question not in categories:
            example = f"{place}, question_id {shown(row.get('question_id'))}"
            tally.count("rows that match no question of the benchmark, left out", example)
        elif turn not in (1, 2):
            tally.count("rows of a turn other than 1 and 2, left out", f"{place}, turn {shown(row.get('turn'))}")
        else:
            found = (question, turn, categories[question], _rating(row, read_rating, place, tally))
            keep(kept, (f"question {question}", f"turn {turn}"), found, place, tally)
    frame = pl.DataFrame(list(kept.values()), schema=_RATINGS, orient="row")
    if not frame["rating"].count():
        raise UserError(f"{path} has no rating of a question; its first row has {fields_of(objects[0][1])}. (FILE)")
    return Ratings(frame, name, judge)


def read_categories(path: Path) -> dict[int, str | None]:
    """The category of each question, of a file with question_id and category.

    Raises UserError for a row without an id.
    """
    found: dict[int, str | None] = {}
    for place, row in read_objects(path, "--questions"):
        question, category = whole_number_of(row.get("question_id")), row.get("category")
        if question is None:
            shows = shown(row.get("question_id"))
            raise UserError(f"{path}, {place}: question_id is {shows}; it must be a whole number. (--questions)")
        found[question] = category if isinstance(category, str) else None
    return found


def _rating(row: dict[str, Any], read_rating: ReadRating, place: str, tally: Tally) -> float | None:
    if "score" in row:
        score = read_number(row["score"], "score", place, tally)
        if score is not None and math.isnan(score):
            tally.count("rows without a score", f"{place}, {shown(row['score'])}")
            return None
        rating = None if score is None else read_rating(f"[[{score}]]")[0]
        if rating is None:
            tally.count("scores that are no rating, left out", f"{place}, {shown(row['score'])}")
        return rating
    text = row.get("judgment")
    rating, reason = read_rating(text if isinstance(text, str) else "")
    if reason:
        tally.count(f"texts of judges without a rating ({reason}), left out", place)
    return rating
