"""Evaluation by hand-computed cases."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest, spearmanr
from sklearn.metrics import roc_auc_score

from metareward.evaluation.held_out import held_out_outcomes, pair_outcomes, rank_correlations
from metareward.evaluation.outcomes import results_of
from metareward.evaluation.results import results_table
from metareward.evaluation.win_rate import comparison_outcomes, score_outcomes
from metareward.params import SamplingSettings as Sampling
from metareward.roles.referee import comparison_requests, comparisons_table
from metareward.tables import check_table, empty_table
from metareward.templates.texts import Templates

REPLIES = pl.DataFrame(
    {
        "prompt_id": ["p", "p", "p", "q", "q"],
        "response_id": ["p1", "p2", "p3", "q1", "q2"],
        "rank": [1, 2, 3, 1, 2],
    }
)


def scores(**means):
    return pl.DataFrame(
        {"response_id": list(means), "mean": list(means.values())},
        schema={"response_id": pl.String, "mean": pl.Float64},
    )


def agreement(judged, means):
    """Of all pairs: with ties as halves, without ties, and their number."""
    outcomes = pair_outcomes(judged, means)["outcome"]
    return outcomes.mean(), outcomes.filter(outcomes != 0.5).mean(), outcomes.len()


def correlation(judged, means):
    values = rank_correlations(judged, means)["spearman"]
    return values.mean(), values.len()


def test_agreement_counts_ties_half_or_not_at_all():
    # p: 1>2 right, 1>3 right, 2=3 tie; q: 1<2 wrong. Of four pairs 2.5 agree; of three without ties 2.
    found = agreement(REPLIES, scores(p1=5.0, p2=3.0, p3=3.0, q1=1.0, q2=2.0))
    assert found == (2.5 / 4, pytest.approx(2 / 3), 4)


def test_agreement_with_two_ranks_is_the_area_under_the_roc_curve():
    """scikit-learn's, of each prompt: the share of good and bad replies in the right order, ties as halves."""
    rng = np.random.default_rng(0)
    for n in range(4, 30):
        ranks, means = [1, 2, *rng.integers(1, 3, n)], rng.integers(0, 6, n + 2).astype(float)
        replies = [f"p{k}" for k in range(n + 2)]
        judged = pl.DataFrame({"prompt_id": ["p"] * (n + 2), "response_id": replies, "rank": ranks})
        found, _, _ = agreement(judged, scores(**dict(zip(replies, means, strict=True))))
        assert found == pytest.approx(roc_auc_score([rank == 1 for rank in ranks], means))


def test_agreement_leaves_out_unscored_replies():
    assert agreement(REPLIES, scores(p1=5.0, p2=None, p3=3.0, q1=1.0)) == (1.0, 1.0, 1)
    assert agreement(REPLIES, scores()) == (None, None, 0)


def test_equal_human_ranks_are_no_pair():
    equal = REPLIES.with_columns(rank=pl.lit(1))
    assert agreement(equal, scores(p1=5.0, p2=3.0, q1=1.0, q2=2.0)) == (None, None, 0)


def test_correlation_is_one_when_the_order_is_the_human_one():
    assert correlation(REPLIES, scores(p1=5.0, p2=3.0, p3=1.0, q1=2.0, q2=1.0)) == (pytest.approx(1.0), 2)


def test_correlation_is_scipys():
    values = {"p1": 3.0, "p2": 5.0, "p3": 1.0, "q1": 2.0, "q2": 2.0}  # q has no order: left out
    expected = spearmanr([-1, -2, -3], [3.0, 5.0, 1.0]).statistic
    assert correlation(REPLIES, scores(**values)) == (pytest.approx(expected), 1)


def test_correlation_leaves_out_prompts_without_an_order():
    equal = REPLIES.with_columns(rank=pl.when(pl.col("prompt_id") == "p").then(1).otherwise("rank"))
    found = correlation(equal, scores(p1=5.0, p2=3.0, p3=1.0, q1=2.0, q2=1.0))
    assert found == (pytest.approx(1.0), 1)
    assert correlation(REPLIES, scores(p1=3.0, p2=3.0, p3=3.0, q1=2.0)) == (None, 0)


def judged(*rows):
    """Judgments of reply and score; the reply's first letter is its prompt."""
    return pl.DataFrame(
        [(reply[0], reply, f"j{k}", score, None) for k, (reply, score) in enumerate(rows)],
        schema=dict.fromkeys(["prompt_id", "response_id", "judgment_id"], pl.String)
        | dict.fromkeys(["score", "expected"], pl.Float64),
        orient="row",
    )


def results(outcomes):
    return results_table("m1", results_of(outcomes, 100, 0))


def values_of(table):
    return {metric: (value, n) for metric, value, n in table.select("metric", "value", "n").iter_rows()}


def test_equal_scores_in_another_order_are_a_tie():
    """The float sums 0.1 + 0.7 + 4.9 + 4.75 and 0.7 + 4.9 + 4.75 + 0.1 differ in the last bit."""
    first, second = [0.1, 0.7, 4.9, 4.75], [0.7, 4.9, 4.75, 0.1]
    assert sum(first) != sum(second)
    rows = [("p1", score) for score in first] + [("p2", score) for score in second] + [("p3", None)]
    outcomes = held_out_outcomes("m1", REPLIES, empty_table("responses"), judged(*rows), empty_table("battles"))
    values = values_of(results(outcomes))
    assert values["agreement_ties_half"] == (0.5, 1)
    assert values["agreement_ties_left_out"] == (None, 0)
    assert values["spearman"] == (None, 0)
    assert values["score_mean"] == (2.6125, 8)


@pytest.fixture
def outcomes():
    """Of a checkpoint with five prompts to answer, and the replies of two to judge."""
    responses = pl.DataFrame(
        {
            "prompt_id": ["v", "w", "x", "y", "z"],
            "response": [
                "w x y z w x y z",
                "one two three four",
                "c",
                None,
                None,
            ],  # the last but one was cut in its thought
            "n_chars": [10, 20, 60, 0, 0],
            "finish_reason": ["stop", "stop", "length", "length", "too_long"],
        }
    )
    judgments = judged(("p1", 5.0), ("p1", 3.0), ("p2", 1.0), ("p3", None), ("q1", 2.0), ("q2", 4.0))
    verdicts = pl.DataFrame(
        [
            ("p", "j0", "j1", "a"),  # the higher score, and the first position, wins
            ("p", "j1", "j0", "a"),  # the first position wins
            ("p", "j0", "j1", None),
            ("q", "j4", "j4", "b"),  # equal scores
            ("q", "j4", "j4", None),
        ],
        schema=["prompt_id", "judgment_a", "judgment_b", "winner"],
        orient="row",
    )
    return held_out_outcomes("m1", REPLIES, responses, judgments, verdicts)


def test_held_out_results_of_a_checkpoint(outcomes):
    assert values_of(results(outcomes)) == {
        "readable_judgments": (5 / 6, 6),
        "readable_verdicts": (0.6, 5),
        "agreement_ties_half": (0.5, 2),  # p1 over p2 is right, q1 under q2 is not
        "agreement_ties_left_out": (0.5, 2),
        "spearman": (0.0, 2),
        "score_mean": (3.0, 5),
        "score_at_maximum": (0.2, 5),
        "higher_score_wins": (0.5, 2),
        "first_position_wins": (2 / 3, 3),
        "response_chars": (30.0, 3),
        "response_repetition": (pytest.approx(0.1), 2),
        "responses_cut": (0.5, 4),
    }


def test_outcomes_do_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(3)
    rows = [(f"{prompt}{k}", float(rng.integers(0, 51)) / 10) for prompt in "pq" for k in (1, 2, 3) for _ in range(9)]
    judgments = judged(*rows)
    pairs = [(0, 1), (3, 20), (20, 3), (30, 50), (50, 30), (40, 2)]
    verdicts = pl.DataFrame(
        [("pq"[a > 26], f"j{a}", f"j{b}", "ab"[k % 2]) for k, (a, b) in enumerate(pairs)],
        schema=["prompt_id", "judgment_a", "judgment_b", "winner"],
        orient="row",
    )
    responses = empty_table("responses")
    expected = held_out_outcomes("m1", REPLIES, responses, judgments, verdicts)
    for seed in range(5):
        shuffled = (frame.sample(fraction=1, shuffle=True, seed=seed) for frame in (REPLIES, judgments, verdicts))
        replies, given, verdicts_now = shuffled
        assert held_out_outcomes("m1", replies, responses, given, verdicts_now).equals(expected)


def test_outcomes_keep_every_prompt_and_what_it_brings(outcomes):
    """Also a prompt that brings nothing, so that two checkpoints have the same prompts."""
    check_table(outcomes, "outcomes")

    def of(metric):
        return outcomes.filter(metric=metric).select("prompt_id", "total", "n").rows()

    assert of("readable_judgments") == [("p", 3.0, 4), ("q", 2.0, 2)]
    assert of("score_mean") == [("p", 9.0, 3), ("q", 6.0, 2)]
    assert of("agreement_ties_half") == [("p", 1.0, 1), ("q", 0.0, 1)]
    assert of("higher_score_wins") == [("p", 1.0, 2), ("q", 0.0, 0)]
    assert of("response_chars") == [("v", 10.0, 1), ("w", 20.0, 1), ("x", 60.0, 1), ("y", 0.0, 0), ("z", 0.0, 0)]


def test_intervals_are_within_the_bounds_of_their_metric(outcomes):
    found = {row["metric"]: (row["ci_low"], row["value"], row["ci_high"]) for row in results(outcomes).to_dicts()}
    for metric, (low, value, high) in found.items():
        if metric != "higher_score_wins":  # of one prompt alone
            assert low <= value <= high, metric
    assert found["higher_score_wins"][::2] == (None, None)
    assert found["spearman"][::2] == (-1.0, 1.0)
    assert found["agreement_ties_half"][::2] == (0.0, 1.0)
    low, mean, high = found["score_mean"]  # 3 of both prompts
    assert 0 < low < mean == 3.0 < high < 5


def test_equal_lengths_have_no_interval():
    """They have no upper bound, so nothing says how far another prompt's might lie away."""
    responses = pl.DataFrame({"prompt_id": ["v", "w"], "response": "a", "n_chars": 10, "finish_reason": "stop"})
    outcomes = held_out_outcomes("m1", REPLIES, responses, judged(), empty_table("battles"))
    row = results(outcomes).filter(metric="response_chars").row(0, named=True)
    assert (row["value"], row["ci_low"], row["ci_high"]) == (10.0, None, None)


def comparisons(*rows):
    columns = ["prompt_id", "model_first", "winner"]
    return pl.DataFrame(rows, schema=dict(zip(columns, (pl.String, pl.Boolean, pl.String), strict=True)), orient="row")


def compared(*rows, rounds=100):
    """The results of comparisons: metric -> value, interval, n."""
    outcomes = comparison_outcomes("m1", comparisons(*rows), "sft")
    found = results_table("m1", results_of(outcomes, rounds, 0)).to_dicts()
    assert {row["referee"] for row in found} <= {"sft"}
    return {row["metric"]: (row["value"], row["ci_low"], row["ci_high"], row["n"]) for row in found}


def test_win_rate_averages_the_two_orders():
    # p won in both orders: 1. q: whoever stands first wins: 0.5. r: one win, one unreadable: 0.75.
    found = compared(
        ("p", True, "model"),
        ("p", False, "model"),
        ("q", True, "model"),
        ("q", False, "baseline"),
        ("r", True, "model"),
        ("r", False, None),
    )
    rate, low, high, n = found["win_rate"]
    assert (rate, n) == (pytest.approx(0.75), 3)
    assert 0.5 <= low < rate < high <= 1.0


def test_win_rate_does_not_depend_on_the_order_of_rows():
    """With few prompts any order gives nearly the same resamples, and a forgotten sort would not show."""
    rows = [(f"p{k}", True, ("model", "baseline", None)[k * k % 7 % 3]) for k in range(60)]
    assert compared(*rows[::-1]) == compared(*rows)
    assert compared(*rows[::2], *rows[1::2]) == compared(*rows)


def test_comparison_results_of_a_checkpoint():
    found = compared(("p", True, "model"), ("p", False, "model"), ("q", True, "baseline"), ("q", False, None))
    assert {metric: (value, n) for metric, (value, _, _, n) in found.items()} == {
        "win_rate": (0.625, 2),
        "comparisons_readable": (0.75, 4),
        "comparisons_first_position": (pytest.approx(1 / 3), 3),
    }


def test_win_rate_by_scores():
    """By hand: p is won by 4 to 3.5, q tied at 2, r lost by 1 to 1.5; s has no score of ours, t none of the seed's."""
    ids = {"p": ("p1", "p2"), "q": ("q1", "q2"), "r": ("r1", "r2"), "s": ("s1", "s2"), "t": ("t1", "t2")}
    ours, theirs = (
        pl.DataFrame({"prompt_id": list(ids), "response_id": [both[k] for both in ids.values()]}) for k in (0, 1)
    )
    scores = {"p1": (5, 3), "p2": (3, 4), "q1": (2, 2), "q2": (1, 3), "r1": (1, None), "r2": (1, 2), "s1": (None, None)}
    scores |= {"s2": (5, 5), "t1": (4, 4), "t2": (None, None)}
    judgments = judged(*((id_, score) for id_, both in scores.items() for score in both))
    found = results(score_outcomes("m1", ours, theirs, judgments, "sft"))
    values = {metric: (value, n) for metric, value, n in found.select("metric", "value", "n").iter_rows()}
    assert values == {"win_rate": (0.5, 3), "response_score": (21 / 7, 7), "comparisons_readable": (0.7, 10)}
    assert set(found["referee"]) == {"sft"}
    expected = judgments.with_columns(expected=pl.when(pl.col("response_id") == "p1").then(3.25))
    by_expectation = results(score_outcomes("m1", ours, theirs, expected, "sft")).filter(metric="win_rate")
    assert by_expectation["value"].to_list() == [pytest.approx(0.5 / 3)]  # p is lost by 3.25 to 3.5
    of_seed = results(score_outcomes("seed", theirs, theirs, judgments, "sft"))
    assert set(of_seed["metric"]) == {"response_score", "comparisons_readable"}


@pytest.mark.parametrize(
    ("outcome", "won"),
    [((None, None), 3), (("model", "baseline"), 3), (("model", "model"), 6), (("baseline", "baseline"), 0)],
)
def test_equal_outcomes_do_not_claim_certainty(outcome, won):
    """Resampling six equal outcomes gives them again: [0.5, 0.5]. Wilson's interval of 3, 6 or 0 of 6, by scipy."""
    rows = [(f"p{k}", first, winner) for k in range(6) for first, winner in zip((True, False), outcome, strict=True)]
    expected = binomtest(won, 6).proportion_ci(method="wilson")
    rate, low, high, _ = compared(*rows)["win_rate"]
    assert rate == won / 6
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert high - low > 0.3


def test_win_rate_of_one_or_no_prompt_has_no_interval():
    assert compared(("p", True, "model"), ("p", False, "baseline"))["win_rate"] == (0.5, None, None, 1)
    assert compared() == {}


def test_comparisons_name_the_winner_whichever_order():
    templates = Templates(rubric="", judge="", meta_judge="", compare="{prompt}|{response_a}|{response_b}")
    compared = pl.DataFrame({"prompt_id": ["p"], "prompt": ["Why?"], "model": ["mine"], "baseline": ["theirs"]})
    settings = Sampling(temperature=0.0, top_p=1.0, max_tokens=8)
    requests = list(comparison_requests(compared, templates, settings, 0))
    assert [request.messages[0]["content"] for request in requests] == ["Why?|mine|theirs", "Why?|theirs|mine"]
    completions = pl.DataFrame(
        {
            "request_id": [request.id for request in requests],
            "sample": [0, 0],
            "text": ["Winner: Response A", "Winner: Response A"],
            "n_tokens": [5, 5],
            "finish_reason": ["stop", "stop"],
        }
    )
    found = comparisons_table(compared, completions, "line")
    assert dict(found.select("model_first", "winner").iter_rows()) == {True: "model", False: "baseline"}
