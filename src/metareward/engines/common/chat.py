"""Chats to token ids: the model's own template, applied once, with texts that cannot pass for its control tokens.

A response that holds the characters `<|im_end|>` must not end the turn it is quoted in. So the template is rendered
with stand-ins for the contents, its control tokens get private names (plain_text.py), the contents go in as they are,
and the whole is encoded at once. Of harmless texts the ids are those of the tokenizer's own `apply_chat_template`;
chat_check.py sees to that when a tokenizer is loaded. Nothing is tokenised twice, so no second start-of-text comes in.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from metareward.engines.common.plain_text import PlainText
from metareward.errors import UserError

OPEN, CLOSE = "<think>", "</think>"
_BLANK = "\u2581"  # SentencePiece's
Message = Mapping[str, str]
_STAND_IN = 0xF0000  # private-use characters from here on stand for the contents; no template trims or escapes them
_NOTHING: Mapping[str, Any] = {}
_QUESTION = {"role": "user", "content": "."}  # before a target that is encoded alone


def encode_chat(tokenizer: Any, messages: Sequence[Message], add_generation_prompt: bool = True) -> list[int]:
    """The ids of a chat, up to where the assistant begins to write.

    Equal to `tokenizer.apply_chat_template(messages, tokenize=True)` when no content holds a control token's string.
    Raises UserError when the tokenizer has no template, or one that leaves out or changes a message.
    """
    return encode_chats(tokenizer, [messages], add_generation_prompt)[0]


def encode_chats(
    tokenizer: Any, chats: Sequence[Sequence[Message]], add_generation_prompt: bool = True
) -> list[list[int]]:
    """`encode_chat` of many chats in one call of the tokenizer, which shares them out among the cores."""
    chat = chat_of(tokenizer)
    return chat.plain.encode([chat.text(messages, add_generation_prompt) for messages in chats])


def encode_prompt(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """The ids of a chat before a target: `encode_prompt` + `encode_target` are the ids of the whole chat.

    They are `encode_chat`'s, unless the template begins an assistant's past turn in other words than those in which it
    asks for one (DeepSeek-R1's opens a <think> block that its past turns do not have): then they are the past turn's.
    """
    chat = chat_of(tokenizer)
    return chat.plain.encode([chat.prompt(messages)])[0]


def encode_target(tokenizer: Any, text: str, ended: bool = True) -> list[int]:
    """The ids with which an assistant's turn of this text ends: the text, then the end-of-turn token.

    ended: false for a text that was cut; nothing then follows it. What the template writes between the request for a
    turn and its text (Qwen3's empty <think> block) belongs to the target. No token reaches across from prompt to
    target: where the tokenizer would make one of both edges (two line breaks), they stay apart as in a generation.
    Raises UserError when the template closes an assistant's turn with no control token: a model then can't learn to
    stop.
    """
    chat = chat_of(tokenizer)
    messages = [_QUESTION, {"role": "assistant", "content": text}]
    whole, _ = chat.turn(messages, ended)
    prompt, ids = chat.plain.encode([chat.prompt(messages[:1]), whole])
    return chat.after(prompt, ids)


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of a completion's ids: special tokens are left out, <think> tags never, special or not."""
    controls = chat_of(tokenizer).plain.controls
    tags = {controls[tag]: tag for tag in (OPEN, CLOSE) if tag in controls}
    text, start = "", 0
    for place in [*(place for place, id_ in enumerate(ids) if id_ in tags), len(ids)]:
        part = ids[start:place]
        text += tokenizer.decode(part, skip_special_tokens=True, clean_up_tokenization_spaces=False) if part else ""
        text, start = text + (tags[ids[place]] if place < len(ids) else ""), place + 1
    return text


def token_text(tokenizer: Any, id_: int) -> str:
    """The text of one token, special or not, with the blanks that decoding strips at a text's beginning."""
    text: str = tokenizer.decode([id_], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    piece = tokenizer.convert_ids_to_tokens(id_) or ""
    blanks = len(piece) - len(piece.lstrip(_BLANK))
    return " " * blanks + text.lstrip(" ") if blanks else text


def end_of_turn(tokenizer: Any) -> int:
    """The token with which the template closes an assistant's turn. Raises UserError when it is none."""
    return chat_of(tokenizer).turn([_QUESTION, {"role": "assistant", "content": "."}], ended=True)[1]


def opened_thought(tokenizer: Any) -> str:
    """What the template writes from an open <think> on when it asks for a turn; "" if it opens none."""
    request = chat_of(tokenizer).skeleton(("user",), True).words[-1]
    place = request.rfind(OPEN)
    return request[place:] if place > request.rfind(CLOSE) else ""


def template_kwargs(tokenizer: Any) -> dict[str, Any]:
    """The variables of the template that params set; `load_tokenizer` puts them on the tokenizer."""
    return getattr(tokenizer, "chat_template_kwargs", {})


def chat_of(tokenizer: Any) -> "Chat":
    """The chat of a tokenizer, made once for each state of its template and added tokens."""
    if not tokenizer.chat_template:
        raise UserError("the model's tokenizer has no chat template; the model must be an instruction-tuned one.")
    kwargs = json.dumps(template_kwargs(tokenizer), sort_keys=True)
    return _chat(tokenizer, str(tokenizer.chat_template), kwargs, len(tokenizer))


@lru_cache(maxsize=8)
def _chat(tokenizer: Any, template: str, kwargs: str, n_tokens: int) -> "Chat":
    return Chat(tokenizer, json.loads(kwargs))


@dataclass(frozen=True)
class Skeleton:
    """A template's own words around the contents: words[0], content, words[1], ...; marked: with private names.

    slots: which message's content stands at each place, numbers from 0.
    """

    words: Sequence[str]
    marked: Sequence[str]
    slots: Sequence[int]


class Chat:
    """A tokenizer's template, rendered once for each sequence of roles, and the tokenizer's twin for plain text."""

    def __init__(self, tokenizer: Any, kwargs: Mapping[str, Any]) -> None:
        self.tokenizer, self.kwargs = tokenizer, kwargs
        self.plain = PlainText(tokenizer, list(self._written()))
        self._skeletons: dict[tuple[tuple[str, ...], bool], Skeleton] = {}

    def render(
        self,
        messages: Sequence[Message],
        add_generation_prompt: bool,
        fixed: Mapping[str, Any] = _NOTHING,
        clock: datetime | None = None,
    ) -> str:
        """The chat as the template writes it; fixed: more variables for it; clock: the hour that it is told.

        Raises UserError when the template refuses the chat.
        """
        told = {"strftime_now": clock.strftime} if clock else {}
        from jinja2 import TemplateError

        try:
            rendered: str = self.tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                **{**self.kwargs, **fixed, **told},
            )
        except (TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            roles = ", ".join(message["role"] for message in messages)
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"the chat template can't write a chat of the turns {roles}: {reason[:300]}") from None
        return rendered

    def skeleton(self, roles: tuple[str, ...], add_generation_prompt: bool) -> Skeleton:
        """Raises UserError when the template leaves out a message."""
        key = roles, add_generation_prompt
        if key not in self._skeletons:
            stand_ins = "".join(chr(_STAND_IN + number) for number in range(len(roles)))
            messages = [{"role": role, "content": stand_in} for role, stand_in in zip(roles, stand_ins, strict=True)]
            pieces = re.split(f"([{stand_ins}])", self.render(messages, add_generation_prompt))
            slots = [ord(piece) - _STAND_IN for piece in pieces[1::2]]
            if missing := sorted(set(range(len(roles))) - set(slots)):
                who = f"{roles[missing[0]]}'s message (number {missing[0]})"
                raise UserError(f"the chat template leaves out the {who}, or rewrites it.")
            words = pieces[::2]
            self._skeletons[key] = Skeleton(words, [self.plain.mark(word) for word in words], slots)
        return self._skeletons[key]

    def text(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        """The marked text of a chat."""
        skeleton = self.skeleton(_roles(messages), add_generation_prompt)
        contents = self._contents(skeleton, messages, add_generation_prompt)
        return _joined(skeleton.marked, contents)

    def prompt(self, messages: Sequence[Message]) -> str:
        """The marked text of a chat before a target."""
        roles = _roles(messages)
        request, past = self.skeleton(roles, True), self.skeleton((*roles, "assistant"), False)
        at = past.slots.index(len(roles))
        if request.words[:-1] == past.words[:at] and past.words[at].startswith(request.words[-1]):
            return self.text(messages, True)
        contents = self._contents(past, [*messages, {"role": "assistant", "content": "."}], False)
        return _joined(past.marked[: at + 1], contents[:at])

    def turn(self, messages: Sequence[Message], ended: bool) -> tuple[str, int]:
        """The marked text of a chat up to the end of its last turn, an assistant's, and the id of the token there."""
        past = self.skeleton(_roles(messages), False)
        contents = self._contents(past, messages, False)
        at = past.slots.index(len(messages) - 1)
        if not ended:
            text = messages[-1]["content"]
            contents[at] = text[text.find(contents[at]) :]  # white space at a cut is not the turn's end
            return _joined([*past.marked[: at + 1], ""], contents[: at + 1]), -1
        end = self.plain.first_control(past.marked[at + 1])
        if end is None:
            raise UserError("the chat template ends an assistant's turn with no special token, so no response can end.")
        place, id_ = end
        return _joined([*past.marked[: at + 1], past.marked[at + 1][:place]], contents[: at + 1]), id_

    def after(self, prompt: Sequence[int], whole: Sequence[int]) -> list[int]:
        """The ids of a whole chat that come after those of its prompt; a token that reaches across is cut there."""
        same = first_difference(prompt, whole)
        rest, across, end = self.plain.pieces(prompt[same:]), "", same
        while len(across) < len(rest) and end < len(whole):
            end += 1
            across = self.plain.pieces(whole[same:end])
        if not across.startswith(rest):
            raise UserError(
                f"the chat template and tokenizer write {across!r} in a whole chat where its beginning has {rest!r}."
            )
        return [*self.plain.encode_pieces(across[len(rest) :]), *whole[end:]]

    def _written(self) -> Iterator[str]:
        """The template's own words: those of its source, and those of a few chats."""
        from jinja2 import Environment, TemplateError

        try:
            words = list(Environment().lex(self.tokenizer.get_chat_template()))
        except (ValueError, TemplateError) as error:
            raise UserError(f"the tokenizer's chat template can't be used: {str(error).split('. ')[0]}.") from None
        yield from (value for _, kind, value in words if kind in ("string", "data"))
        for roles in (("user",), ("user", "assistant"), ("system", "user")):
            try:
                yield self.render([{"role": role, "content": "."} for role in roles], roles[-1] == "user")
            except UserError:  # of a chat that this template refuses
                continue

    def _contents(self, skeleton: Skeleton, messages: Sequence[Message], add_generation_prompt: bool) -> list[str]:
        """What stands at each slot: the contents, trimmed where the template trims them.

        Raises UserError when the template does anything else with them; unless a content is blank, or holds a control
        token's string or a <think> tag, which a template may look for: then it goes in as plain text.
        """
        rendered = self.render(messages, add_generation_prompt)
        found, at = [], 0
        if rendered.startswith(skeleton.words[0]):
            at = len(skeleton.words[0])
            for slot, word in zip(skeleton.slots, skeleton.words[1:], strict=True):
                content = messages[slot]["content"]
                fits = (text for text in _trimmed(content) if rendered.startswith(text + word, at))
                if (text := next(fits, None)) is None:
                    break
                found.append(text)
                at += len(text) + len(word)
        if len(found) == len(skeleton.slots) and at == len(rendered):
            return found
        contents = [messages[slot]["content"] for slot in skeleton.slots]
        marks = (OPEN, CLOSE, *self.plain.controls)
        if not any(not content.strip() or any(mark in content for mark in marks) for content in contents):
            expected = _joined(skeleton.words, contents)
            place = first_difference(rendered, expected)
            raise UserError(
                f"the chat template changes what messages say: it writes {rendered[place : place + 40]!r} where they "
                f"have {expected[place : place + 40]!r}. Hint: mend the template; trimming a message is all it may do."
            )
        return contents


def first_difference(left: Sequence[Any], right: Sequence[Any]) -> int:
    """The first place at which two texts or rows of ids differ; the shorter one's length where it begins the other."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(left), len(right)))


def _roles(messages: Sequence[Message]) -> tuple[str, ...]:
    return tuple(message["role"] for message in messages)


def _joined(words: Sequence[str], contents: Sequence[str]) -> str:
    return "".join(text for pair in zip(words, [*contents, ""], strict=True) for text in pair)


def _trimmed(content: str) -> Iterator[str]:
    """A content in the ways in which templates trim it."""
    for characters in (None, "\n", " "):
        yield content
        yield content.strip(characters)
        yield content.lstrip(characters)
        yield content.rstrip(characters)
