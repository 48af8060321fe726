"""What a costly stage took: data/costs/STAGE.json, on which nothing costly depends."""

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from metareward.params import Params
from metareward.pipeline.stage import TRAINING, Stage
from metareward.spent import THIS_PROCESS, seconds_so_far
from metareward.tables import read_table, write_json

COSTS = Path("data/costs")
TRAINED = ("sft", "dpo")
COSTLY = (
    *(
        "generate_prompts",
        "eft_judge",
        "respond",
        "judge",
        "meta_judge",
        "strong_respond",
        "strong_judge",
        "evaluate",
        "compare",
        "likelihood",
    ),
    *("categories", "answer", "grade", *TRAINED),
)


def costs_file(label: str) -> Path:
    """respond@m1 -> data/costs/respond-m1.json."""
    return COSTS / f"{label.replace('@', '-').replace('_', '-')}.json"


def write_costs(stage: Stage) -> None:
    """Write what a stage took, if it is a costly one; its last line calls this.

    seconds: of all processes that worked on it, those that were killed included up to their last note (killed: how many
    these are; of each some seconds are missing, or an optimizer step). tokens_written: generated for it, not those
    that a journal had from other work. tokens_trained: as often as a step saw them, padding left out. peak memory: of
    this process and, of a server of vLLM's, what it holds on the first GPU.
    """
    if stage.name not in COSTLY:
        return
    before = [(process, note) for spent in THIS_PROCESS for process, note in spent.before.items()]
    seconds = seconds_so_far() + sum(one.seconds for one in THIS_PROCESS) + sum(note["seconds"] for _, note in before)
    written = sum(one.tokens for one in THIS_PROCESS) + sum(int(note["tokens"]) for _, note in before)
    trained = _tokens_trained(stage)
    name, gpus, gpu_memory = _hardware()
    served = next((spent.served for spent in THIS_PROCESS if spent.served), None)
    costs = {
        "stage": stage.label,
        "seconds": round(seconds, 2),
        "processes": 1 + len({process for process, _ in before}),
        "killed": len({process for process, note in before if not note["ended"]}),
        "prompt_chars": sum(spent.prompt_chars for spent in THIS_PROCESS),
        "tokens_written": written,
        "tokens_trained": trained,
        "tokens_per_second": round((trained or written) / seconds, 2),
        "hardware": served or name,
        "gpus": 0 if served else gpus,
        "memory_gb": round(_most_memory() / 1e9, 2),
        "gpu_memory_gb": None if served or gpu_memory is None else round(gpu_memory / 1e9, 2),
    }
    write_json(costs, costs_file(stage.label))


def _tokens_trained(stage: Stage) -> int:
    """Tokens of an epoch, times the epochs that the steps made."""
    if stage.name not in TRAINED:
        return 0
    file = TRAINING / (stage.works_on or stage.name)
    steps = read_table(file.with_suffix(".parquet"), "training_steps")
    epochs: float = steps["epoch"][-1] if steps.height else 0.0
    tokens: int = json.loads(file.with_suffix(".json").read_text())["tokens"]
    return round(tokens * epochs)


def _most_memory() -> int:
    """Bytes of main memory that this process or one that it waited for held at most."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return 1024 * max(resource.getrusage(kind).ru_maxrss for kind in kinds)


def _hardware() -> tuple[str, int, int | None]:
    """The GPU's name, how many this process sees, and the bytes held at most on the first; or the processor's name."""
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            free, total = torch.cuda.mem_get_info()
            allocated = torch.cuda.max_memory_allocated()
            return torch.cuda.get_device_name(), torch.cuda.device_count(), allocated or total - free
    return processor(), 0, None


def processor() -> str:
    """The processor's name, and how many of its cores this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0))
    return f"{names[0] if names else 'processor'}, {cores} core{'s' * (cores > 1)}"


def read_costs(labels: list[str]) -> list[dict[str, Any]]:
    """The costs of those stages that have run, in the order of the labels."""
    found = []
    for label in labels:
        path = costs_file(label)
        if path.exists():
            costs: dict[str, Any] = json.loads(path.read_text())
            found.append(costs)
    return found


def costly_stages(params: Params) -> list[str]:
    """The labels of the costly stages of a run, about in the order in which they run."""
    names = ("evaluate", "compare", "likelihood", "answer", "grade")
    checkpoints = [f"{name}@{one}" for one in params.checkpoints for name in names]
    steps = ("respond", "judge", "meta_judge", "dpo")
    iterations = [f"{name}@{one}" for one in params.checkpoints[2:] for name in steps]
    return [
        "generate_prompts",
        "eft_judge",
        "sft",
        *iterations,
        "strong_respond",
        "strong_judge",
        "categories",
        *checkpoints,
    ]
