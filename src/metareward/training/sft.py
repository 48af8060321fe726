"""Supervised fine-tuning on judge examples (METHOD §2)."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl
from datasets import Dataset
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from metareward import params
from metareward.errors import UserError
from metareward.training.adapter import adapter_of
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
from metareward.training.rows import Metrics, sft_rows
from metareward.training.trl_internals import OwnRows, exact_logits_of_targets


def train_sft(
    model_path: Path,
    examples: pl.DataFrame,
    out: Path,
    settings: params.Sft,
    work: Path,
    seed: int,
    save_steps: int | None = None,
    weights: params.Train = FULL,
    steps: Path | None = None,
    wait_hours: float = 0.0,
    chat_template_kwargs: Mapping[str, params.Scalar] | None = None,
) -> Metrics:
    """Fine-tune on the `eft` table with a loss on target tokens only, and write the model to the folder `out`.

    work: where training checkpoints lie until `out` is written, one every save_steps optimizer steps (null: none);
    the same call after a kill goes on from the last whole one, to bitwise the same weights. weights: how they are held
    and stored. Training keeps float32 weights, and adapters are merged into float32; a bfloat16 near 0.05 has
    neighbours 2e-4 apart, so most of what a learning rate of 5e-6 does to a weight would be rounded away between two
    iterations: hence float32 on disk, too, unless weights.save_dtype says otherwise.
    steps: the file of the table `training_steps`, a row for each optimizer step (null: none).
    wait_hours: how long to wait for another process that is training the very same (resources.wait_hours).
    chat_template_kwargs: variables of the model's chat template.

    Returns the metrics: rows_in = rows_trained + too_long (over settings.max_length or the model's context) +
    not_reached (max_steps ended the first epoch); repeated: rows seen once more than the epochs say, since several
    processes fill up the last step of an epoch with rows from its beginning; tokens and target_tokens of one epoch;
    loss_first, loss_last and loss_mean over the optimizer steps, in nats per target token. METHOD.md §2; Yuan et al.
    2024, section 3.1.
    Raises UserError when no example is left, the batch size does not divide, the optimizer or a module for an adapter
    is not there, a weight, loss or gradient norm is not finite; `out` is then left as it was.
    """
    rows, metrics = sft_rows(model_path, examples, settings.max_length, chat_template_kwargs)
    if not rows:
        raise UserError(f"no SFT example is left to train on: {listed(metrics)}. (params.yaml: eft, sft.max_length)")
    folder = training_folder(work, model_path, rows, settings, weights, seed, wait_hours)
    arguments = trainer_arguments(settings, weights, folder, seed, save_steps, "sft")
    with exact_logits_of_targets():
        model = load_model(model_path)
        trainer = _Sft(
            model,
            SFTConfig(
                **arguments,
                lr_scheduler_type="cosine_with_min_lr",
                lr_scheduler_kwargs={"min_lr": settings.min_learning_rate},
                dataset_kwargs={"skip_prepare_dataset": True},
            ),
            data_collator=DataCollatorForLanguageModeling(pad_token_id=PAD),
            train_dataset=Dataset.from_dict(columns_of(rows)),
            processing_class=AutoTokenizer.from_pretrained(model_path),
            peft_config=adapter_of(model, weights.lora) if weights.lora else None,
        )
        train(trainer, rows, model_path, out, weights)
    write_steps(trainer.state.log_history, steps)
    return metrics | step_metrics(trainer.state, len(rows), settings)


class _Sft(OwnRows, SFTTrainer):  # type: ignore[misc]
    """TRL's trainer for SFT, on our rows."""
