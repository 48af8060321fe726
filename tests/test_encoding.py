"""Requests become token ids in their order, and the next ones while an engine works on those that it has."""

import threading
import time

import pytest

from metareward.engines.common.batches import ENCODED_AHEAD, encode
from metareward.engines.common.chat import encode_chat
from metareward.engines.common.interface import Request, Sampling
from metareward.engines.common.tokenizer import load_tokenizer
from metareward.errors import UserError


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return load_tokenizer(tiny_model)


def requests(n):
    for number in range(n):
        yield Request(str(number), [{"role": "user", "content": f"Count to {number}."}], 2, Sampling(0.8, 0.95, 9), 1)


@pytest.mark.parametrize("n", [0, 1, ENCODED_AHEAD, 2 * ENCODED_AHEAD + 5])
def test_every_request_once_in_its_order(tokenizer, n):
    found = list(encode(tokenizer, requests(n), 64))
    assert [prompt.request for prompt in found] == list(requests(n))
    for prompt in found[:: ENCODED_AHEAD // 2]:
        assert prompt.tokens == encode_chat(tokenizer, prompt.request.messages)
        assert prompt.room == min(9, 64 - len(prompt.tokens))


def test_the_next_are_encoded_while_the_first_are_worked_on(tokenizer):
    asked = []

    def watched():
        for request in requests(4 * ENCODED_AHEAD):
            asked.append(request.id)
            yield request

    prompts = encode(tokenizer, watched(), 64)
    next(prompts)
    deadline = time.monotonic() + 60
    while len(asked) < 2 * ENCODED_AHEAD and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert len(asked) == 2 * ENCODED_AHEAD  # and no further, so that memory stays flat


def test_it_is_known_whether_the_next_has_to_be_waited_for(tokenizer):
    gate = threading.Event()

    def held():
        yield from requests(ENCODED_AHEAD)
        gate.wait(60)
        yield from requests(1)

    prompts = encode(tokenizer, held(), 64)
    for _ in range(ENCODED_AHEAD):
        next(prompts)
    assert not prompts.ready
    gate.set()
    assert next(prompts).request.id == "0"
    assert next(prompts, None) is None
    assert prompts.ready  # that there is none is known


def test_what_is_wrong_with_a_request_is_said_to_who_asked(tokenizer):
    def broken():
        yield from requests(ENCODED_AHEAD)
        raise UserError("the table is torn")

    prompts = encode(tokenizer, broken(), 64)
    assert next(prompts).request.id == "0"
    with pytest.raises(UserError, match="the table is torn"):
        list(prompts)
