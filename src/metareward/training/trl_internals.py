"""What this project changes in TRL 1.16 that is no part of its interface."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import trl.trainer.dpo_trainer
import trl.trainer.sft_trainer
import trl.trainer.utils
from datasets import Dataset

from metareward.engines.transformers.patches import patched
from metareward.training.processes import this_process


@contextmanager
def exact_logits_of_targets() -> Iterator[None]:
    """Logits are float32, and on a CPU those of positions with a target alone, while trainers are made and work.

    Under autocast TRL rounds logits to bfloat16, whose neighbours near 40 are 0.25 apart: a log-probability is off by a
    tenth, and what tells one score from another is gone. TRL computes the logits of every position where Triton is
    missing; those with a target are enough, and the others are most of a step with a real vocabulary.
    """
    with ExitStack() as stack:
        for trainer in (trl.trainer.sft_trainer, trl.trainer.dpo_trainer):
            in_float32 = partial(trainer.add_fused_lm_head, cast_lm_head_to_fp32=True)
            stack.enter_context(patched(trainer, add_fused_lm_head=in_float32))
        if this_process().device.type == "cpu":
            stack.enter_context(patched(trl.trainer.utils, _use_triton=lambda device: True))
        yield


class OwnRows:
    """Goes before a trainer of TRL's in a class: its rows are token ids already, and nobody is told about a run.

    TRL's own way from text to ids drops the long ones without a word (`train` compares the rows once more).
    """

    def _prepare_dataset(self, dataset: Dataset, *args: Any) -> Dataset:
        return dataset

    def create_accelerator_and_postprocess(self) -> None:
        """FSDP would round what a model returns, here log-probabilities that DPO sums, to the dtype it computes in."""
        super().create_accelerator_and_postprocess()  # type: ignore[misc]
        plugin = getattr(self.accelerator.state, "fsdp_plugin", None)  # type: ignore[attr-defined]
        if plugin is not None and plugin.mixed_precision_policy is not None:
            plugin.mixed_precision_policy = replace(plugin.mixed_precision_policy, output_dtype=None)

    def _send_telemetry(self) -> None:
        pass
