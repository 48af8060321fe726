"""The metrics of an iteration, counted by hand on a few rows."""

import polars as pl
import pytest

from metareward.evaluation.metrics import (
    PLOTS,
    by_metric,
    held_out_metrics,
    iteration_metrics,
    plot_rows,
    score_histogram,
    training_curves,
)
from metareward.tables import table_of


@pytest.fixture
def tables():
    """Two prompts, the second too long; of the first one's responses one is a duplicate, two are cut."""
    columns = {
        "responses": ["prompt_id", "n_chars", "finish_reason", "duplicate_of", "thought"],
        "judgments": ["judgment_id", "score", "invalid_reason", "n_chars", "finish_reason", "thought"],
        "battles": ["judgment_a", "judgment_b", "winner", "invalid_reason"],
        "elo": ["response_id", "ridge"],
        "actor_pairs": ["chosen_chars", "rejected_chars", "chosen_finish", "rejected_finish"],
        "judge_pairs": ["chosen_chars", "rejected_chars", "chosen_finish", "rejected_finish"],
        "actor_no_pairs": ["reason"],
        "judge_no_pairs": ["reason"],
    }
    rows = {
        "responses": [
            ("p1", 10, "stop", None, "hm"),
            ("p1", 20, "length", None, None),
            ("p1", 10, "stop", "r1", None),
            ("p1", 0, "length", None, "hm"),  # nothing but a thought
            ("p2", 0, "too_long", None, None),
            ("p2", 0, "too_long", None, None),
        ],
        "judgments": [
            ("j1", 5.0, None, 100, "stop", None),
            ("j2", 2.0, None, 50, "stop", None),
            ("j3", 2.0, None, 60, "stop", None),
            ("j4", None, "length", 30, "length", None),
            ("j5", None, "prompt_too_long", 0, "too_long", None),
        ],
        "battles": [
            ("j1", "j2", "a", None),  # the higher score wins
            ("j2", "j1", "a", None),  # it loses
            ("j1", "j3", "a", None),  # it wins
            ("j2", "j3", "b", None),  # the scores are equal
            ("j3", "j1", None, "tie"),
        ],
        "elo": [("r1", 0.01), ("r1", 0.01), ("r2", 0.0)],
        "actor_pairs": [(10, 20, "stop", "length"), (30, 50, "stop", "stop")],
        "judge_pairs": [],
        "actor_no_pairs": [("equal_scores",), ("equal_scores",)],
        "judge_no_pairs": [("not_chosen",), ("chosen_judgment_too_long",)],
    }
    return {name: pl.DataFrame(rows[name], schema=columns[name], orient="row") for name in columns}


def test_metrics_of_an_iteration(tables):
    assert iteration_metrics(tables) == {
        "data.responses": 6,
        "data.duplicates": 1,
        "data.responses_cut": 2,
        "data.prompts_too_long": 1,
        "data.responses_with_thought": 2,
        "data.responses_only_thought": 1,
        "data.response_chars": 40 / 3,
        "judge.judgments": 5,
        "judge.readable": 0.6,
        "judge.invalid": {"length": 1, "prompt_too_long": 1},
        "judge.score_mean": 3.0,
        "judge.score_variance": 2.0,
        "judge.score_at_maximum": 1 / 3,
        "judge.judgment_chars": 60.0,
        "actor_pairs.pairs": 2,
        "actor_pairs.none": {"equal_scores": 2},
        "actor_pairs.chosen_chars": 20.0,
        "actor_pairs.rejected_chars": 35.0,
        "actor_pairs.chosen_cut": 0,
        "actor_pairs.rejected_cut": 1,
        "meta_judge.battles": 5,
        "meta_judge.readable": 0.8,
        "meta_judge.invalid": {"tie": 1},
        "meta_judge.first_position_wins": 0.75,
        "meta_judge.higher_score_wins": 2 / 3,
        "meta_judge.responses_by_ridge": 1,
        "judge_pairs.pairs": 0,
        "judge_pairs.none": {"chosen_judgment_too_long": 1, "not_chosen": 1},
    }


def test_the_histogram_has_a_bin_for_each_half_point(tables):
    shares = {row["score"]: row["share"] for row in score_histogram(tables["judgments"])}
    assert shares == {half / 2: 0 for half in range(11)} | {2.0: 0.6667, 5.0: 0.3333}


def test_scores_between_half_points_go_to_the_nearest():
    judgments = pl.DataFrame({"score": [4.4, 4.6, 4.9, None]})
    shares = {row["score"]: row["share"] for row in score_histogram(judgments) if row["share"]}
    assert shares == {4.5: 0.6667, 5.0: 0.3333}


def test_metrics_are_keyed_by_group_metric_and_checkpoint():
    results = pl.DataFrame(
        [("win_rate", 0.5, "sft"), ("agreement", 0.25, None), ("spearman", None, None)],
        schema={"metric": pl.String, "value": pl.Float64, "referee": pl.String},
        orient="row",
    )
    values = {"m1": held_out_metrics(results), "m2": {"judge.invalid": {"length": 3}}}
    assert by_metric(values) == {
        "held_out": {"win_rate_by_sft": {"m1": 0.5}, "agreement": {"m1": 0.25}},
        "judge": {"invalid": {"length": {"m2": 3}}},
    }


def steps(n, **rewards):
    row = {"epoch": 1.0, "learning_rate": 0.1, "grad_norm": 1.0} | rewards
    return table_of([{"step": step, "loss": float(step), **row} for step in range(1, n + 1)], "training_steps")


def test_a_curve_has_a_row_for_each_metric_and_step():
    assert training_curves(steps(2)) == [
        {"metric": "loss", "step": 1, "value": 1.0},
        {"metric": "loss", "step": 2, "value": 2.0},
    ]
    rewards = training_curves(steps(1, reward_margin=0.5, reward_accuracy=1.0))
    assert {row["metric"]: row["value"] for row in rewards} == {
        "loss": 1.0,
        "reward_margin": 0.5,
        "reward_accuracy": 1.0,
    }
    assert training_curves(steps(0)) == []


def test_a_long_curve_is_drawn_by_means_of_stretches():
    """Five steps in two stretches: 1 to 3, whose mean is 2, and 4 and 5."""
    assert [(row["step"], row["value"]) for row in training_curves(steps(5), most=2)] == [(3, 2.0), (5, 4.5)]
    assert len(training_curves(steps(1000))) == 200


def test_each_plot_has_its_rows_by_checkpoint():
    result = {"ci_low": None, "ci_high": None, "n": 4, "referee": None}
    seed = {"checkpoint": "seed", "metrics": {}, "curves": [], "scores": []}
    seed["results"] = [
        {"metric": "readable_verdicts", "value": 0.5, **result},
        {"metric": "spearman", "value": 0.1, **result},
        {"metric": "response_chars", "value": None, **result},
    ]
    m1 = {
        "checkpoint": "m1",
        "metrics": {},
        "curves": training_curves(steps(1)),
        "scores": [{"score": 0.5, "share": 1}],
    }
    m1["results"] = [
        {"metric": "win_rate", "value": 0.7, **result, "ci_low": 0.5, "ci_high": 0.9, "referee": "sft"},
    ]
    plots = plot_rows([seed, m1])
    assert plots["readable"] == [{"checkpoint": "seed", "metric": "readable_verdicts", "value": 0.5, **result}]
    assert plots["win_rate"] == [{"checkpoint": "m1", **m1["results"][0]}]
    assert plots["loss"] == [{"checkpoint": "m1", "metric": "loss", "step": 1, "value": 1.0}]
    assert plots["scores"] == [{"iteration": "m1", "score": 0.5, "share": 1}]
    columns = ["checkpoint", "metric", "value", "ci_low", "ci_high", "n", "referee"]
    assert plots["response_chars"] == [dict.fromkeys(columns)]  # DVC cannot read an empty file
    assert plots["rewards"] == [dict.fromkeys(["checkpoint", "metric", "step", "value"])]
    assert set(plots) == {*PLOTS, "scores"}
