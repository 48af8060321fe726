"""What is written of a model: its weights, those of the best evaluation, and at the end a checkpoint."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from metareward import params
from metareward.errors import UserError
from metareward.training.adapter import merged
from metareward.training.checkpoints import replace_folder
from metareward.training.processes import by_main, divided, this_process

KEPT = "kept.json"  # beside the weights of the best evaluation: what it measured


def save_weights(trainer: Trainer, folder: Path) -> None:
    """The weights (with LoRA the adapter's alone) and the config; called by every process: shards are gathered."""
    by_main(lambda: shutil.rmtree(folder, ignore_errors=True))
    config = trainer.accelerator.unwrap_model(trainer.model).config
    used, config.use_cache = config.use_cache, True  # the Trainer turned it off
    trainer.save_model(str(folder))
    config.use_cache = used
    this_process().wait_for_everyone()  # with sharded weights each may have written files


class KeepBest(TrainerCallback):  # type: ignore[misc]
    """Keeps the weights of the evaluation with the lowest loss in `folder`, whenever training states are saved.

    kept: what that evaluation measured, and its step. A run that goes on after a kill knows of it by the folder.
    """

    def __init__(self, trainer: Trainer, folder: Path) -> None:
        self.trainer, self.folder = trainer, folder
        self.kept: dict[str, float] = {}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step and (self.folder / KEPT).is_file():  # a run that starts anew measures anew
            self.kept = json.loads((self.folder / KEPT).read_text())

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float],
        **_: Any,
    ) -> None:
        if self.kept and self.kept["eval_loss"] <= metrics["eval_loss"]:
            return
        self.kept = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
        self.kept["step"] = state.global_step
        written = self.folder.with_name(f"{self.folder.name}.new")
        save_weights(self.trainer, written)

        def put() -> None:
            (written / KEPT).write_text(json.dumps(self.kept))
            shutil.rmtree(self.folder, ignore_errors=True)
            os.replace(written, self.folder)

        by_main(put)


def write_checkpoint(trained: Path, model_path: Path, out: Path, settings: params.Train) -> None:
    """Put the weights of a folder, or the model at model_path with the adapter there, in the place of `out`.

    A checkpoint is weights, config, generation config and tokenizer, and no file besides. `trained` stays as it is.
    """

    def write(folder: Path) -> None:
        if not any(trained.glob("*.safetensors")):
            raise UserError("no weights were gathered at the end of training. With FSDP, set FULL_STATE_DICT.")
        dtype = getattr(torch, settings.save_dtype)
        # gathered from parts, a matrix that the model has tied to another is there twice
        twice = divided() and AutoConfig.from_pretrained(model_path).tie_word_embeddings
        if settings.lora:
            merged(model_path, trained).to(dtype).save_pretrained(folder)
        elif twice or dtype != torch.float32:
            AutoModelForCausalLM.from_pretrained(trained, dtype=dtype).save_pretrained(folder)
        else:
            folder.mkdir()
            for path in sorted(trained.iterdir()):
                if path.name.startswith(("model", "config", "generation_config")):
                    _link(path, folder / path.name)
        AutoTokenizer.from_pretrained(model_path).save_pretrained(folder)

    replace_folder(out, write)


def _link(path: Path, other: Path) -> None:
    """The same file in two folders, or its copy where they share no disk: neither is ever written again."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copyfile(path, other)
