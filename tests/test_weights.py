"""What training holds and writes: adapters merged into a checkpoint, precision, optimizer, activations."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_launch import FSDP, stage
from test_train import (
    BEST,
    DPO,
    FILES,
    FULL,
    LORA,
    SFT,
    _one_thread_in_float32,  # noqa: F401
    change,
    compute_in,
    contents,
    dpo_by_hand,
    eft,
    preference_pairs,
)
from transformers import AutoModelForCausalLM, AutoTokenizer

from metareward.errors import UserError
from metareward.training import dpo, optimizer, sft
from metareward.training.dpo import train_dpo
from metareward.training.sft import train_sft


@pytest.fixture(scope="module")
def untied(tiny_model, tmp_path_factory) -> Path:
    """The tiny model with an output layer of its own."""
    folder = tmp_path_factory.mktemp("untied") / "model"
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone() + 0.01)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


def lora(**values):
    return change(FULL, lora=LORA.lora.model_dump() | values)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("method", ["sft", "dpo"])
@pytest.mark.parametrize("tied", [True, False])
def test_an_adapter_is_merged_into_an_ordinary_checkpoint_that_differs_where_it_was(
    tiny_model, untied, tmp_path, method, tied
):
    model, out = tiny_model if tied else untied, tmp_path / "out"
    targets = ["q_proj", "layers.1.mlp.down_proj"]
    if method == "sft":
        train_sft(model, eft(4), out, SFT, tmp_path / "work", 1, weights=lora(targets=targets))
    else:
        train_dpo(model, preference_pairs(8), out, DPO, tmp_path / "work", 1, weights=lora(targets=targets))
    before, after = weights_of(model), weights_of(out)
    assert before.keys() == after.keys()
    assert ("lm_head.weight" in after) != tied
    assert {name for name in after if not torch.equal(before[name], after[name])} == {
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.1.self_attn.q_proj.weight",
        "model.layers.1.mlp.down_proj.weight",
    }
    for name, weight in after.items():
        assert torch.linalg.matrix_rank(weight - before[name]) <= 4 if weight.ndim == 2 else True
        assert weight.isfinite().all()
        assert weight.dtype == torch.float32
    assert set(contents(out)) == FILES
    assert json.loads((out / "config.json").read_text()) == json.loads((model / "config.json").read_text())
    assert not list((tmp_path / "work").iterdir())


def test_all_linear_is_every_linear_module_but_the_output_layer(untied, tmp_path):
    train_sft(untied, eft(4), tmp_path / "out", SFT, tmp_path / "work", 1, weights=LORA)
    before, after = weights_of(untied), weights_of(tmp_path / "out")
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.endswith("proj.weight")}


def test_dpo_with_an_adapter_starts_at_log_2_and_its_reference_is_the_model_without_it(
    tiny_model, tmp_path, monkeypatch
):
    pairs, references = preference_pairs(4), []
    true = dpo._Dpo.compute_loss

    def look(self, *rest, **more):
        references.append(self.ref_model)
        return true(self, *rest, **more)

    monkeypatch.setattr(dpo._Dpo, "compute_loss", look)
    one = train_dpo(tiny_model, pairs, tmp_path / "one", change(DPO, max_steps=1), tmp_path / "work", 1, weights=LORA)
    assert one["loss_first"] == pytest.approx(0.6931472, abs=1e-5)
    two = train_dpo(tiny_model, pairs, tmp_path / "two", change(DPO, max_steps=2), tmp_path / "work", 1, weights=LORA)
    loss, margins = dpo_by_hand(tmp_path / "one", tiny_model, pairs)
    assert abs(loss - 0.6931472) > 1e-4
    assert two["loss_last"] == pytest.approx(loss, rel=1e-4)
    assert two["reward_margin"] == pytest.approx(sum(margins) / 4, rel=1e-3)
    assert set(references) == {None}  # no second model


def test_the_best_weights_of_an_adapter_are_those_that_are_merged(tiny_model, tmp_path):
    settings = change(DPO, epochs=4.0, keep="best", held_out=0.1)
    pairs = preference_pairs(9)
    metrics = train_dpo(tiny_model, pairs, tmp_path / "out", settings, tmp_path / "work", 1, weights=LORA)
    aside = dpo.dpo_rows(tiny_model, pairs, settings, 1)[1][0]
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    texts = [tokenizer.decode(aside[f"{role}_ids"], skip_special_tokens=True) for role in ("chosen", "rejected")]
    held_out = pairs.filter(chosen=texts[0].strip(), rejected=texts[1].strip())
    assert held_out.height == 1
    assert metrics["held_out_loss"] == pytest.approx(dpo_by_hand(tmp_path / "out", tiny_model, held_out)[0], rel=1e-4)


@pytest.mark.parametrize("targets", [["q_proj", "query"], ["lm_head"], ["embed_tokens"], ["proj"]])
def test_a_target_that_is_no_module_to_adapt_is_refused_in_one_line(untied, tmp_path, targets):
    with pytest.raises(
        UserError, match=rf"{targets[-1]} is the name of no linear module.*q_proj.*train\.lora\.targets"
    ):
        train_sft(untied, eft(4), tmp_path / "out", SFT, tmp_path / "work", 1, weights=lora(targets=targets))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("weights", [FULL, LORA], ids=["full", "lora"])
def test_bfloat16_computes_on_float32_weights(tiny_model, tmp_path, monkeypatch, weights):
    dtypes = set()
    true = sft._Sft.compute_loss

    def look(self, model, *rest, **more):
        dtypes.update(weight.dtype for weight in model.parameters())
        return true(self, model, *rest, **more)

    monkeypatch.setattr(sft._Sft, "compute_loss", look)
    losses = {}
    for dtype in ("float32", "bfloat16"):
        compute_in(dtype, monkeypatch)
        metrics = train_sft(tiny_model, eft(8), tmp_path / dtype, SFT, tmp_path / "work", 1, weights=weights)
        losses[dtype] = metrics["loss_mean"]
    assert losses["float32"] != losses["bfloat16"]  # or it was not bfloat16 that was run
    assert losses["bfloat16"] == pytest.approx(losses["float32"], abs=0.02)
    assert dtypes == {torch.float32}
    assert {weight.dtype for weight in weights_of(tmp_path / "bfloat16").values()} == {torch.float32}


@pytest.mark.parametrize("weights", [FULL, LORA], ids=["full", "lora"])
def test_activations_that_are_computed_again_change_no_loss_of_sft(tiny_model, tmp_path, monkeypatch, weights):
    seen = set()
    true = sft._Sft.compute_loss

    def look(self, model, *rest, **more):
        seen.add(model.is_gradient_checkpointing)
        return true(self, model, *rest, **more)

    monkeypatch.setattr(sft._Sft, "compute_loss", look)
    found = []
    for wanted in (False, True):
        settings = change(SFT, gradient_checkpointing=wanted, epochs=2.0)
        out = tmp_path / str(wanted)
        found.append(train_sft(tiny_model, eft(8), out, settings, tmp_path / "work", 1, weights=weights))
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert seen == {False, True}
    assert contents(tmp_path / "False")["config.json"] == contents(tmp_path / "True")["config.json"]


def test_a_merged_checkpoint_is_stored_in_bfloat16_if_asked(tiny_model, tmp_path):
    for dtype in ("float32", "bfloat16"):
        weights = change(LORA, save_dtype=dtype)
        train_sft(tiny_model, eft(4), tmp_path / dtype, SFT, tmp_path / "work", 1, weights=weights)
        assert json.loads((tmp_path / dtype / "config.json").read_text())["dtype"] == dtype
        assert set(contents(tmp_path / dtype)) == FILES
    exact, rounded = weights_of(tmp_path / "float32"), weights_of(tmp_path / "bfloat16")
    assert all(torch.equal(exact[name].bfloat16(), rounded[name]) for name in exact)


def test_bfloat16_on_disk_loses_most_of_a_dpo_step(tiny_model, tmp_path):
    """Why float32 is the default. `pytest -n 0 -s tests/test_weights.py -k loses` prints the share."""
    seed = tmp_path / "seed"
    AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16).save_pretrained(seed)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(seed)
    settings = change(DPO, learning_rate=5e-6, max_steps=1)
    train_dpo(seed, preference_pairs(4), tmp_path / "out", settings, tmp_path / "work", 1)
    before, after = weights_of(seed), weights_of(tmp_path / "out")
    moved = sum(int((after[name] != before[name].float()).sum()) for name in after)
    lost = sum(
        int(((after[name] != before[name].float()) & (after[name].bfloat16() == before[name])).sum()) for name in after
    )
    print(f"{lost / moved:.1%} of the {moved} weights that one step at 5e-6 moved are rounded back")
    assert lost / moved > 0.9


def test_the_eight_bit_optimizer_is_refused_before_anything_is_loaded(tmp_path, tiny_model, monkeypatch):
    def run():
        weights = change(FULL, optimizer="adamw_8bit")
        train_sft(tiny_model, eft(4), tmp_path / "out", SFT, tmp_path / "work", 1, weights=weights)

    monkeypatch.setattr(sft, "load_model", lambda path: pytest.fail("a model is loaded"))
    monkeypatch.setattr(optimizer, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"adamw_8bit.*pip install -e.*train\.optimizer"):
        run()


ADAPTED = """
from test_train import BEST, LORA
def on_step_begin(self, args, state, *_, **__):
    with open(folder / f"steps-{rank}", "a") as file:
        print(state.global_step, file=file)
    if rank == 1 and state.global_step == 3 and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), 9)
loop._Watch.on_step_begin = on_step_begin
settings = change(BEST, epochs=3.0, micro_batch_size=1)
work, pairs = folder / "work", preference_pairs(9)
results = train_dpo(model, pairs, folder / "out", settings, work, 1, "", 2, weights=LORA)
(folder / f"{rank}.json").write_text(json.dumps(results))
"""


def test_an_adapter_that_is_divided_among_processes_is_trained_as_by_one_and_goes_on_after_a_kill(tiny_model, tmp_path):
    stage(tmp_path, tiny_model, FSDP, ADAPTED, returncode=1)
    assert not (tmp_path / "out").exists()
    stage(tmp_path, tiny_model, FSDP, ADAPTED)
    steps = [int(line) for line in (tmp_path / "steps-0").read_text().split()]
    assert steps == [0, 1, 2, 3, 2, 3, 4, 5]
    settings = change(BEST, epochs=3.0, micro_batch_size=1)
    one = train_dpo(tiny_model, preference_pairs(9), tmp_path / "one", settings, tmp_path / "alone", 1, weights=LORA)
    assert one["loss_first"] == pytest.approx(0.693147, abs=1e-5)
    assert json.loads((tmp_path / "0.json").read_text()) == pytest.approx(one, abs=2e-5)
    torch.testing.assert_close(weights_of(tmp_path / "out"), weights_of(tmp_path / "one"), atol=1e-4, rtol=0)
    assert set(contents(tmp_path / "out")) == FILES
