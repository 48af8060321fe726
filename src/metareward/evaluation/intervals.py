"""95% intervals of means and shares, and of the difference of two of them on the same prompts."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Interval = tuple[float, float] | tuple[None, None]
Z = 1.959963984540054  # the 97.5th percentile of the normal distribution
_CHUNK = 4_000_000  # draws held at a time


def bootstrap_mean(
    values: ArrayLike, rounds: int, seed: int, *, weights: ArrayLike | None = None, least: float = 0, most: float = 1
) -> Interval:
    """95% interval of a mean by the percentiles of its bootstrap: values are drawn with replacement, rounds times.

    values: one of each prompt (what belongs to one prompt is averaged first), in an order that does not depend on
    chance, between least and most. weights: of each value, more than 0, drawn with it; the mean is the weighted one.
    Equal values resample to themselves, which would make a point of the interval and claim certainty for six ties: they
    get Wilson's interval, as wins of a coin tossed once a prompt. It supposes the greatest variance that values of this
    mean can have, so it is wide rather than narrow; without a bound (most is inf) there is none, and they get null.
    Null with fewer than two values.
    The draws are those of scipy.stats.bootstrap(..., method="percentile", rng=np.random.default_rng(seed)).
    """
    points = np.asarray(values, dtype=float)
    n = len(points)
    if n < 2:
        return None, None
    if (points == points[0]).all():
        return _wilson_between(float(points[0]), n, least, most)
    shares = None if weights is None else np.asarray(weights, dtype=float)
    rng = np.random.default_rng(seed)
    means = np.empty(rounds)
    step = max(1, _CHUNK // n)
    for start in range(0, rounds, step):
        drawn = rng.integers(0, n, (min(step, rounds - start), n))
        if shares is None:
            found = points[drawn].mean(axis=-1)
        else:
            found = (points * shares)[drawn].sum(axis=-1) / shares[drawn].sum(axis=-1)
        means[start : start + step] = found
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def bootstrap_ratio(
    totals: ArrayLike, counts: ArrayLike, rounds: int, seed: int, *, least: float = 0, most: float = 1
) -> Interval:
    """95% interval of sum(totals) / sum(counts), of which each prompt brings one of each: `bootstrap_mean` by prompt.

    What belongs to one prompt (its pairs, its judgments) is drawn together, since it is alike. A prompt of count 0
    brings nothing. least, most: bounds of total / count.
    """
    n = np.asarray(counts, dtype=float)
    totals, n = np.asarray(totals, dtype=float)[n > 0], n[n > 0]
    return bootstrap_mean(totals / n, rounds, seed, weights=n, least=least, most=most)


def bootstrap_sums(columns: ArrayLike, rounds: int, seed: int) -> NDArray[np.float64]:
    """Sums of columns (n prompts x k) over n prompts drawn with replacement: rounds x k, by bootstrap_mean's draws."""
    values = np.asarray(columns, dtype=float)
    n = len(values)
    rng, found = np.random.default_rng(seed), []
    step = max(1, _CHUNK // n)
    for start in range(0, rounds, step):
        drawn = rng.integers(0, n, (min(step, rounds - start), n))
        place = drawn + n * np.arange(len(drawn))[:, None]
        times = np.bincount(place.ravel(), minlength=drawn.size).reshape(drawn.shape)
        found.append(times @ values)
    return np.concatenate(found)


def paired_difference(
    first: tuple[ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike],
    rounds: int,
    seed: int,
    *,
    least: float = 0,
    most: float = 1,
) -> tuple[float | None, Interval, int]:
    """The ratio of `first` minus that of `second`, its 95% interval, and the number of prompts.

    first, second: totals and counts of the same prompts in the same order, as `bootstrap_ratio` takes them. A prompt is
    drawn for both, so what makes it hard or easy for both cancels; the interval is as a rule narrower than two
    intervals apart let one expect. A prompt that counts for neither is left out, and so is a draw without anything of
    one side. A difference that is the same whatever is drawn gets Wilson's interval, as `bootstrap_mean` gives it.
    Null: the difference where one side has nothing, the interval with fewer than two prompts.
    """
    columns = np.column_stack([*first, *second]).astype(float)
    columns = columns[(columns[:, 1] > 0) | (columns[:, 3] > 0)]
    n, sums = len(columns), columns.sum(axis=0)
    if not (sums[1] and sums[3]):
        return None, (None, None), n
    ratios = sums[0] / sums[1], sums[2] / sums[3]
    value = float(ratios[0] - ratios[1])
    if n < 2:
        return value, (None, None), n
    # what each prompt adds to the difference, in first order: all 0 where no draw can change it
    pull = (columns[:, 0] - ratios[0] * columns[:, 1]) / sums[1] - (columns[:, 2] - ratios[1] * columns[:, 3]) / sums[3]
    if np.abs(pull).max() < 1e-12 * max(1.0, *map(abs, ratios)):
        return value, _wilson_between(value, n, least - most, most - least), n
    drawn = bootstrap_sums(columns, rounds, seed)
    drawn = drawn[(drawn[:, 1] > 0) & (drawn[:, 3] > 0)]
    if not len(drawn):
        return value, (None, None), n
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1] - drawn[:, 2] / drawn[:, 3], [2.5, 97.5])
    return value, (float(low), float(high)), n


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95% score interval of a share of n draws (Wilson 1927, eq. 4); never a point."""
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    reach = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach))  # of 0 or 1 it ends there


def _wilson_between(mean: float, n: int, least: float, most: float) -> Interval:
    """Wilson's interval of a mean of n values between least and most; null where they have no bound."""
    if math.isinf(most):
        return None, None
    low, high = wilson_interval((mean - least) / (most - least), n)
    return least + low * (most - least), least + high * (most - least)


def normal_interval(values: ArrayLike) -> Interval:
    """The mean of values, 1.96 standard errors to either side (ddof 1); null with fewer than two."""
    points = np.sort(np.asarray(values, dtype=float))  # the last digit of a sum depends on the order
    if len(points) < 2:
        return None, None
    reach = Z * float(points.std(ddof=1)) / math.sqrt(len(points))
    return float(points.mean()) - reach, float(points.mean()) + reach
