"""AlpacaEval 2: figures by hand, against scikit-learn and the package alpaca-eval, and against published rows."""

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import GroupKFold

from metareward.evaluation import alpaca_eval
from metareward.evaluation.alpaca_eval import PENALTIES, alpaca_eval_scores, preference_of
from metareward.inputs.alpaca_eval import read_annotations
from metareward.inputs.alpaca_eval_constants import read_difficulty, read_gamed
from metareward.inputs.judged import Tally

from bench import BENCH, needs_bench

# first-token log-probabilities


@pytest.mark.parametrize(
    ("logprobs", "expected"),
    [
        ({"m": math.log(0.75), "M": math.log(0.25)}, 1.25),
        ({"m": math.log(0.03), "M": math.log(0.01), "The": math.log(0.9)}, 1.25),  # shares of the two alone
        ({"M": -0.1, "Both": -3.0}, 2.0),
        ({"m": -40.0}, 1.0),
        ({" m": math.log(0.5), "m\n": math.log(0.1), " M": math.log(0.5)}, 1.5),
        ({" m": 0.0, "M": -5.0}, 2.0),  # bare tokens come first
        ({"The": -0.1}, None),
        ({}, None),
        ({"m": -math.inf}, None),
        ({"m": math.nan, "M": -1.0}, None),
    ],
)
def test_the_preference_of_log_probabilities(logprobs, expected):
    assert preference_of(logprobs, swapped=False) == (None if expected is None else pytest.approx(expected))
    assert preference_of(logprobs, swapped=True) == (None if expected is None else pytest.approx(3 - expected))


# made-up annotations: judged, with difficulties and gamed rows


def made_up(seed, n=120):
    draw = np.random.default_rng(seed)
    difficulty = pl.DataFrame({"index": range(n), "instruction_difficulty": draw.normal(0, 1.5, n)})
    gamed = pl.DataFrame(
        {
            "index": [*range(n)] * 2,
            "std_delta_len": draw.normal(0, 1.5, 2 * n),
            "preference": draw.beta(0.5, 0.5, 2 * n),
        }
    )
    lengths = draw.integers(20, 4000, (2, n))
    z = (lengths[0] - lengths[1]) / (lengths[0] - lengths[1]).std(ddof=1)
    eta = draw.normal(0, 1) * np.tanh(z) + difficulty["instruction_difficulty"].to_numpy() + draw.normal(-1, 1)
    preference = 1 + draw.beta(0.4, 0.4 * np.exp(-eta))
    rows = {"index": range(n), "len_1": lengths[0], "len_2": lengths[1], "preference": preference}
    return pl.DataFrame(rows), difficulty, gamed


def values(scores):
    return {score.metric: score.value for score in scores}


def test_win_rate_and_length_by_hand():
    rows = pl.DataFrame(
        {"index": [0, 1, 2, 3], "len_1": [9] * 4, "len_2": [1, 2, 5, 11], "preference": [1.0, 1.5, 2.0, None]}
    )
    win_rate, length = alpaca_eval_scores(rows)
    reach = 1.959963984540054 * 50 / math.sqrt(3)
    assert (win_rate.metric, win_rate.value, win_rate.n) == ("win_rate", 50.0, 3)
    assert (win_rate.low, win_rate.high) == pytest.approx((50 - reach, 50 + reach))
    assert (length.metric, length.value, length.low, length.n) == ("mean_length", 4.0, None, 4)  # 4.75, cut


def test_nothing_judged_has_no_rate():
    rows = pl.DataFrame({"index": [0], "len_1": [1], "len_2": [2], "preference": pl.Series([None], dtype=pl.Float64)})
    _, difficulty, gamed = made_up(0)
    win_rate, length = alpaca_eval_scores(rows, difficulty, gamed)
    assert (win_rate.value, win_rate.n, length.value) == (None, 0, 2.0)


def by_scikit_learn(rows, difficulty, gamed):
    """The length-controlled win rate as alpaca-eval has it computed, from rows in the order of their index."""
    from sklearn import config_context
    from sklearn.metrics import make_scorer

    def loss(y, predicted, soft, weights):
        soft = np.where(y == 1, soft, 1 - soft)
        return -np.mean(weights * (soft * np.log(predicted) + (1 - soft) * np.log(1 - predicted)))

    hard = difficulty["instruction_difficulty"].to_numpy()
    shorter = (rows["len_1"] - rows["len_2"]).to_numpy()
    own = np.column_stack([np.tanh(shorter / shorter.std(ddof=1)), hard[rows["index"]], np.ones(rows.height)])
    others = np.column_stack([np.tanh(gamed["std_delta_len"].to_numpy()), hard[gamed["index"]], np.zeros(gamed.height)])
    judged = rows["preference"].is_not_null().to_numpy()
    x = np.concatenate([others, own[judged]])
    y = np.concatenate([gamed["preference"].to_numpy(), rows["preference"].to_numpy()[judged] - 1])
    weights = np.concatenate([np.full(gamed.height, 0.1), np.ones(judged.sum())])
    labels, soft, both = np.repeat([1, 0], len(x)), np.concatenate([y, 1 - y]), np.tile(weights, 2)
    with config_context(enable_metadata_routing=True):
        scorer = make_scorer(loss, greater_is_better=False, response_method="predict_proba")
        model = LogisticRegressionCV(
            cv=GroupKFold(5),
            scoring=scorer.set_score_request(soft=True, weights=True),
            random_state=123,
            l1_ratios=(1,),
            solver="liblinear",
            fit_intercept=False,
            use_legacy_attributes=False,
        ).set_fit_request(sample_weight=True)
        routed = {"groups": np.tile(np.arange(len(x)), 2), "soft": soft, "weights": both}
        model.fit(np.concatenate([x, x]), labels, sample_weight=soft * both, **routed)
    _, b, c = model.coef_[0]
    return float(model.C_), 100 * np.mean(1 / (1 + np.exp(-(b * hard[rows["index"]] + c))))


@pytest.mark.parametrize("seed", range(6))
def test_length_control_is_scikit_learns(seed):
    rows, difficulty, gamed = made_up(seed)
    rows = rows.with_columns(preference=pl.when(pl.col("index") % 9 != 4).then("preference"))  # some not judged
    penalty, expected = by_scikit_learn(rows, difficulty, gamed)
    found = alpaca_eval_scores(rows, difficulty, gamed)[1]
    assert found.value == pytest.approx(expected, abs=1e-8)
    assert found.n == rows["preference"].count()
    assert found.low < found.value < found.high
    assert alpaca_eval_scores(rows, difficulty, gamed, c=penalty)[1].value == pytest.approx(expected, abs=1e-8)


def test_folds_are_scikit_learns():
    for n in (7, 100, 2415):
        folds = alpaca_eval._folds(n)
        for number, (_, held) in enumerate(GroupKFold(5).split(np.zeros(2 * n), groups=np.tile(np.arange(n), 2))):
            assert np.flatnonzero(folds == number).tolist() == held[held < n].tolist()


@given(st.randoms())
def test_the_order_of_rows_does_not_count(order):
    rows, difficulty, gamed = made_up(3, 40)
    places = list(range(rows.height))
    order.shuffle(places)
    assert alpaca_eval_scores(rows[places], difficulty, gamed, 2.0) == alpaca_eval_scores(rows, difficulty, gamed, 2.0)
    assert alpaca_eval_scores(rows[places].with_columns(index=None)) == alpaca_eval_scores(rows)


def test_rows_are_told_apart_by_their_index_though_some_are_missing():
    rows, difficulty, gamed = made_up(4)
    kept = rows.filter(~pl.col("index").is_in([0, 7, 50]))
    found = alpaca_eval_scores(kept, difficulty.sample(fraction=1, shuffle=True, seed=1), gamed)
    _, expected = by_scikit_learn(kept, difficulty, gamed)
    assert values(found)["length_controlled_win_rate"] == pytest.approx(expected, abs=1e-8)
    assert {score.n for score in found} == {117}


def test_preferences_reversed_give_the_rest_of_100():
    rows, *_ = made_up(5)
    turned = rows.with_columns(preference=3 - pl.col("preference"))
    assert values(alpaca_eval_scores(turned))["win_rate"] == pytest.approx(
        100 - values(alpaca_eval_scores(rows))["win_rate"]
    )


def test_a_model_that_always_ties_has_50_and_no_certainty():
    rows, difficulty, gamed = made_up(6)
    rows = rows.with_columns(preference=pl.lit(1.5))
    win_rate, controlled, _ = alpaca_eval_scores(rows, difficulty, gamed, c=100.0)
    assert win_rate.value == controlled.value == 50
    assert win_rate.high - win_rate.low > 10
    assert controlled.high - controlled.low > 10


def test_outputs_that_all_differ_alike_have_no_length_to_control():
    rows, difficulty, gamed = made_up(7)
    same, longer = (
        values(alpaca_eval_scores(rows.with_columns(len_2=pl.col("len_1") + more), difficulty, gamed))
        for more in (0, 5)
    )
    assert same["length_controlled_win_rate"] == longer["length_controlled_win_rate"]
    assert 0 < same["length_controlled_win_rate"] < 100


def test_an_output_that_was_never_written_has_no_length():
    rows, difficulty, gamed = made_up(8)
    kept = rows[1:]
    first = rows[:1].with_columns(len_2=pl.lit(None, dtype=pl.Int64), preference=pl.lit(1.0))
    found = {score.metric: score for score in alpaca_eval_scores(pl.concat([first, kept]), difficulty, gamed)}
    expected = {score.metric: score for score in alpaca_eval_scores(kept, difficulty, gamed)}
    assert found.pop("win_rate").n == expected.pop("win_rate").n + 1
    assert found == expected


# the package itself


@pytest.fixture
def package(monkeypatch, tmp_path):
    """alpaca-eval's function, with difficulties and gamed rows from a file in the place of the hub's."""
    glm = pytest.importorskip("alpaca_eval.metrics.glm_winrate")

    def score(rows, difficulty, gamed):
        import pandas as pd
        from sklearn import get_config, set_config

        before = get_config()
        path = tmp_path / "df_gamed.csv"
        table = gamed.join(difficulty, on="index", maintain_order="left")
        table.with_columns(model=pl.lit("gamed"), not_gamed_baseline=pl.lit(False)).write_csv(path)
        monkeypatch.setattr(glm, "hf_hub_download", lambda **_: path)
        data = {
            "output_1": ["x" * n for n in rows["len_1"]],
            "output_2": ["x" * n for n in rows["len_2"]],
            "preference": rows["preference"].to_list(),
            "generator_1": "baseline",
            "generator_2": "model",
            "annotator": "a",
        }
        try:
            return glm.get_length_controlled_winrate(pd.DataFrame(data), save_weights_dir=None)
        finally:
            set_config(**before)

    return score


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("seed", range(3))
def test_the_package_gives_the_same_figures(package, seed):
    rows, difficulty, gamed = made_up(seed)
    expected = package(rows, difficulty, gamed)
    win_rate, controlled, _ = alpaca_eval_scores(rows, difficulty, gamed)
    assert win_rate.value == pytest.approx(expected["win_rate"], abs=1e-9)
    assert win_rate.high - win_rate.value == pytest.approx(1.959963984540054 * expected["standard_error"])
    assert controlled.value == pytest.approx(expected["length_controlled_winrate"], abs=1e-9)
    assert controlled.high - controlled.value == pytest.approx(1.959963984540054 * expected["lc_standard_error"])


# published rows


@needs_bench
@pytest.mark.parametrize("c", [None, *PENALTIES[5:]])
def test_a_published_row_is_reproduced(c):
    difficulty = read_difficulty(BENCH / "alpaca_eval_instruction_difficulty.jsonl")
    gamed = read_gamed(BENCH / "alpaca_eval_gamed_baselines.jsonl.gz", difficulty)
    published, *_ = json.loads((BENCH / "alpaca_eval_published.json").read_text())["rows"]
    rows = read_annotations(BENCH / f"alpaca_eval_annotations_{published['model']}.jsonl.gz", Tally()).rows
    win_rate, controlled, length = alpaca_eval_scores(rows, difficulty, gamed, c)
    assert win_rate.value == pytest.approx(published["win_rate"], abs=1e-9)
    assert (win_rate.high - win_rate.low) / 2 / 1.959963984540054 == pytest.approx(published["standard_error"])
    assert (length.value, win_rate.n, controlled.n) == (published["avg_length"], 805, 805)
    near = 0.002 if c is not None and math.isclose(c, published["inferred_C"]) else 0.2
    assert controlled.value == pytest.approx(published["length_controlled_winrate"], abs=near)
