"""Threads that wait for others soon sleep, unless the user says something else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"


@pytest.mark.parametrize(
    ("own", "expected"),
    [({}, "3000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_the_package_says_how_long_threads_wait_awake_before_torch_is_loaded(own, expected):
    """libgomp reads it once, when torch loads it."""
    code = "import os, sys, metareward; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    left = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    environment = {**left, "PYTHONPATH": str(SOURCE), **own}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == [expected, "False"]
