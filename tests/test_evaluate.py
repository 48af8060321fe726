"""Evaluation by hand-computed cases."""

import polars as pl
import pytest
from scipy.stats import binomtest, spearmanr

from metareward.evaluation.held_out import held_out_results, pairwise_agreement, rank_correlation
from metareward.evaluation.win_rate import comparison_results, win_rate
from metareward.params import SamplingSettings as Sampling
from metareward.roles.referee import comparison_requests, comparisons_table
from metareward.tables import empty_table
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


def test_agreement_counts_ties_half_or_not_at_all():
    # p: 1>2 right, 1>3 right, 2=3 tie; q: 1<2 wrong. Of four pairs 2.5 agree; of three without ties 2.
    found = pairwise_agreement(REPLIES, scores(p1=5.0, p2=3.0, p3=3.0, q1=1.0, q2=2.0))
    assert found == (2.5 / 4, pytest.approx(2 / 3), 4)


def test_agreement_leaves_out_unscored_replies():
    assert pairwise_agreement(REPLIES, scores(p1=5.0, p2=None, p3=3.0, q1=1.0)) == (1.0, 1.0, 1)
    assert pairwise_agreement(REPLIES, scores()) == (None, None, 0)


def test_equal_human_ranks_are_no_pair():
    equal = REPLIES.with_columns(rank=pl.lit(1))
    assert pairwise_agreement(equal, scores(p1=5.0, p2=3.0, q1=1.0, q2=2.0)) == (None, None, 0)


def test_equal_scores_in_another_order_are_a_tie():
    """The float sums 0.1 + 0.7 + 4.9 + 4.75 and 0.7 + 4.9 + 4.75 + 0.1 differ in the last bit."""
    first, second = [0.1, 0.7, 4.9, 4.75], [0.7, 4.9, 4.75, 0.1]
    assert sum(first) != sum(second)
    rows = [("p1", score) for score in first] + [("p2", score) for score in second] + [("p3", None)]
    schema = {"response_id": pl.String, "score": pl.Float64}
    judgments = pl.DataFrame(rows, schema=schema, orient="row")
    found = held_out_results("m1", REPLIES, empty_table("responses"), judgments, empty_table("battles"))
    values = {metric: (value, n) for metric, value, n in found.select("metric", "value", "n").iter_rows()}
    assert values["agreement_ties_half"] == (0.5, 1)
    assert values["agreement_ties_left_out"] == (None, 1)
    assert values["spearman"] == (None, 0)
    assert values["score_mean"] == (2.6125, 8)


def test_correlation_is_one_when_the_order_is_the_human_one():
    assert rank_correlation(REPLIES, scores(p1=5.0, p2=3.0, p3=1.0, q1=2.0, q2=1.0)) == (pytest.approx(1.0), 2)


def test_correlation_is_the_mean_over_prompts_of_scipys():
    values = {"p1": 3.0, "p2": 5.0, "p3": 1.0, "q1": 2.0, "q2": 2.0}  # q has no order: left out
    expected = spearmanr([-1, -2, -3], [3.0, 5.0, 1.0]).statistic
    assert rank_correlation(REPLIES, scores(**values)) == (pytest.approx(expected), 1)


def test_correlation_leaves_out_prompts_without_an_order():
    equal = REPLIES.with_columns(rank=pl.when(pl.col("prompt_id") == "p").then(1).otherwise("rank"))
    found = rank_correlation(equal, scores(p1=5.0, p2=3.0, p3=1.0, q1=2.0, q2=1.0))
    assert found == (pytest.approx(1.0), 1)
    assert rank_correlation(REPLIES, scores(p1=3.0, p2=3.0, p3=3.0, q1=2.0)) == (None, 0)


def values_of(results):
    return {metric: (value, n) for metric, value, n in results.select("metric", "value", "n").iter_rows()}


def test_held_out_results_of_a_checkpoint():
    responses = pl.DataFrame(
        {
            "response": ["a", "b", "c", None, None],  # the last but one was cut in its thought
            "n_chars": [10, 20, 60, 0, 0],
            "finish_reason": ["stop", "stop", "length", "length", "too_long"],
        }
    )
    judgments = pl.DataFrame({"response_id": ["p1", "p1", "p2", "p3"], "score": [5.0, 3.0, 1.0, None]})
    verdicts = pl.DataFrame({"winner": ["a", None, None, "b", None]})
    assert values_of(held_out_results("m1", REPLIES, responses, judgments, verdicts)) == {
        "readable_judgments": (0.75, 4),
        "readable_verdicts": (0.4, 5),
        "agreement_ties_half": (1.0, 1),
        "agreement_ties_left_out": (1.0, 1),
        "spearman": (pytest.approx(1.0), 1),
        "score_mean": (3.0, 3),
        "response_chars": (30.0, 3),
        "responses_cut": (0.5, 4),
    }


def comparisons(*rows):
    columns = ["prompt_id", "model_first", "winner"]
    return pl.DataFrame(rows, schema=dict(zip(columns, (pl.String, pl.Boolean, pl.String), strict=True)), orient="row")


def test_win_rate_averages_the_two_orders():
    # p won in both orders: 1. q: whoever stands first wins: 0.5. r: one win, one unreadable: 0.75.
    rows = comparisons(
        ("p", True, "model"),
        ("p", False, "model"),
        ("q", True, "model"),
        ("q", False, "baseline"),
        ("r", True, "model"),
        ("r", False, None),
    )
    rate, low, high = win_rate(rows, 1000, 0)
    assert rate == pytest.approx(0.75)
    assert 0.5 <= low < rate < high <= 1.0


def test_win_rate_does_not_depend_on_the_order_of_rows():
    """With few prompts any order gives nearly the same resamples, and a forgotten sort would not show."""
    rows = comparisons(*((f"p{k}", True, ("model", "baseline", None)[k * k % 7 % 3]) for k in range(60)))
    assert win_rate(rows.reverse(), 99, 0) == win_rate(rows, 99, 0)
    assert win_rate(rows.sample(fraction=1, shuffle=True, seed=1), 99, 0) == win_rate(rows, 99, 0)


def test_comparison_results_of_a_checkpoint():
    rows = comparisons(("p", True, "model"), ("p", False, "model"), ("q", True, "baseline"), ("q", False, None))
    results = comparison_results("m1", rows, "sft", 100, 0)
    assert values_of(results) == {
        "win_rate": (0.625, 2),
        "comparisons_readable": (0.75, 4),
        "comparisons_first_position": (pytest.approx(1 / 3), 3),
    }
    assert set(results["referee"]) == {"sft"}


@pytest.mark.parametrize(
    ("outcome", "won"),
    [((None, None), 3), (("model", "baseline"), 3), (("model", "model"), 6), (("baseline", "baseline"), 0)],
)
def test_equal_outcomes_do_not_claim_certainty(outcome, won):
    """Resampling six equal outcomes gives them again: [0.5, 0.5]. Wilson's interval of 3, 6 or 0 of 6, by scipy."""
    rows = [(f"p{k}", first, winner) for k in range(6) for first, winner in zip((True, False), outcome, strict=True)]
    expected = binomtest(won, 6).proportion_ci(method="wilson")
    rate, low, high = win_rate(comparisons(*rows), 100, 0)
    assert rate == won / 6
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert high - low > 0.3


def test_win_rate_of_one_or_no_prompt_has_no_interval():
    assert win_rate(comparisons(("p", True, "model"), ("p", False, "baseline")), 10, 0) == (0.5, None, None)
    assert win_rate(empty_table("comparisons"), 10, 0) == (None, None, None)


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
