"""The reward model that params name, as a folder: is it one, and where does it lie?"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metareward.errors import UserError, shown
from metareward.inputs.model_folder import check_model_folder, check_one_output
from metareward.params import RewardModel

PATTERNS = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]


def check_reward_model(settings: RewardModel) -> None:
    """Raise UserError when it is no place a reward model can come from, or an incomplete folder; nothing is fetched."""
    source = settings.model
    if Path(source).is_dir():
        if settings.revision is not None:
            raise UserError(
                f"revision is {settings.revision!r}, but model is a folder, which has none; it must be null. "
                "(params.yaml: reward_model.revision)"
            )
        _check_folder(Path(source), settings)
    elif source.count("/") != 1 or source.startswith((".", "/", "~")):
        raise UserError(
            f"model is {shown(source)}: no such folder. It must be a folder, or a hub id like "
            "Skywork/Skywork-Reward-Llama-3.1-8B-v0.2. (params.yaml: reward_model.model)"
        )


def reward_model_folder(settings: RewardModel) -> Path:
    """The folder of the model: as it lies there, or in the hub client's cache, where it is fetched if need be."""
    check_reward_model(settings)
    if Path(settings.model).is_dir():
        return Path(settings.model)
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(settings.model, revision=settings.revision, allow_patterns=PATTERNS))
    except Exception as error:  # the hub client raises a dozen kinds: offline, gated, misspelt, ...
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{settings.model} cannot be downloaded: {reason} (params.yaml: reward_model.model)") from None
    _check_folder(folder, settings)
    return folder


def _check_folder(folder: Path, settings: RewardModel) -> None:
    with _place():
        check_model_folder(folder, settings.chat_template_kwargs, "ForSequenceClassification")
        check_one_output(folder)


@contextmanager
def _place() -> Iterator[None]:
    """What is said of a seed model and its place in params.yaml is said of the reward model and its own."""
    try:
        yield
    except UserError as error:
        line = str(error).replace("params.yaml: seed_model", "params.yaml: reward_model.model")
        line = line.replace("params.yaml: chat_template_kwargs", "params.yaml: reward_model.chat_template_kwargs")
        raise UserError(line.replace("the seed must be", "a reward model must be")) from None
