"""Where real benchmark data lies, for the tests that compare with published figures; it is no part of the project."""

import os
from pathlib import Path

import pytest

BENCH = Path(os.environ.get("METAREWARD_BENCH") or Path(__file__).parents[2] / "shared/bench")
needs_bench = pytest.mark.skipif(
    not BENCH.is_dir(), reason="needs benchmark data, in ../shared/bench or where METAREWARD_BENCH says"
)
