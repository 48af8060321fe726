"""How long a run would take: scaled from what its finished stages took, else from the figures of hardware."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import polars as pl

from metareward.errors import UserError
from metareward.inputs.examples import formats_of, read_eft
from metareward.params import Dpo, Params, Sft
from metareward.pipeline.costs import TRAINED
from metareward.pipeline.plan import CHARS_PER_TOKEN, Lengths, Load, mean_tokens, pool_of
from metareward.templates.texts import Templates


@dataclass(frozen=True)
class Hardware:
    """A GPU: memory in GB, bfloat16 products in TFLOPS without sparsity, bandwidth of memory in TB/s, at their peak."""

    name: str
    memory: float
    tflops: float
    bandwidth: float
    source: str


HARDWARE = {
    "a100": Hardware("NVIDIA A100 SXM 80 GB", 80, 312, 2.039, "data sheet NVIDIA A100 Tensor Core GPU"),
    "h100": Hardware(
        "NVIDIA H100 SXM", 80, 989.4, 3.35, "data sheet NVIDIA H100 Tensor Core GPU, half of the sparse figure"
    ),
    "h200": Hardware(
        "NVIDIA H200 SXM", 141, 989.4, 4.8, "data sheet NVIDIA H200 Tensor Core GPU, half of the sparse figure"
    ),
    "l40s": Hardware("NVIDIA L40S", 48, 362, 0.864, "data sheet NVIDIA L40S"),
}
# Shares of the peak that docs/speed.md, On a GPU, has measured on an H200 with a Llama of 1.24 billion parameters: SFT
# with 25,674 tokens a second of six operations a parameter, and the stage judge, which wrote 2,662 of two operations
_PEAK = HARDWARE["h200"].tflops * 1e12
TRAINING_SHARE = 6 * 1.24e9 * 25_674 / _PEAK
WRITING_SHARE = 2 * 1.24e9 * 2_662 / _PEAK


@dataclass(frozen=True)
class Time:
    """The seconds of a stage, and what they are from."""

    stage: str
    seconds: float | None
    basis: str


def parse_hardware(text: str) -> tuple[Hardware, int]:
    """h100x8: eight of them. Raises UserError for what is not known."""
    match = re.fullmatch(r"(\w+?)(?:x([1-9]\d*))?", text)
    if not match or match[1] not in HARDWARE:
        known = ", ".join(HARDWARE)
        raise UserError(f"{text!r} is no hardware that is known here; it must be one of {known}, or {known[:4]}x8.")
    return HARDWARE[match[1]], int(match[2] or 1)


def count_parameters(folder: Path) -> int:
    """The parameters of a model, from the headers of its safetensors files."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        total += sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    return total


def training_loads(params: Params, templates: Templates, lengths: Lengths) -> dict[str, int]:
    """The tokens that each training sees, over all its epochs, by stage; of DPO the most, if each prompt has its pairs.

    SFT's are those of the examples that are there; of ranked replies, which the seed has still to judge, none are.
    """
    eft = read_eft(params.eft, templates, formats_of(params))
    chars = eft.select(
        pl.col("messages").list.eval(pl.element().struct.field("content").str.len_chars()).list.sum()
        + pl.col("target").str.len_chars()
    ).to_series()
    found = {"sft": _seen(eft.height, float(chars.mean() or 0.0) / CHARS_PER_TOKEN, params.sft)}  # type: ignore[arg-type]
    prompt = mean_tokens(pool_of(params)["prompt"])
    judge = len(templates.judge_prompt("", "")) / CHARS_PER_TOKEN + prompt + lengths.response + lengths.judgment
    n = params.prompts.per_iteration
    for name, iteration in params.iterations.items():
        pairs = n * (1 + iteration.train_judge)
        tokens = 2 * (prompt + lengths.response + (judge if iteration.train_judge else 0)) / (1 + iteration.train_judge)
        found[f"dpo@{name}"] = _seen(pairs, tokens, params.dpo)
    return found


def _seen(rows: int, tokens: float, settings: Sft | Dpo) -> int:
    """Tokens of all rows in all epochs, or in max_steps, which can be more than the epochs have."""
    seen = rows * settings.epochs if settings.max_steps is None else settings.max_steps * settings.batch_size
    return round(seen * tokens)


def times_of_own(loads: Iterable[Load], training: Mapping[str, int], costs: Sequence[Mapping[str, Any]]) -> list[Time]:
    """The time of each stage: what it took, else in proportion to its tokens what the last of its kind took."""
    took = {row["stage"]: row for row in costs}
    kinds = {row["stage"].split("@")[0]: row for row in costs}
    asked = {load.stage.replace("-", "_"): load.prefill + load.decode for load in loads} | dict(training)
    found = []
    for stage, tokens in asked.items():
        own, alike = took.get(stage), kinds.get(stage.split("@")[0])
        if own:
            found.append(Time(stage, own["seconds"], "took"))
        elif alike and (per := _tokens(alike)):
            found.append(Time(stage, alike["seconds"] * tokens / per, f"as {alike['stage']}, by tokens"))
        else:
            found.append(Time(stage, None, "none of its kind has run"))
    return found


def _tokens(row: Mapping[str, Any]) -> float:
    read = 0 if row["stage"].split("@")[0] in TRAINED else row["prompt_chars"] / CHARS_PER_TOKEN
    return float(read + row["tokens_written"] + row["tokens_trained"])


def times_on(
    hardware: Hardware, gpus: int, parameters: float, loads: Iterable[Load], training: Mapping[str, int]
) -> list[Time]:
    """The time of each stage on such GPUs, at the measured shares of their peak: see `assumptions`."""
    peak = hardware.tflops * 1e12 * gpus
    found = [
        Time(
            load.stage.replace("-", "_"),
            2 * parameters * (load.prefill / TRAINING_SHARE + load.decode / WRITING_SHARE) / peak,
            hardware.name,
        )
        for load in loads
    ]
    for stage, tokens in training.items():
        per_token = 6 if stage == "sft" else 8  # DPO: and the reference, counted in each epoch
        found.append(Time(stage, per_token * parameters * tokens / (TRAINING_SHARE * peak), hardware.name))
    return found


def assumptions(hardware: Hardware, gpus: int, parameters: float) -> str:
    """One line on what `times_on` has assumed."""
    return (
        f"time on {gpus} x {hardware.name} ({hardware.tflops:g} TFLOPS bfloat16, {hardware.memory:g} GB, "
        f"{hardware.bandwidth:g} TB/s; {hardware.source}) for {parameters / 1e9:.2f} billion parameters, assumed: "
        f"training and reading prompts use {TRAINING_SHARE:.0%} of the peak, writing {WRITING_SHARE:.1%}, as "
        "docs/speed.md (On a GPU) measured with 1.24 billion parameters and small batches of the engine transformers, "
        "so writing with vLLM takes less; all GPUs are busy; nothing is counted for loading models and for tables"
    )
