"""Low-rank adapters (LoRA, Hu et al. 2021): trained in the place of all weights, merged at the end of a stage."""

from pathlib import Path

import torch
from peft import LoraConfig, PeftModel
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from metareward import params
from metareward.errors import UserError


def adapter_of(model: PreTrainedModel, lora: params.Lora) -> LoraConfig:
    """The adapters of a model's linear modules that lora.targets names: by name, or by how the name ends.

    "all-linear" are all but the output layer, which has none: TRL multiplies by its weight directly, and where the
    embeddings are tied it is the input's, too. Raises UserError for a target that is no such module.
    """
    output = model.get_output_embeddings()
    linear = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not output
    ]
    wanted = [""] if lora.targets == "all-linear" else lora.targets
    for target in wanted:
        if not any(_ends(name, target) for name in linear):
            known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in linear}))
            raise UserError(
                f"{target or 'all-linear'} is the name of no linear module of the model but its output layer, so "
                f"nothing would be trained there. Modules: {known or 'none'}. (params.yaml: train.lora.targets)"
            )
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=[name for name in linear if any(_ends(name, target) for target in wanted)],
        task_type="CAUSAL_LM",
    )


def merged(model_path: Path, adapter: Path) -> PreTrainedModel:
    """The model of a checkpoint, in float32, with the adapter of a folder added to its weights: W + alpha / r B A."""
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
    return PeftModel.from_pretrained(model, adapter).merge_and_unload()


def _ends(name: str, target: str) -> bool:
    return not target or f".{name}".endswith(f".{target}")
