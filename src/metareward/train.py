"""SFT and DPO by TRL: the only import of trl.

TRL is given token ids, not text: training reads exactly the tokens that generation writes, and nothing is cut or
dropped behind our back.

One process trains on one GPU or on the CPU. For more, start the same stage by `accelerate launch` with a
configuration of your own (DDP, FSDP with FULL_STATE_DICT, DeepSpeed): `batch_size` stays the global batch, every
process makes the same call, and the main process alone writes `out`.
"""

import ctypes
import json
import math
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl
import torch
import trl.trainer.utils
from accelerate import PartialState  # type: ignore[import-untyped]
from datasets import Dataset, load_from_disk
from datasets.utils import disable_progress_bars
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils import logging
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from metareward import params
from metareward.checkpoints import last_whole_checkpoint, mark_whole, remove_others, replace_folder, run_folder
from metareward.device import bfloat16_is_fast
from metareward.errors import UserError
from metareward.prefixes import share_prefixes
from metareward.train_rows import Metrics, Row, dpo_rows, sft_rows

Dtype = Literal["float32", "bfloat16"]
PAD = 0  # stands where the attention mask is 0, so any token will do


def train_sft(
    model_path: Path,
    examples: pl.DataFrame,
    out: Path,
    settings: params.Sft,
    work: Path,
    seed: int,
    save_steps: int | None = None,
    save_dtype: Dtype = "float32",
) -> Metrics:
    """Fine-tune on the `eft` table with a loss on target tokens only, and write the model to the folder `out`.

    work: where training checkpoints lie until `out` is written, one every save_steps optimizer steps (null: none);
    the same call after a kill goes on from the last whole one, to bitwise the same weights. save_dtype: of the stored
    weights; training itself keeps float32 weights. A bfloat16 near 0.05 has neighbours 2e-4 apart, so most of what a
    learning rate of 5e-6 does to a weight would be rounded away between two iterations: hence float32.

    Returns the metrics: rows_in = rows_trained + too_long (over settings.max_length or the model's context) +
    not_reached (max_steps ended the first epoch); tokens and target_tokens of one epoch; loss_first, loss_last and
    loss_mean over the optimizer steps, in nats per target token. METHOD.md §2; Yuan et al. 2024, section 3.1.
    Raises UserError when no example is left, the batch size does not divide, a weight, loss or gradient norm is not
    finite; `out` is then left as it was.
    """
    rows, metrics = sft_rows(model_path, examples, settings.max_length)
    if not rows:
        raise UserError(f"no SFT example is left to train on: {_listed(metrics)}. (params.yaml: eft, sft.max_length)")
    folder = _run_folder(work, model_path, rows, settings, seed)
    trainer = _Sft(
        _load(model_path),
        SFTConfig(
            **_arguments(settings, folder, seed, save_steps, "sft"),
            lr_scheduler_type="cosine_with_min_lr",
            lr_scheduler_kwargs={"min_lr": settings.min_learning_rate},
            gradient_checkpointing=False,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        data_collator=DataCollatorForLanguageModeling(pad_token_id=PAD),
        train_dataset=Dataset.from_dict(_columns(rows)),
        processing_class=AutoTokenizer.from_pretrained(model_path),
    )
    _train(trainer, rows, model_path, out, save_dtype)
    return metrics | _step_metrics(trainer.state, len(rows), settings.batch_size)


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
) -> Metrics:
    """Direct preference optimisation of a model, which is also the frozen reference; writes the folder `out`.

    pairs: pair_id, role ("actor" or "judge"), messages, chosen, rejected. hint: what the caller knows of why there are
    no pairs. work, save_steps, save_dtype and the errors: as `train_sft`. METHOD.md §5; Rafailov et al. 2023, eq. 7.

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
    rows, held_out, metrics = dpo_rows(model_path, pairs, settings.max_length, settings.held_out, seed)
    if not rows:
        problem = f"no preference pair is left to train on: {_listed(metrics)}. {hint}".strip()
        if settings.on_empty == "error":
            raise UserError(
                f"{problem} More prompts or samples make more pairs; on_empty copy passes the model on unchanged. "
                "(params.yaml: dpo.on_empty)"
            )
        warnings.warn(f"{problem} The model is passed on unchanged.", stacklevel=2)
        if PartialState().is_main_process:
            replace_folder(out, lambda folder: shutil.copytree(model_path, folder))
        return metrics | {"copied": 1, "rows_trained": 0, "not_reached": 0}
    folder = _run_folder(work, model_path, [*rows, *held_out], settings, seed)
    arguments = _arguments(settings, folder, seed, save_steps, "dpo")
    if settings.keep == "best":
        arguments |= {"save_strategy": "epoch", "load_best_model_at_end": True}
    trainer = _Dpo(
        _load(model_path),
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
    _train(trainer, rows, model_path, out, save_dtype)
    metrics |= {"copied": 0} | _step_metrics(trainer.state, len(rows), settings.batch_size)
    return metrics | _reward_metrics(trainer.state, settings.keep)


class _Sft(SFTTrainer):  # type: ignore[misc]
    def _send_telemetry(self) -> None:
        """Nobody is told about a run."""


class _Dpo(DPOTrainer):  # type: ignore[misc]
    def _send_telemetry(self) -> None:
        """Nobody is told about a run."""

    def _prepare_dataset(self, dataset: Dataset, *args: Any) -> Dataset:
        """The rows are token ids already; TRL's own way from text to ids drops the long ones silently."""
        return dataset


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Stops on the first number that is not finite, and marks each training checkpoint that is whole."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Mapping[str, float], **_: Any
    ) -> None:
        # the Trainer itself goes on for ever with NaN weights, logging a loss of 0
        for name in ("loss", "grad_norm", "eval_loss"):
            if name in logs and not math.isfinite(logs[name]):
                raise UserError(
                    f"training stopped at step {state.global_step} of {state.max_steps}: {name} is {logs[name]}. No "
                    f"model was written. If the data are sound, a lower learning_rate than {args.learning_rate} may "
                    "help. (params.yaml: learning_rate of sft or dpo)"
                )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_save = False  # the model itself is written next

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        process = PartialState()
        process.wait_for_everyone()
        if process.is_main_process:
            mark_whole(Path(args.output_dir) / f"checkpoint-{state.global_step}")


class _Progress(ProgressCallback):  # type: ignore[misc]
    """The bar with rate and time left, the loss beside it, and no line for every step."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        if self.training_bar is not None and logs and "loss" in logs:
            self.training_bar.set_postfix_str(f"loss {logs['loss']:.3f}")


def _train(trainer: Trainer, rows: Sequence[Row], model_path: Path, out: Path, save_dtype: Dtype) -> None:
    """Train, or go on training, and put the model where it belongs. The training checkpoints go when it is there."""
    given = trainer.train_dataset
    if len(given) != len(rows) or any(list(given[name]) != column for name, column in _columns(rows).items()):
        raise AssertionError(f"the trainer holds {len(given)} rows that are not the {len(rows)} it was given")
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(_Progress())
    trainer.add_callback(_Watch())
    folder = Path(trainer.args.output_dir)
    checkpoint = last_whole_checkpoint(folder)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    _check_finite(trainer.model, f"training ended at step {trainer.state.global_step} and the model is not written")
    trainer.accelerator.unwrap_model(trainer.model).config.use_cache = True  # the Trainer turned it off
    trainer.save_model(str(folder / "model"))  # called by every process: sharded weights are gathered here
    process = PartialState()
    process.wait_for_everyone()
    if process.is_main_process:
        replace_folder(out, lambda temporary: _write_model(folder / "model", model_path, temporary, save_dtype))
        shutil.rmtree(folder)
    process.wait_for_everyone()


def _write_model(trained: Path, model_path: Path, folder: Path, save_dtype: Dtype) -> None:
    """The weights with config, generation config and tokenizer, and no file besides."""
    if not any(trained.glob("*.safetensors")):
        raise UserError("no weights were gathered at the end of training. With FSDP, set FULL_STATE_DICT.")
    if save_dtype == "bfloat16":
        AutoModelForCausalLM.from_pretrained(trained, dtype=torch.bfloat16).save_pretrained(folder)
    else:
        folder.mkdir()
        for path in sorted(trained.iterdir()):
            if path.name.startswith(("model", "config", "generation_config")):
                shutil.move(path, folder / path.name)
    AutoTokenizer.from_pretrained(model_path).save_pretrained(folder)


def _load(model_path: Path) -> PreTrainedModel:
    """The model with float32 weights, all of them finite, set up for what computes it."""
    logging.disable_progress_bar()
    disable_progress_bars()
    process = PartialState()
    if torch.cuda.device_count() > 1 and process.num_processes == 1:
        raise UserError(
            f"one process sees {torch.cuda.device_count()} GPUs and would use one. Start it by `accelerate launch`, or "
            "set CUDA_VISIBLE_DEVICES=0."
        )
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
    _check_finite(model, f"{model_path} cannot be trained")
    if process.device.type == "cpu":
        _keep_freed_memory()
        share_prefixes(model)
        # TRL computes the logits of every position where Triton is missing, and those with a target where it is there
        trl.trainer.utils._use_triton = lambda device: True
    return model


def _check_finite(model: torch.nn.Module, problem: str) -> None:
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise UserError(f"{problem}: its weight {name} holds NaN or infinite values.")


def _keep_freed_memory() -> None:
    """Let glibc reuse freed memory instead of returning it: a step's tensors would be mapped and zeroed anew.

    A sixth of a step's time on a CPU. Elsewhere than on glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def _arguments(
    settings: params.Sft | params.Dpo, folder: Path, seed: int, save_steps: int | None, section: str
) -> dict[str, Any]:
    """The Trainer's arguments that SFT and DPO have in common, with the defaults of theirs that mislead overridden."""
    processes = PartialState().num_processes
    at_once = settings.micro_batch_size * processes
    if settings.batch_size % at_once:
        raise UserError(
            f"batch_size {settings.batch_size} is not a multiple of micro_batch_size {settings.micro_batch_size} times "
            f"{processes} process(es). (params.yaml: {section}.batch_size)"
        )
    return {
        "output_dir": str(folder),
        "seed": seed % 2**32,
        "learning_rate": settings.learning_rate,
        "warmup_steps": 0,
        "per_device_train_batch_size": settings.micro_batch_size,
        "gradient_accumulation_steps": settings.batch_size // at_once,
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "max_length": None,  # TRL would cut and drop; what is too long was left out and counted
        "bf16": bfloat16_is_fast(),
        "use_cpu": not torch.cuda.is_available(),  # or bf16 is refused
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps" if save_steps else "no",
        "save_steps": save_steps or 500,
        "save_total_limit": 2,
        "ddp_find_unused_parameters": False,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "report_to": "none",
    }


def _columns(rows: Sequence[Row]) -> dict[str, list[list[int]]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _dataset(rows: Sequence[Row], folder: Path) -> Dataset:
    """The rows on disk, where TRL keeps their reference log-probabilities for all processes and for a resumed run."""
    process = PartialState()
    if process.is_main_process and not folder.is_dir():
        replace_folder(folder, lambda temporary: Dataset.from_dict(_columns(rows)).save_to_disk(temporary))
    process.wait_for_everyone()
    return load_from_disk(str(folder))


def _run_folder(
    work: Path, model_path: Path, rows: Sequence[Row], settings: params.Sft | params.Dpo, seed: int
) -> Path:
    """This run's folder for training checkpoints, ready for all processes; see `run_folder`."""
    process = PartialState()
    folder = run_folder(
        work, model_path, json.dumps(rows), settings.model_dump_json(), seed, process.num_processes, bfloat16_is_fast()
    )
    if process.is_main_process:
        remove_others(folder)
    process.wait_for_everyone()
    return folder


def _listed(metrics: Metrics) -> str:
    return ", ".join(f"{name} {value}" for name, value in metrics.items() if "tokens" not in name)


def _step_metrics(state: TrainerState, n_rows: int, batch_size: int) -> Metrics:
    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
    trained = min(n_rows, state.global_step * batch_size)  # an epoch visits each row once
    return {
        "rows_trained": trained,
        "not_reached": n_rows - trained,
        "steps": state.global_step,
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "loss_mean": sum(losses) / len(losses),
    }


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
