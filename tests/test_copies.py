"""How many copies of the model work side by side on so many GPUs, and what is said of those that stay idle."""

import pytest

from metareward.engines.ray.copies import batches_of_a_worker, gpus_per_copy, idle_gpus, plan_copies
from metareward.errors import UserError


@pytest.mark.parametrize(
    ("gpus", "per_copy", "workers", "copies", "said"),
    [
        ([8], 1, None, 8, None),
        ([8], 2, None, 4, None),
        ([8], 8, None, 1, None),
        ([1], 1, None, 1, None),
        ([5], 2, None, 2, "2 copies of the model on 2 GPUs each: 1 of 5 GPUs stay idle"),
        ([8], 1, 3, 3, "3 copies of the model on 1 GPU each: 5 of 8 GPUs stay idle"),
        ([8], 1, 1, 1, "1 copy of the model on 1 GPU each: 7 of 8 GPUs stay idle"),
        ([2], 1, 4, 2, "2 copies of the model on 1 GPU each: no room for the 4 that are asked for"),
        ([6, 6], 4, None, 2, "2 copies of the model on 4 GPUs each: 4 of 12 GPUs stay idle"),  # none spans machines
        ([0, 4], 1, None, 4, None),  # the machine of the stage has none
        ([0], 1, None, 1, None),
        ([0], 2, 3, 3, None),  # workers on CPUs
        ([8], 0, None, 1, None),  # an engine that uses none
        ([8], 0, 5, 5, None),
    ],
)
def test_copies_fill_the_gpus_or_a_line_says_what_stays_idle(gpus, per_copy, workers, copies, said):
    assert plan_copies(gpus, per_copy, workers) == copies
    line = idle_gpus(gpus, per_copy, copies, workers)
    assert line == (said and f"{said} (params.yaml: resources.tensor_parallel, resources.workers)")


def test_a_cluster_without_gpus_has_a_worker_on_each_node():
    assert plan_copies([0, 0, 0], 1, None, without_gpus=3) == 3
    assert plan_copies([0, 0, 0], 1, 2, without_gpus=3) == 2


def test_a_model_that_no_machine_can_hold_is_refused():
    with pytest.raises(UserError, match="tensor_parallel is 8, but no machine has more than 4 GPUs"):
        plan_copies([4, 4], 8, None)


def test_only_vllm_splits_a_model_and_a_server_needs_no_gpu_here():
    assert [gpus_per_copy(name, 4) for name in ("vllm", "transformers", "openai")] == [4, 1, 0]


def test_few_batches_go_to_all_workers_alike():
    shares = [batches_of_a_worker(n, workers=8, in_hand=32) for n in (0, 1, 8, 9, 29, 264, 1000)]
    assert shares == [1, 1, 1, 2, 4, 33, 33]  # 29 batches on eight GPUs: four each, and not 29 on the first to be ready
