"""MT-Bench: the ratings from 1 to 10 that a judge gives a model's answers in dialogues of two turns.

Computed as upstream does (FastChat, llm_judge/common.py and show_result.py).
"""

import re

import polars as pl

from metareward.evaluation.intervals import bootstrap_mean
from metareward.evaluation.results import Score

# judges are asked for 1 to 10; upstream counts a 0 that one gives all the same
LEAST, MOST = 0.0, 10.0
_RATINGS = (re.compile(r"\[\[([0-9]+\.?[0-9]*)\]\]"), re.compile(r"\[([0-9]+\.?[0-9]*)\]"))
# ten questions of each category, from 81 on
CATEGORIES: dict[int, str | None] = {
    81 + 10 * tens + ones: category
    for tens, category in enumerate(
        ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
    )
    for ones in range(10)
}


def read_rating(text: str | None) -> tuple[float | None, str | None]:
    """The rating of a judge's text, or the reason why there is none: no_rating, out_of_range.

    The first number in two brackets, [[7.5]], else the first in one, [7.5].
    """
    found = next((match for pattern in _RATINGS if (match := pattern.search(text or ""))), None)
    if found is None:
        return None, "no_rating"
    rating = float(found[1])
    return (rating, None) if LEAST <= rating <= MOST else (None, "out_of_range")


def mt_bench_scores(ratings: pl.DataFrame, rounds: int = 1000, seed: int = 42) -> list[Score]:
    """Mean ratings: of all answers, of either turn, and of both turns by category; null ratings are left out.

    ratings: question_id, turn (1 or 2), category (null: none), rating; n ratings. Intervals by a bootstrap over
    questions, whose turns are drawn together; upstream gives none.
    """
    known = ratings.drop_nulls("rating")
    parts = {"mean": known, **{f"turn_{turn}": known.filter(turn=turn) for turn in (1, 2)}}
    for category in sorted(known["category"].drop_nulls().unique()):
        parts[f"category_{category}"] = known.filter(category=category)
    return [_mean(metric, part, rounds, seed) for metric, part in parts.items()]


def _mean(metric: str, ratings: pl.DataFrame, rounds: int, seed: int) -> Score:
    if ratings.is_empty():
        return Score(metric, None, None, None, 0)
    questions = ratings.group_by("question_id").agg(pl.col("rating").sum(), n=pl.len()).sort("question_id")
    means, weights = (questions["rating"] / questions["n"]).to_numpy(), questions["n"].to_numpy()
    low, high = bootstrap_mean(means, rounds, seed, weights=weights, least=LEAST, most=MOST)
    return Score(metric, float(questions["rating"].sum()) / ratings.height, low, high, ratings.height)
