"""Shares of clusters and differences of two checkpoints: by hand, by scipy's bootstrap, and how often they cover."""

import math
import time

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest, bootstrap

from metareward.evaluation import intervals
from metareward.evaluation.intervals import bootstrap_mean, bootstrap_ratio, bootstrap_sums, paired_difference
from metareward.evaluation.outcomes import BOUNDS, differences_table, outcomes_table, results_of


def draws(n, rounds, seed):
    return np.random.default_rng(seed).integers(0, n, (rounds, n))


def test_sums_are_those_of_the_drawn_rows(monkeypatch):
    columns = np.random.default_rng(1).random((9, 3))
    slow = [columns[drawn].sum(axis=0) for drawn in draws(9, 50, 7)]
    assert bootstrap_sums(columns, 50, 7) == pytest.approx(np.array(slow))
    monkeypatch.setattr(intervals, "_CHUNK", 9 * 7 + 1)  # held in parts
    assert bootstrap_sums(columns, 50, 7) == pytest.approx(np.array(slow))


def test_a_share_of_clusters_draws_whole_prompts():
    """p brings 1 of 1, q 0 of 3: a draw gives 1 (pp), 1/4 (pq) or 0 (qq)."""
    low, high = bootstrap_ratio([1, 0], [1, 3], 1000, 0)
    assert (low, high) == (0.0, 1.0)
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 6, 80)
    totals = rng.binomial(counts, 0.3)
    expected = bootstrap(
        (totals, counts),
        lambda t, n, axis: t.sum(axis) / n.sum(axis),
        paired=True, vectorized=True, n_resamples=500, method="percentile", rng=np.random.default_rng(7),
    ).confidence_interval  # fmt: skip
    assert bootstrap_ratio(totals, counts, 500, 7) == pytest.approx((expected.low, expected.high))


def test_prompts_that_bring_nothing_change_nothing():
    assert bootstrap_ratio([1, 0, 2, 0], [2, 0, 2, 0], 200, 7) == bootstrap_ratio([1, 2], [2, 2], 200, 7)
    assert bootstrap_ratio([0, 0], [0, 0], 200, 7) == (None, None)


def test_a_difference_by_hand():
    """a: 1 and 1 of 2 pairs; b: 0 of 1 and 1 of 1. 2/3 - 1/2. Draws: 1 - 0 (pp), 1/2 - 1 (qq) or 2/3 - 1/2."""
    value, (low, high), n = paired_difference(([1, 1], [1, 2]), ([0, 1], [1, 1]), 1000, 0)
    assert (value, n) == (pytest.approx(1 / 6), 2)
    assert (low, high) == (-0.5, 1.0)


def test_a_difference_is_scipys():
    rng = np.random.default_rng(4)
    a, b, m, n = rng.random(60), rng.random(60), rng.integers(1, 5, 60), rng.integers(1, 5, 60)
    expected = bootstrap(
        (a * m, m, b * n, n),
        lambda a, m, b, n, axis: a.sum(axis) / m.sum(axis) - b.sum(axis) / n.sum(axis),
        paired=True, vectorized=True, n_resamples=500, method="percentile", rng=np.random.default_rng(7),
    ).confidence_interval  # fmt: skip
    value, interval, _ = paired_difference((a * m, m), (b * n, n), 500, 7)
    assert value == pytest.approx((a * m).sum() / m.sum() - (b * n).sum() / n.sum())
    assert interval == pytest.approx((expected.low, expected.high))


def test_what_is_hard_for_both_cancels():
    """The same prompts, the second better by a tenth on each but for a little: the difference is known well."""
    rng = np.random.default_rng(5)
    hard, ones = rng.random(50) * 0.9, np.ones(50)
    better = hard + 0.1 + rng.normal(0, 0.01, 50)
    value, (low, high), _ = paired_difference((better, ones), (hard, ones), 1000, 0)
    assert value == pytest.approx(0.1, abs=0.01)
    assert high - low < 0.01
    alone = bootstrap_mean(hard, 1000, 0)
    assert alone[1] - alone[0] > 0.1


@pytest.mark.parametrize(("won", "other"), [(1, 1), (0, 0), (1, 0), (0, 1)])
def test_equal_differences_do_not_claim_certainty(won, other):
    """Six times the same difference d: Wilson's interval of (1 + d) / 2, on the scale from -1 to 1."""
    expected = binomtest(round(6 * (1 + won - other) / 2), 6).proportion_ci(method="wilson")
    value, interval, n = paired_difference(([won] * 6, [1] * 6), ([other] * 6, [1] * 6), 100, 0)
    assert (value, n) == (won - other, 6)
    assert interval == pytest.approx((2 * expected.low - 1, 2 * expected.high - 1))


def test_the_same_shares_of_other_numbers_of_pairs_are_an_equal_difference():
    value, (low, high), _ = paired_difference(([1, 2, 3], [2, 4, 6]), ([1, 1, 1], [4, 4, 4]), 100, 0)
    assert value == 0.25
    assert low < 0 < high


def test_equal_differences_without_bounds_have_no_interval():
    assert paired_difference(([90, 30], [1, 1]), ([80, 20], [1, 1]), 100, 0, most=math.inf) == (10.0, (None, None), 2)


def test_differences_of_too_little():
    one = ([1], [1])
    assert paired_difference(one, one, 100, 0) == (0.0, (None, None), 1)
    assert paired_difference(([0, 0], [0, 0]), ([1, 1], [1, 1]), 100, 0) == (None, (None, None), 2)
    assert paired_difference(([], []), ([], []), 100, 0) == (None, (None, None), 0)


def test_draws_without_anything_of_one_side_are_left_out():
    """Only the first of three prompts has pairs of the first side: 8 draws in 27 have none of it.

    In the others it is there once, twice or three times: 1/2 - 2/3, 1/2 - 1/3 or 1/2 - 0.
    """
    value, (low, high), n = paired_difference(([1, 0, 0], [2, 0, 0]), ([0, 1, 1], [1, 1, 1]), 1000, 0)
    assert (value, n) == (pytest.approx(1 / 2 - 2 / 3), 3)
    assert (low, high) == pytest.approx((-1 / 6, 1 / 2))


def covered(interval, truth):
    return interval[0] <= truth <= interval[1]


def test_an_interval_of_clusters_covers_the_truth_as_often_as_it_says():
    """400 draws of 100 prompts whose pairs are alike: the truth 0.6 lies in about 95% of the intervals.

    Intervals that take the 300 pairs for independent cover it far less often.
    """
    rng = np.random.default_rng(8)
    by_prompt, by_pair = [], []
    for k in range(400):
        ability = rng.beta(0.6, 0.4, 100)  # mean 0.6
        counts = rng.integers(1, 6, 100)
        totals = rng.binomial(counts, ability)
        pairs = np.repeat([1.0, 0.0], [totals.sum(), counts.sum() - totals.sum()])
        by_prompt.append(covered(bootstrap_ratio(totals, counts, 500, k), 0.6))
        by_pair.append(covered(bootstrap_mean(pairs, 500, k), 0.6))
    assert 0.92 <= np.mean(by_prompt) <= 0.97
    assert np.mean(by_pair) < 0.9


def test_a_paired_difference_covers_the_truth_as_often_as_it_says():
    """Two checkpoints on 100 prompts, 0.1 apart in truth; what a prompt is like goes into both."""
    rng, found = np.random.default_rng(9), []
    for k in range(400):
        easy = rng.uniform(0.1, 0.8, 100)
        first, second = rng.binomial(4, easy + 0.1), rng.binomial(3, easy)
        sides = (first, np.full(100, 4)), (second, np.full(100, 3))
        found.append(covered(paired_difference(*sides, 500, k)[1], 0.1))
    assert 0.92 <= np.mean(found) <= 0.97


def test_a_thousand_rounds_over_a_thousand_prompts_are_fast():
    rng = np.random.default_rng(10)
    totals, counts = rng.random(1000), rng.integers(1, 9, 1000)
    start = time.perf_counter()
    bootstrap_ratio(totals * counts, counts, 1000, 0)
    paired_difference((totals * counts, counts), (totals * counts, counts[::-1]), 1000, 0)
    assert time.perf_counter() - start < 2  # 0.1 s on two quiet cores


def outcomes_of(checkpoint, referee=None, **metrics):
    """metric=[(prompt, total, n), ...]"""
    schema = {"prompt_id": pl.String, "total": pl.Float64, "n": pl.Int64}
    parts = {metric: pl.DataFrame(rows, schema=schema, orient="row") for metric, rows in metrics.items()}
    return outcomes_table(checkpoint, parts, referee)


def test_a_value_is_the_total_over_the_number():
    table = outcomes_of("m1", agreement=[("p", 1.5, 2), ("q", 0.0, 3), ("r", 0.0, 0)], none=[("p", 0.0, 0)])
    (metric, value, low, high, n, referee), nothing = results_of(table, 1000, 0)
    assert (metric, value, n, referee) == ("agreement", 0.3, 5, None)
    assert (low, high) == (0.0, 0.75)
    assert nothing == ("none", None, None, None, 0, None)


def test_differences_of_checkpoints_pair_their_prompts():
    agreed, chars = [("q", 1.0, 1), ("p", 0.0, 1)], [("p", 30.0, 1), ("q", 50.0, 1)]
    first = outcomes_of("m2", agreement=agreed, response_chars=chars)
    agreed, chars = [("p", 0.0, 1), ("q", 0.0, 1)], [("p", 10.0, 1), ("q", 20.0, 1)]
    second = outcomes_of("m1", agreement=agreed, response_chars=chars)
    third = outcomes_of("sft", agreement=[("p", 1.0, 1), ("q", 1.0, 1)])
    tables = {"m2": first, "m1": second, "sft": third}
    found = differences_table(tables, [("m2", "m1"), ("m2", "sft")], 1000, 0)
    assert found.drop("referee").rows() == [
        ("m2", "m1", "agreement", 0.5, 0.0, 1.0, 2),
        ("m2", "m1", "response_chars", 25.0, 20.0, 30.0, 2),
        ("m2", "sft", "agreement", -0.5, -1.0, 0.0, 2),  # sft has no lengths
    ]
    assert differences_table(tables, [], 10, 0).is_empty()


def test_differences_take_each_referee_by_itself():
    first = pl.concat([outcomes_of("m2", "sft", win_rate=[("p", 1.0, 1), ("q", 0.5, 1)])])
    second = outcomes_of("m1", "m1", win_rate=[("p", 1.0, 1), ("q", 0.0, 1)])
    assert differences_table({"m2": first, "m1": second}, [("m2", "m1")], 10, 0).is_empty()
    same = second.with_columns(referee=pl.lit("sft"), checkpoint=pl.lit("m1"))
    (row,) = differences_table({"m2": first, "m1": same}, [("m2", "m1")], 10, 0).to_dicts()
    assert (row["metric"], row["referee"], row["value"]) == ("win_rate", "sft", 0.25)


def test_bounds_are_those_of_metrics_that_are_no_shares():
    assert BOUNDS["spearman"] == (-1, 1)
    table = outcomes_of("m1", spearman=[("p", 1.0, 1), ("q", 1.0, 1)])
    ((_, value, low, high, _, _),) = results_of(table, 10, 0)
    expected = binomtest(2, 2).proportion_ci(method="wilson")
    assert (value, low, high) == pytest.approx((1.0, 2 * expected.low - 1, 1.0))
