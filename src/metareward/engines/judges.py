"""The judge of a benchmark: any model that an engine of ours runs, or a model behind an OpenAI-compatible endpoint."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from metareward.engines.common.interface import Endpoint
from metareward.engines.common.sampler import Sampler
from metareward.errors import UserError, shown
from metareward.inputs.seed_model import check_seed_model, download_model, save_seed_model
from metareward.locks import acquire
from metareward.params import BenchmarkJudge, Params, Resources


def load_judge(judge: BenchmarkJudge, params: Params, work: Path, label: str, where: str) -> Sampler:
    """The judge, to be asked like a checkpoint: `sampler(requests)` gives completions and keeps them in a journal.

    params: of these engine and resources. work: the folder of the stage's journals. label: the stage's name in the bar.
    where: the judge's place in params.yaml (benchmarks.arena_hard.judge), for what is said of it. Raises UserError when
    the model, its endpoint or a library is not there; what only a server knows is said when it is asked.
    """
    check_judge(judge, params.resources, where)
    engine = params.engine.model_copy(update={"name": judge.engine})
    own = params.model_copy(update={"engine": engine, "chat_template_kwargs": judge.chat_template_kwargs})
    if judge.engine == "openai":
        return Sampler(own, endpoint_of(judge.model, params.resources, where), work, label)
    return Sampler(own, _model_folder(judge.model, work.parent, params.resources.wait_hours, where), work, label)


def check_judge(judge: BenchmarkJudge, resources: Resources, where: str) -> None:
    """Raise UserError when a judge can't be had, naming what is missing; nothing is loaded, fetched or asked."""
    if judge.engine != "transformers" and find_spec(judge.engine) is None:
        raise UserError(
            f"{judge.engine} is not installed. Hint: pip install '.[{judge.engine}]' (params.yaml: {where}.engine)"
        )
    if judge.engine == "openai":
        endpoint_of(judge.model, resources, where)
        if judge.chat_template_kwargs:
            raise UserError(
                f"chat_template_kwargs is {shown(judge.chat_template_kwargs)}, but the server of {judge.model} applies "
                f"a template of its own; it must be {{}}. (params.yaml: {where}.chat_template_kwargs)"
            )
    else:
        with _place_of_the_judge(where):
            check_seed_model(judge.model, judge.chat_template_kwargs)


def endpoint_of(model: str, resources: Resources, where: str) -> Endpoint:
    """Where a judge is asked: its entry of resources.judges, else the run's own server."""
    own = resources.judges.get(model)
    base_url = (own.base_url if own else None) or resources.base_url
    if not base_url:
        raise UserError(
            f"the judge {model} has no address: resources.judges has no base_url for it, and resources none for all. "
            f"Hint: judges: {{{model}: {{base_url: https://api.openai.com/v1, key: OPENAI_API_KEY}}}} "
            f"(params.yaml: resources.judges, {where}.model)"
        )
    return Endpoint(model, base_url, own.key if own else None, where)


def _model_folder(source: str, work: Path, wait_hours: float, where: str) -> Path:
    """The folder of a model: as it lies there, in the hub client's cache, or made of the embedded one in `work`."""
    with _place_of_the_judge(where):
        if Path(source).is_dir():
            return Path(source)
        if source != "embedded":
            return download_model(source)
        kept = work / "models" / f".{source}"  # with a point: it is no journal
        if not (kept / "model").is_dir():
            with acquire(kept, wait_hours):
                if not (kept / "model").is_dir():  # nobody has made it while this process waited
                    for left in kept.glob("tmp*"):  # by one that was killed
                        shutil.rmtree(left)
                    save_seed_model(source, kept / "model")
        return kept / "model"


@contextmanager
def _place_of_the_judge(where: str) -> Iterator[None]:
    """What is said of a seed model and its place in params.yaml is said of the judge and its own."""
    try:
        yield
    except UserError as error:
        line = str(error).replace("params.yaml: seed_model", f"params.yaml: {where}.model")
        line = line.replace("params.yaml: chat_template_kwargs", f"params.yaml: {where}.chat_template_kwargs")
        raise UserError(line.replace("seed_model is", "model is").replace("Set seed_model", "Set model")) from None
