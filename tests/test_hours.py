"""How long a run would take, by hand."""

import pytest

from metareward.errors import UserError
from metareward.pipeline.hours import (
    HARDWARE,
    TRAINING_SHARE,
    WRITING_SHARE,
    parse_hardware,
    times_of_own,
    times_on,
)
from metareward.pipeline.plan import Load


def load(stage, prefill, decode):
    return Load(stage, 1, 1, prefill, prefill, decode, None)


def test_hardware_is_a_name_and_a_number():
    assert parse_hardware("h100x8") == (HARDWARE["h100"], 8)
    assert parse_hardware("a100") == (HARDWARE["a100"], 1)
    for wrong in ("h100x0", "h900", "x8", ""):
        with pytest.raises(UserError, match="must be one of a100, h100, h200, l40s"):
            parse_hardware(wrong)


def test_time_on_hardware_is_operations_by_the_share_of_its_peak():
    (judge, sft, dpo) = times_on(HARDWARE["a100"], 2, 1e9, [load("judge@m1", 1000, 100)], {"sft": 50, "dpo@m1": 50})
    peak = 2 * 312e12
    assert judge.seconds == pytest.approx(2e9 * 1000 / (TRAINING_SHARE * peak) + 2e9 * 100 / (WRITING_SHARE * peak))
    assert sft.seconds == pytest.approx(6e9 * 50 / (TRAINING_SHARE * peak))
    assert dpo.seconds == pytest.approx(8e9 * 50 / (TRAINING_SHARE * peak))


def test_a_stage_that_has_not_run_takes_as_much_for_a_token_as_the_last_of_its_kind():
    costs = [
        {"stage": "respond@m1", "seconds": 30.0, "prompt_chars": 440, "tokens_written": 200, "tokens_trained": 0},
        {"stage": "sft", "seconds": 60.0, "prompt_chars": 0, "tokens_written": 0, "tokens_trained": 600},
    ]
    loads = [load("respond@m1", 100, 200), load("respond@m2", 200, 400), load("meta-judge@m1", 1, 1)]
    found = {time.stage: time.seconds for time in times_of_own(loads, {"sft": 900}, costs)}
    assert found == {"respond@m1": 30.0, "respond@m2": pytest.approx(60.0), "meta_judge@m1": None, "sft": 60.0}
