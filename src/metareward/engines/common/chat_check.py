"""What is looked at once, when a tokenizer is loaded: are its chats encoded as it would itself, today as tomorrow?"""

import inspect
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

from metareward.engines.common.chat import (
    Chat,
    chat_of,
    encode_chat,
    encode_prompt,
    encode_target,
    end_of_turn,
    first_difference,
)
from metareward.errors import UserError

# Harmless texts, in which a template or tokenizer may yet do something of its own
PROBES = [
    "Why does bread rise?",
    "a",
    "Two lines:\n\n  * one,\t2\n  * two  \n",
    " indented, and with a blank behind ",
    "\n\nA line break first, and last\n",
    "na\u00efve \u65e5\u672c\u8a9e \U0001f642 \u0645\u0631\u062d\u0628\u0627 e\u0301 \u00a0\u3000x",
    '{"key": \'It\\\'s <b>5 > 3</b> & {{ braces }} {% so %}\', "path": "C:\\\\new"} 1,234.50 UPPER lower',
    "A long one. " * 400,
]
CLOCKS = [datetime(2001 + 2 * month, month, 2 * month, 2 * month - 1, 4 * month, 3 * month) for month in range(1, 13)]
_FIXED = "26 Jul 2024"


def check_chat(tokenizer: Any) -> None:
    """Raise UserError where chats would not be what the tokenizer itself makes of them, naming the difference.

    Looked at: that the variables of params are the template's; that it writes the same at every hour and in every
    process; of harmless texts, that prompts, whole chats, and prompt and target together are `apply_chat_template`'s
    ids. 30 to 60 ms.
    """
    with _random_state():
        chat = chat_of(tokenizer)
        names = _variables(chat)
        _check_hidden_inputs(chat, names)
        for text in PROBES:
            question = [{"role": "user", "content": text}]
            _compare(tokenizer, text, encode_chat(tokenizer, question), _stock(chat, question, True))
        end = end_of_turn(tokenizer)
        for text, other in zip(PROBES, [*PROBES[1:], PROBES[0]], strict=True):
            for question_text in (text, other):
                _check_row(chat, question_text, text, end)


def check_conversations(tokenizer: Any) -> None:
    """The same of whole conversations alone, which a reward model reads: no turn of it is trained, or asked for."""
    with _random_state():
        chat = chat_of(tokenizer)
        _check_hidden_inputs(chat, _variables(chat))
        for text, other in zip(PROBES, [*PROBES[1:], PROBES[0]], strict=True):
            messages = [{"role": "user", "content": text}, {"role": "assistant", "content": other}]
            _compare(tokenizer, other, encode_chat(tokenizer, messages, False), _stock(chat, messages, False))


def _variables(chat: Chat) -> list[str]:
    """The names in the template that params may set. Raises UserError when params set another."""
    taken = {"messages", "strftime_now", *inspect.signature(chat.tokenizer.apply_chat_template).parameters}
    names = sorted(set(re.findall(r"\w+", chat.tokenizer.get_chat_template())) - taken)
    for key in chat.kwargs:
        if key not in names:
            raise UserError(
                f"the chat template has no variable {key} that can be set. (params.yaml: chat_template_kwargs.{key})"
            )
    return names


def _check_row(chat: Chat, question: str, answer: str, end: int) -> None:
    """Whole chats, and rows of training, which end at the end-of-turn token."""
    tokenizer, asked = chat.tokenizer, [{"role": "user", "content": question}]
    messages = [*asked, {"role": "assistant", "content": answer}]
    whole = _stock(chat, messages, False)
    _compare(tokenizer, answer, encode_chat(tokenizer, messages, False), whole)
    prompt = encode_prompt(tokenizer, asked)
    row = prompt + encode_target(tokenizer, answer)
    whole = whole[: whole.index(end, len(prompt) - 1) + 1]
    # a token that would reach across from prompt to target is two: the text is the same
    if row != whole and chat.plain.pieces(row) != chat.plain.pieces(whole):
        _compare(tokenizer, answer, row, whole)


def _stock(chat: Chat, messages: list[dict[str, str]], add_generation_prompt: bool) -> list[int]:
    ids: list[int] = chat.tokenizer.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=add_generation_prompt, return_dict=False, **chat.kwargs
    )
    return ids


def _compare(tokenizer: Any, text: str, ours: list[int], stock: list[int]) -> None:
    if ours != stock:
        place = first_difference(ours, stock)
        shown = [tokenizer.convert_ids_to_tokens(ids[max(0, place - 2) : place + 4]) for ids in (stock, ours)]
        raise UserError(
            f"a chat with the text {text[:40]!r} can't be encoded as the tokenizer does it: it has the tokens "
            f"{shown[0]} where messages as plain text have {shown[1]}. Hint: look at its added tokens and template."
        )


def _check_hidden_inputs(chat: Chat, names: list[str]) -> None:
    """Raise UserError when the template writes the date, or draws at random, naming the variable that would fix it."""
    found = _changing(chat.render)
    if found is None:
        return
    for key in sorted(names, key=lambda name: ("date" not in name, name)):
        if _is_fixed_by(chat, key):
            raise UserError(
                f"the chat template writes {found!r}, which changes with the day of the run, so a rerun would have "
                f"other prompts. Fix it: {key}: {_FIXED} (params.yaml: chat_template_kwargs.{key})"
            )
    raise UserError(
        f"the chat template writes {found!r}, which changes from run to run, and no variable of it fixes that. Hint: "
        "write a fixed text into the template. (chat_template.jinja of the model)"
    )


def _is_fixed_by(chat: Chat, key: str) -> bool:
    try:
        return _changing(partial(chat.render, fixed={key: _FIXED})) is None
    except UserError:  # the template wants something else of this variable
        return False


def _changing(render: Callable[..., str]) -> str | None:
    """The words that differ from one hour or random state to another; null: there are none."""
    for messages, ask in (
        ([{"role": "user", "content": "."}], True),
        ([{"role": "user", "content": "."}, {"role": "assistant", "content": "."}], False),
    ):
        first, *others = (render(messages, ask, clock=clock) for clock in _seeded(CLOCKS))
        for other in others:
            if other != first:
                place = first_difference(first, other)
                return other[max(0, place - 20) : place + 20]
    return None


def _seeded(clocks: list[datetime]) -> Iterator[datetime]:
    for clock in clocks:
        random.seed(clock.year)
        yield clock


@contextmanager
def _random_state() -> Iterator[None]:
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)
