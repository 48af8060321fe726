"""Checkpoints that tests share: a random tiny Llama, and the real seed model of the demo."""

import os
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))
# a busy machine is slow, which is no fault of the code
settings.register_profile("metareward", deadline=None)
settings.load_profile("metareward")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    from tiny import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory) -> Path:
    """SmolLM2-135M-Instruct, fetched and converted as the pipeline's first stage does it."""
    from metareward.inputs.seed_model import save_seed_model

    folder = tmp_path_factory.mktemp("smollm2") / "seed"
    save_seed_model("embedded", folder)
    return folder


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> Path:
    """The folder of a clone in which `dvc repro` has run the tiny profile, made once for all workers: to be copied.

    What it printed is in `printed` beside it.
    """
    from pipeline import Clone

    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "tiny run"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "printed").exists():
            clone = Clone(folder)
            clone.use_tiny_profile()
            (folder / "printed").write_text(clone.run("dvc repro"))
    return folder / "my clone"


LONG = [
    "test_pipeline.py",
    "test_real_model.py",
    "test_kill.py",
    "test_experiments.py",
    "test_engine_ray.py",
    "test_ray_cluster.py",
    "test_profiles.py",
]


def pytest_collection_modifyitems(items) -> None:
    """Files that take minutes first, so that no worker is left with one of them at the end."""
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONG)))
