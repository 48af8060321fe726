"""The tokenizer of a checkpoint, and the tokens that end a turn."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metareward.engines.common.chat import end_of_turn
from metareward.engines.common.chat_check import check_chat
from metareward.params import Scalar


def load_tokenizer(model: Path, chat_template_kwargs: Mapping[str, Scalar] | None = None) -> Any:
    """The tokenizer of a checkpoint folder, with the variables that params set for its chat template.

    Raises UserError when chats can't be encoded as the tokenizer does it itself, see `check_chat`.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    tokenizer.chat_template_kwargs = dict(chat_template_kwargs or {})  # read by chat.py wherever a chat is encoded
    check_chat(tokenizer)
    return tokenizer


def end_tokens(model: Path, tokenizer: Any) -> list[int]:
    """Every token that ends a turn: those of the checkpoint's generation config, the tokenizer's and the template's.

    Configs often name the end of a text alone, where the template closes a turn with another token (`<|eot_id|>`):
    without it no response would end. Raises UserError when the template closes turns with no token.
    """
    configs = [model / "generation_config.json", model / "config.json"]
    named = [json.loads(path.read_text()).get("eos_token_id") for path in configs if path.is_file()]
    values = [*named, tokenizer.eos_token_id, end_of_turn(tokenizer)]
    ends = [end for value in values for end in (value if isinstance(value, list) else [value])]
    return sorted({end for end in ends if end is not None})
