"""The metrics of an iteration, counted by hand on a few rows."""

import polars as pl
import pytest

from metareward.evaluation.judge_bias import decided_battles, judge_bias
from metareward.evaluation.metrics import (
    PLOTS,
    benchmark_metrics,
    by_metric,
    category_rows,
    difference_metrics,
    held_out_metrics,
    interval_rows,
    iteration_metrics,
    length_control_metrics,
    plot_rows,
    training_curves,
)
from metareward.tables import empty_table, table_of


@pytest.fixture
def tables():
    """Two prompts, the second too long; of the first one's responses one is a duplicate, two are cut."""
    columns = {
        "responses": ["prompt_id", "n_chars", "finish_reason", "duplicate_of", "thought"],
        "judgments": ["judgment_id", "score", "invalid_reason", "n_chars", "finish_reason", "thought"],
        "battles": ["prompt_id", "judgment_a", "judgment_b", "winner", "invalid_reason"],
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
            ("p1", "j1", "j2", "a", None),  # the higher score wins
            ("p1", "j2", "j1", "a", None),  # it loses
            ("p1", "j1", "j3", "a", None),  # it wins
            ("p1", "j2", "j3", "b", None),  # the scores are equal
            ("p1", "j3", "j1", None, "tie"),
        ],
        "elo": [("r1", 0.01), ("r1", 0.01), ("r2", 0.0)],
        "actor_pairs": [(10, 20, "stop", "length"), (30, 50, "stop", "stop")],
        "judge_pairs": [],
        "actor_no_pairs": [("equal_scores",), ("equal_scores",)],
        "judge_no_pairs": [("not_chosen",), ("chosen_judgment_too_long",)],
    }
    return {name: pl.DataFrame(rows[name], schema=columns[name], orient="row") for name in columns}


def test_metrics_of_an_iteration(tables):
    bias = judge_bias(decided_battles(tables["battles"], tables["judgments"]), "sft", "m1", 10, 0)
    assert iteration_metrics(tables, bias) == {
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
        "meta_judge.first_position_wins_equal_scores": 0.0,
        "meta_judge.higher_score_wins": 2 / 3,
        "meta_judge.responses_by_ridge": 1,
        "judge_pairs.pairs": 0,
        "judge_pairs.none": {"chosen_judgment_too_long": 1, "not_chosen": 1},
    }


def test_the_rho_is_a_metric_and_so_is_that_none_balances():
    control = pl.DataFrame({"rho": [0.25], "set_by": ["balanced"]})
    assert length_control_metrics(control) == {"actor_pairs.rho": 0.25}
    control = control.with_columns(set_by=pl.lit("least_difference"))
    assert length_control_metrics(control) == {"actor_pairs.rho": 0.25, "actor_pairs.rho_not_balanced": 1}


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


def test_a_name_with_dots_is_one_name():
    """A judge's, for one: gpt-4.1, or a folder."""
    values = {"m1": {"held_out.win_rate_by_org/gpt-4.1": 0.5, "judge.invalid": {"v1.0": 2}}}
    assert by_metric(values) == {
        "held_out": {"win_rate_by_org/gpt-4.1": {"m1": 0.5}},
        "judge": {"invalid": {"v1.0": {"m1": 2}}},
    }


def difference(checkpoint, other, value, metric="spearman", referee=None):
    row = {"checkpoint": checkpoint, "other": other, "metric": metric, "referee": referee}
    return row | {"value": value, "ci_low": -1.0, "ci_high": 0.123456789, "n": 4}


def test_differences_to_the_checkpoint_before_and_to_sft_are_groups():
    rows = [difference("m2", "m1", 0.25, "win_rate", "sft"), difference("m2", "sft", 0.5), difference("m2", "m1", None)]
    assert difference_metrics(table_of(rows, "differences"), before="m1") == {
        "difference_to_before.win_rate_by_sft": 0.25,
        "difference_to_sft.spearman": 0.5,
    }
    both = table_of([difference("m1", "sft", 0.5)], "differences")
    assert set(difference_metrics(both, before="sft")) == {
        "difference_to_before.spearman",
        "difference_to_sft.spearman",
    }


def graded(benchmark, metric, value, referee="org/judge-4.1"):
    row = {"checkpoint": "m1", "benchmark": benchmark, "metric": metric, "value": value, "referee": referee}
    return row | {"ci_low": 40.0, "ci_high": 60.0, "n": 4}


def test_results_on_benchmarks_are_groups_and_carry_the_judges_name():
    """A name with dots and slashes stays one key, so that it is found in metrics.json as it stands in params."""
    rows = [graded("alpaca_eval", "win_rate", 52.0), graded("mt_bench", "mean", 7.5)]
    rows += [graded("alpaca_eval", "mean_length", 900.0, None), graded("arena_hard", "score", None)]
    metrics = benchmark_metrics(table_of(rows, "results"))
    assert metrics == {
        "alpaca_eval.win_rate_by_org/judge-4.1": 52.0,
        "alpaca_eval.mean_length": 900.0,
        "mt_bench.mean_by_org/judge-4.1": 7.5,
    }
    assert by_metric({"m1": metrics})["alpaca_eval"]["win_rate_by_org/judge-4.1"] == {"m1": 52.0}
    assert benchmark_metrics(empty_table("results")) == {}


def test_win_rates_by_category_are_rows_of_their_own():
    rows = [graded("alpaca_eval", "category_food_and_drink", 30.0), graded("mt_bench", "category_math", 5.0)]
    rows.append(graded("alpaca_eval", "win_rate", 52.0))
    found = category_rows(table_of(rows, "results"))
    assert found.select("category", "value").rows() == [("food and drink", 30.0)]


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


def entry(checkpoint, **rows):
    rows["results"] = [{"checkpoint": checkpoint, **row} for row in rows.get("results", [])]
    kinds = ("results", "benchmarks", "categories", "differences", "bias", "distribution", "curves", "scores")
    return {"checkpoint": checkpoint, **{kind: [] for kind in kinds}, **rows}


@pytest.fixture
def entries():
    """seed, m1 and m2 with a row or two of each kind."""
    result = {"benchmark": "held_out", "ci_low": None, "ci_high": None, "n": 4, "referee": None}
    seed = [
        {"metric": "readable_verdicts", "value": 0.5, **result},
        {"metric": "unknown", "value": 0.1, **result},
        {"metric": "response_chars", "value": None, **result},
    ]
    m1 = [{"metric": "win_rate", "value": 0.7, **result, "ci_low": 0.5, "ci_high": 0.9, "referee": "sft"}]
    bias = {"battles": "m1", "meta_judge": "sft", "preference": "higher_score", "difference": "all", "share": 0.75}
    bias |= {"ci_low": 0.5, "ci_high": 1.0, "n": 4}
    density = {"checkpoint": "m1", "kind": "density", "score": 0.05, "value": 0.123456789}
    return [
        entry("seed", results=seed),
        entry(
            "m1",
            results=m1,
            curves=training_curves(steps(1)),
            scores=[{"score": 0.5, "share": 1.0}],
            bias=[bias, bias | {"difference": "0-1", "share": None}, bias | {"battles": "held_out", "share": 0.25}],
            distribution=[density, density | {"value": None}],
            differences=[difference("m1", "seed", 0.1)],
            benchmarks=[graded("alpaca_eval", "win_rate", 52.0), graded("mt_bench", "turn_1", 7.0)],
            categories=[graded("alpaca_eval", "category_food", 30.0) | {"category": "food"}],
        ),
        entry("m2", differences=[difference("m2", "m1", 0.2), difference("m2", "seed", 0.3)]),
    ]


def test_each_plot_has_its_rows_by_checkpoint(entries):
    plots = plot_rows(entries)
    assert set(plots) == set(PLOTS)
    seed, m1, _ = entries
    columns = ["checkpoint", "metric", "value", "ci_low", "ci_high", "n", "referee"]
    assert plots["readable"] == [{column: seed["results"][0][column] for column in columns}]
    assert plots["win_rate"] == [{column: m1["results"][0][column] for column in columns}]
    assert plots["loss"] == [{"checkpoint": "m1", "metric": "loss", "step": 1, "value": 1.0}]
    assert plots["scores"] == [{"checkpoint": "m1", "score": 0.5, "share": 1.0}]
    assert plots["judge_bias"] == [{"checkpoint": "m1", **m1["bias"][k]} for k in (0, 2)]
    assert plots["score_distribution"] == [{"checkpoint": "m1", "kind": "density", "score": 0.05, "value": 0.123457}]
    to_before = [(row["checkpoint"], row["other"], row["value"]) for row in plots["differences"]]
    assert to_before == [("m1", "seed", 0.1), ("m2", "m1", 0.2)]
    assert [(row["metric"], row["value"]) for row in plots["alpaca_eval"]] == [("win_rate", 52.0)]
    assert [(row["metric"], row["value"]) for row in plots["mt_bench"]] == [("turn_1", 7.0)]
    assert [(row["category"], row["value"]) for row in plots["alpaca_eval_categories"]] == [("food", 30.0)]
    assert plots["response_chars"] == [dict.fromkeys(columns)]  # DVC cannot read an empty file
    assert plots["rewards"] == [dict.fromkeys(["checkpoint", "metric", "step", "value"])]


def test_intervals_of_values_and_differences_are_in_one_list(entries):
    rows = interval_rows(entries)
    named = [(row["checkpoint"], row["other"], row["metric"], row["value"]) for row in rows]
    assert named == [
        ("seed", None, "readable_verdicts", 0.5),
        ("seed", None, "unknown", 0.1),
        ("m1", None, "win_rate", 0.7),
        ("m1", None, "win_rate", 52.0),
        ("m1", None, "turn_1", 7.0),
        ("m1", "seed", "spearman", 0.1),
        ("m1", None, "higher_score_wins", 0.75),  # of the iteration's battles, overall
        ("m2", "m1", "spearman", 0.2),
        ("m2", "seed", "spearman", 0.3),
    ]
    assert rows[2] == {
        "benchmark": "held_out", "checkpoint": "m1", "other": None, "metric": "win_rate", "referee": "sft",
        "value": 0.7, "ci_low": 0.5, "ci_high": 0.9, "n": 4, "before": False,
    }  # fmt: skip
    assert rows[5]["ci_high"] == 0.123457
    assert [row["before"] for row in rows] == [False] * 5 + [True, False, True, False]
    assert rows[6]["benchmark"] == "meta_judge"
