"""AlpacaEval 2: how often a judge prefers a model's outputs to a baseline's, as it is and were they equally long.

Length control is that of Dubois et al. 2024 (Length-Controlled AlpacaEval), computed as the package alpaca-eval 0.6.6
does (metrics/glm_winrate.py), but for rows that are missing: instructions are told apart by their index, not by the
row that they stand in.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from metareward.evaluation.intervals import normal_interval, wilson_interval
from metareward.evaluation.l1_logistic import l1_logistic, logistic
from metareward.evaluation.results import Score

GAMED_WEIGHT = 0.1  # of a row of the gamed baselines: 0.2, shared by the two of them
PENALTIES = tuple(float(c) for c in np.logspace(-4, 4, 10))
_FOLDS = 5
_LEAST = 1e-15  # of a probability whose logarithm is taken


def preference_of(logprobs: Mapping[str, float], swapped: bool) -> float | None:
    """The preference in [1, 2] (2: the model's output wins) of a judge that answers "m" or "M", or null.

    logprobs: natural logarithms of the most likely first tokens. "m" names the output that stood first. swapped: that
    was the model's; else it was the baseline's. 2 - P(m) / (P(m) + P(M)), a token that is missing counting as 0, null
    without either. Tokens with blanks around them count where none is bare.
    """
    found = {token: value for token, value in logprobs.items() if token in ("m", "M")}
    if not found:
        found = {}
        for token, value in logprobs.items():
            if (name := token.strip()) in ("m", "M"):
                found[name] = max(value, found.get(name, -math.inf))
    first, second = (math.exp(found.get(name, -math.inf)) for name in ("m", "M"))
    if not first + second > 0:  # NaN, too
        return None
    share = first / (first + second)
    return 1 + share if swapped else 2 - share


def alpaca_eval_scores(
    rows: pl.DataFrame,
    difficulty: pl.DataFrame | None = None,
    gamed: pl.DataFrame | None = None,
    c: float | None = None,
) -> list[Score]:
    """Win rate and length-controlled win rate in per cent, and mean length in characters.

    rows, one of each instruction: index, len_1 and len_2 (characters of the baseline's and the model's output; null:
    there is none), preference (in [1, 2], 2: the model wins; null: the judge gave none). difficulty: index,
    instruction_difficulty. gamed, the judgments of the two gamed baselines: index, std_delta_len, preference in [0, 1].
    Without difficulty or gamed there is no length-controlled win rate. c: the inverse penalty; null: by
    cross-validation.

    win_rate: mean of preference - 1; interval by its standard error (ddof 1), as upstream gives one; n preferences.
    length_controlled_win_rate: mean of the preference that the fit predicts at equal length, over all rows of known
    difficulty and lengths, those without a preference included; interval by the standard error of these predictions, as
    upstream: it is narrow, since it holds the fit for certain; n preferences that were fitted. Where every preference
    is a tie, as of the baseline with itself, it is 50 by definition.
    mean_length: of the model's outputs, cut to a whole number as upstream; n outputs.
    """
    wins = 100 * (rows["preference"].drop_nulls().to_numpy() - 1)
    lengths = rows["len_2"].drop_nulls()
    length = float(sum(lengths.to_list()) // len(lengths)) if len(lengths) else None
    scores = [_mean("win_rate", wins), Score("mean_length", length, None, None, len(lengths))]
    if difficulty is not None and gamed is not None:
        known = rows.join(difficulty.select("index", "instruction_difficulty"), on="index").sort("index")
        known = known.drop_nulls(["len_1", "len_2"])
        if known["preference"].count():
            scores.insert(1, _length_controlled(known, gamed.join(difficulty, on="index", maintain_order="left"), c))
    return scores


def _length_controlled(rows: pl.DataFrame, gamed: pl.DataFrame, c: float | None) -> Score:
    metric, judged = "length_controlled_win_rate", rows["preference"].is_not_null()
    ties = rows["preference"].drop_nulls() == 1.5
    if ties.all():
        low, high = wilson_interval(0.5, len(ties))
        return Score(metric, 50.0, 100 * low, 100 * high, len(ties))
    features, hard = _features(rows), rows["instruction_difficulty"].to_numpy()
    gamed = gamed.drop_nulls("preference")
    cheated = np.column_stack(
        [np.tanh(gamed["std_delta_len"].to_numpy()), gamed["instruction_difficulty"].to_numpy(), np.zeros(gamed.height)]
    )
    mask = judged.to_numpy()
    x = np.concatenate([cheated, features[mask]])
    y = np.concatenate([gamed["preference"].to_numpy(), rows["preference"].drop_nulls().to_numpy() - 1])
    weights = np.concatenate([np.full(gamed.height, GAMED_WEIGHT), np.ones(int(mask.sum()))])
    penalty = _best_penalty(x, y, weights) if c is None else c
    _, by_difficulty, bias = next(_fits(x, y, weights, [penalty]))
    return _mean(metric, 100 * logistic(by_difficulty * hard + bias), len(ties))


def _features(rows: pl.DataFrame) -> Any:
    """tanh of the standardised difference of lengths (baseline less model, not centred), difficulty, and 1."""
    shorter = (rows["len_1"] - rows["len_2"]).to_numpy().astype(float)
    spread = shorter.std(ddof=1) if len(shorter) > 1 else 0.0
    # where all outputs differ alike from the baseline's, length tells nothing
    shorter = shorter / spread if spread > 0 else np.zeros(len(shorter))
    return np.column_stack([np.tanh(shorter), rows["instruction_difficulty"].to_numpy(), np.ones(len(shorter))])


def _fits(x: Any, y: Any, weights: Any, penalties: Sequence[float]) -> Iterator[Any]:
    """The coefficients of an L1-penalised logistic regression without intercept, for each inverse penalty in turn.

    x: (n, 3), y: (n,) in [0, 1], weights: (n,). A soft label is a row of either class, weighted by it and its
    complement. Seeds come from one stream for all fits, as in scikit-learn's LogisticRegressionCV.
    """
    seeds = np.random.RandomState(123)
    for penalty in penalties:
        yield l1_logistic(x, penalty * y * weights, penalty * (1 - y) * weights, seeds.randint(2**31 - 1))


def _best_penalty(x: Any, y: Any, weights: Any) -> float:
    """The inverse penalty of the least weighted log loss on held-out rows, mean over rows, then over folds."""
    fold = _folds(len(x))
    losses = np.empty((_FOLDS, len(PENALTIES)))
    for number in range(_FOLDS):
        held = fold == number
        for place, coefficients in enumerate(_fits(x[~held], y[~held], weights[~held], PENALTIES)):
            p = np.clip(logistic(x[held] @ coefficients), _LEAST, 1 - _LEAST)
            loss = y[held] * np.log(p) + (1 - y[held]) * np.log(1 - p)
            losses[number, place] = -np.mean(weights[held] * loss)
    return PENALTIES[int(losses.mean(axis=0).argmin())]


def _folds(n: int) -> Any:
    """The fold of each row: those of scikit-learn's GroupKFold, which sorts groups by size, and here all are equal."""
    folds = np.empty(n, dtype=int)
    folds[np.argsort(np.ones(n, dtype=int))[::-1]] = np.arange(n) % _FOLDS
    return folds


def _mean(metric: str, values: Any, n: int | None = None) -> Score:
    """Of percentages: sums do not depend on the order. Equal ones claim no certainty (Wilson's interval)."""
    if not len(values):
        return Score(metric, None, None, None, 0)
    value = math.fsum(values) / len(values)
    low, high = normal_interval(values)
    if low == high is not None:
        low, high = (100 * end for end in wilson_interval(value / 100, len(values)))
    return Score(metric, value, low, high, len(values) if n is None else n)
