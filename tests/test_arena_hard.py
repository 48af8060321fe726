"""Arena-Hard v0.1: labels, and the score and interval of made-up verdicts, against upstream's own way and a loop."""

import math
import random

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from metareward.evaluation.arena_hard import LABELS, arena_hard_scores, read_label

# labels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((f"My final verdict: [[{label}]]", (label, None)) for label in ("A>>B", "A>B", "A=B", "B>A", "B>>A")),
        ("[[B>A]] it is.\n\nSo, once more: [[B>A]].", ("B>A", None)),
        ("[[A>B]], or rather [[A>>B]]", (None, "several_labels")),
        ("[[A>B]] [[A<B]]", (None, "several_labels")),
        ("[[A<B]]", (None, "no_label")),  # none of the five, and no battle upstream
        ("[[A]]", (None, "no_label")),
        ("[A>B]", (None, "no_label")),
        ("[[A > B]]", (None, "no_label")),
        ("[[a>b]]", (None, "no_label")),
        ("A>B", (None, "no_label")),
        ("", (None, "no_label")),
        (None, (None, "no_label")),
    ],
)
def test_the_label_of_a_text(text, expected):
    assert read_label(text) == expected


# scores


def games(*labels):
    """Of one question after the other: (label of game 1, label of game 2)."""
    rows = [(f"q{n}", game, label) for n, pair in enumerate(labels) for game, label in enumerate(pair, 1)]
    return pl.DataFrame(rows, schema={"question_id": pl.String, "game": pl.Int64, "label": pl.String}, orient="row")


def made_up(n, seed, missing=0.05):
    draw = random.Random(seed)
    label = lambda: None if draw.random() < missing else draw.choices([*LABELS], [4, 3, 2, 2, 1])[0]  # noqa: E731
    return games(*((label(), label()) for _ in range(n)))


def test_the_score_by_hand():
    # q0: lost, thrice, then won. q1: a tie, and no label. q2: won thrice, and lost. Of 9 battles 4.5 are won
    scores = arena_hard_scores(games(("A>>B", "A>B"), ("A=B", None), ("B>>A", "B>A"), (None, None)))
    assert [(score.metric, score.n) for score in scores] == [("score", 3)]
    assert scores[0].value == pytest.approx(100 * 4.5 / 9)


def test_the_side_decides_whose_win_a_label_is():
    both = arena_hard_scores(games(("A>B", "A>B")))[0]
    assert both.value == 50
    assert arena_hard_scores(games(("B>A", "A>B"), ("B>>A", "A>>B")))[0].value == 100
    assert arena_hard_scores(games(("A>B", "B>>A"), ("A>>B", "B>A")))[0].value == 0


def upstream_battles(table):
    """Battles as upstream expands them: winner is model_a (the baseline), model_b or tie."""
    rows = []
    for game, label in table.drop_nulls().select("game", "label").iter_rows():
        sides = ("model_a", "model_b") if game == 1 else ("model_b", "model_a")
        winner = "tie" if label == "A=B" else sides[0] if label.startswith("A") else sides[1]
        rows += [{"winner": winner}] * (3 if ">>" in label else 1)
    return pd.DataFrame(rows)


def upstream_rating(battles):
    """compute_mle_elo of upstream, for two models: an unpenalised logistic regression of duplicated battles."""
    twice = pd.concat([battles, battles], ignore_index=True)
    x = np.tile([math.log(10), -math.log(10)], (len(twice), 1))
    y = (twice["winner"] == "model_a").astype(float).to_numpy(copy=True)
    y[: len(battles)][(battles["winner"] == "tie").to_numpy()] = 1
    baseline, model = 400 * LogisticRegression(fit_intercept=False, C=np.inf, tol=1e-8).fit(x, y).coef_[0]
    return 1000 + model - baseline


def win_rate(rating):
    return 100 / (1 + 10 ** ((1000 - rating) / 400))


@pytest.mark.parametrize("seed", [1, 2])
def test_the_score_is_the_weighted_mean_and_the_bradley_terry_fit(seed):
    table = made_up(500, seed)
    battles = upstream_battles(table)
    mean = 100 * battles["winner"].map({"model_a": 0, "model_b": 1, "tie": 0.5}).mean()
    (score,) = arena_hard_scores(table)
    assert score.value == pytest.approx(mean, abs=1e-9)
    assert score.value == pytest.approx(win_rate(upstream_rating(battles)), abs=1e-3)
    assert score.n == table.drop_nulls()["question_id"].n_unique()


def test_the_interval_is_that_of_upstreams_loop():
    """With pandas' sample and numpy's seed, as upstream; some rounds are fitted, to see that ratings hold."""
    table = made_up(500, 3)
    battles = upstream_battles(table)
    np.random.seed(42)
    rounds = [battles.sample(frac=1.0, replace=True) for _ in range(100)]
    shares = [sample["winner"].map({"model_a": 0, "model_b": 1, "tie": 0.5}).mean() for sample in rounds]
    ratings = [1000 + 400 * math.log10(share / (1 - share)) for share in shares]
    assert [upstream_rating(sample) for sample in rounds[:5]] == pytest.approx(ratings[:5], abs=1e-2)
    expected = [win_rate(np.percentile(ratings, percent)) for percent in (2.5, 97.5)]
    (score,) = arena_hard_scores(table)
    assert [score.low, score.high] == pytest.approx(expected, abs=1e-9)
    assert score.low < score.value < score.high


def test_a_round_that_is_won_as_a_whole_has_an_end():
    """One loss among many wins: some rounds have none, whose rating would be infinite."""
    (score,) = arena_hard_scores(games(("A>B", "A>>B"), *[("B>>A", "A>>B")] * 4))
    assert score.low < score.value < score.high <= 100


def test_games_that_end_alike_claim_no_certainty():
    for outcome, value in ((("B>A", "A>B"), 100), (("A=B", "A=B"), 50), (("A>>B", "B>A"), 0)):
        (score,) = arena_hard_scores(games(*[outcome] * 3))
        assert score.value == value
        assert score.high - score.low > 20
        assert 0 <= score.low <= value <= score.high <= 100


def test_one_game_or_none_has_no_interval():
    (score,) = arena_hard_scores(games(("A>B", None)))
    assert (score.value, score.low, score.n) == (0, None, 1)
    (score,) = arena_hard_scores(games((None, None)))
    assert (score.value, score.low, score.n) == (None, None, 0)


def test_tokens_are_averaged_and_cut():
    _, tokens = arena_hard_scores(games(("A>B", "A>B")), tokens=pl.Series([3, 4, 4]))
    assert (tokens.metric, tokens.value, tokens.n) == ("mean_tokens", 3.0, 3)
