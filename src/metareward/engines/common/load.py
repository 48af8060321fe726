"""The engine that params name, with the model of a folder loaded."""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from metareward.engines.common.interface import Endpoint, Generator
from metareward.errors import UserError
from metareward.params import Engine, Resources, Scalar

NONE: Mapping[str, Scalar] = {}


def demand_libraries(settings: Engine, resources: Resources) -> None:
    """Raise UserError when a library that the engine or its workers need is not installed, or cannot work here.

    Of vLLM's own options, also when one is not known (options.check_options). Loads nothing.
    """
    from metareward.engines.vllm.options import check_options

    check_options(settings.vllm.options)
    if settings.name != "transformers":
        _demand(settings.name, "(params.yaml: engine.name)")
    if resources.ray:
        _demand_ray("(params.yaml: resources.ray)", "or name a cluster in RAY_ADDRESS")
    elif settings.name != "openai" and (resources.workers or 1) > 1:
        _demand_ray("(params.yaml: resources.workers)", "or set workers to 1")


def _demand(library: str, key: str) -> None:
    if find_spec(library) is None:
        raise UserError(f"{library} is not installed. Hint: pip install '.[{library}]' {key}")


def _demand_ray(key: str, otherwise: str) -> None:
    _demand("ray", key)
    # Ray 2.60 leaves the path unquoted where it starts a worker, and waits for one for ever
    if not ("RAY_ADDRESS" in otherwise and os.environ.get("RAY_ADDRESS")) and any(map(str.isspace, sys.executable)):
        raise UserError(
            f"Ray cannot start workers of {sys.executable}, since that path has a blank in it. Hint: move the clone, "
            f"{otherwise}. {key}"
        )


def load_engine(
    settings: Engine,
    resources: Resources,
    model: Path | Endpoint,
    seed: int,
    chat_template_kwargs: Mapping[str, Scalar] = NONE,
) -> Generator:
    """The engine that settings name, in this process; or in others, by Ray: on a cluster (resources.ray), or where
    this machine's GPUs hold several copies of the model, or resources.workers asks for several.

    model: a checkpoint's folder; or an endpoint, which is asked from this process. seed: of the engines with one stream
    of draws. Raises UserError when a library that is needed is not installed, or the model's chats can't be encoded
    (load_tokenizer).
    """
    demand_libraries(settings, resources)
    if isinstance(model, Endpoint):
        from metareward.engines.openai.chat import ChatEngine

        return ChatEngine(model, resources.concurrency)
    if resources.ray or _copies_here(settings, resources) > 1:
        from metareward.engines.ray.engine import RayEngine

        return RayEngine(model, settings, resources, seed, chat_template_kwargs)
    return load_local_engine(settings, resources, model, seed, chat_template_kwargs)


def _copies_here(settings: Engine, resources: Resources) -> int:
    """How many copies of the model work side by side on this machine, without a cluster."""
    from metareward.engines.common.device import visible_gpus
    from metareward.engines.ray.copies import gpus_per_copy, idle_gpus, plan_copies

    each = gpus_per_copy(settings.name, resources.tensor_parallel)
    if not each:
        return 1  # a server has its own
    gpus = [visible_gpus()]
    copies = plan_copies(gpus, each, resources.workers)
    if copies > 1:
        said = f"{gpus[0]} GPUs hold {copies} copies of the model, and Ray runs them side by side"
        _demand_ray(f"{said} (params.yaml: resources.workers)", "or set workers to 1")
    elif line := idle_gpus(gpus, each, copies, resources.workers):
        print(line, file=sys.stderr, flush=True)
    return copies


def load_local_engine(
    settings: Engine, resources: Resources, model: Path, seed: int, chat_template_kwargs: Mapping[str, Scalar] = NONE
) -> Generator:
    """The engine that settings name, in this process."""
    if settings.name == "transformers":
        from metareward.engines.transformers.engine import TransformersEngine

        own = settings.transformers
        return TransformersEngine(
            model, own.dtype, own.batch_tokens, settings.max_context, chat_template_kwargs=chat_template_kwargs
        )
    if settings.name == "vllm":
        from metareward.engines.vllm.engine import VllmEngine

        return VllmEngine(
            model,
            settings.vllm.dtype,
            settings.max_context,
            resources.tensor_parallel,
            seed,
            chat_template_kwargs,
            settings.vllm.options,
        )
    from metareward.engines.openai.engine import OpenAIEngine

    return OpenAIEngine(
        model, resources.base_url or "", resources.concurrency, settings.max_context, chat_template_kwargs
    )


def deciding_settings(settings: Engine) -> dict[str, object]:
    """The values in the section of the named engine that decide a text."""
    own: dict[str, object] = getattr(settings, settings.name).model_dump()
    if settings.name != "vllm":
        return own
    from metareward.engines.vllm.options import deciding_options

    return deciding_options(own)
