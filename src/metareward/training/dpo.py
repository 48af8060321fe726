"""Direct preference optimisation on actor and judge pairs (METHOD §5)."""

import math
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from datasets import Dataset, load_from_disk
from transformers import AutoTokenizer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from metareward import params
from metareward.errors import UserError
from metareward.training.adapter import adapter_of
from metareward.training.checkpoints import replace_folder
from metareward.training.loop import (
    FULL,
    PAD,
    columns_of,
    listed,
    load_model,
    step_metrics,
    train,
    trainer_arguments,
    training_folder,
    write_steps,
)
from metareward.training.processes import by_main, together
from metareward.training.rows import Metrics, Row, dpo_rows
from metareward.training.trl_internals import OwnRows, exact_logits_of_targets
from metareward.training.weights import KeepBest

LOSS_OFF, REWARD_OFF = 0.005, 0.05  # means over a step's pairs; bfloat16 moved the loss by 0.0001 on an H200


def train_dpo(
    model_path: Path,
    pairs: pl.DataFrame,
    out: Path,
    settings: params.Dpo,
    work: Path,
    seed: int,
    hint: str = "",
    save_steps: int | None = None,
    weights: params.Train = FULL,
    steps: Path | None = None,
    wait_hours: float = 0.0,
    chat_template_kwargs: Mapping[str, params.Scalar] | None = None,
) -> Metrics:
    """Direct preference optimisation of a model, which is also the frozen reference; writes the folder `out`.

    pairs: pair_id, role ("actor" or "judge"), messages, chosen, rejected, and how these two ended: chosen_finish,
    rejected_finish. A text whose finish is not "stop" was cut and did not end there: it gets no end-of-turn token, or
    its pair is left out (settings.cut_texts). hint: what the caller knows of why there are no pairs. work, save_steps,
    weights, steps, wait_hours, chat_template_kwargs and the errors: as `train_sft`; with LoRA the reference is the
    model without its adapters, and there is no second one in memory. METHOD.md §5; Rafailov et al.
    2023, eq. 7.

    Returns the metrics: rows_in = rows_trained + rows_held_out + cut + too_long + not_reached + identical. cut: left
    out because a text was cut, or was cut before it had a character; identical: chosen and rejected are the same text
    or tokens. labels_swapped: of those that fit, with settings.shuffle_labels. chosen_cut, rejected_cut: of rows_in,
    the texts that were cut; actor_pairs, judge_pairs: of those that fit; tokens: of one epoch, the prompt counted with
    each text; repeated: as `train_sft`; loss_*: in nats per pair; reward_*: β (log-probability of the policy - of the
    reference), mean over the steps of the last epoch, each pair seen before its own step; held_out_*: of the weights
    that are written.
    Raises UserError when the first loss is not ln 2: policy and reference are the same model there.
    With no pair left and on_empty "copy" the model is passed on unchanged: a warning, and copied = 1.
    """
    if settings.keep == "best" and not settings.held_out:
        raise UserError(
            "keep is best, which compares losses on held-out pairs, but held_out is 0. Set it to 0.1, say, or keep to "
            "last. (params.yaml: dpo.held_out)"
        )
    rows, held_out, metrics = dpo_rows(model_path, pairs, settings, seed, chat_template_kwargs)
    if not rows:
        problem = f"no preference pair is left to train on: {listed(metrics)}. {hint}".strip()
        if settings.on_empty == "error":
            raise UserError(
                f"{problem} More prompts or samples make more pairs; on_empty copy passes the model on unchanged. "
                "(params.yaml: dpo.on_empty)"
            )
        warnings.warn(f"{problem} The model is passed on unchanged.", stacklevel=2)
        by_main(lambda: replace_folder(out, lambda folder: shutil.copytree(model_path, folder)))
        write_steps([], steps)
        return metrics | {"copied": 1, "rows_trained": 0, "not_reached": 0}
    folder = training_folder(work, model_path, [*rows, *held_out], settings, weights, seed, wait_hours)
    arguments = trainer_arguments(settings, weights, folder, seed, save_steps, "dpo")
    with exact_logits_of_targets():
        model = load_model(model_path)
        trainer = _Dpo(
            model,
            args=DPOConfig(
                **arguments,
                lr_scheduler_type="cosine",
                beta=settings.beta,
                # once a pair instead of once an epoch, and without a second model in memory
                precompute_ref_log_probs=True,
                eval_strategy="epoch" if held_out else "no",
                per_device_eval_batch_size=settings.micro_batch_size,
            ),
            data_collator=DataCollatorForPreference(pad_token_id=PAD),
            train_dataset=_dataset(rows, folder / "rows"),
            eval_dataset=_dataset(held_out, folder / "held_out") if held_out else None,
            processing_class=AutoTokenizer.from_pretrained(model_path),
            peft_config=adapter_of(model, weights.lora) if weights.lora else None,
        )
        trainer.add_callback(_SameModelFirst())
        best = KeepBest(trainer, folder / "best") if settings.keep == "best" else None
        train(trainer, rows, model_path, out, weights, best)
    write_steps(trainer.state.log_history, steps)
    metrics |= {"copied": 0} | step_metrics(trainer.state, len(rows), settings)
    return metrics | _reward_metrics(trainer.state, best.kept if best else None)


class _Dpo(OwnRows, DPOTrainer):  # type: ignore[misc]
    """TRL's trainer for DPO, on our rows."""


class _SameModelFirst(TrainerCallback):  # type: ignore[misc]
    """Stops a training whose reference is not the model that it starts from, sharded wrongly for one."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Mapping[str, float], **_: Any
    ) -> None:
        if state.global_step != 1 or "loss" not in logs:
            return
        off = abs(logs["loss"] - math.log(2))
        rewards = {name: logs[f"rewards/{name}"] for name in ("chosen", "rejected")}
        with together():
            if off > LOSS_OFF or max(map(abs, rewards.values())) > REWARD_OFF:
                told = ", ".join(f"{name} {value:.4f}" for name, value in rewards.items())
                raise UserError(
                    f"the first DPO loss is {logs['loss']:.4f} and the rewards are {told}. Policy and reference are "
                    "still the same model, so ln 2 = 0.6931 and 0 are due: the reference's log-probabilities are "
                    "wrong. No model was written. With FSDP, set fsdp_cpu_ram_efficient_loading: false in "
                    "accelerate's file."
                )


def _dataset(rows: Sequence[Row], folder: Path) -> Dataset:
    """The rows on disk, where TRL keeps their reference log-probabilities for all processes and for a resumed run."""

    def write() -> None:
        if not folder.is_dir():
            replace_folder(folder, lambda temporary: Dataset.from_dict(columns_of(rows)).save_to_disk(temporary))

    by_main(write)
    return load_from_disk(str(folder))


def _reward_metrics(state: TrainerState, best: Mapping[str, float] | None) -> Metrics:
    """best: what the evaluation of the weights that are kept measured; None: those of the last step are."""
    steps = [entry for entry in state.log_history if "loss" in entry]
    last_epoch = math.ceil(steps[-1]["epoch"] - 1e-6) - 1
    entries = [entry for entry in steps if entry["epoch"] > last_epoch + 1e-6]
    names = {"accuracy": "accuracies", "margin": "margins", "chosen": "chosen", "rejected": "rejected"}
    metrics = {
        f"reward_{ours}": sum(entry[f"rewards/{theirs}"] for entry in entries) / len(entries)
        for ours, theirs in names.items()
    }
    held_out = [entry for entry in state.log_history if "eval_loss" in entry]
    if held_out:
        kept = best or held_out[-1]
        metrics |= {"held_out_loss": kept["eval_loss"], "held_out_accuracy": kept["eval_rewards/accuracies"]}
        metrics["kept_step"] = kept["step"]
    return metrics
