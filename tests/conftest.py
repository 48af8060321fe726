"""Checkpoints that tests share: a random tiny Llama, and the real seed model of the demo."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock
from hypothesis import settings

if TYPE_CHECKING:
    from pipeline import Clone

sys.path.insert(0, str(Path(__file__).parent))
# a busy machine is slow, which is no fault of the code
settings.register_profile("metareward", deadline=None)
settings.load_profile("metareward")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    from tiny import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def demo_seed(tmp_path_factory) -> Path:
    """The folder of a clone in which `dvc repro seed` has made the demo's seed model: to be copied."""
    return _made_once(
        tmp_path_factory, "demo seed", lambda clone: clone.run("cp profiles/demo.yaml params.yaml && dvc repro seed")
    )


@pytest.fixture(scope="session")
def smollm2(demo_seed) -> Path:
    """SmolLM2-135M-Instruct, fetched and converted as the pipeline's first stage does it: to be read."""
    return demo_seed / "models/seed"


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> Path:
    """The folder of a clone in which `dvc repro` has run the tiny profile: to be copied.

    What it printed is in `printed` beside it.
    """

    def run(clone):
        clone.use_tiny_profile()
        return clone.run("dvc repro")

    return _made_once(tmp_path_factory, "tiny run", run)


def _made_once(tmp_path_factory, name: str, make: Callable[["Clone"], str]) -> Path:
    """The folder of a clone that the worker that comes first makes for all; what `make` returns is in `printed`."""
    from pipeline import Clone

    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / name
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "printed").exists():
            clone = Clone(folder)
            (folder / "printed").write_text(make(clone))
    return folder / "my clone"


# in this order; the first begins with `tiny_run`, and those that copy it come when it is there
LONG = [
    "test_pipeline.py",
    "test_engine_ray.py",
    "test_real_model.py",
    "test_launch.py",
    "test_kill.py",
    "test_profiles.py",
    "test_baselines.py",
    "test_queries.py",
    "test_monitors.py",
    "test_experiments.py",
    "test_ray_cluster.py",
]


def pytest_collection_modifyitems(items) -> None:
    """Files that take minutes first, so that no worker is left with one of them at the end."""
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONG)))
