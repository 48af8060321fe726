"""Arena-Hard v0.1: the probability that a judge prefers a model's answer to the baseline's.

Computed as upstream does (show_result.py and utils_math.py of arena-hard-auto before version 2): Bradley-Terry ratings
of battles in which the baseline always takes part. The maximum of the likelihood is then known without a fit: the
probability that the model wins is the mean of its outcomes.
"""

import math
import re

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metareward.evaluation.intervals import Interval, wilson_interval
from metareward.evaluation.results import Score

# label: the outcome of A, and how many battles it counts as
LABELS = {"A>>B": (1.0, 3), "A>B": (1.0, 1), "A=B": (0.5, 1), "B>A": (0.0, 1), "B>>A": (0.0, 3)}
_LABEL = re.compile(r"\[\[([AB<>=]+)\]\]")
_SCALE, _BASELINE = 400, 1000
_LEAST = 1e-12  # of a share: the rating of one that is 0 would be infinite


def read_label(text: str | None) -> tuple[str | None, str | None]:
    """The label of a judge's text, wherever it stands, or the reason why there is none: no_label, several_labels.

    The same label twice is one; two different ones are no verdict, as upstream.
    """
    found = set(_LABEL.findall(text or ""))
    if len(found) > 1:
        return None, "several_labels"
    label = next(iter(found), None)
    return (label, None) if label in LABELS else (None, "no_label")


def arena_hard_scores(
    games: pl.DataFrame, rounds: int = 100, seed: int = 42, tokens: pl.Series | None = None
) -> list[Score]:
    """The probability in per cent that the model wins against the baseline, and the mean tokens of its answers.

    games: question_id, game (1: the baseline is A, 2: the model is A), label (null: that game is left out). tokens: of
    each answer; null: not known.

    score: the weighted mean of the outcomes, a tie 0.5; n questions with a label. Its interval is upstream's: battles
    are drawn with replacement, in the order of the rows, three for a label with >>; percentiles 2.5 and 97.5 of the
    ratings of all rounds. It takes the games of a question, and the battles of a game, for independent of each other,
    which makes it narrow. Where all games end alike it is Wilson's.
    mean_tokens: cut to a whole number as upstream; n answers.
    """
    known = games.filter(pl.col("label").is_in(list(LABELS)))
    first = [LABELS[label][0] for label in known["label"]]
    won = np.array([1 - a if game == 1 else a for game, a in zip(known["game"], first, strict=True)])
    outcomes = won.repeat([LABELS[label][1] for label in known["label"]]) if len(won) else won
    value = 100 * math.fsum(outcomes) / len(outcomes) if len(outcomes) else None
    low, high = _interval(won, outcomes, rounds, seed)
    scores = [Score("score", value, low, high, known["question_id"].n_unique())]
    if tokens is not None and len(tokens):
        scores.append(Score("mean_tokens", float(int(tokens.sum() / len(tokens))), None, None, len(tokens)))
    return scores


def _interval(won: NDArray[np.float64], outcomes: NDArray[np.float64], rounds: int, seed: int) -> Interval:
    """In per cent. won: one outcome of each game; outcomes: one of each battle."""
    if len(won) < 2:
        return None, None
    if (won == won[0]).all():
        low, high = wilson_interval(float(won[0]), len(won))
        return 100 * low, 100 * high
    draws = np.random.RandomState(seed)  # what numpy.random.seed and pandas' sample draw from, upstream
    shares = [outcomes[draws.choice(len(outcomes), len(outcomes))].mean() for _ in range(rounds)]
    low, high = np.percentile(_rating(np.array(shares)), [2.5, 97.5])
    return _win_rate(low), _win_rate(high)


def _rating(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Elo rating of who wins this share of battles against the baseline, whose rating is 1000."""
    share = share.clip(_LEAST, 1 - _LEAST)
    return np.asarray(_BASELINE + _SCALE * np.log10(share / (1 - share)))


def _win_rate(rating: float) -> float:
    return float(100 / (1 + 10 ** ((_BASELINE - rating) / _SCALE)))
