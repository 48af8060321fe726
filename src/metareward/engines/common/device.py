"""What the processor at hand is good at."""

import torch


def bfloat16_is_fast() -> bool:
    """Whether bfloat16 matrix products beat float32 ones: on GPUs that have them, CPUs with AMX, and AMD's since Zen 4.

    Two cores with AVX512-BF16 and no AMX: 396 GFLOPS in bfloat16 against 174 in float32 on AMD's, 160 against 300 on
    others, whose float32 units are twice as wide. By name and not by a stopwatch: one machine must always decide alike.
    """
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    has = torch.cpu.get_capabilities()
    return bool(has.get("amx_bf16") or (has.get("avx512_bf16") and str(has.get("cpu_name")).startswith("AMD")))


def best_dtype() -> str:
    """What "auto" stands for: float32 or bfloat16, whichever this processor multiplies faster."""
    return "bfloat16" if bfloat16_is_fast() else "float32"


def visible_gpus() -> int:
    """How many GPUs this process may use; none of them is touched."""
    return int(torch.cuda.device_count())
