"""Options of vLLM's own in engine.vllm: which may be set there, and which of them decide a text."""

import ast
import difflib
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from metareward.errors import UserError

# What this project sets itself, by the key of params.yaml that says it
SET_BY = {
    "model": "seed_model",
    "revision": "seed_model",
    "tokenizer": "seed_model",
    "tokenizer_mode": "seed_model",
    "tokenizer_revision": "seed_model",
    "skip_tokenizer_init": "seed_model",
    "served_model_name": "seed_model",
    "trust_remote_code": "seed_model",
    "seed": "seed",
    "max_model_len": "engine.max_context",
    "tensor_parallel_size": "resources.tensor_parallel",
    "pipeline_parallel_size": "resources.tensor_parallel",
    "prefill_context_parallel_size": "resources.tensor_parallel",
    "nnodes": "resources.tensor_parallel",
    "device_ids": "resources.workers",
    "distributed_executor_backend": "resources.ray",
}
# What is always the same here, and why
FIXED = {
    "generation_config": "temperature, top_p and max_tokens are those of params, also where the model brings its own",
    "override_generation_config": "temperature, top_p and max_tokens are those of params",
    "logprobs_mode": "benchmarks read the model's own distribution",
    "disable_log_stats": "its counts are always kept",
}
COPIES = "data_parallel"  # options that begin so, of vLLM's own copies of the model: resources.workers says how many

# Where memory and batches go. Which rows share a batch changes draws, as a kill does, and not what they are drawn from:
# texts that were written with other values of these are as good, so a journal is kept. All other options decide texts.
UNDECISIVE = frozenset(
    {
        "async_scheduling",
        "block_size",
        "cpu_offload_gb",
        "enable_chunked_prefill",
        "enable_prefix_caching",
        "gpu_memory_utilization",
        "kv_cache_memory_bytes",
        "kv_offloading_backend",
        "kv_offloading_size",
        "log_level",
        "long_prefill_token_threshold",
        "long_prefill_token_threshold_adaptive",
        "max_cudagraph_capture_size",
        "max_num_batched_tokens",
        "max_num_seqs",
        "max_num_scheduled_tokens",
        "max_parallel_loading_workers",
        "numa_bind",
        "num_gpu_blocks_override",
        "offload_backend",
        "prefix_caching_hash_algo",
        "safetensors_load_strategy",
        "safetensors_prefetch_num_threads",
        "scheduler_reserve_full_isl",
        "scheduling_policy",
        "use_tqdm_on_load",
        "watermark",
    }
)


def deciding_options(section: Mapping[str, Any]) -> dict[str, Any]:
    """What of the section engine.vllm decides a text."""
    return {key: value for key, value in section.items() if key not in UNDECISIVE}


def check_options(options: Collection[str]) -> None:
    """Raise UserError for an option that this project sets itself, or that the installed vLLM does not have."""
    for option in options:
        key = "resources.workers" if option.startswith(COPIES) else SET_BY.get(option)
        why = f"it is what {key} says" if key else FIXED.get(option)
        if why:
            raise UserError(
                f"engine.vllm.{option} can't be set: {why}. Hint: remove the line. (params.yaml: engine.vllm.{option})"
            )
    known = vllm_options()
    for option in options:
        if known and option not in known:
            near = difflib.get_close_matches(option, sorted(known - SET_BY.keys() - FIXED.keys()), n=1, cutoff=0.5)
            hint = f"Do you mean {near[0]!r}?" if near else "They are the fields of vllm.EngineArgs."
            raise UserError(f"engine.vllm.{option} is no option of vLLM's. {hint} (params.yaml: engine.vllm.{option})")


def vllm_options() -> frozenset[str]:
    """The fields of vLLM's EngineArgs, read from its source: to import it takes ten seconds. Empty: no vLLM is here."""
    spec = find_spec("vllm")
    if spec is None or not spec.submodule_search_locations:
        return frozenset()
    path = Path(spec.submodule_search_locations[0]) / "engine/arg_utils.py"
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name == "EngineArgs":
            fields = [line.target for line in node.body if isinstance(line, ast.AnnAssign)]
            return frozenset(target.id for target in fields if isinstance(target, ast.Name))
    return frozenset()
