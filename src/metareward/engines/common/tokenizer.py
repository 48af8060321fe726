"""The tokenizer of a checkpoint, and the tokens that end a turn."""

import json
from pathlib import Path
from typing import Any

from metareward.errors import UserError


def load_tokenizer(model: Path) -> Any:
    """The tokenizer of a checkpoint folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model, local_files_only=True)


def end_tokens(model: Path, tokenizer: Any) -> list[int]:
    """Every token that ends a turn: those of the checkpoint's generation config and the tokenizer's own.

    Raises UserError when there is none.
    """
    configs = [model / "generation_config.json", model / "config.json"]
    named = [json.loads(path.read_text()).get("eos_token_id") for path in configs if path.is_file()]
    ends = [
        end for value in [*named, tokenizer.eos_token_id] for end in (value if isinstance(value, list) else [value])
    ]
    if not (found := {end for end in ends if end is not None}):
        raise UserError("the model names no end-of-turn token (eos_token_id), so no response would ever end.")
    return sorted(found)
