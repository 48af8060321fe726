"""Chats to token ids: the model's own template, applied once, with texts that cannot pass for its special tokens.

A response that holds the characters `<|im_end|>` must not end the turn it is quoted in. So the template's special
tokens become their ids, and everything between them (the template's own words and the messages' contents) is encoded
as plain text. Nothing is tokenised twice, so no second start-of-text token comes in.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from metareward.errors import UserError

_MARK = "\ue000"  # private-use characters: they stand for the contents while the template is rendered
_PADDING = " \t "  # around them, to see whether the template trims


def encode_chat(tokenizer: Any, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> list[int]:
    """The ids of a chat, up to where the assistant begins to write.

    Equal to `tokenizer.apply_chat_template(messages, tokenize=True)` when no content holds a special token's string.
    Raises UserError when the tokenizer has no template, or one that leaves out a message.
    """
    return encode_chats(tokenizer, [messages], add_generation_prompt)[0]


def encode_chats(
    tokenizer: Any, chats: Sequence[Sequence[Mapping[str, str]]], add_generation_prompt: bool = True
) -> list[list[int]]:
    """`encode_chat` of many chats in one call of the tokenizer, which shares them out among the cores."""
    return _encode(tokenizer, [_template_parts(tokenizer, messages, add_generation_prompt) for messages in chats])


def encode_target(tokenizer: Any, text: str, ended: bool = True) -> list[int]:
    """The ids that an assistant's turn of this text ends with: the text, then the end-of-turn token.

    ended: false for a text that was cut before its end, which gets no such token.
    They are the ids a generation of this text would have. Raises UserError when the template closes an assistant's
    turn with no special token, since a model then can't learn to stop.
    """
    chat = [{"role": "user", "content": "."}, {"role": "assistant", "content": text}]
    parts = _template_parts(tokenizer, chat, add_generation_prompt=False)
    start = max(place for place, part in enumerate(parts) if part[1])
    end = next((place for place in range(start, len(parts)) if isinstance(parts[place][0], int)), None)
    if end is None:
        raise UserError("the chat template ends an assistant's turn with no special token, so no response can end.")
    return _encode(tokenizer, [parts[start : end + 1] if ended else parts[start : start + 1]])[0]


def _template_parts(
    tokenizer: Any, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool
) -> list[tuple[str | int, bool]]:
    """The chat as parts (special token id or plain text, whether it is a message's content)."""
    if not tokenizer.chat_template:
        raise UserError("the model's tokenizer has no chat template; the model must be an instruction-tuned one.")
    marked = [
        {**message, "content": f"{_PADDING}{_MARK}{number}{_MARK}{_PADDING}"} for number, message in enumerate(messages)
    ]
    rendered = tokenizer.apply_chat_template(marked, tokenize=False, add_generation_prompt=add_generation_prompt)
    special = {token.content: id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
    alternatives = "|".join(re.escape(token) for token in sorted(special, key=len, reverse=True))
    pieces = re.split(f"({_PADDING})?{_MARK}(\\d+){_MARK}({_PADDING})?", rendered)
    shown = {int(number) for number in pieces[2::4]}
    if len(shown) < len(messages):
        hidden = min(set(range(len(messages))) - shown)
        raise UserError(f"the chat template leaves out the {messages[hidden]['role']}'s message (number {hidden}).")
    parts: list[tuple[str | int, bool]] = []
    for place in range(0, len(pieces), 4):
        texts: list[str] = re.split(f"({alternatives})", pieces[place]) if special else [pieces[place]]
        for text in texts:
            if text:
                parts.append((special.get(text, text), False))
        if place + 2 < len(pieces):
            before, number, after = pieces[place + 1 : place + 4]
            content = messages[int(number)]["content"]
            content = content if before else content.lstrip()
            parts.append((content if after else content.rstrip(), True))
    return parts


def _encode(tokenizer: Any, chats: Sequence[Sequence[tuple[str | int, bool]]]) -> list[list[int]]:
    """Token ids; neighbouring texts are encoded as one, since a token may reach across a content's edge."""
    joined = [_join(part for part, _ in parts) for parts in chats]
    texts = [part for parts in joined for part in parts if isinstance(part, str)]
    encoded = iter(tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"] if texts else ())
    return [[id_ for part in parts for id_ in (next(encoded) if isinstance(part, str) else [part])] for parts in joined]


def _join(parts: Iterable[str | int]) -> list[str | int]:
    """Neighbouring texts as one text, ids as they are."""
    joined: list[str | int] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return joined
