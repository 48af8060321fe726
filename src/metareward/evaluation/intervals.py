"""95% intervals of means and shares."""

import math

import numpy as np
from numpy.typing import ArrayLike

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
    mean can have, so it is wide rather than narrow. Null with fewer than two values.
    The draws are those of scipy.stats.bootstrap(..., method="percentile", rng=np.random.default_rng(seed)).
    """
    points = np.asarray(values, dtype=float)
    n = len(points)
    if n < 2:
        return None, None
    if (points == points[0]).all():
        low, high = wilson_interval((float(points[0]) - least) / (most - least), n)
        return least + low * (most - least), least + high * (most - least)
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


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95% score interval of a share of n draws (Wilson 1927, eq. 4); never a point."""
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    reach = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach))  # of 0 or 1 it ends there


def normal_interval(values: ArrayLike) -> Interval:
    """The mean of values, 1.96 standard errors to either side (ddof 1); null with fewer than two."""
    points = np.sort(np.asarray(values, dtype=float))  # the last digit of a sum depends on the order
    if len(points) < 2:
        return None, None
    reach = Z * float(points.std(ddof=1)) / math.sqrt(len(points))
    return float(points.mean()) - reach, float(points.mean()) + reach
