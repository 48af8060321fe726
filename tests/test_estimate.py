"""How long a run takes on the machine at hand: what is counted, and what is made of it."""

import dataclasses
import re
from itertools import permutations
from pathlib import Path

import pytest
from reasons import with_reasons

from metareward.cli.estimate import estimate
from metareward.engines.common.chat import encode_chats
from metareward.engines.common.tokenizer import load_tokenizer
from metareward.engines.transformers.tree import grow_tree
from metareward.inputs.examples import formats_of, read_eft
from metareward.inputs.pool import read_prompts
from metareward.inputs.replies import read_replies
from metareward.load_params import parse_params, read_yaml
from metareward.params import Params
from metareward.pipeline import estimate as estimates
from metareward.pipeline.estimate import Machine, cheaper, measure, work_of
from metareward.pipeline.hours import count_parameters
from metareward.pipeline.plan import expected_lengths, loads
from metareward.roles.requests import single_turn
from metareward.templates.texts import load_templates

from pipeline import ROOT


@pytest.fixture
def params(monkeypatch) -> Params:
    monkeypatch.chdir(ROOT)
    values = with_reasons(read_yaml(Path("profiles/demo.yaml")))
    values["prompts"]["per_iteration"] = 6
    values["evaluate"] |= {"n_prompts": 6, "n_judged_prompts": 6}
    values["sft"]["max_steps"] = 30  # less than an epoch
    return parse_params(values)


def test_the_tokens_of_prompts_are_those_that_the_engine_computes(params, smollm2):
    """Of an evaluation and a comparison: the plan knows mean lengths alone, the engine the texts."""
    templates, settings = load_templates(params.templates), params.evaluate
    lengths = expected_lengths(params, templates)
    plan = {load.stage: load for load in loads(params, templates, lengths, Path("data"))}
    prompts = read_prompts(Path(settings.prompts), "").slice(0, settings.n_prompts)["prompt"].to_list()
    replies = read_replies(Path(settings.judged), "", settings.n_judged_prompts)
    texts = replies.select("prompt", "response").rows()
    examples = read_eft(params.eft, templates, formats_of(params)).filter(kind="judge")["target"].to_list()
    judged = [templates.judge_prompt(prompt, response) for prompt, response in texts]
    battles = [
        templates.meta_judge_prompt(*text, a, b)
        for number, text in enumerate(texts[:: len(texts) // settings.n_judged_prompts])
        for a, b in permutations(examples[5 * number : 5 * number + settings.n_judgments], 2)
    ]
    answers = replies["response"].to_list()[: 2 * len(prompts)]
    pairs = zip(prompts, answers[::2], answers[1::2], strict=True)
    compared = [templates.compare_prompt(p, *order) for p, a, b in pairs for order in ((a, b), (b, a))]
    tokenizer = load_tokenizer(smollm2, {})

    def counted(*batches: list[str]) -> tuple[int, int]:
        chats = [encode_chats(tokenizer, [single_turn(text) for text in batch]) for batch in batches]
        computed = sum(len(segment.tokens) for batch in chats for segment in grow_tree(batch)[0])
        return computed, sum(len(chat) for batch in chats for chat in batch)

    for load, found in (
        (plan["evaluate@sft"], counted(prompts, judged, battles)),
        (plan["compare@sft"], counted(compared)),
    ):
        computed, read = found
        assert load.computed / load.prefill == pytest.approx(computed / read, rel=0.15)
        assert computed < 0.7 * read


def seconds_of(params, machine):
    return {work.stage: work.seconds for work in work_of(params, machine, 10**8)}


def test_the_embedded_model_has_the_parameters_that_are_counted_on(smollm2):
    assert count_parameters(smollm2) == estimates.EMBEDDED_PARAMETERS


def test_work_takes_its_operations_and_starting_does_not(params):
    machine = Machine("a processor", "float32", 1e11, 3.0)
    once = seconds_of(params, machine)
    assert list(once) == ["sft", "respond", "judge", "meta-judge", "dpo", "evaluate", "compare", "others"]
    twice, idle = (dataclasses.replace(machine, operations=2e11), dataclasses.replace(machine, operations=1e99))
    starting = seconds_of(params, idle)
    assert seconds_of(params, twice) == pytest.approx(
        {stage: starting[stage] + (seconds - starting[stage]) / 2 for stage, seconds in once.items()}
    )
    assert seconds_of(params, dataclasses.replace(idle, start=6.0)) == pytest.approx(
        {stage: 2 * seconds for stage, seconds in starting.items()}
    )
    assert starting["respond"] == 4 * starting["sft"]  # four iterations load the model, each anew


def test_a_stage_is_counted_by_its_tokens(params):
    machine = Machine("a processor", "float32", 1e11, 0.0)
    templates = load_templates(params.templates)
    lengths = expected_lengths(params, templates)
    counted = {work.stage: work for work in work_of(params, machine, 10**8)}
    trained = estimates.training_loads(params, templates, lengths)
    assert counted["sft"].multiply_adds == 3 * trained["sft"] * 10**8
    assert counted["dpo"].multiply_adds == 4 * sum(n for label, n in trained.items() if label != "sft") * 10**8
    asked = [load for load in loads(params, templates, lengths, Path("data")) if load.stage.startswith("judge@")]
    judge = counted["judge"]
    assert (judge.read, judge.written) == (sum(load.computed for load in asked), sum(load.decode for load in asked))
    assert judge.multiply_adds == (judge.read + judge.written) * 10**8
    shares = estimates.SHARES["float32"]
    assert judge.seconds == pytest.approx(
        2e8 * (judge.read / shares["read"] + judge.written / shares["written"]) / 1e11
    )


def test_steps_are_counted_beyond_the_epochs_too(params):
    """As the Trainer takes them: max_steps overrides epochs."""
    templates = load_templates(params.templates)
    lengths = expected_lengths(params, templates)
    rows = read_eft(params.eft, templates, formats_of(params)).height
    once = estimates.training_loads(params, templates, lengths)["sft"] / (params.sft.max_steps * params.sft.batch_size)
    longer = params.sft.model_copy(update={"max_steps": 10 * rows, "epochs": 1})
    found = estimates.training_loads(params.model_copy(update={"sft": longer}), templates, lengths)["sft"]
    assert found == pytest.approx(10 * rows * params.sft.batch_size * once, rel=1e-3)


def test_likelihoods_of_ranked_replies_are_counted(params):
    machine = Machine("a processor", "float32", 1e11, 3.0)
    measured = params.model_copy(update={"evaluate": params.evaluate.model_copy(update={"likelihood": True})})
    assert "likelihood" not in seconds_of(params, machine)
    (found,) = [work for work in work_of(measured, machine, 10**8) if work.stage == "likelihood"]
    replies = read_replies(Path(params.evaluate.judged), "", params.evaluate.n_judged_prompts)
    assert found.read > 6 * replies.height * 10  # six checkpoints read each of them, with its prompt
    assert (found.written, found.multiply_adds) == (0, found.read * 10**8)


def test_every_change_that_is_named_makes_the_run_shorter(params):
    machine = Machine("a processor", "float32", 1e11, 3.0)
    whole = sum(seconds_of(params, machine).values())
    named = dict(cheaper(params))
    assert set(named) == {
        "no m3 or m4 in checkpoints and iterations",
        "prompts.per_iteration=3",
        "evaluate.n_prompts=3",
        "evaluate.n_judged_prompts=3",
        f"sft.max_steps={params.sft.max_steps // 2}",
    }
    for changed in named.values():
        Params.model_validate(changed.model_dump())
        assert sum(seconds_of(changed, machine).values()) < whole


def test_null_sizes_are_halved_too(params):
    everything = {"n_prompts": None, "n_judged_prompts": None}
    params = params.model_copy(update={"evaluate": params.evaluate.model_copy(update=everything)})
    named = dict(cheaper(params.model_copy(update={"sft": params.sft.model_copy(update={"max_steps": None})})))
    assert {"evaluate.n_prompts=24", "evaluate.n_judged_prompts=7"} < set(named)
    examples = read_eft(params.eft, load_templates(params.templates), formats_of(params)).height
    assert f"sft.max_steps={int(-(-examples // params.sft.batch_size) * params.sft.epochs) // 2}" in named


def test_what_a_machine_does_is_measured():
    machine = measure()
    assert 1e9 < machine.operations < 1e15
    assert 0 <= machine.start < 600
    assert machine.dtype in estimates.SHARES


def test_a_judgment_of_a_digit_is_a_token_and_the_end_of_the_turn(params):
    brief = parse_params(read_yaml(Path("profiles/demo.yaml")))
    lengths = expected_lengths(brief, load_templates(brief.templates))
    assert lengths.judgment == 2
    assert lengths.response < brief.respond.max_tokens
    reasons = expected_lengths(params, load_templates(params.templates))
    assert reasons.judgment > 20


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, r"all( +[\d,]+){3} +[\d.]+ +\d+\.\d\s+about \d+ minutes on this machine"),
        ({"engine": "openai"}, "known for one processor alone"),
        ({"seed_model": "somebody/a-model"}, "somebody/a-model is not here"),
    ],
)
def test_estimate_says_it_or_why_it_is_not_known(params, monkeypatch, capsys, tmp_path, change, said):
    text = Path("profiles/demo.yaml").read_text()
    if "engine" in change:
        text = text.replace("name: transformers ", f"name: {change['engine']} ")
        text = text.replace("base_url: null", "base_url: http://localhost:1/v1")
    if "seed_model" in change:
        text = text.replace("seed_model: embedded", f"seed_model: {change['seed_model']}")
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("metareward.cli.estimate.PARAMS", tmp_path / "params.yaml")
    estimate()
    assert re.search(said, capsys.readouterr().out)
