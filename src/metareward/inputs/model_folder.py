"""A checkpoint folder of a user's: can it be trained and prompted? Found out without loading a weight or torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metareward.errors import UserError, shown
from metareward.inputs.chat_template import check_chat_template
from metareward.text_files import read_text

WHERE = "(params.yaml: seed_model)"
MOST_HEADER_BYTES = 100_000_000  # of a safetensors file; the format allows no more
KINDS = {"ForCausalLM": "causal language model", "ForSequenceClassification": "sequence classifier"}
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tekken.json")


def check_model_folder(
    folder: Path, kwargs: Mapping[str, Any] | None = None, architecture: str = "ForCausalLM"
) -> None:
    """Raise UserError when a folder is no checkpoint that can be trained and prompted.

    kwargs: of its template. architecture: one of KINDS, that it must be of.
    """
    if not _is_file(folder / "config.json"):
        raise UserError(f"{folder} has no config.json, so it is no model folder. {WHERE}")
    architectures = _read_object(folder / "config.json").get("architectures")
    if not isinstance(architectures, list) or not all(isinstance(name, str) for name in architectures):
        raise UserError(f"{folder / 'config.json'} is damaged: no JSON object with architectures. {WHERE}")
    if not any(architecture in name for name in architectures):
        raise UserError(f"{folder} is a {shown(architectures)}, not a {KINDS[architecture]}. {WHERE}")
    _check_weights(folder)
    if not _is_file(folder / "tokenizer_config.json"):
        raise UserError(f"{folder} has no tokenizer_config.json. Hint: save the tokenizer beside the model. {WHERE}")
    if not any(_is_file(folder / name) for name in TOKENIZERS) and not list(folder.glob("*.tiktoken")):
        raise UserError(f"{folder} has no {TOKENIZERS[0]}. Hint: save the tokenizer beside the model. {WHERE}")
    for name in ("tokenizer.json", "generation_config.json", "special_tokens_map.json"):
        if (folder / name).exists():
            _read_object(folder / name)
    config = _read_object(folder / "tokenizer_config.json")
    check_chat_template(_chat_template(folder, config), _special_tokens(config), str(folder), WHERE, kwargs)


def check_one_output(folder: Path) -> None:
    """Raise UserError when a sequence classifier has several outputs: then none of them is the score."""
    labels = _read_object(folder / "config.json").get("id2label")
    n = len(labels) if isinstance(labels, dict) else 2  # transformers' default
    if n != 1:
        raise UserError(f"{folder} has {n} outputs (id2label in its config.json); a reward model has one. {WHERE}")


def _check_weights(folder: Path) -> None:
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        raise UserError(f"{folder} has no *.safetensors weights. Hint: save_pretrained writes them. {WHERE}")
    index = folder / "model.safetensors.index.json"
    if index.exists():
        places = _read_object(index).get("weight_map")
        if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
            raise UserError(f"{index} is damaged: no weight_map from weights to files. {WHERE}")
        if missing := sorted(set(places.values()) - {shard.name for shard in shards}):
            raise UserError(f"{folder} lacks {missing[0]}, which its index names. {WHERE}")
    for shard in shards:
        _check_safetensors(shard)


def _check_safetensors(shard: Path) -> None:
    """A safetensors file says in its header how long it is: a torn copy is found without reading the weights."""
    if not _is_file(shard):
        raise UserError(f"{shard} is no file. {WHERE}")
    try:
        size = shard.stat().st_size
        with shard.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header: Any = json.loads(file.read(length)) if length <= min(size, MOST_HEADER_BYTES) else None
        weights = [entry for name, entry in header.items() if name != "__metadata__"]
        expected = 8 + length + max(int(entry["data_offsets"][1]) for entry in weights)
    except OSError as error:
        raise UserError(f"{shard} cannot be read: {error.strerror}. {WHERE}") from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError):
        raise UserError(f"{shard} is damaged: no safetensors header. {WHERE}") from None
    if size != expected:
        raise UserError(f"{shard} is damaged: {size} bytes instead of {shown(expected)}. {WHERE}")


def _chat_template(folder: Path, config: Mapping[str, Any]) -> str:
    """The template that a chat is written with: chat_template.jinja, or the one in the tokenizer's configuration.

    Raises UserError when there is none, or when there are several by name and none of them is called default.
    """
    file = folder / "chat_template.jinja"
    if file.exists():
        return read_text(file, WHERE)
    found = config.get("chat_template")
    if isinstance(found, list):
        try:
            found = {entry["name"]: entry["template"] for entry in found}
        except (TypeError, KeyError):
            raise UserError(f"{folder} has chat templates without name or template. {WHERE}") from None
    if isinstance(found, dict):
        if "default" not in found:
            raise UserError(
                f"{folder} has chat templates by name ({', '.join(map(str, found)) or 'none'}) and none called default"
                f". Hint: put the one you mean into {file}. {WHERE}"
            )
        found = found["default"]
    if found is None:
        raise UserError(f"{folder} has no chat template; the seed must be an instruction-tuned model. {WHERE}")
    if not isinstance(found, str):
        raise UserError(f"{folder} has a chat template that is no text: {shown(found)}. {WHERE}")
    return found


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """bos_token, eos_token, ... as a template sees them."""
    found = {}
    for name, value in config.items():
        if name.endswith("_token"):
            text = value.get("content") if isinstance(value, dict) else value
            if isinstance(text, str):
                found[name] = text
    return found


def _read_object(path: Path) -> dict[str, Any]:
    text = read_text(path, WHERE)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "it is empty" if not text.strip() else f"no JSON ({error})"
        raise UserError(f"{path} is damaged: {reason}. {WHERE}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged: no JSON object. {WHERE}")
    return value


def _is_file(path: Path) -> bool:
    """Whether a file of this name can be reached; False, too, for a loop of links."""
    try:
        return path.is_file()
    except OSError:
        return False
