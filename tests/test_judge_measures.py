"""What the paper says of judges, by hand: the meta-judge's bias, the drift of scores, agreement with a strong judge."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import gaussian_kde
from sklearn.neighbors import KernelDensity

from metareward.evaluation.drift import (
    GRID,
    score_density,
    score_distribution,
    score_histogram,
    score_variance,
    why_no_density,
)
from metareward.evaluation.judge_bias import decided_battles, judge_bias
from metareward.evaluation.outcomes import results_of
from metareward.evaluation.strong_judge import strong_judge_outcomes
from metareward.tables import check_table, empty_table

SCORES = {"a": 5.0, "b": 2.0, "c": 2.0, "d": 4.9, "e": 3.9}


@pytest.fixture
def decided():
    """Of prompt p: 5 against 2 three times, 2 against 2 three times; of prompt q: 4.9 against 3.9."""
    battles = pl.DataFrame(
        [
            ("p", "a", "b", "a"),  # 3 points apart: the higher one wins, and the first
            ("p", "b", "a", "a"),  # the lower one, the first
            ("p", "a", "c", "b"),  # the lower one, the second
            ("p", "b", "c", "a"),  # equal: the first
            ("p", "c", "b", "a"),  # equal: the first
            ("p", "b", "c", "b"),  # equal: the second
            ("p", "c", "a", None),  # not decided
            ("q", "d", "e", "a"),  # 1 point apart, though the difference of the floats is more: the higher, the first
            ("q", "e", "d", "b"),  # the higher, the second
        ],
        schema=["prompt_id", "judgment_a", "judgment_b", "winner"],
        orient="row",
    )
    judgments = pl.DataFrame({"judgment_id": list(SCORES), "score": list(SCORES.values())})
    assert SCORES["d"] - SCORES["e"] > 1
    return decided_battles(battles, judgments)


def test_bias_overall_and_by_difference_of_scores(decided):
    table = judge_bias(decided, "m1", "m2", 100, 0)
    found = {(row["preference"], row["difference"]): (row["n"], row["share"]) for row in table.to_dicts()}
    nothing = (0, None)
    assert found == {
        ("higher_score", "all"): (5, 3 / 5),
        ("higher_score", "0-1"): (2, 1.0),
        ("higher_score", "1-2"): nothing,
        ("higher_score", "2-3"): (3, pytest.approx(1 / 3)),
        ("higher_score", "3-4"): nothing,
        ("higher_score", "4-5"): nothing,
        ("first_position", "all"): (8, 5 / 8),
        ("first_position", "0"): (3, pytest.approx(2 / 3)),
        ("first_position", "0-1"): (2, 0.5),
        ("first_position", "1-2"): nothing,
        ("first_position", "2-3"): (3, pytest.approx(2 / 3)),
        ("first_position", "3-4"): nothing,
        ("first_position", "4-5"): nothing,
    }
    assert set(table["meta_judge"]) == {"m1"}
    assert set(table["battles"]) == {"m2"}


def test_bias_draws_the_battles_of_a_prompt_together(decided):
    """Two prompts: any draw of them gives 1/2 (q twice), 2/3 (p twice) or 5/8; single battles would give 0 to 1."""
    table = judge_bias(decided, "m1", "m2", 1000, 0).filter(preference="first_position", difference="all")
    assert table.select("ci_low", "ci_high").row(0) == pytest.approx((1 / 2, 2 / 3))


def test_bias_without_battles_is_a_table_of_nothing():
    none = judge_bias(decided_battles(empty_table("battles"), empty_table("judgments")), "m1", "m2", 10, 0)
    assert none.height == 13
    assert none["n"].sum() == 0
    assert none["share"].null_count() == 13


def given(scores, prompts=None):
    """Judgments of these scores, each of a prompt of its own unless told."""
    prompt_ids = [f"p{k}" for k in range(len(scores))] if prompts is None else prompts
    return pl.DataFrame(
        {"prompt_id": prompt_ids, "score": scores}, schema={"prompt_id": pl.String, "score": pl.Float64}
    )


def test_the_histogram_has_a_bin_for_each_half_point():
    shares = dict(score_histogram(given([4.4, 4.6, 4.9, None, 0.0])).iter_rows())
    assert shares == {k / 2: 0.0 for k in range(11)} | {4.5: 0.5, 5.0: 0.25, 0.0: 0.25}
    assert set(score_histogram(given([None]))["share"]) == {None}


def test_the_density_is_scipys_of_the_valid_scores():
    scores = [1.0, 3.0, 3.0, 4.5, 5.0]
    found = score_density(given([*scores, None]))
    assert found["score"].to_list() == pytest.approx(np.linspace(0, 5, 101).tolist())
    expected = gaussian_kde(scores, bw_method="scott")(np.linspace(0, 5, 101))
    assert found["density"].to_numpy() == pytest.approx(expected)


def test_the_density_is_scikit_learns():
    scores = np.random.default_rng(4).integers(0, 11, 40) / 2
    width = scores.std(ddof=1) * len(scores) ** -0.2  # Scott's
    estimator = KernelDensity(kernel="gaussian", bandwidth=width).fit(scores[:, None])
    expected = np.exp(estimator.score_samples(np.array(GRID)[:, None]))
    assert score_density(given(scores.tolist()))["density"].to_numpy() == pytest.approx(expected)


def test_the_density_by_hand():
    """Two scores: standard deviation sqrt(2) (ddof 1), Scott's factor 2 ** -0.2; at 3 both kernels are 1 point off."""
    width = 2**0.5 * 2**-0.2
    expected = np.exp(-0.5 / width**2) / (width * (2 * np.pi) ** 0.5)
    found = dict(score_density(given([2.0, 4.0])).iter_rows())
    assert found[3.0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ([3.0] * 7, "all 7 scores are 3"),
        ([4.5], "its one score is 4.5"),
        ([None], "no judgment has a score"),
        ([], "no judgment has a score"),
    ],
)
def test_scores_without_a_density_are_said_to_have_none(scores, reason):
    judgments = given(scores)
    assert why_no_density(judgments) == reason
    assert score_density(judgments)["density"].null_count() == len(GRID)
    check_table(score_distribution("m1", judgments), "score_distribution")


def test_scores_that_differ_in_the_last_bit_have_a_density():
    assert why_no_density(given([3.0, 3.0, 3.0000000000000004])) is None
    assert score_density(given([3.0, 3.0, 3.0000000000000004])).height == len(GRID)


def test_the_distribution_table_has_both_kinds():
    table = score_distribution("m1", given([1.0, 2.0]))
    assert {kind: rows.height for (kind,), rows in table.group_by("kind")} == {"histogram": 11, "density": 101}


def test_the_variance_is_numpys_and_its_interval_is_of_prompts():
    rng = np.random.default_rng(1)
    scores, prompts = rng.integers(0, 6, 200).astype(float), [f"p{k // 4}" for k in range(200)]
    value, (low, high), n = score_variance(given(scores.tolist(), prompts), 1000, 0)
    assert (value, n) == (pytest.approx(np.var(scores)), 200)
    drawn = np.random.default_rng(2).integers(0, 50, (4000, 50))
    slow = [np.var(scores.reshape(50, 4)[row]) for row in drawn]
    assert (low, high) == pytest.approx(np.percentile(slow, [2.5, 97.5]), abs=0.1)
    assert score_variance(given([3.0, 3.0]), 10, 0) == (0.0, (None, None), 2)
    assert score_variance(given([None]), 10, 0) == (None, (None, None), 0)


# Against a strong judge: three responses to each of three prompts, and their mean scores by either judge.
STRONG = {"p": (5, 3, 1), "q": (2, 4, 4), "r": (3, 3, 3)}
OWN = {"p": (4, 4, 2), "q": (3, 5, 3), "r": (5, 1, None)}


def judgments_of(scores):
    rows = [
        (prompt, f"{prompt}{k}", f"{prompt}{k} says", None if score is None else float(score))
        for prompt, given in scores.items()
        for k, score in enumerate(given)
    ]
    table = pl.DataFrame(rows, schema=["prompt_id", "response_id", "judgment", "score"], orient="row")
    return table.with_columns(expected=pl.lit(None, pl.Float64))


@pytest.fixture
def seeds():
    """Prompts, and the seed's responses to them; the third one to q is longer than the second."""
    prompts = pl.DataFrame({"prompt_id": ["p", "q", "r", "x"], "prompt": "Why?", "source": "test"})
    common = {"thought": None, "n_tokens": 1, "finish_reason": "stop", "duplicate_of": None}
    rows = [
        {"prompt_id": prompt, "response_id": f"{prompt}{k}", "sample": k, "response": "so " * (k + 1), "n_chars": k + 1}
        | common
        for prompt in STRONG
        for k in range(3)
    ]
    return prompts, pl.DataFrame(rows, schema=dict(empty_table("responses").schema))


def strong_results(seeds, strong=STRONG, own=OWN):
    outcomes = strong_judge_outcomes("m1", *seeds, judgments_of(strong), judgments_of(own), "gpt-4.1")
    check_table(outcomes, "outcomes")
    rows = results_of(outcomes, 100, 0)
    assert {row[5] for row in rows} <= {"gpt-4.1"}
    return {metric: (value, n) for metric, value, _, _, n, _ in rows}


def test_agreement_with_a_strong_judge(seeds):
    """The strong judge chooses p0 over p2, and of the equally good q1 and q2 the shorter, q1, over q0; of r none.

    The model agrees on both (4 > 2, 5 > 3). It chooses of p the shorter of its best, p0, over p2 (agreed), q1 over the
    longer of its worst, q2 (the strong judge has a tie), and r0 over r1 (another tie).
    """
    assert strong_results(seeds) == {
        "strong_judgments_readable": (1.0, 9),
        "strong_pairs_agreement_ties_half": (1.0, 2),
        "strong_pairs_agreement_ties_left_out": (1.0, 2),
        "strong_pairs_unscored": (0.0, 2),
        "strong_pairs_none": (pytest.approx(1 / 3), 3),
        "own_pairs_agreement_ties_half": (pytest.approx(2 / 3), 3),
        "own_pairs_agreement_ties_left_out": (1.0, 1),
        "own_pairs_unscored": (0.0, 3),
        "own_pairs_none": (0.0, 3),
    }


def test_pairs_are_chosen_by_score_alone(seeds):
    """Of p the strong judge's best is p1, and p0 is the shorter one; the model likes p2 better than p1."""
    found = strong_results(seeds, STRONG | {"p": (3, 5, 1)}, OWN | {"p": (4, 2, 3)})
    assert found["strong_pairs_agreement_ties_half"] == (0.5, 2)


def test_a_pair_without_a_score_is_left_out_and_counted(seeds):
    found = strong_results(seeds, own=OWN | {"p": (None, 4, 2)})
    assert found["strong_pairs_unscored"] == (0.5, 2)
    assert found["strong_pairs_agreement_ties_half"] == (1.0, 1)


def test_a_judge_that_disagrees_and_one_that_has_ties(seeds):
    opposite = {prompt: tuple(5 - score for score in given) for prompt, given in STRONG.items()}
    assert strong_results(seeds, own=opposite)["strong_pairs_agreement_ties_half"] == (0.0, 2)
    equal = dict.fromkeys(STRONG, (2, 2, 2))
    found = strong_results(seeds, own=equal)
    assert found["strong_pairs_agreement_ties_half"] == (0.5, 2)
    assert found["strong_pairs_agreement_ties_left_out"] == (None, 0)
    assert found["own_pairs_none"] == (1.0, 3)


def test_without_a_strong_judge_there_is_nothing():
    empty = empty_table("judgments")
    outcomes = strong_judge_outcomes("m1", empty_table("prompts"), empty_table("responses"), empty, empty, "gpt-4")
    assert outcomes.equals(empty_table("outcomes"))


def test_the_study_reads_expected_scores_not_sampled_ones(monkeypatch):
    """The sampled scores of two replies say the opposite of the expected ones."""
    monkeypatch.syspath_prepend("docs")
    import judge_study

    judged = pl.DataFrame({"prompt_id": ["p", "p"], "response_id": ["p0", "p1"], "rank": [1, 2]})
    rows = [("p0", 0, 2.0, 3.4), ("p0", 1, 1.0, 3.4), ("p1", 0, 5.0, 3.3), ("p1", 1, 4.0, 3.3)]
    judgments = pl.DataFrame(rows, schema=["response_id", "sample", "score", "expected"], orient="row")
    found = judge_study.agreement(judged, judge_study.first_expected(judgments), 1, 1)
    assert found[0] == 1.0
    assert judge_study.agreement(judged, judgments, 2, 2)[0] == 0.0


def test_confounds_are_looked_for_among_responses_that_are_alike(monkeypatch, capsys):
    """All that m1 gains is a blank line, in one of two prompts."""
    monkeypatch.syspath_prepend("docs")
    import confounds

    names = {"prompt_id": pl.String, "n_chars": pl.Int64, "score": pl.Float64, "cut": pl.Boolean, "broken": pl.Boolean}
    seed = pl.DataFrame([("p", 200, 2.5, True, True), ("q", 230, 2.25, True, False)], schema=names, orient="row")
    m1 = pl.DataFrame([("p", 240, 2.5, True, True), ("q", 240, 2.75, True, True)], schema=names, orient="row")
    confounds.against({"seed": seed, "m1": m1}, "seed", ["m1"])
    rows = [line.split(" | ")[1:4] for line in capsys.readouterr().out.splitlines() if line.startswith("| m1")]
    assert [(words, n, score.split()[0]) for words, n, score in rows] == [
        ("all", "2", "0.250"),
        ("within 20 characters", "1", "0.500"),
        ("both cut", "2", "0.250"),
        ("both cut, both with a blank line", "1", "0.000"),
    ]
    lengths = pl.DataFrame({"prompt_id": ["p", "p", "q", "q"], "n_tokens": [10, 30, 20, 40]})
    assert confounds.slope(lengths.with_columns(logprob=pl.col("n_tokens") * (0.1 * pl.col("n_tokens") - 3))) == (
        pytest.approx(0.1)
    )
