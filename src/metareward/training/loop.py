"""Loop, model and arguments that SFT and DPO share, and what training writes.

TRL is given token ids, not text: training reads exactly the tokens that generation writes, and nothing is cut or
dropped behind our back.

One process trains on one GPU or on the CPU. For more, `launch.py` starts the same stage in each (DDP or FSDP):
`batch_size` stays the global batch, every process makes the same call, and the main process alone writes `out`.
"""

import ctypes
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list  # type: ignore[import-untyped]
from datasets.utils import disable_progress_bars
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils import logging

from metareward import params
from metareward.engines.common.device import bfloat16_is_fast
from metareward.errors import UserError
from metareward.locks import discard, keep
from metareward.spent import Spent, seconds_so_far
from metareward.tables import table_of, write_table
from metareward.training.checkpoints import (
    last_whole_checkpoint,
    mark_whole,
    remove_checkpoints_but,
    remove_others,
    run_folder,
)
from metareward.training.optimizer import optimizer_arguments
from metareward.training.prefixes import share_prefixes
from metareward.training.processes import by_main, check_finite, divided, on_cpu, this_process, together
from metareward.training.rows import Metrics, Row
from metareward.training.weights import KeepBest, save_weights, write_checkpoint

FULL = params.Train(lora=None, save_dtype="float32", optimizer="adamw")  # all weights, as they were trained
PAD = 0  # stands where the attention mask is 0, so any token will do


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Stops on the first number that is not finite; marks a training checkpoint that is whole, and leaves it alone."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Mapping[str, float], **_: Any
    ) -> None:
        # the Trainer itself goes on for ever with NaN weights, logging a loss of 0
        with together():
            for name in ("loss", "grad_norm", "eval_loss"):
                if name in logs and not math.isfinite(logs[name]):
                    raise UserError(
                        f"training stopped at step {state.global_step} of {state.max_steps}: {name} is {logs[name]}. "
                        f"No model was written. If the data are sound, a lower learning_rate than {args.learning_rate} "
                        "may help. (params.yaml: learning_rate of sft or dpo)"
                    )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_save = False  # the model itself is written next

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        this_process().wait_for_everyone()  # each has written its own files
        folder = Path(args.output_dir)
        checkpoint = folder / f"checkpoint-{state.global_step}"

        def leave() -> None:
            mark_whole(checkpoint)
            remove_checkpoints_but(checkpoint, folder)

        by_main(leave)


class _Noted(TrainerCallback):  # type: ignore[misc]
    """Notes what the training takes, step by step; the main process alone does."""

    def __init__(self, folder: Path) -> None:
        begun = seconds_so_far()
        self.spent = Spent(folder, begun) if this_process().is_main_process else None

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.leave()

    def leave(self, ended: bool = False) -> None:
        if self.spent:
            self.spent.note(ended=ended)


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


def train(
    trainer: Trainer,
    rows: Sequence[Row],
    model_path: Path,
    out: Path,
    settings: params.Train,
    best: KeepBest | None = None,
) -> None:
    """Train, or go on training, and put the model where it belongs. The training checkpoints go when it is there.

    best: keeps the weights that are put there, in the place of the last ones.
    """
    given = trainer.train_dataset
    if len(given) != len(rows) or any(list(given[name]) != column for name, column in columns_of(rows).items()):
        raise AssertionError(f"the trainer holds {len(given)} rows that are not the {len(rows)} it was given")
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(_Progress())
    trainer.add_callback(_Watch())
    folder = Path(trainer.args.output_dir)
    trainer.add_callback(noted := _Noted(folder))
    checkpoint = last_whole_checkpoint(folder)
    by_main(lambda: remove_checkpoints_but(checkpoint, folder))
    if best:
        trainer.add_callback(best)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    check_finite(trainer.model, f"training ended at step {trainer.state.global_step} and the model is not written")
    trained = best.folder if best else folder / "model"
    if not best:
        save_weights(trainer, trained)
    by_main(lambda: write_checkpoint(trained, model_path, out, settings))
    noted.leave(ended=True)
    by_main(lambda: discard(folder))


def load_model(model_path: Path) -> PreTrainedModel:
    """The model with float32 weights, all of them finite, set up for what computes it."""
    logging.disable_progress_bar()
    disable_progress_bars()
    process = this_process()
    if process.device.type == "cuda" and torch.cuda.device_count() > 1 and process.num_processes == 1:
        raise UserError(
            f"one process sees {torch.cuda.device_count()} GPUs and would use one. Start it by `accelerate launch`, or "
            "set CUDA_VISIBLE_DEVICES=0. Stages start their processes themselves. (params.yaml: resources.processes)"
        )
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
    check_finite(model, f"{model_path} cannot be trained")
    if process.device.type == "cpu":
        _keep_freed_memory()
        if not divided():  # the reference is a model of TRL's own making then
            share_prefixes(model)
    return model


def _keep_freed_memory() -> None:
    """Let glibc reuse freed memory instead of returning it: a step's tensors would be mapped and zeroed anew.

    A sixth of a step's time on a CPU. Elsewhere than on glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def trainer_arguments(
    settings: params.Sft | params.Dpo,
    weights: params.Train,
    folder: Path,
    seed: int,
    save_steps: int | None,
    section: str,
) -> dict[str, Any]:
    """The Trainer's arguments that SFT and DPO share; misleading defaults are overridden."""
    processes = this_process().num_processes
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
        "gradient_checkpointing": settings.gradient_checkpointing,
        "bf16": bfloat16_is_fast(),
        "use_cpu": on_cpu(),  # or bf16 is refused
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps" if save_steps else "no",
        "save_steps": save_steps or 500,
        "save_total_limit": None,  # the Trainer would remove the one before this one is known to be whole
        "ddp_find_unused_parameters": False,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "report_to": "none",
        **optimizer_arguments(weights),
    }


def columns_of(rows: Sequence[Row]) -> dict[str, list[list[int]]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def training_folder(
    work: Path,
    model_path: Path,
    rows: Sequence[Row],
    settings: params.Sft | params.Dpo,
    weights: params.Train,
    seed: int,
    wait_hours: float,
) -> Path:
    """This run's folder for training checkpoints, ready for all processes; see `run_folder`.

    Another run that trains the very same is waited for, wait_hours at most: it is over when its folder is gone, and
    this one trains again, to the same weights; if it was killed, this one goes on from its last checkpoint.
    """
    processes = this_process().num_processes
    how = settings.model_dump_json(), weights.model_dump_json()
    named: list[Path | None] = [None]

    def take() -> None:
        dtype = "bfloat16, logits in float32" if bfloat16_is_fast() else False  # what it was called before
        folder = run_folder(work, model_path, json.dumps(rows), *how, seed, processes, dtype)
        # the other processes stand at a barrier meanwhile, and a barrier has a limit of minutes
        keep(folder, wait_hours if processes == 1 else 0.0)
        remove_others(folder)
        named[0] = folder

    by_main(take)
    (folder,) = broadcast_object_list(named)  # one process reads all the weights, not each
    return Path(folder)


def listed(metrics: Metrics) -> str:
    return ", ".join(f"{name} {value}" for name, value in metrics.items() if "tokens" not in name)


def step_metrics(state: TrainerState, n_rows: int, settings: params.Sft | params.Dpo) -> Metrics:
    """What the steps did. repeated: rows that fill up the last step of an epoch, where it is shared among processes."""
    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
    trained = min(n_rows, state.global_step * settings.batch_size)  # an epoch visits each row once
    processes = this_process().num_processes
    fill = -n_rows % (settings.micro_batch_size * processes) if processes > 1 else 0
    return {
        "rows_trained": trained,
        "not_reached": n_rows - trained,
        "repeated": fill * (state.global_step // math.ceil(n_rows / settings.batch_size)),
        "steps": state.global_step,
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "loss_mean": sum(losses) / len(losses),
    }


def write_steps(log: Sequence[Mapping[str, float]], path: Path | None) -> None:
    """Write the table `training_steps` from what the Trainer logged; SFT has no rewards. A path of None: do not."""
    names = {name: name for name in ("step", "epoch", "loss", "learning_rate", "grad_norm")}
    names |= {"reward_accuracy": "rewards/accuracies", "reward_margin": "rewards/margins"}
    if not path:
        return
    rows = [{ours: entry.get(theirs) for ours, theirs in names.items()} for entry in log if "loss" in entry]
    by_main(lambda: write_table(table_of(rows, "training_steps"), path, "training_steps"))
