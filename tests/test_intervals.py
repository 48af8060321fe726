"""Intervals of means, against scipy's."""

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap, norm, t

from metareward.evaluation import intervals
from metareward.evaluation.intervals import Z, bootstrap_mean, normal_interval, wilson_interval

VALUES = np.random.default_rng(5).random(200)


def scipys(values, statistic=np.mean, rounds=500, **settings):
    found = bootstrap(
        values, statistic, n_resamples=rounds, method="percentile", rng=np.random.default_rng(7), **settings
    )
    return found.confidence_interval.low, found.confidence_interval.high


def test_the_bootstrap_is_scipys():
    assert bootstrap_mean(VALUES, 500, 7) == pytest.approx(scipys((VALUES,)), rel=1e-12)


def test_draws_are_the_same_however_many_are_held_at_a_time(monkeypatch):
    whole = bootstrap_mean(VALUES, 500, 7)
    monkeypatch.setattr(intervals, "_CHUNK", 7 * 200 + 3)
    assert bootstrap_mean(VALUES, 500, 7) == whole


def test_weights_are_drawn_with_their_values():
    weights = np.random.default_rng(6).integers(1, 4, 200)
    expected = scipys(
        (VALUES, weights), lambda v, w, axis: (v * w).sum(axis) / w.sum(axis), paired=True, vectorized=True
    )
    assert bootstrap_mean(VALUES, 500, 7, weights=weights) == pytest.approx(expected)
    assert bootstrap_mean(VALUES, 500, 7, weights=np.full(200, 3)) == pytest.approx(bootstrap_mean(VALUES, 500, 7))


@pytest.mark.parametrize("won", [0, 3, 6])
def test_equal_values_get_wilsons_interval(won):
    expected = binomtest(won, 6).proportion_ci(method="wilson")
    assert bootstrap_mean([won / 6] * 6, 100, 0) == pytest.approx((expected.low, expected.high))
    assert wilson_interval(won / 6, 6) == pytest.approx((expected.low, expected.high))
    on_a_scale = bootstrap_mean([1 + 9 * won / 6] * 6, 100, 0, least=1, most=10)
    assert on_a_scale == pytest.approx((1 + 9 * expected.low, 1 + 9 * expected.high))


def test_the_normal_interval_is_of_the_standard_error_with_ddof_1():
    assert norm.ppf(0.975) == Z
    assert normal_interval([0.0, 1.0, 1.0, 0.0]) == pytest.approx((0.5 - Z * 12**-0.5, 0.5 + Z * 12**-0.5))
    many = np.random.default_rng(5).random(100_000)
    expected = t.interval(0.95, len(many) - 1, many.mean(), many.std(ddof=1) / len(many) ** 0.5)
    assert normal_interval(many) == pytest.approx(expected, rel=1e-6)


def test_one_value_or_none_has_no_interval():
    for values in ([], [0.5]):
        assert bootstrap_mean(values, 100, 0) == normal_interval(values) == (None, None)
