"""MT-Bench: ratings of texts, and means by hand."""

import numpy as np
import polars as pl
import pytest

from metareward.evaluation.mt_bench import CATEGORIES, mt_bench_scores, read_rating


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Clear and right. [[7]]", 7.0),
        ("[[7.5]]", 7.5),
        ("Rating: [[10]]", 10.0),
        ("[8]", 8.0),
        ("[[0]]", 0.0),  # what upstream counts, though nobody asks for it
        ("as in [1], so: [[6]], not [[9]]", 6.0),
        ("as in [1] and [2]", 1.0),  # upstream's reading
        ("[[7.]]", 7.0),
        ("[[08]]", 8.0),
    ],
)
def test_the_rating_of_a_text(text, expected):
    assert read_rating(text) == (expected, None)


@pytest.mark.parametrize("text", ["", None, "7", "[[7/10]]", "[[-1]]", "[[ 7 ]]", "[[seven]]", "[[.5]]"])
def test_a_text_without_a_rating(text):
    assert read_rating(text) == (None, "no_rating")


def test_a_rating_beyond_the_scale_is_none():
    assert read_rating("[[85]]") == read_rating("[[10.5]]") == (None, "out_of_range")


def ratings(*rows):
    types = {"question_id": pl.String, "turn": pl.Int64, "category": pl.String, "rating": pl.Float64}
    return pl.DataFrame(rows, schema=types, orient="row")


def test_means_by_hand():
    table = ratings(
        ("a", 1, "math", 8.0), ("a", 2, "math", 4.0), ("b", 1, "writing", 9.0), ("b", 2, "writing", None),
        ("c", 1, None, 7.0), ("c", 2, None, 6.0),
    )  # fmt: skip
    found = {score.metric: (score.value, score.n) for score in mt_bench_scores(table)}
    assert found == {
        "mean": (pytest.approx(34 / 5), 5),  # of ratings, not of turns or questions
        "turn_1": (8.0, 3),
        "turn_2": (5.0, 2),
        "category_math": (6.0, 2),
        "category_writing": (9.0, 1),
    }


def test_intervals_draw_questions_with_both_their_turns():
    """Turns that always agree are no second opinion: the interval is that of one turn, not narrower."""
    draw = np.random.default_rng(1).integers(1, 11, 80).astype(float)
    table = ratings(*((f"{n:02}", turn, None, draw[n]) for n in range(80) for turn in (1, 2)))
    mean, first, second = mt_bench_scores(table, rounds=2000)
    assert mean.low < mean.value < mean.high
    assert (mean.low, mean.high) == pytest.approx((first.low, first.high))
    assert (second.low, second.high) == pytest.approx((first.low, first.high))
    assert mean.high - mean.low == pytest.approx(2 * 1.96 * draw.std() / 80**0.5, rel=0.1)
    assert mt_bench_scores(table.sample(fraction=1, shuffle=True, seed=1), rounds=2000) == [mean, first, second]


def test_a_question_with_two_ratings_weighs_more_than_one_with_one():
    """As it does in the mean: a drawn question brings all its ratings."""
    table = ratings(*((f"{n:02}", 1, None, 2.0) for n in range(20)), *((f"{n:02}", 2, None, 9.0) for n in range(9, 40)))
    mean, *_ = mt_bench_scores(table, rounds=4000)
    drawn = np.random.default_rng(0).integers(0, 40, (4000, 40))
    sums, counts = np.zeros(40), np.zeros(40)
    for question, rating in table.select("question_id", "rating").iter_rows():
        sums[int(question)] += rating
        counts[int(question)] += 1
    expected = np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [2.5, 97.5])
    assert (mean.low, mean.high) == pytest.approx(expected, abs=0.06)


def test_equal_ratings_claim_no_certainty_and_none_have_no_mean():
    mean, first, second = mt_bench_scores(ratings(*((f"{n}", 1, None, 10.0) for n in range(10))))
    assert mean == first.__class__("mean", *list(vars(first).values())[1:])
    assert first.low < 8 < first.high == 10
    assert (second.value, second.low, second.n) == (None, None, 0)


def test_the_benchmarks_categories_are_ten_questions_each():
    assert [CATEGORIES[question] for question in (81, 101, 110, 111, 130, 160)] == [
        "writing", "reasoning", "reasoning", "math", "coding", "humanities",
    ]  # fmt: skip
    assert sorted(CATEGORIES) == list(range(81, 161))
