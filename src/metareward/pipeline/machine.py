"""What this machine could generate with, beside the engine that params name."""

from importlib.util import find_spec
from pathlib import Path


def other_engines(name: str) -> str:
    """One line on the other engines of this machine, from what is installed and how many NVIDIA GPUs are here.

    Nothing is loaded. No engine is chosen by itself: one commit must not mean two engines on two machines.
    """
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    here = f"{gpus} GPU{'s' if gpus > 1 else ''}" if gpus else "no GPU"
    installed = [engine for engine in ("vllm", "openai") if engine != name and find_spec(engine)]
    others = [*(["transformers"] if name != "transformers" else []), *installed]
    line = f"engine {name}; this machine has {here} and could use {' or '.join(others) or 'no other'}"
    if gpus and name == "transformers":
        how = "" if "vllm" in installed else ", after pip install '.[vllm]'"
        line += f". vllm is faster on a GPU{how} (params.yaml: engine.name)"
    return line
