"""Direct preference optimisation on actor and judge pairs (METHOD §5)."""

import math
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from accelerate import PartialState  # type: ignore[import-untyped]
from datasets import Dataset, load_from_disk
from transformers import AutoTokenizer, TrainerState
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from metareward import params
from metareward.errors import UserError
from metareward.training.checkpoints import replace_folder
from metareward.training.loop import (
    PAD,
    Dtype,
    columns_of,
    listed,
    load_model,
    step_metrics,
    train,
    trainer_arguments,
    training_folder,
)
from metareward.training.rows import Metrics, Row, dpo_rows


def train_dpo(
    model_path: Path,
    pairs: pl.DataFrame,
    out: Path,
    settings: params.Dpo,
    work: Path,
    seed: int,
    hint: str = "",
    save_steps: int | None = None,
    save_dtype: Dtype = "float32",
    chat_template_kwargs: Mapping[str, params.Scalar] | None = None,
) -> Metrics:
    """Direct preference optimisation of a model, which is also the frozen reference; writes the folder `out`.

    pairs: pair_id, role ("actor" or "judge"), messages, chosen, rejected. hint: what the caller knows of why there are
    no pairs. work, save_steps, save_dtype, chat_template_kwargs and the errors: as `train_sft`. METHOD.md §5; Rafailov
    et al. 2023, eq. 7.

    Returns the metrics: rows_in = rows_trained + rows_held_out + too_long + not_reached + identical (chosen and
    rejected are the same tokens); actor_pairs, judge_pairs: of those that fit; tokens: of one epoch, the prompt
    counted with each text; loss_*: in nats per pair; reward_*: β (log-probability of the policy - of the reference),
    mean over the steps of the last epoch, each pair seen before its own step; held_out_*: of the weights that are
    written.
    With no pair left and on_empty "copy" the model is passed on unchanged: a warning, and copied = 1.
    """
    if settings.keep == "best" and not settings.held_out:
        raise UserError(
            "keep is best, which compares losses on held-out pairs, but held_out is 0. Set it to 0.1, say, or keep to "
            "last. (params.yaml: dpo.held_out)"
        )
    rows, held_out, metrics = dpo_rows(
        model_path, pairs, settings.max_length, settings.held_out, seed, chat_template_kwargs
    )
    if not rows:
        problem = f"no preference pair is left to train on: {listed(metrics)}. {hint}".strip()
        if settings.on_empty == "error":
            raise UserError(
                f"{problem} More prompts or samples make more pairs; on_empty copy passes the model on unchanged. "
                "(params.yaml: dpo.on_empty)"
            )
        warnings.warn(f"{problem} The model is passed on unchanged.", stacklevel=2)
        if PartialState().is_main_process:
            replace_folder(out, lambda folder: shutil.copytree(model_path, folder))
        return metrics | {"copied": 1, "rows_trained": 0, "not_reached": 0}
    folder = training_folder(work, model_path, [*rows, *held_out], settings, seed)
    arguments = trainer_arguments(settings, folder, seed, save_steps, "dpo")
    if settings.keep == "best":
        arguments |= {"save_strategy": "epoch", "load_best_model_at_end": True}
    trainer = _Dpo(
        load_model(model_path),
        args=DPOConfig(
            **arguments,
            lr_scheduler_type="cosine",
            beta=settings.beta,
            gradient_checkpointing=settings.gradient_checkpointing,
            # once a pair instead of once an epoch, and without a second model in memory
            precompute_ref_log_probs=True,
            eval_strategy="epoch" if held_out else "no",
            per_device_eval_batch_size=settings.micro_batch_size,
        ),
        data_collator=DataCollatorForPreference(pad_token_id=PAD),
        train_dataset=_dataset(rows, folder / "rows"),
        eval_dataset=_dataset(held_out, folder / "held_out") if held_out else None,
        processing_class=AutoTokenizer.from_pretrained(model_path),
    )
    train(trainer, rows, model_path, out, save_dtype)
    metrics |= {"copied": 0} | step_metrics(trainer.state, len(rows), settings.batch_size)
    return metrics | _reward_metrics(trainer.state, settings.keep)


class _Dpo(DPOTrainer):  # type: ignore[misc]
    def _send_telemetry(self) -> None:
        """Nobody is told about a run."""

    def _prepare_dataset(self, dataset: Dataset, *args: Any) -> Dataset:
        """The rows are token ids already; TRL's own way from text to ids drops the long ones silently."""
        return dataset


def _dataset(rows: Sequence[Row], folder: Path) -> Dataset:
    """The rows on disk, where TRL keeps their reference log-probabilities for all processes and for a resumed run."""
    process = PartialState()
    if process.is_main_process and not folder.is_dir():
        replace_folder(folder, lambda temporary: Dataset.from_dict(columns_of(rows)).save_to_disk(temporary))
    process.wait_for_everyone()
    return load_from_disk(str(folder))


def _reward_metrics(state: TrainerState, keep: str) -> Metrics:
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
        best = min(held_out, key=lambda entry: entry["eval_loss"])
        kept = best if keep == "best" else held_out[-1]
        metrics |= {"held_out_loss": kept["eval_loss"], "held_out_accuracy": kept["eval_rewards/accuracies"]}
        metrics["kept_step"] = kept["step"]
    return metrics
