"""Training, on a random two-layer Llama: losses computed by hand, nothing lost silently, nothing half done."""

import contextlib
import functools
import json
import math
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch
import torch.nn.functional as F
import trl.trainer.utils
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from metareward import locks
from metareward.engines.common.chat import encode_prompt, encode_target
from metareward.errors import UserError
from metareward.params import Dpo, Sft
from metareward.tables import MESSAGES
from metareward.training import dpo, loop
from metareward.training.checkpoints import last_whole_checkpoint, mark_whole
from metareward.training.dpo import train_dpo
from metareward.training.loop import FULL
from metareward.training.sft import train_sft

SFT = Sft(
    learning_rate=1e-3,
    min_learning_rate=1e-4,
    batch_size=4,
    micro_batch_size=2,
    epochs=1.0,
    max_steps=None,
    max_length=256,
    gradient_checkpointing=False,
)
DPO = Dpo(
    beta=0.1,
    learning_rate=1e-3,
    batch_size=4,
    micro_batch_size=2,
    epochs=1.0,
    max_steps=None,
    max_length=256,
    cut_texts="open",
    gradient_checkpointing=False,
    keep="last",
    held_out=0.0,
    on_empty="error",
    shuffle_labels=False,
)
FILES = {
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


def compute_in(dtype: str, patch: pytest.MonkeyPatch) -> None:
    """What the machine is said to be fast in: by itself it would be another thing on another processor."""
    patch.setattr(loop, "bfloat16_is_fast", lambda: dtype == "bfloat16")


@pytest.fixture(autouse=True)
def _one_thread_in_float32(monkeypatch):
    """A model this small is slower on two threads, and much slower when something else runs on the machine."""
    compute_in("float32", monkeypatch)  # what is computed by hand is compared to five digits
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def change(settings, **values):
    return type(settings)(**(settings.model_dump() | values))


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def eft(n: int) -> pl.DataFrame:
    """n examples of different lengths that share the beginning of their prompt."""
    rows = [{"messages": user(f"Judge this: {'so ' * k}"), "target": f"Well{'!' * k} Score: {k}"} for k in range(n)]
    return pl.DataFrame(rows, schema={"messages": MESSAGES, "target": pl.String})


def preference_pairs(n: int) -> pl.DataFrame:
    rows = [
        {
            "pair_id": f"p{k}",
            "role": ("actor", "judge")[k % 2],
            "messages": user(f"Say {'so ' * (k % 3)}"),
            "chosen": f"Good {k}.",
            "rejected": f"A bad one{'!' * k}",
            "chosen_finish": "stop",
            "rejected_finish": "stop",
        }
        for k in range(n)
    ]
    return pl.DataFrame(rows, schema_overrides={"messages": MESSAGES})


def log_probabilities(folder: Path, messages, texts: list[str]) -> torch.Tensor:
    """Of each target's tokens given the chat, one text after the other through the plain model, summed."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    sums = []
    for text in texts:
        prompt, target = encode_prompt(tokenizer, messages), encode_target(tokenizer, text)
        with torch.no_grad():
            logits = model(torch.tensor([prompt + target])).logits[0, len(prompt) - 1 : -1]
        sums.append(-F.cross_entropy(logits, torch.tensor(target), reduction="sum"))
    return torch.stack(sums)


def dpo_by_hand(policy: Path, reference: Path, pairs: pl.DataFrame) -> tuple[float, list[float]]:
    """Loss and margins (both with β) of pairs; Rafailov et al. 2023, eq. 7."""
    margins = []
    for row in pairs.iter_rows(named=True):
        texts = [row["chosen"], row["rejected"]]
        chosen, rejected = log_probabilities(policy, row["messages"], texts) - log_probabilities(
            reference, row["messages"], texts
        )
        margins.append(0.1 * (chosen - rejected))
    return float(-F.logsigmoid(torch.stack(margins)).mean()), [float(margin) for margin in margins]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# The losses


def test_sft_loss_is_the_mean_over_all_target_tokens_of_the_batch_and_over_nothing_else(tiny_model, tmp_path):
    examples = eft(4)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    total, tokens = 0.0, 0
    for messages, target in examples.iter_rows():
        total -= float(log_probabilities(tiny_model, messages, [target])[0])
        tokens += len(encode_target(tokenizer, target))
    metrics = train_sft(tiny_model, examples, tmp_path / "out", SFT, tmp_path / "work", 1)
    assert metrics["steps"] == 1
    assert metrics["target_tokens"] == tokens
    assert metrics["loss_first"] == pytest.approx(total / tokens, rel=1e-5)


def test_sft_writes_a_model_and_nothing_else_and_learns(tiny_model, tmp_path):
    examples = eft(4)
    metrics = train_sft(tiny_model, examples, tmp_path / "out", change(SFT, epochs=20.0), tmp_path / "work", 1)
    assert set(contents(tmp_path / "out")) == FILES
    assert not list((tmp_path / "work").iterdir())
    assert metrics["loss_last"] < 0.8 * metrics["loss_first"]
    before, after = (
        sum(float(log_probabilities(folder, m, [t])[0]) for m, t in examples.iter_rows())
        for folder in (tiny_model, tmp_path / "out")
    )
    assert after > 0.8 * before  # log-probabilities: less negative


def test_dpo_starts_at_log_2_and_its_second_loss_is_the_hand_computed_one(tiny_model, tmp_path):
    pairs = preference_pairs(4)
    one = train_dpo(tiny_model, pairs, tmp_path / "one", change(DPO, max_steps=1), tmp_path / "work", 1)
    assert one["loss_first"] == pytest.approx(0.6931472, abs=1e-5)
    assert one["reward_margin"] == pytest.approx(0, abs=1e-5)
    two = train_dpo(tiny_model, pairs, tmp_path / "two", change(DPO, max_steps=2), tmp_path / "work", 1)
    loss, margins = dpo_by_hand(tmp_path / "one", tiny_model, pairs)
    assert loss < 0.69
    assert two["loss_last"] == pytest.approx(loss, rel=1e-4)
    assert two["reward_margin"] == pytest.approx(sum(margins) / 4, rel=1e-3)
    assert two["reward_accuracy"] == sum(margin > 0 for margin in margins) / 4


@pytest.mark.parametrize("off", [("chosen", "rejected"), ("chosen",)])
def test_a_reference_that_is_another_model_is_noticed_at_the_first_step(tiny_model, tmp_path, monkeypatch, off):
    """Sharded over several processes without a broadcast, TRL's reference held zeros, and the loss was 0.7095."""
    true = dpo._Dpo.compute_loss

    def with_another(self, model, inputs, *args, **kwargs):
        wrong = {f"ref_{name}_logps": inputs[f"ref_{name}_logps"] - 1.0 for name in off}
        return true(self, model, inputs | wrong, *args, **kwargs)

    monkeypatch.setattr(dpo._Dpo, "compute_loss", with_another)
    with pytest.raises(UserError, match=r"the first DPO loss is 0\.\d+ and the rewards are chosen 0\.1"):
        train_dpo(tiny_model, preference_pairs(4), tmp_path / "out", DPO, tmp_path / "work", 1)
    assert not (tmp_path / "out").exists()


def test_bfloat16_gives_nearly_the_losses_of_float32_and_keeps_float32_weights(tiny_model, tmp_path, monkeypatch):
    def run(dtype):
        compute_in(dtype, monkeypatch)
        metrics = train_dpo(tiny_model, preference_pairs(9), tmp_path / dtype, DPO, tmp_path / "work", 1)
        return metrics, load_file(tmp_path / dtype / "model.safetensors")

    (exact, _), (rounded, weights) = run("float32"), run("bfloat16")
    assert rounded["loss_mean"] != exact["loss_mean"]  # or it was not bfloat16 that was run
    assert rounded["loss_mean"] == pytest.approx(exact["loss_mean"], abs=0.02)
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


def test_logits_are_computed_where_there_is_a_target_alone(tiny_model, tmp_path, monkeypatch):
    """TRL scores every position where Triton is missing: on a CPU most of a step with a real vocabulary."""
    scored = []

    class Recorder(trl.trainer.utils._ChunkedLogProbFunction):
        @classmethod
        def apply(cls, hidden, *rest):
            scored.append(len(hidden))
            return super().apply(hidden, *rest)

    monkeypatch.setattr(trl.trainer.utils, "_ChunkedLogProbFunction", Recorder)
    metrics = train_sft(tiny_model, eft(4), tmp_path / "out", SFT, tmp_path / "work", 1)
    assert sum(scored) == metrics["target_tokens"]


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_log_probabilities_are_not_rounded_in_bfloat16(tiny_model, tmp_path, monkeypatch, method):
    """A rounded logit near 40 is off by up to an eighth, and so would be what it is trained on."""
    found = []

    class Recorder(trl.trainer.utils._ChunkedLogProbFunction):
        @classmethod
        def apply(cls, hidden, weight, bias, targets, *rest):
            with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
                exact = (hidden.float() @ weight.float().T).log_softmax(dim=1)[torch.arange(len(targets)), targets]
            found.append((output := super().apply(hidden, weight, bias, targets, *rest))[0].detach() - exact)
            return output

    monkeypatch.setattr(trl.trainer.utils, "_ChunkedLogProbFunction", Recorder)
    compute_in("bfloat16", monkeypatch)
    if method == "sft":
        train_sft(tiny_model, eft(4), tmp_path / "out", SFT, tmp_path / "work", 1)
    else:
        train_dpo(tiny_model, preference_pairs(4), tmp_path / "out", DPO, tmp_path / "work", 1)
    assert found
    assert float(torch.cat(found).abs().max()) < 1e-5


@pytest.mark.parametrize("keep", ["last", "best"])
def test_held_out_loss_is_that_of_the_weights_that_are_written(tiny_model, tmp_path, keep):
    # what is held out prefers the opposite, so training makes it worse and the first epoch is the best
    settings = change(DPO, epochs=3.0, keep=keep, held_out=0.1)
    drawn = dpo.dpo_rows(tiny_model, preference_pairs(5), settings, 1)[1]
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    held_out = pl.col("chosen").map_elements(
        lambda text: encode_target(tokenizer, text) == drawn[0]["chosen_ids"], return_dtype=pl.Boolean
    )
    pairs = preference_pairs(5).with_columns(
        chosen=pl.when(held_out).then("rejected").otherwise("chosen"),
        rejected=pl.when(held_out).then("chosen").otherwise("rejected"),
        held_out=held_out,
    )
    metrics = train_dpo(tiny_model, pairs, tmp_path / "out", settings, tmp_path / "work", 1)
    loss, _ = dpo_by_hand(tmp_path / "out", tiny_model, pairs.filter("held_out"))
    assert loss > 0.7
    assert metrics["held_out_loss"] == pytest.approx(loss, rel=1e-4)
    assert (metrics["rows_trained"], metrics["rows_held_out"], metrics["steps"]) == (4, 1, 3)
    assert metrics["kept_step"] == {"last": 3, "best": 1}[keep]


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_the_learning_rate_falls_in_a_cosine_without_warm_up(tiny_model, tmp_path, method):
    """To sft.min_learning_rate, and to 0 in DPO; METHOD §2 and §5."""
    steps = tmp_path / "steps.parquet"
    if method == "sft":
        settings = change(SFT, epochs=5.0)
        train_sft(tiny_model, eft(4), tmp_path / "out", settings, tmp_path / "work", 1, steps=steps)
    else:
        settings = change(DPO, epochs=5.0)
        train_dpo(tiny_model, preference_pairs(4), tmp_path / "out", settings, tmp_path / "work", 1, steps=steps)
    least = settings.min_learning_rate if method == "sft" else 0.0
    wave = [(1 + math.cos(math.pi * step / 5)) / 2 for step in range(5)]
    expected = [least + (settings.learning_rate - least) * height for height in wave]
    assert pl.read_parquet(steps)["learning_rate"].to_list() == pytest.approx(expected)


@pytest.mark.parametrize("wanted", [True, False])
def test_gradient_checkpointing_is_as_the_params_say(tiny_model, tmp_path, monkeypatch, wanted):
    compute_loss, seen = dpo._Dpo.compute_loss, set()

    def look(self, model, *rest, **more):
        seen.add(model.is_gradient_checkpointing)
        return compute_loss(self, model, *rest, **more)

    monkeypatch.setattr(dpo._Dpo, "compute_loss", look)
    settings = change(DPO, gradient_checkpointing=wanted)
    train_dpo(tiny_model, preference_pairs(4), tmp_path / "out", settings, tmp_path / "work", 1)
    assert seen == {wanted}


# What is left out


def test_sft_counts_what_is_too_long_and_trains_on_what_just_fits(tiny_model, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    examples = eft(4)
    lengths = [len(encode_prompt(tokenizer, m)) + len(encode_target(tokenizer, t)) for m, t in examples.iter_rows()]
    settings = change(SFT, max_length=sorted(lengths)[2])
    metrics = train_sft(tiny_model, examples, tmp_path / "out", settings, tmp_path / "work", 1)
    assert (metrics["rows_in"], metrics["rows_trained"], metrics["too_long"]) == (4, 3, 1)
    assert metrics["tokens"] == sum(sorted(lengths)[:3])


def test_rows_that_max_steps_does_not_reach_are_counted(tiny_model, tmp_path):
    metrics = train_sft(tiny_model, eft(9), tmp_path / "out", change(SFT, max_steps=2), tmp_path / "work", 1)
    assert (metrics["rows_in"], metrics["rows_trained"], metrics["not_reached"], metrics["steps"]) == (9, 8, 1, 2)
    metrics = train_sft(tiny_model, eft(9), tmp_path / "out", change(SFT, epochs=2.0), tmp_path / "work", 1)
    assert (metrics["rows_trained"], metrics["not_reached"], metrics["steps"]) == (9, 0, 6)


def test_dpo_counts_what_is_too_long_and_what_is_identical(tiny_model, tmp_path):
    pairs = preference_pairs(4).with_columns(
        messages=pl.when(pl.col("pair_id") == "p0").then(pl.lit(user("x " * 300), MESSAGES)).otherwise("messages"),
        chosen=pl.when(pl.col("pair_id") == "p1").then("rejected").otherwise("chosen"),
    )
    metrics = train_dpo(tiny_model, pairs, tmp_path / "out", DPO, tmp_path / "work", 1)
    counts = {"rows_in": 4, "rows_trained": 2, "rows_held_out": 0, "too_long": 1, "identical": 1}
    assert counts.items() <= metrics.items()
    assert (metrics["actor_pairs"], metrics["judge_pairs"]) == (1, 1)


def cut_pairs() -> pl.DataFrame:
    """p0 whole; p1 chosen, p2 rejected, p3 both cut; p4 equal but for its end; p5 cut before it had a character."""
    pairs = preference_pairs(6).with_columns(pl.col("chosen").str.replace(r"\.$", ""))
    number = pl.col("pair_id").str.slice(1).cast(pl.Int64)
    return pairs.with_columns(
        chosen_finish=pl.when(number.is_in([1, 3, 4, 5])).then(pl.lit("length")).otherwise(pl.lit("stop")),
        rejected_finish=pl.when(number == 2)
        .then(pl.lit("content_filter"))
        .when(number == 3)
        .then(pl.lit("length"))
        .otherwise(pl.lit("stop")),
        chosen=pl.when(number == 4).then("rejected").when(number == 5).then(pl.lit("")).otherwise("chosen"),
    )


def test_a_text_that_was_cut_gets_no_end_of_turn(tiny_model):
    """Else a model learns to stop in the middle of a sentence."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    pairs = cut_pairs()
    rows, _, metrics = dpo.dpo_rows(tiny_model, pairs, DPO, 1)
    closed = [tuple(row[f"{role}_ids"][-1] == end for role in ("chosen", "rejected")) for row in rows]
    assert closed == [(True, True), (False, True), (True, False), (False, False)]
    for row, pair in zip(rows, pairs.iter_rows(named=True), strict=False):
        for role in ("chosen", "rejected"):
            assert tokenizer.decode([id_ for id_ in row[f"{role}_ids"] if id_ != end]) == pair[role]
    counts = {"rows_in": 6, "chosen_cut": 4, "rejected_cut": 2, "cut": 1, "identical": 1}
    assert counts.items() <= metrics.items()


def test_a_coin_swaps_the_texts_of_half_the_pairs_and_changes_nothing_else(tiny_model):
    pairs, shuffled = preference_pairs(60), change(DPO, shuffle_labels=True)
    rows, _, _ = dpo.dpo_rows(tiny_model, pairs, DPO, 1)
    tossed, _, metrics = dpo.dpo_rows(tiny_model, pairs, shuffled, 1)
    swapped = [
        {"prompt_ids": row["prompt_ids"], "chosen_ids": row["rejected_ids"], "rejected_ids": row["chosen_ids"]}
        for row in rows
    ]
    assert all(new in (row, other) for row, other, new in zip(rows, swapped, tossed, strict=True))
    assert sum(new == other for other, new in zip(swapped, tossed, strict=True)) == metrics["labels_swapped"]
    assert 15 < metrics["labels_swapped"] < 45
    assert dpo.dpo_rows(tiny_model, pairs.reverse(), shuffled, 1)[0][::-1] == tossed  # each pair has its own coin
    assert dpo.dpo_rows(tiny_model, pairs, shuffled, 2)[0] != tossed


def test_pairs_with_a_cut_text_are_trained_open_or_left_out_and_counted(tiny_model, tmp_path):
    parts = ("rows_trained", "rows_held_out", "cut", "too_long", "not_reached", "identical")
    for cut_texts, counts in (("open", [4, 0, 1, 0, 0, 1]), ("drop", [1, 0, 5, 0, 0, 0])):
        settings = change(DPO, cut_texts=cut_texts)
        metrics = train_dpo(tiny_model, cut_pairs(), tmp_path / cut_texts, settings, tmp_path / "work", 1)
        assert [metrics[part] for part in parts] == counts
        assert (metrics["rows_in"], metrics["chosen_cut"], metrics["rejected_cut"]) == (6, 4, 2)
    opened, dropped = (contents(tmp_path / name)["model.safetensors"] for name in ("open", "drop"))
    assert opened != dropped


def test_a_row_that_the_trainer_drops_is_noticed(tiny_model, tmp_path, monkeypatch):
    """TRL drops pairs whose prompt fills max_length and cuts long texts, both without a word."""
    monkeypatch.setattr(dpo._Dpo, "_prepare_dataset", lambda self, dataset, *rest: dataset.select(range(3)))
    with pytest.raises(AssertionError, match="holds 3 rows"):
        train_dpo(tiny_model, preference_pairs(4), tmp_path / "out", DPO, tmp_path / "work", 1)
    monkeypatch.setattr(
        dpo._Dpo,
        "_prepare_dataset",
        lambda self, dataset, *rest: dataset.map(lambda row: {"chosen_ids": row["chosen_ids"][:1]}),
    )
    with pytest.raises(AssertionError, match="not the 4"):
        train_dpo(tiny_model, preference_pairs(4), tmp_path / "out", DPO, tmp_path / "work2", 1)


def test_no_rows_is_an_error_with_the_counts_or_a_copy(tiny_model, tmp_path):
    with pytest.raises(UserError, match=r"rows_in 2.*too_long 2"):
        train_sft(tiny_model, eft(2), tmp_path / "out", change(SFT, max_length=3), tmp_path / "work", 1)
    none = preference_pairs(0)
    with pytest.raises(UserError, match=r"rows_in 0.*24 prompts had equal scores"):
        train_dpo(tiny_model, none, tmp_path / "out", DPO, tmp_path / "work", 1, "24 prompts had equal scores.")
    assert not (tmp_path / "out").exists()
    with pytest.warns(UserWarning, match="passed on unchanged"):
        metrics = train_dpo(tiny_model, none, tmp_path / "out", change(DPO, on_empty="copy"), tmp_path / "work", 1)
    assert metrics["copied"] == 1
    assert contents(tmp_path / "out") == contents(tiny_model)


def test_settings_that_do_not_fit_together_are_errors(tiny_model, tmp_path):
    with pytest.raises(UserError, match=r"batch_size 4 is not a multiple of micro_batch_size 3.*sft.batch_size"):
        train_sft(tiny_model, eft(4), tmp_path / "out", change(SFT, micro_batch_size=3), tmp_path / "work", 1)
    with pytest.raises(UserError, match="held_out is 0"):
        train_dpo(tiny_model, preference_pairs(4), tmp_path, change(DPO, keep="best"), tmp_path / "work", 1)


# Numbers that are not finite


def test_nan_weights_are_refused(tiny_model, tmp_path):
    """With NaN weights TRL logs a loss of 0 and goes on."""
    damaged = shutil.copytree(tiny_model, tmp_path / "damaged")
    weights = load_file(damaged / "model.safetensors")
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, damaged / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"model\.norm\.weight holds NaN"):
        train_sft(damaged, eft(4), tmp_path / "out", SFT, tmp_path / "work", 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_an_exploding_learning_rate_stops_and_leaves_the_model_of_before(tiny_model, tmp_path, method):
    out = tmp_path / "out"
    out.mkdir()
    (out / "model.safetensors").write_text("of before")
    function, rows, settings = {
        "sft": (train_sft, eft(4), SFT),
        "dpo": (train_dpo, preference_pairs(4), DPO),
    }[method]
    settings = change(settings, learning_rate=1e30, epochs=9.0)
    with pytest.raises(UserError, match=r"stopped at step \d+ of \d+: (loss|grad_norm) is (nan|inf)"):
        function(tiny_model, rows, out, settings, tmp_path / "work", 1, save_steps=1)
    assert contents(out) == {"model.safetensors": b"of before"}
    assert not list(tmp_path.glob(".out*"))


# The same bytes


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_two_runs_give_the_same_bytes_and_another_seed_gives_others(tiny_model, tmp_path, method):
    def run(name: str, seed: int):
        if method == "sft":
            return train_sft(tiny_model, eft(9), tmp_path / name, change(SFT, epochs=2.0), tmp_path / "work", seed)
        return train_dpo(tiny_model, preference_pairs(9), tmp_path / name, DPO, tmp_path / "work", seed)

    assert run("a", 1) == run("b", 1)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    run("c", 2)
    assert contents(tmp_path / "a")["model.safetensors"] != contents(tmp_path / "c")["model.safetensors"]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_train import *
torch.set_num_threads(1)
compute_in("float32", pytest.MonkeyPatch())
settings, weights, event, step = KILLS[sys.argv[4]]
def kill(self, args, state, *_, **__):
    if state.global_step == step:
        os.kill(os.getpid(), signal.SIGKILL)
setattr(loop._Watch, event, kill) if event == "on_step_begin" else None
mark_whole = loop.mark_whole
def kill_before_it_is_marked(checkpoint):
    if checkpoint.name == f"checkpoint-{step}" and event == "on_save":
        os.kill(os.getpid(), signal.SIGKILL)
    mark_whole(checkpoint)
loop.mark_whole = kill_before_it_is_marked
model, folder = Path(sys.argv[2]), Path(sys.argv[3])
train_dpo(model, preference_pairs(9), folder / "out", settings, folder / "work", 1, save_steps=3, weights=weights)
"""
LONG = change(DPO, epochs=6.0)  # 18 steps
BEST = change(LONG, keep="best", held_out=0.1)  # 12 steps, measured after each second one
LORA = change(FULL, lora={"r": 4, "alpha": 8, "dropout": 0.0, "targets": "all-linear"})
KILLS = {  # what is trained, and where it is killed
    "while a state is written": (LONG, FULL, "on_save", 6),
    "between two states": (BEST, FULL, "on_step_begin", 5),
    "between two states, with LoRA": (BEST, LORA, "on_step_begin", 5),
}
LEFT = {"while a state is written": [3, 6]}  # states that lie there then; else [3]


@pytest.mark.parametrize("when", KILLS)
def test_a_killed_run_goes_on_from_its_last_whole_checkpoint_to_the_same_bytes(tiny_model, tmp_path, monkeypatch, when):
    """keep best measures and keeps weights at other steps than those at which states are saved."""
    settings, weights, *_ = KILLS[when]
    pairs = preference_pairs(9)
    undisturbed = train_dpo(tiny_model, pairs, tmp_path / "whole", settings, tmp_path / "other", 1, weights=weights)
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tiny_model), str(tmp_path), when]
    killed = subprocess.run(command, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "out").exists()
    (folder,) = (tmp_path / "work").glob("train-*/")
    states = sorted(int(path.name.removeprefix("checkpoint-")) for path in folder.glob("checkpoint-*"))
    assert states == LEFT.get(when, [3])  # one whole one, and the one that was being written
    assert (folder / "best").is_dir() == (settings.keep == "best")
    steps = []
    monkeypatch.setattr(
        loop._Watch, "on_step_begin", lambda self, args, state, *_, **__: steps.append(state.global_step)
    )
    again = functools.partial(train_dpo, tiny_model, pairs, tmp_path / "out", settings, tmp_path / "work", 1)
    with pytest.warns(UserWarning, match="checkpoint-6 is torn") if when in LEFT else contextlib.nullcontext():
        resumed = again(save_steps=3, weights=weights)
    assert steps[0] == 3  # it went on, and did not start over
    assert resumed == undisturbed
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_one_whole_state_lies_in_the_folder_and_saving_steps_count_with_the_best_weights_kept(
    tiny_model, tmp_path, monkeypatch
):
    """The Trainer's own way to the best weights saves whole states by epoch, whatever save_steps says."""
    true, seen = loop.mark_whole, []

    def look(checkpoint):
        true(checkpoint)
        seen.append({path.name for path in checkpoint.parent.glob("checkpoint-*")})

    monkeypatch.setattr(loop, "mark_whole", look)
    train_dpo(tiny_model, preference_pairs(9), tmp_path / "out", BEST, tmp_path / "work", 1, save_steps=3)
    assert seen == [{"checkpoint-3"}, {"checkpoint-3", "checkpoint-6"}, {"checkpoint-6", "checkpoint-9"}]


def test_other_inputs_do_not_go_on_from_a_checkpoint(tiny_model, tmp_path):
    def explode(settings):
        try:
            train_sft(tiny_model, eft(4), tmp_path / "out", settings, tmp_path / "work", 1, save_steps=1)
        finally:  # what the end of the process does
            for folder in list(locks._kept):
                locks._kept.pop(folder).release()

    with pytest.raises(UserError):
        explode(change(SFT, learning_rate=1e30, epochs=9.0))
    (first,) = (tmp_path / "work").iterdir()
    with pytest.raises(UserError):
        explode(change(SFT, learning_rate=1e29, epochs=9.0))
    (second,) = (tmp_path / "work").iterdir()
    assert first != second


def test_a_checkpoint_is_whole_when_its_last_file_is_there_and_all_have_their_size(tmp_path):
    for step in (2, 10):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "optimizer.pt").write_bytes(b"12345")
        mark_whole(folder)
    assert last_whole_checkpoint(tmp_path).name == "checkpoint-10"
    (tmp_path / "checkpoint-10/optimizer.pt").write_bytes(b"1234")
    with pytest.warns(UserWarning, match="checkpoint-10 is torn"):
        assert last_whole_checkpoint(tmp_path).name == "checkpoint-2"
    (tmp_path / "checkpoint-2/complete.json").write_text('{"optimizer.pt": ')
    with pytest.warns(UserWarning, match="is torn"):
        assert last_whole_checkpoint(tmp_path) is None
    assert last_whole_checkpoint(tmp_path / "none") is None


# What is written


def test_the_model_is_stored_in_float32_or_if_asked_in_bfloat16(tiny_model, tmp_path):
    for dtype in ("float32", "bfloat16"):
        train_sft(
            tiny_model, eft(4), tmp_path / dtype, SFT, tmp_path / "work", 1, weights=change(FULL, save_dtype=dtype)
        )
        weights = load_file(tmp_path / dtype / "model.safetensors")
        assert {str(weight.dtype) for weight in weights.values()} == {f"torch.{dtype}"}
        assert json.loads((tmp_path / dtype / "config.json").read_text())["dtype"] == dtype
        assert set(contents(tmp_path / dtype)) == FILES
    exact, rounded = (load_file(tmp_path / dtype / "model.safetensors") for dtype in ("float32", "bfloat16"))
    assert all(torch.equal(exact[name].bfloat16(), rounded[name]) for name in exact)


def test_the_written_tokenizer_and_config_are_those_of_the_model(tiny_model, tmp_path):
    train_sft(tiny_model, eft(4), tmp_path / "out", SFT, tmp_path / "work", 1)
    before, after = contents(tiny_model), contents(tmp_path / "out")
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert after[name] == before[name]
    assert json.loads(after["config.json"]) == json.loads(before["config.json"])
