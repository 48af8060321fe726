"""The config.json of the seed model, wherever it can be read without loading or downloading weights."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import yaml

from metareward.inputs.seed_model import is_hub_id

SEED = Path("models/seed")
SECONDS = 5  # for the hub to answer


def seed_config(source: str, revision: str | None) -> tuple[dict[str, Any], str] | None:
    """What config.json says, and where it was read: in the seed's folder, in models/seed if it was made from this
    source, in the hub client's cache or on the hub. None where it is in none of them."""
    if Path(source).is_dir():
        return _read(Path(source) / "config.json")
    if _made_from(source, revision):
        return _read(SEED / "config.json")
    return _of_hub(source, revision) if is_hub_id(source) else None


def _read(path: Path) -> tuple[dict[str, Any], str] | None:
    try:
        return _object(path.read_text(), str(path))
    except (OSError, ValueError):
        return None


def _object(text: str, where: str) -> tuple[dict[str, Any], str]:
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError(f"{where} holds no JSON object")
    return values, where


def _made_from(source: str, revision: str | None) -> bool:
    """Whether DVC says that models/seed was made from this source; else it is left over from another one."""
    try:
        lock = yaml.load(Path("dvc.lock").read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        made = lock["stages"]["seed"]["params"]["params.yaml"]
        return (made["seed_model"], made.get("seed_revision")) == (source, revision)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return False


def _of_hub(source: str, revision: str | None) -> tuple[dict[str, Any], str] | None:
    from huggingface_hub import hf_hub_url, try_to_load_from_cache
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    cached = try_to_load_from_cache(source, "config.json", revision=revision)
    if isinstance(cached, str):
        return _read(Path(cached))
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return None
    url = hf_hub_url(source, "config.json", revision=revision, endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        # the hub's client would try for half a minute where there is no network
        with urlopen(Request(url, headers=build_hf_headers()), timeout=SECONDS) as answer:
            return _object(answer.read().decode(), f"{source} on the hub")
    except (OSError, ValueError):
        return None
