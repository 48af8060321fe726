"""How likely a checkpoint finds ranked replies: against the model's own loss, and what is made of it."""

import json
import re

import polars as pl
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from metareward.engines.common.chat import encode_prompt, encode_target
from metareward.engines.common.tokenizer import load_tokenizer
from metareward.errors import UserError
from metareward.evaluation.held_out import likelihood_outcomes, repetition
from metareward.inputs.replies import read_replies
from metareward.training import likelihood
from metareward.training.likelihood import reply_likelihoods

from pipeline import Clone, stages_run

LINES = """\
{"prompt": "Why is the sky blue?", "response": "Air scatters blue light more than red.", "rank": 1}
{"prompt": "Why is the sky blue?", "response": "It is.", "rank": 2}
{"prompt": "Why is the sky blue?", "response": "The sky is the sky, and the sea is the sea, and so on.", "rank": 3}
{"prompt": "Name a fruit.", "response": "A pear.", "rank": 1}
{"prompt": "Name a fruit.", "response": "Bread", "rank": 2}
"""


@pytest.fixture
def replies(tmp_path):
    (tmp_path / "replies.jsonl").write_text(LINES)
    return read_replies(tmp_path / "replies.jsonl", "")


@pytest.mark.parametrize("batch_tokens", [1, 60, 4096])
def test_each_is_the_models_own_loss_times_its_tokens(tiny_model, replies, monkeypatch, batch_tokens):
    monkeypatch.setattr(likelihood, "BATCH_TOKENS", batch_tokens)
    found = reply_likelihoods(tiny_model, replies)
    assert found.height == replies.height
    tokenizer, model = load_tokenizer(tiny_model, {}), AutoModelForCausalLM.from_pretrained(tiny_model)
    for row in replies.join(found, on="response_id").iter_rows(named=True):
        prompt = encode_prompt(tokenizer, [{"role": "user", "content": row["prompt"]}])
        target = encode_target(tokenizer, row["response"])
        ids, labels = torch.tensor([prompt + target]), torch.tensor([[-100] * len(prompt) + target])
        assert row["n_tokens"] == len(target)
        assert row["logprob"] == pytest.approx(-model(input_ids=ids, labels=labels).loss.item() * len(target), rel=1e-5)


def test_a_reply_beyond_the_context_is_left_out_and_bad_weights_are_named(tiny_model, replies, tmp_path):
    long = replies.with_columns(response=pl.when(rank=3).then(pl.lit("sky " * 5000)).otherwise("response"))
    found = reply_likelihoods(tiny_model, long)
    assert set(found["response_id"]) == set(replies.filter(pl.col("rank") < 3)["response_id"])
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in tiny_model.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="broken gives 5 of 5 replies no finite likelihood"):
        reply_likelihoods(broken, replies)


def test_the_likelier_reply_is_the_one_whose_tokens_are(replies):
    sky, fruit = (replies.filter(prompt=text)["prompt_id"][0] for text in ("Why is the sky blue?", "Name a fruit."))
    # a token of rank 1: -1.0, of rank 2: -1.0, a tie, of rank 3: -2.0; of the fruits -3.0 and -1.0
    values = [(-8.0, 8), (-3.0, 3), (-10.0, 5), (-9.0, 3), (-2.0, 2)]
    found = replies.select("prompt_id", "response_id").with_columns(
        logprob=pl.Series([value for value, _ in values]), n_tokens=pl.Series([n for _, n in values])
    )
    outcomes = likelihood_outcomes("m1", replies, found)
    assert dict(outcomes.select("prompt_id", "total").iter_rows()) == {sky: 2.5, fruit: 0.0}
    assert dict(outcomes.select("prompt_id", "n").iter_rows()) == {sky: 3, fruit: 1}
    assert set(outcomes["metric"]) == {"likelihood_agreement"}
    assert likelihood_outcomes("m1", replies, found.clear()).is_empty()


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("a b c d e f", 0.0),
        ("a b c d a b c d", 1 / 5),
        ("a\na a  a a", 1 / 2),
        ("a b c", None),
        ("", None),
    ],
)
def test_repetition_is_the_share_of_runs_of_four_words_that_were_there(text, share):
    assert repetition(text) == pytest.approx(share)


def test_a_run_measures_it_where_params_say_so(tiny_run, tmp_path):
    clone = Clone.copy_of(tiny_run, tmp_path)
    params = yaml.safe_load((clone.folder / "params.yaml").read_text())
    assert "likelihood_agreement" not in json.loads((clone.folder / "metrics.json").read_text())["held_out"]
    clone.write_params(params, {"evaluate__likelihood": True})
    ran = stages_run(clone.run("dvc repro metrics"))
    expected = {f"{stage}@{checkpoint}" for stage in ("likelihood", "summary") for checkpoint in ("m1", "m2")}
    assert ran == expected | {"likelihood@seed", "likelihood@sft", "summary-sft", "metrics"}
    found = json.loads((clone.folder / "metrics.json").read_text())["held_out"]["likelihood_agreement"]
    assert set(found) == {"seed", "sft", "m1", "m2"}
    printed = clone.run(
        "metareward sql 'SELECT checkpoint, count(*) AS n FROM reply_likelihoods GROUP BY ALL ORDER BY 1'"
    )
    settings = params["evaluate"]
    n = read_replies(clone.folder / settings["judged"], "", settings["n_judged_prompts"]).height
    assert re.findall(r"(\w+) +(\d+)\n", printed) == [(name, str(n)) for name in ("m1", "m2", "seed", "sft")]
    assert re.search(r"\nlikelihood_agreement ", clone.run("metareward compare sft m2"))
