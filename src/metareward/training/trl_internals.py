"""What this project changes in TRL 1.16 that is no part of its interface."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import trl.trainer.utils
from datasets import Dataset

from metareward.engines.transformers.patches import patched
from metareward.training.processes import this_process


@contextmanager
def logits_of_targets() -> Iterator[None]:
    """TRL computes the logits of every position where Triton is missing, and those with a target where it is there.

    On a CPU, too, those with a target are enough: the others are most of a step with a real vocabulary.
    """
    everywhere = patched(trl.trainer.utils, _use_triton=lambda device: True)
    with everywhere if this_process().device.type == "cpu" else nullcontext():
        yield


class OwnRows:
    """Goes before a trainer of TRL's in a class: its rows are token ids already, and nobody is told about a run.

    TRL's own way from text to ids drops the long ones without a word (`train` compares the rows once more).
    """

    def _prepare_dataset(self, dataset: Dataset, *args: Any) -> Dataset:
        return dataset

    def _send_telemetry(self) -> None:
        pass
