import pytest
import torch

from metareward.engines.common.device import bfloat16_is_fast


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks about the CPU")
@pytest.mark.parametrize(
    ("name", "has", "expected"),
    [
        ("Intel Xeon", {"avx512_bf16": True, "amx_bf16": True}, True),
        ("Intel Xeon", {"avx512_bf16": True, "amx_bf16": False}, False),
        ("AMD EPYC", {"avx512_bf16": True, "amx_bf16": False}, True),
        ("AMD EPYC", {"avx512_bf16": False, "amx_bf16": False}, False),
        ("Apple M2", {}, False),
    ],
)
def test_bfloat16_needs_more_than_instructions_for_it(monkeypatch, name, has, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": name, **has})
    assert bfloat16_is_fast() is expected
