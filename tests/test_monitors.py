"""Monitors: values counted by hand, what passes, and a run that stops, goes on and repeats nothing."""

import re

import polars as pl
import pytest
import yaml

from metareward.cli.monitors import warnings
from metareward.cli.show import show
from metareward.errors import UserError
from metareward.evaluation.judge_bias import decided_battles, judge_bias
from metareward.evaluation.metrics import by_metric, iteration_metrics, monitor_rows
from metareward.evaluation.monitors import (
    MONITORS,
    data_values,
    effective_pairs,
    monitor_metrics,
    monitors_table,
    training_values,
)
from metareward.evaluation.results import results_table
from metareward.params import Monitors
from metareward.pipeline.monitors import read_monitors, watch
from metareward.pipeline.stage import Stage
from metareward.query import connect
from metareward.tables import empty_table, read_table, write_json

from pipeline import Clone, stages_restored, stages_run

PAIR = ["chosen", "rejected", "chosen_finish", "rejected_finish"]


def pairs(*rows):
    return pl.DataFrame([(*texts, *(ended or ["stop", "stop"])) for *texts, ended in rows], schema=PAIR, orient="row")


def settings(limit=None, action="warn", **limits):
    """All monitors with one limit (None: off), and those named with theirs."""
    return Monitors(**{name: {"limit": limits.get(name, limit), "action": action} for name in MONITORS})


def test_effective_pairs_by_hand():
    """Seven pairs: the first two are the same texts, the third has them swapped, the fourth are equal; then the cut."""
    given = pairs(
        ("yes", "no", None),
        ("yes", "no", None),
        ("no", "yes", None),
        ("same", "same", None),
        ("cut", "no", ["length", "stop"]),
        ("yes", "cut", ["stop", "length"]),
        ("", "no", ["length", "stop"]),  # cut before it had a character
    )
    assert effective_pairs(given, "open") == 4
    assert effective_pairs(given, "drop") == 2
    assert effective_pairs(given.clear(), "open") == 0
    assert effective_pairs(pairs(("", "no", None)), "drop") == 1  # a response may be empty, and end


def test_values_of_the_data_by_hand():
    metrics = {
        "judge.readable": 0.9,
        "judge.score_at_maximum": 0.25,
        "meta_judge.readable": 0.8,
        "meta_judge.first_position_wins": 0.75,
        "actor_pairs.chosen_chars": 100.0,
        "actor_pairs.rejected_chars": 120.0,
        "judge_pairs.chosen_chars": 300.0,
        "judge_pairs.rejected_chars": 250.0,
    }
    assert data_values(metrics, 12) == {
        "readable_judgments": 0.9,
        "score_at_maximum": 0.25,
        "readable_verdicts": 0.8,
        "first_position_wins": 0.75,
        "actor_length_difference": -20.0,
        "judge_length_difference": 50.0,
        "effective_pairs": 12.0,
    }


def test_an_iteration_of_nothing_has_nothing_to_measure():
    """No judge is trained, no battle fought, no pair made: no value, and nothing beyond a limit but the pairs."""
    names = {"actor_no_pairs": "no_pairs", "judge_no_pairs": "no_pairs"}
    made = ("responses", "judgments", "battles", "elo", "actor_pairs", "judge_pairs", *names)
    tables = {name: empty_table(names.get(name, name)) for name in made}
    bias = judge_bias(decided_battles(tables["battles"], tables["judgments"]), "m2", "m3", 1, 0)
    values = data_values(iteration_metrics(tables, bias), 0)
    assert {name for name, value in values.items() if value is not None} == {"effective_pairs"}
    table = monitors_table("m3", values, settings(0.5))
    assert dict(table.select("monitor", "passed").iter_rows()) == dict.fromkeys(values) | {"effective_pairs": False}


def test_battles_of_which_none_is_decided_say_nothing_of_the_position():
    judgments = pl.DataFrame({"judgment_id": ["j1", "j2"], "score": [5.0, 4.0]})
    columns = {"prompt_id": "p", "judgment_a": "j1", "judgment_b": "j2"}
    battles = pl.DataFrame([columns | {"winner": None}], schema_overrides={"winner": pl.String})
    bias = judge_bias(decided_battles(battles, judgments), "sft", "m1", 1, 0)
    assert bias.filter(preference="first_position", difference="all")["share"].to_list() == [None]


@pytest.mark.parametrize("rounds", [1, 100])
def test_a_share_is_the_metrics_whatever_the_resamples_of_its_interval(rounds):
    judgments = pl.DataFrame({"judgment_id": ["j1", "j2"], "score": [5.0, 4.0]})
    rows = [("p1", "j1", "j2", "a"), ("p1", "j2", "j1", "a"), ("p2", "j1", "j2", "b")]
    battles = pl.DataFrame(rows, schema=["prompt_id", "judgment_a", "judgment_b", "winner"], orient="row")
    bias = judge_bias(decided_battles(battles, judgments), "sft", "m1", rounds, 7)
    assert bias.filter(preference="first_position", difference="all")["share"].to_list() == [2 / 3]


def results(chars):
    return results_table("m1", [("response_chars", chars, None, None, 4, None)])


def test_values_of_a_training_by_hand():
    training = {"rows_in": 20, "rows_trained": 15, "rows_held_out": 1, "too_long": 4, "reward_accuracy": 0.75}
    assert training_values(training, results(220.0), results(200.0)) == {
        "pairs_in_training": 0.8,
        "reward_accuracy": 0.75,
        "response_growth": pytest.approx(0.1),
    }


def test_a_training_without_pairs_or_of_sft_has_less_to_measure():
    copied = {"rows_in": 0, "rows_trained": 0, "rows_held_out": 0, "copied": 1}  # dpo.on_empty: copy
    nothing = {"pairs_in_training": None, "reward_accuracy": None}
    assert training_values(copied, results(200.0), results(200.0)) == nothing | {"response_growth": 0.0}
    all_too_long = copied | {"rows_in": 8, "too_long": 8}
    assert training_values(all_too_long, results(1.0), results(1.0))["pairs_in_training"] == 0.0
    sft = {"rows_in": 228, "rows_trained": 120}
    assert training_values(sft, results(None), results(200.0)) == nothing | {"response_growth": None}
    assert training_values(sft, results(200.0), results(0.0)) == nothing | {"response_growth": None}
    assert training_values(sft, results(200.0), results(1.0).clear()) == nothing | {"response_growth": None}


def test_a_value_on_its_limit_passes_on_either_side():
    for value, above, below in ((0.5, True, True), (0.6, False, True), (0.4, True, False)):
        values = {"score_at_maximum": value, "effective_pairs": value}
        table = monitors_table("m1", values, settings(0.5, "stop"))
        found = dict(table.select("monitor", "passed").iter_rows())
        assert found == {"score_at_maximum": above, "effective_pairs": below}, value
        assert set(table["action"]) == {"stop"}


def test_a_monitor_without_limit_has_no_row_and_0_is_a_limit():
    values = {"score_at_maximum": 0.9, "actor_length_difference": 3.0}
    table = monitors_table("m1", values, settings(actor_length_difference=0.0))
    assert table.select("monitor", "passed").rows() == [("actor_length_difference", False)]


def test_metrics_and_rows_of_monitors():
    values = {"score_at_maximum": 0.9, "actor_length_difference": None, "effective_pairs": 3.0}
    table = monitors_table("m1", values, settings(0.5))
    metrics = monitor_metrics(table)
    assert metrics == {"monitors.score_at_maximum": 0.9, "monitors.effective_pairs": 3.0, "monitors.beyond_limit": 1}
    assert by_metric({"m1": metrics})["monitors"]["beyond_limit"] == {"m1": 1}
    assert monitor_metrics(empty_table("monitors")) == {"monitors.beyond_limit": 0}
    rows = monitor_rows([{"checkpoint": "seed", "monitors": []}, {"checkpoint": "m1", "monitors": table.to_dicts()}])
    assert [(row["checkpoint"], row["monitor"]) for row in rows] == [("m1", name) for name in sorted(values)]


def test_every_monitor_has_its_params_and_every_value_its_monitor():
    values = {**data_values({}, 0), **training_values({"rows_in": 0}, results(1.0), results(1.0))}
    assert set(values) == set(MONITORS) == set(Monitors.model_fields)


def test_a_warning_says_what_where_to_look_and_opens_the_gate(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    watch(Stage("monitor-data", "m1"), "m1", "data", {"score_at_maximum": 0.625}, settings(0.5))
    out, err = capsys.readouterr()
    assert "monitor-data@m1: 1 of 1 monitors beyond their limits" in out
    first, second = err.splitlines()
    assert first == "warn: score_at_maximum of m1 is 0.625, above its limit 0.5"
    assert second.startswith('  look: metareward sql "SELECT score')
    assert "iteration = 'm1'" in second
    gate = tmp_path / "data/monitors/m1/data.gate"
    before = gate.read_bytes()
    watch(Stage("monitor-data", "m1"), "m1", "data", {"score_at_maximum": 0.1}, settings(0.5))
    assert gate.read_bytes() == before
    assert read_monitors("m1")["passed"].to_list() == [True]


def test_a_stop_keeps_the_gate_shut_and_its_rows_can_be_read(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    watch(Stage("monitor-data", "m1"), "m1", "data", {"effective_pairs": 3.0}, settings())
    assert (gate := tmp_path / "data/monitors/m1/data.gate").exists()
    capsys.readouterr()
    with pytest.raises(UserError) as raised:
        watch(Stage("monitor-data", "m1"), "m1", "data", {"effective_pairs": 3.0}, settings(5.0, "stop"))
    assert capsys.readouterr().err.startswith("stop: effective_pairs of m1 is 3, below its limit 5\n  look: ")
    for word in (
        "monitor-data@m1 stops the run: effective_pairs",
        "dvc repro",
        "(params.yaml: monitors.effective_pairs)",
    ):
        assert word in str(raised.value)
    assert not gate.exists()
    assert read_monitors("m1")["passed"].to_list() == [False]


def expensive(ran):
    cheap = ("monitor-", "summary", "metrics", "report")
    return {stage for stage in ran if not stage.startswith(cheap)}


def test_a_run_stops_before_the_costly_stage_and_goes_on_without_repeating_one(tiny_run, tmp_path):
    """Stopped after sft, stopped again before dpo@m1, let go; then a limit is changed in what is finished.

    Up to the first stop all is as in the run that is begun from; the iteration is another, and not in its cache.
    """
    clone = Clone.with_cache_of(tiny_run, tmp_path)

    def change(**changes):
        clone.write_params(yaml.safe_load((clone.folder / "params.yaml").read_text()), changes)

    change(
        prompts__per_iteration=5,
        monitors__response_growth={"limit": -1.0, "action": "stop"},
        monitors__actor_length_difference={"limit": -10000.0, "action": "stop"},
    )
    first = clone.run("dvc repro summary@m1", returncode=255)
    assert "stop: response_growth of sft is " in first
    assert "(params.yaml: monitors.response_growth)" in first
    assert {"sft", "evaluate@sft", "evaluate@seed"} <= stages_restored(first)
    assert not any("@m1" in stage for stage in stages_restored(first))
    assert not any("@m1" in stage for stage in expensive(stages_run(first)) - {"prompts@m1"})

    change(monitors__response_growth__action="warn")
    second = clone.run("dvc repro summary@m1", returncode=255)
    assert "warn: response_growth of sft is " in second
    assert "stop: actor_length_difference of m1 is " in second
    assert "respond@m1" in stages_run(second)
    assert "dpo@m1" not in stages_run(second)
    held = read_table(clone.folder / "data/monitors/m1/data.parquet", "monitors")
    assert held.filter(~pl.col("passed"), action="stop")["monitor"].to_list() == ["actor_length_difference"]

    change(monitors__actor_length_difference__limit=10000.0)
    third = clone.run("dvc repro summary@m1")
    runs = [expensive(stages_run(output)) for output in (first, second, third)]
    assert {"dpo@m1", "evaluate@m1"} <= runs[2]
    assert sum(len(ran) for ran in runs) == len(set().union(*runs))

    rows = connect(folder=clone.folder).sql("SELECT checkpoint, monitor, look FROM monitors").fetchall()
    found = {name: {monitor for checkpoint, monitor, _ in rows if checkpoint == name} for name in ("sft", "m1")}
    assert len(found["sft"]) == 2  # reward_accuracy is off
    assert found["m1"] == set(MONITORS) - {"reward_accuracy"}
    measured = connect(folder=clone.folder).sql("SELECT monitor, look FROM monitors WHERE value IS NOT NULL").fetchall()
    assert {monitor for monitor, _ in measured} == set(MONITORS) - {"reward_accuracy"}
    for monitor, look in measured:
        (query,) = re.findall(r'^metareward sql "(.*)"$', look)
        assert connect(folder=clone.folder).sql(query).fetchall(), monitor

    outputs = clone.outputs()
    change(monitors__score_at_maximum__limit=0.001, monitors__response_growth__limit=None)
    ran = stages_run(clone.run("dvc repro summary@m1"))
    assert ran == {"monitor-data@m1", "monitor-training-sft", "monitor-training@m1", "summary-sft", "summary@m1"}
    changed = {path for path, md5 in clone.outputs().items() if outputs[path] != md5}
    assert changed <= {path for path in outputs if re.match(r"data/(monitors|summaries)/.*(parquet|json)$", path)}


def test_show_ends_with_what_lies_beyond_its_limit(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert warnings() == []
    values = {"score_at_maximum": 0.9, "effective_pairs": 30.0, "judge_length_difference": None}
    table = monitors_table("m1", values, settings(0.5))
    (tmp_path / "plots").mkdir()
    rows = monitor_rows([{"checkpoint": "m1", "monitors": table.to_dicts()}])
    write_json(rows, tmp_path / "plots/monitors.json")
    assert warnings() == ["warn: score_at_maximum of m1 is 0.9, above its limit 0.5"]
    write_json({"held_out": {"response_chars": {"m1": 1.0}}}, tmp_path / "metrics.json")
    show()
    assert "\nwarn: score_at_maximum of m1 is 0.9, above its limit 0.5\n" in capsys.readouterr().out
    write_json(rows[:2], tmp_path / "plots/monitors.json")
    show()
    assert "warn" not in capsys.readouterr().out.lower()


@pytest.mark.parametrize("text", ["{}x", "3", '{"a": 1}', '[{"monitor": "x"}]'])
def test_another_file_in_place_of_the_monitors_is_named(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots/monitors.json").write_text(text)
    with pytest.raises(UserError, match=r"plots/monitors\.json is not what a run writes"):
        warnings()
