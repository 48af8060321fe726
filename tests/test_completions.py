"""What an engine says of how a text ended, and of its first token, stays with it."""

from types import SimpleNamespace

import pytest
from transformers import AutoTokenizer

from metareward.engines.common.batches import EncodedRequest, completion, written
from metareward.engines.common.interface import Request, Sampling
from metareward.engines.openai.engine import OpenAIEngine
from metareward.errors import UserError
from metareward.roles.requests import why_unfinished

PROMPT = EncodedRequest(Request("r", [], 1, Sampling(1.0, 1.0, 8), 0), [1, 2], 8)


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


def made(tokenizer, text, *ends, finish="stop"):
    """The completion of a text's tokens and of those that follow; both end tokens of the model end a turn."""
    end_ids = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    tokens = tokenizer(text)["input_ids"] + tokenizer.convert_tokens_to_ids(list(ends))
    found = completion(tokenizer, PROMPT, 0, tokens, finish, end_ids)
    return found.text, found.n_tokens - len(tokenizer(text)["input_ids"]), found.finish_reason


def test_the_end_token_is_counted_and_left_out(tokenizer):
    assert made(tokenizer, "Well done", "<|im_end|>") == ("Well done", 1, "stop")


def test_any_token_that_ends_a_turn_ends_it(tokenizer):
    """Not only the one that the chat template writes."""
    assert made(tokenizer, "Well done", "<|endoftext|>") == ("Well done", 1, "stop")


def test_a_server_that_keeps_the_end_token_to_itself_is_believed(tokenizer):
    """The text lost its last token once, and was taken for cut in another place."""
    assert made(tokenizer, "Well done") == ("Well done", 1, "stop")


def test_a_cut_text_stays_cut(tokenizer):
    assert made(tokenizer, "Well do", finish="length") == ("Well do", 0, "length")
    assert made(tokenizer, "Well do", finish="content_filter") == ("Well do", 0, "content_filter")


def test_half_a_character_at_a_cut_is_left_out(tokenizer):
    tokens = tokenizer("so \U0001f600")["input_ids"]
    cut = tokens[:-1]
    assert tokenizer.decode(cut).endswith("\ufffd")
    assert completion(tokenizer, PROMPT, 0, cut, "length", []).text == "so "
    assert completion(tokenizer, PROMPT, 0, cut, "length", []).n_tokens == len(cut)
    assert written(PROMPT.request, 0, "so \ufffd", 3, "stop").text == "so \ufffd"  # what was not cut is the model's own


@pytest.mark.parametrize("reason", ["abort", "error", "tool_calls", "", None])
def test_a_request_that_the_engine_gave_up_is_an_error(tokenizer, reason):
    """As a text cut at max_tokens it would stay in the journal for good."""
    with pytest.raises(UserError, match=r"gave request r up.*finish reason is"):
        made(tokenizer, "Well do", finish=reason)


def test_what_did_not_end_cannot_be_read():
    assert [why_unfinished("Score: 3", None, reason) for reason in ("stop", "length", "content_filter")] == [
        None,
        "length",
        "content_filter",
    ]
    assert why_unfinished(None, None, "too_long") == "prompt_too_long"


def first_logprobs(tokenizer, top_logprobs, text="4", asked=2):
    engine = OpenAIEngine.__new__(OpenAIEngine)
    engine.tokenizer = tokenizer
    request = Request("r", [], 1, Sampling(1.0, 1.0, 8), 0, asked)
    choice = SimpleNamespace(text=text, logprobs=top_logprobs and SimpleNamespace(top_logprobs=top_logprobs))
    return engine._first_logprobs(EncodedRequest(request, [1], 8), choice)


def test_a_server_names_first_tokens_by_ids_or_texts(tokenizer):
    four = tokenizer.encode("4", add_special_tokens=False)[0]
    assert first_logprobs(tokenizer, [{"x": -3.0, f"token_id:{four}": -0.1}]) == (("4", -0.1), ("x", -3.0))
    assert first_logprobs(tokenizer, [{"\u25814": -0.1}]) == ((" 4", -0.1),)
    assert first_logprobs(tokenizer, None, asked=0) is None
    assert first_logprobs(tokenizer, None, text="") is None  # no token was written


@pytest.mark.parametrize("given", [None, [], [None], [{}]])
def test_a_server_without_first_tokens_is_refused(tokenizer, given):
    """Else they were missing from the journal, and stayed so when another server answers."""
    with pytest.raises(UserError, match=r"gives no log-probabilities.*judge\.read: text"):
        first_logprobs(tokenizer, given)
