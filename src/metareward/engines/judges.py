"""The judge of a benchmark: any model that an engine of ours runs, or a model behind an OpenAI-compatible endpoint."""

from pathlib import Path

from metareward.engines.common.sampler import Sampler
from metareward.params import BenchmarkJudge, Params


def load_judge(judge: BenchmarkJudge, params: Params, work: Path, label: str, where: str) -> Sampler:
    """The judge, to be asked like a checkpoint: `sampler(requests)` gives completions and keeps them in a journal.

    params: of these engine and resources. work: the folder of the stage's journals. label: the stage's name in the bar.
    where: the judge's place in params.yaml (benchmarks.arena_hard.judge), for what is said of it. Raises UserError when
    the model, its endpoint or a library is not there; what only a server knows is said when it is asked.
    """
    raise NotImplementedError
