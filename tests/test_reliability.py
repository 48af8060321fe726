"""metareward reliability: a hand case, known variances, and the same by plain loops and by scipy."""

import json
import math
import statistics

import numpy as np
import polars as pl
import pytest
import scipy.stats

from metareward.cli.reliability import reliability
from metareward.errors import UserError
from metareward.explore.reliability import (
    SPLITS,
    Scores,
    correlation,
    intraclass_correlation,
    joined,
    judgments_for,
    pairs_kept,
    reliability_rows,
    score_matrix,
    split_half,
)
from metareward.tables import table_of, write_table

from hand_made_run import RHO, save_run


def scores_of(prompts: list[list[list[float | None]]]) -> Scores:
    """From the scores of each response of each prompt."""
    rows = [response for prompt in prompts for response in prompt]
    values = np.array([[math.nan if s is None else s for s in row] for row in rows], dtype=float)
    return Scores(values, np.repeat(np.arange(len(prompts)), [len(prompt) for prompt in prompts]))


def rows_of(scores: Scores) -> list[dict]:
    n = scores.values.shape[1]
    kept = pl.DataFrame({"chosen": [True, True], "rejected": [True, False]})
    return reliability_rows(scores, dict.fromkeys(range(1, n + 1), kept), 200, 1)


HAND = scores_of([[[4, 2], [2, 2]], [[5, 4], [1, 2]]])


def test_the_hand_case():
    """Halves less their mean: (1, -1) and (0, 0); (2, -2) and (1, -1). So x y is 0 and 4, x x + y y is 2 and 10.

    One judgment: 4 / 6. Two: 2 r / (1 + r) = 0.8. Analysis of variance: e = 3 / 4, t = (10 - 2 e) / 4 = 2.125.
    """
    assert split_half(HAND, 1) / SPLITS == pytest.approx(np.array([[0, 1], [4, 5]]))
    rows = rows_of(HAND)
    assert [row["judgments"] for row in rows] == [1, 2, 4, 8]
    assert [row["reliability"] for row in rows] == pytest.approx([2 / 3, 4 / 5, 8 / 9, 16 / 17])
    assert intraclass_correlation(HAND) == pytest.approx(2.125 / 2.875)
    assert rows[1]["icc"] == pytest.approx(2.125 / (2.125 + 0.75 / 2))
    assert (rows[0]["pair"], rows[0]["chosen"], rows[0]["rejected"]) == (0.5, 1.0, 0.5)
    assert rows[2]["pair"] is None
    assert judgments_for(0.9, rows) == 5  # 4.5
    assert judgments_for(0.8, rows) == 2  # of two it is 0.8: not one more


def test_halves_are_compared_within_prompts():
    """All responses of one prompt are good, all of the other bad: nothing is ordered."""
    scores = scores_of([[[5, 5], [5, 5]], [[0, 0], [0, 0]]])
    assert [row["reliability"] for row in rows_of(scores)] == [None] * 4
    scores = scores_of([[[5, 4], [4, 5]], [[0, 1], [1, 0]]])
    assert [row["reliability"] for row in rows_of(scores)] == [0.0] * 4
    assert judgments_for(0.9, rows_of(scores)) is None


def test_an_unreadable_judgment_is_no_score():
    """A response without a score in one of the halves stands aside; it is counted as having fewer."""
    more = scores_of([[[4, 2], [2, 2], [None, 5]], [[5, 4], [1, 2], [None, None]]])
    assert np.array_equal(split_half(more, 1), split_half(HAND, 1))
    assert [row["fewer"] for row in rows_of(more)] == [1, 2, None, None]


def test_one_judgment_has_no_reliability():
    (one, two, four) = rows_of(scores_of([[[4], [2]], [[5], [1]]]))
    assert (one["reliability"], two["reliability"], four["icc"]) == (None, None, None)


def test_scores_are_taken_from_the_table_in_any_order():
    rows = [("p", "b", 1, 3.0), ("p", "a", 0, 5.0), ("q", "c", 1, 1.0), ("p", "a", 1, None), ("p", "a", 2, 4.0)]
    schema = {"prompt_id": pl.String, "response_id": pl.String, "sample": pl.Int64, "score": pl.Float64}
    found = score_matrix(pl.DataFrame(rows, schema, orient="row"), 2)
    assert np.array_equal(found.values, [[5, np.nan], [np.nan, 3], [np.nan, 1]], equal_nan=True)
    assert found.prompts.tolist() == [0, 0, 1]
    assert joined([found, found]).prompts.tolist() == [0, 0, 1, 2, 2, 3]
    assert score_matrix(pl.DataFrame(schema=schema), 2).values.shape == (0, 2)


def simulated(seed: int, t: float, e: float, n: int, unreadable: float = 0.0) -> Scores:
    rng = np.random.default_rng(seed)
    prompts = np.repeat(np.arange(400), 5)
    truth = rng.normal(3, 2, 400)[prompts] + rng.normal(0, math.sqrt(t), 2000)
    values = truth[:, None] + rng.normal(0, math.sqrt(e), (2000, n))
    values[rng.random(values.shape) < unreadable] = math.nan
    return Scores(values, prompts)


@pytest.mark.parametrize("n", [8, 11])
@pytest.mark.parametrize(("t", "e"), [(1.0, 2.0), (0.2, 2.0)])
def test_known_variances_are_found_within_their_interval(n, t, e):
    """Of ten simulations at least eight intervals hold t / (t + e / N), and none is far from it."""
    held = 0
    for seed in range(10):
        for row in rows_of(simulated(seed, t, e, n)):
            truth = t / (t + e / row["judgments"])
            assert row["reliability"] == pytest.approx(truth, abs=0.05)
            assert row["icc"] == pytest.approx(truth, abs=0.05)
            held += row["judgments"] == 1 and row["ci_low"] <= truth <= row["ci_high"]
    assert held >= 8


def test_plain_loops_find_the_same():
    scores = simulated(3, 1.0, 2.0, 7, unreadable=0.3)
    kept = scores.prompts < 40
    scores = Scores(scores.values[kept], scores.prompts[kept])
    rng = np.random.default_rng(5)
    product = square = 0.0
    for _ in range(SPLITS):
        order = rng.permutation(7)
        for prompt in range(40):
            halves = []
            for row in scores.values[scores.prompts == prompt]:
                both = [[row[j] for j in part if not math.isnan(row[j])] for part in (order[:3], order[3:6])]
                if all(both):
                    halves.append([statistics.fmean(half) for half in both])
            middles = [statistics.fmean(side) for side in zip(*halves, strict=True)]
            for x, y in halves:
                x, y = x - middles[0], y - middles[1]
                product, square = product + x * y, square + (x * x + y * y) / 2
    assert float(correlation(split_half(scores, 5).sum(axis=0))) == pytest.approx(product / square, rel=1e-12)


def test_scipy_finds_the_same_analysis_of_variance():
    """Of one prompt with as many scores of each response: (F - 1) / (F - 1 + n)."""
    scores = simulated(4, 1.0, 2.0, 6)
    one = Scores(scores.values[:5], scores.prompts[:5])
    f = scipy.stats.f_oneway(*one.values).statistic
    assert intraclass_correlation(one) == pytest.approx(max(f - 1, 0) / (f - 1 + 6))


def test_which_pairs_are_kept():
    """p: the same; q: another rejected; r: no pair by fewer; s: none by all."""
    names = ["prompt_id", "chosen_id", "rejected_id", "reason"]
    schema = dict.fromkeys(names, pl.String)
    now = [("q", "c", "d", None), ("p", "a", "b", None), ("r", "e", "f", None), ("s", "g", "h", "equal_scores")]
    other = [("p", "a", "b", None), ("q", "c", "x", None), ("r", "e", "f", "equal_scores"), ("s", "g", "h", None)]
    found = pairs_kept(pl.DataFrame(now, schema, orient="row"), pl.DataFrame(other, schema, orient="row"))
    assert found.rows() == [(True, True), (True, False), (False, False)]


@pytest.fixture
def run(tmp_path, monkeypatch):
    folder = save_run(tmp_path / "run")
    for name, rho in RHO.items():
        rows = table_of([{"rho": rho, "set_by": "params"}], "length_control")
        write_table(rows, folder / "data/iterations" / name / "length_control.parquet", "length_control")
    monkeypatch.chdir(folder)
    return folder


def test_the_command_counts_and_says_what_it_cannot(run, capsys):
    """m1: by any number of judgments `two` is chosen over the longer one; one response has no score, one only two."""
    reliability(as_json=True)
    rows = json.loads(capsys.readouterr().out)
    assert [(row["iteration"], row["judgments"]) for row in rows] == [(m, n) for m in RHO for n in (1, 2, 3, 6, 12)]
    first = [row for row in rows if row["iteration"] == "m1"]
    assert [row["pair"] for row in first] == [1, 1, 1, None, None]
    assert [row["fewer"] for row in first] == [1, 1, 2, None, None]
    assert [(row["responses"], row["pairs"]) for row in first] == [(9, 1)] * 5
    assert all(row["reliability"] > 0.5 for row in rows)


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_the_terminal(run, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    reliability()
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= columns
    assert "m2: 2 responses, 1 actor pairs" in out
    assert "3 judgments (as now): 1.00; 0.9 would take 1." in out  # of m2, where all judgments agree


def test_without_pairs_it_says_so(run):
    for path in run.glob("data/iterations/*/actor_no_pairs.parquet"):
        path.unlink()
    with pytest.raises(UserError, match=r"there are no pairs of any iteration yet\. Hint: dvc repro"):
        reliability()
