"""How long a run takes on the processor at hand, from two seconds of work on it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from metareward.inputs.examples import formats_of, read_eft
from metareward.inputs.pool import read_prompts
from metareward.inputs.replies import read_replies
from metareward.inputs.seed_model import EMBEDDED_PARAMETERS
from metareward.params import Params
from metareward.pipeline.costs import processor
from metareward.pipeline.fit import seed_shape
from metareward.pipeline.hours import count_parameters, training_loads
from metareward.pipeline.plan import expected_lengths, loads
from metareward.templates.texts import load_templates

ROWS, WIDTHS, LAYERS = 256, (576, 1536), 40  # weights of 140 MB in float32, so that no cache holds them
SECONDS = 2.0
# What a run of the demo did of the processor's products in the same second, by the number format in which it works: one
# processor without fast bfloat16, one with it (docs/speed.md, The estimate for a machine)
SHARES = {
    "float32": {"read": 0.8, "written": 0.18, "trained": 0.92},
    "bfloat16": {"read": 0.55, "written": 0.23, "trained": 0.4},
}
MODEL_STAGE, OTHER_STAGE = 2.4, 1.25  # seconds beside its work, in those of importing torch and transformers
ORDER = ("generate-prompts", "eft-judge", "sft", "respond", "judge", "meta-judge", "dpo", "strong-respond", "evaluate")
STAGES = 18, 15  # without a model: in all, and for each iteration


@dataclass(frozen=True)
class Machine:
    """A processor: the format in which it multiplies faster, operations a second in products of such matrices, and the
    seconds in which a stage gets its libraries."""

    name: str
    dtype: str
    operations: float
    start: float


def measure() -> Machine:
    """This machine, in the number format in which it would generate and train."""
    begun = time.monotonic()
    import torch

    import metareward.engines.transformers.engine  # noqa: F401
    from metareward.engines.common.device import best_dtype

    start = time.monotonic() - begun
    name = best_dtype()
    dtype = getattr(torch, name)
    weights = [torch.ones(*(WIDTHS if layer % 2 else WIDTHS[::-1]), dtype=dtype) for layer in range(LAYERS)]
    rows = torch.ones(ROWS, WIDTHS[1], dtype=dtype)
    fastest, begun = float("inf"), time.monotonic()
    with torch.inference_mode():
        while (since := time.monotonic()) - begun < SECONDS:
            for weight in weights:
                rows = (rows @ weight).clamp(max=1)
            fastest = min(fastest, time.monotonic() - since)
    return Machine(processor(), name, 2 * ROWS * sum(weight.numel() for weight in weights) / fastest, start)


def parameters_of(params: Params) -> int | None:
    """Of the seed model, where that can be known before it is here."""
    if params.seed_model == "embedded":
        return EMBEDDED_PARAMETERS
    if Path(params.seed_model).is_dir():
        return count_parameters(Path(params.seed_model))
    shape, _ = seed_shape(params)
    return shape.parameters if shape else None


@dataclass
class Work:
    """What a stage does in all iterations: tokens, their multiply-adds with the weights of the model, and seconds.

    read: of prompts, as an engine computes them. trained: of rows, a prefix that a batch shares counted once.
    """

    stage: str
    read: int = 0
    written: int = 0
    trained: int = 0
    multiply_adds: float = 0.0
    seconds: float = 0.0


def work_of(params: Params, machine: Machine, parameters: int) -> list[Work]:
    """What a whole run does, by stage; all that load no model are the last."""
    templates = load_templates(params.templates)
    lengths = expected_lengths(params, templates)
    found: dict[str, Work] = {}

    def add(label: str, **tokens: int) -> None:
        stage = label.partition("@")[0]
        work = found.setdefault(stage, Work(stage))
        # a forward pass; in training two more for the gradients, and one of DPO's reference
        passes = {"read": 1, "written": 1, "trained": 4 if stage == "dpo" else 3}
        for kind, n in tokens.items():
            setattr(work, kind, getattr(work, kind) + n)
            multiply_adds = passes[kind] * n * parameters
            work.multiply_adds += multiply_adds
            work.seconds += 2 * multiply_adds / (SHARES[machine.dtype][kind] * machine.operations)
        work.seconds += MODEL_STAGE * machine.start

    for load in loads(params, templates, lengths, Path("data")):
        if load.requests:
            add(load.stage, read=load.computed, written=load.decode)
    for label, tokens in training_loads(params, templates, lengths).items():
        add(label, trained=tokens)
    others = STAGES[0] + STAGES[1] * len(params.iterations)
    order = {stage: place for place, stage in enumerate(ORDER)}
    work = sorted(found.values(), key=lambda one: order.get(one.stage, len(order)))
    return [*work, Work("others", seconds=OTHER_STAGE * others * machine.start)]


def cheaper(params: Params) -> Iterator[tuple[str, Params]]:
    """Changes that make a run shorter, each in words or as KEY=VALUE, and with the params that it gives."""
    evaluate, sft = params.evaluate, params.sft
    prompts = evaluate.n_prompts or read_prompts(Path(evaluate.prompts), "evaluate.prompts").height
    judged = evaluate.n_judged_prompts or read_replies(Path(evaluate.judged), "evaluate.judged")["prompt_id"].n_unique()
    examples = read_eft(params.eft, load_templates(params.templates), formats_of(params)).height
    steps = sft.max_steps or int(ceil(examples / sft.batch_size) * sft.epochs)
    sizes = {
        ("prompts", "per_iteration"): params.prompts.per_iteration,
        ("evaluate", "n_prompts"): prompts,
        ("evaluate", "n_judged_prompts"): judged,
        ("sft", "max_steps"): steps,
    }
    seed_and_sft, names = params.checkpoints[:2], params.checkpoints[2:]
    if later := names[(len(names) + 1) // 2 :]:
        kept = [name for name in names if name not in later]
        less = {"checkpoints": seed_and_sft + kept, "iterations": {name: params.iterations[name] for name in kept}}
        yield f"no {' or '.join(later)} in checkpoints and iterations", params.model_copy(update=less)
    for (section, key), now in sizes.items():
        changed = getattr(params, section).model_copy(update={key: now // 2})
        if now > 1:
            yield f"{section}.{key}={now // 2}", params.model_copy(update={section: changed})
