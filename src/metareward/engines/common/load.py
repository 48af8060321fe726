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

    Loads nothing.
    """
    wanted = [] if settings.name == "transformers" else [(settings.name, "engine.name")]
    for library, key in [*wanted, *([("ray", "resources.ray")] if resources.ray else [])]:
        if find_spec(library) is None:
            raise UserError(f"{library} is not installed. Hint: pip install '.[{library}]' (params.yaml: {key})")
    # Ray 2.60 leaves the path unquoted where it starts a worker, and waits for one for ever
    if resources.ray and not os.environ.get("RAY_ADDRESS") and any(map(str.isspace, sys.executable)):
        raise UserError(
            f"Ray cannot start workers of {sys.executable}, since that path has a blank in it. Hint: move the clone, "
            "or name a cluster in RAY_ADDRESS. (params.yaml: resources.ray)"
        )


def load_engine(
    settings: Engine,
    resources: Resources,
    model: Path | Endpoint,
    seed: int,
    chat_template_kwargs: Mapping[str, Scalar] = NONE,
) -> Generator:
    """The engine that settings name, in this process or in the workers of a Ray cluster (resources.ray).

    model: a checkpoint's folder; or an endpoint, which is asked from this process. seed: of the engines with one stream
    of draws. Raises UserError when a library that is needed is not installed, or the model's chats can't be encoded
    (load_tokenizer).
    """
    demand_libraries(settings, resources)
    if isinstance(model, Endpoint):
        from metareward.engines.openai.chat import ChatEngine

        return ChatEngine(model, resources.concurrency)
    if resources.ray:
        from metareward.engines.ray.engine import RayEngine

        return RayEngine(model, settings, resources, seed, chat_template_kwargs)
    return load_local_engine(settings, resources, model, seed, chat_template_kwargs)


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
            model, settings.vllm.dtype, settings.max_context, resources.tensor_parallel, seed, chat_template_kwargs
        )
    from metareward.engines.openai.engine import OpenAIEngine

    return OpenAIEngine(
        model, resources.base_url or "", resources.concurrency, settings.max_context, chat_template_kwargs
    )
