"""A model behind an endpoint: what it is sent, what comes back, and what a server may do instead."""

import pytest

from metareward.engines.common.interface import Endpoint, Request, Sampling
from metareward.engines.openai import chat, client
from metareward.engines.openai.chat import ChatEngine
from metareward.engines.openai.refused import UNKNOWN, room, said_by
from metareward.errors import UserError

from chat_server import DROP, GPT, WHERE, ChatServer, ask, at, chat_answer, refusal, some_of, top


def completions(requests, **server):
    """What an engine that asks a server gives, by request."""
    with ChatServer(**server) as running:
        engine = ChatEngine(Endpoint(GPT, running.url, None, WHERE), 4)
        found = {batch[0].request_id: batch for batch in engine.generate(requests)}
    return found, running


def one(request, **server):
    (found,) = completions([request], **server)[0][request.id]
    return found


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(chat, "AGAIN", (0.0, 0.0))
    monkeypatch.setattr(client, "RETRIES", 4)


# What is sent, and what comes back


def test_a_judge_is_asked_by_messages_under_its_name():
    dialogue = [
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "So."},
        {"role": "user", "content": "How so?"},
    ]
    request = Request("r", dialogue, 1, Sampling(0.0, 1.0, 9), 7, 5)
    found, server = completions([request], answer=lambda body: chat_answer("HOW SO?", finish_reason="length"))
    (completion,) = found["r"]
    assert (completion.text, completion.n_tokens, completion.finish_reason) == ("HOW SO?", 2, "length")
    assert completion.first_logprobs is None  # this server gives none
    sent = {"model": GPT, "messages": dialogue, "temperature": 0.0, "max_tokens": 9}
    assert server.asked == [sent | {"logprobs": True, "top_logprobs": 5}]


def test_settings_that_say_nothing_are_not_sent():
    """Some servers refuse top_p beside temperature, or logprobs: false."""
    _, server = completions([ask("plain"), ask("nucleus", "three", temperature=0.7, top_p=0.9)])
    plain, nucleus = sorted(server.asked, key=lambda body: body["temperature"])
    assert set(plain) == {"model", "messages", "temperature", "max_tokens"}
    assert (nucleus["temperature"], nucleus["top_p"]) == (0.7, 0.9)


def test_each_sample_is_a_request_with_its_own_number_of_tokens():
    written = ["one", "one two", "one two three"]
    texts = iter(written)
    found, server = completions([ask("r", n=3)], answer=lambda body: chat_answer(next(texts)))
    assert [(c.sample, c.text, c.n_tokens) for c in found["r"]] == [(k, text, k + 1) for k, text in enumerate(written)]
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("logprobs", "expected"),
    [
        (top(m=-0.1, M=-2.5), (("m", -0.1), ("M", -2.5))),
        (top(M=-2.5, m=-0.1, x=-9999.0), (("m", -0.1), ("M", -2.5))),  # sorted, and no more than asked for
        (top(), None),
        ({"content": []}, None),
        ({"content": [None]}, None),
        ({"content": [{"token": "m", "logprob": -0.1}]}, None),
        ({"content": [{"top_logprobs": [None, {}, {"token": "m", "logprob": None}]}]}, None),
        ({"content": None}, None),
        ({}, None),
        (None, None),
    ],
)
def test_log_probabilities_of_the_first_token(logprobs, expected):
    found = one(ask("r", first=2), answer=lambda body: chat_answer("m", logprobs=logprobs))
    assert (found.text, found.first_logprobs) == ("m", expected)
    assert one(ask("r"), answer=lambda body: chat_answer("m", logprobs=logprobs)).first_logprobs is None  # not asked


@pytest.mark.parametrize(
    ("choice", "text", "finish"),
    [
        ({"message": {"content": None}}, "", "stop"),
        ({"message": {}}, "", "stop"),
        ({"message": None}, "", "stop"),
        ({"message": {"content": None, "refusal": "I can't."}}, "I can't.", "stop"),
        ({"message": {"content": None}, "finish_reason": "content_filter"}, "", "content_filter"),
        ({"message": {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}}, "ab", "stop"),
        ({"message": {"content": "b", "reasoning_content": "a"}}, "<think>a</think>b", "stop"),
        ({"message": {"content": None, "reasoning": "a"}, "finish_reason": "length"}, "<think>a</think>", "length"),
        ({"message": {"content": "half \ufffd"}, "finish_reason": "length"}, "half ", "length"),
        ({"message": {"content": "a"}, "finish_reason": "eos"}, "a", "stop"),
        ({"message": {"content": "a"}, "finish_reason": "end_turn"}, "a", "stop"),
        ({"message": {"content": "a"}, "finish_reason": "max_tokens"}, "a", "length"),
        ({"message": {"content": "a"}, "finish_reason": "MAX_TOKENS"}, "a", "length"),
        ({"message": {"content": "a"}, "finish_reason": "SAFETY"}, "a", "content_filter"),
    ],
)
def test_what_was_written_and_how_it_ended(choice, text, finish):
    found = one(ask("r"), answer=lambda body: chat_answer(None, **choice))
    assert (found.text, found.finish_reason) == (text, finish)


@pytest.mark.parametrize("finish", ["abort", "error", None, "tool_calls"])
def test_an_ending_that_is_none_is_said(finish):
    with pytest.raises(UserError, match=f"gave request r up: its finish reason is '{str(finish).lower()}'"):
        one(ask("r"), answer=lambda body: chat_answer("a", finish_reason=finish))


def test_a_server_that_counts_no_tokens(capsys):
    def answer(body):
        return chat_answer("twelve chars") | {"usage": None}

    found, _ = completions([ask("a"), ask("b")], answer=answer)
    assert [c.n_tokens for batch in found.values() for c in batch] == [3, 3]
    assert capsys.readouterr().err.count("does not count its tokens") == 1


# A server that misbehaves


def test_every_fault_that_passes_is_survived_and_the_answers_come_to_their_own():
    busy, broken = refusal(429, "slow down"), (500, {"error": {"message": "oops"}})
    faults = {
        "busy": [busy, busy],
        "broken": [broken, (503, b"<html>try later</html>", {"Content-Type": "text/html"})],
        "dropped": [DROP, DROP],
        "empty": [(200, {"choices": []}), (200, {"choices": None, "error": {"message": "overloaded"}})],
        "no json": [(200, b'{"choices": [{'), (200, b"<html>", {"Content-Type": "text/html"})],
        "no object": [(200, []), (200, None)],
        "no choice": [(200, {"choices": [None]}), (200, {"choices": {}})],
        "all": [busy, DROP, (200, {})],
    }
    requests = [ask(f"r{place}", text) for place, text in enumerate([*faults, "fine"])]
    found, server = completions(requests, fault=some_of(faults))
    texts = {request.id: request.messages[0]["content"].upper() for request in requests}
    assert {id_: batch[0].text for id_, batch in found.items()} == texts
    times = {text: server.texts().count(text) for text in [*faults, "fine"]}
    assert times == {text: len(faults.get(text, [])) + 1 for text in times}


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (
            refusal(500, "oops"),
            f"{GPT} at http://127.0.0.1.* did not answer request bad: InternalServerError .HTTP 500.",
        ),
        (DROP, "did not answer request bad: APIConnectionError"),
        ((200, {"choices": []}), "gave no text for request bad, 3 times"),
        ((200, {"error": {"message": "no credit left"}}), "gave no text for request bad, 3 times. no credit left"),
        (refusal(400, "no such thing"), "did not answer request bad: BadRequestError .HTTP 400.: no such thing"),
        (
            (404, {"detail": "Not Found"}),
            f"is not there .*Not Found. .params.yaml: {WHERE}.model, resources.judges.{GPT}",
        ),
        (refusal(404, f"The model `{GPT}` does not exist", code="model_not_found"), f"does not exist.*{WHERE}.model"),
    ],
)
def test_a_fault_that_stays_is_one_line_and_keeps_the_answers_to_the_others(tmp_path, fault, line):
    """They are in the journal, so that no answer is asked for, and paid, twice."""
    requests = [ask(f"r{number}", f"text {number}") for number in range(6)]
    requests.insert(2, ask("bad", "bad"))
    failing = lambda body, times: fault if body["messages"][-1]["content"] == "bad" else None  # noqa: E731
    with ChatServer(fault=failing, seconds=0.05) as server:
        with pytest.raises(UserError, match=line) as error:
            at(server.url, tmp_path)(lambda: requests)
        assert "\n" not in str(error.value)
        before = set(server.texts()) - {"bad"}
        assert len(before) >= 3
        server.fault = lambda body, times: None
        server.asked.clear()
        table = at(server.url, tmp_path)(lambda: requests)
        assert table["text"].to_list() == sorted(["BAD", *(f"TEXT {number}" for number in range(6))])
        assert set(server.texts()) == {r.messages[0]["content"] for r in requests} - before


OVERFLOWS = [  # what servers say, max_tokens, and how much room there is
    ("This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.", 10, 0),
    ("This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (5000 in the messages, "
     "4000 in the completion). Please reduce the length of the messages or completion.", 4000, 3192),
    ("This model's maximum context length is 8192 tokens. However, you requested 13000 tokens (9000 in the messages, "
     "4000 in the completion).", 4000, 0),
    ("This model's maximum context length is 2048 tokens. However, your prompt contains at least 2049 input tokens, "
     "which exceeds this limit even without any output tokens. Please reduce the length of the input prompt.", 10, 0),
    ("This model's maximum context length is 2048 tokens. However, your prompt contains 99999 characters (more than 9 "
     "characters, which is the upper bound for 2048 input tokens).", 10, 0),
    ("'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum context length is 2048 tokens "
     "and your request has 30 input tokens (4096 > 2048 - 30).", 4096, 2018),
    ("max_tokens=4096 cannot be greater than max_model_len=2048. Please request fewer output tokens.", 4096, 2048),
    ("Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total of 5000 "
     "tokens: 900 tokens from the input messages and 4100 tokens for the completion.", 4100, 3196),
    ("Input length (5000 tokens) exceeds the maximum allowed length (4096 tokens).", 10, 0),
    ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and 100 "
     "`max_new_tokens`", 100, 0),
    ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4090 `inputs` tokens and 100 "
     "`max_new_tokens`", 100, 6),
    ("the request exceeds the available context size. try increasing it (type exceed_context_size_error "
     "n_prompt_tokens 9000 n_ctx 4096)", 10, 0),
    ("prompt is too long: 210000 tokens > 200000 maximum", 10, 0),
    ("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", 10, 0),
    ("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length", 10, 0),
    ("max_tokens is too large: 100000. This model supports at most 4096 completion tokens, whereas you provided "
     "100000.", 100000, 4096),
    ("max_tokens: 100000 > 8192, which is the maximum allowed number of output tokens for this model", 100000, 8192),
    ("`max_tokens` must be less than or equal to `8192`, the maximum value for this model", 100000, 8192),
    ("Please reduce the length of the messages or completion. (code context_length_exceeded)", 10, UNKNOWN),
    ("This model's maximum context length is 4096 tokens.", 10, UNKNOWN),
    ("Invalid value for 'messages'.", 10, None),
    ("", 10, None),
]  # fmt: skip


@pytest.mark.parametrize(("said", "max_tokens", "expected"), OVERFLOWS)
def test_what_servers_say_of_the_room_that_is_left(said, max_tokens, expected):
    assert room(said, max_tokens) == expected


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "a b", "code": None}, "a b"),
        ({"error": {"message": "a\n b", "code": "c"}}, "a b (code c)"),
        ([{"error": {"message": "a"}}], "a"),
        ({"detail": "a"}, "a"),
        ({"detail": [{"msg": "a"}]}, ""),
        ("a", "a"),
        ({"error": "a"}, "a"),
        (None, ""),
        ([], ""),
    ],
)
def test_the_words_of_an_error_whatever_they_are_wrapped_in(body, said):
    assert said_by(body) == said


@pytest.mark.parametrize("status", [400, 422])
def test_one_prompt_that_is_too_long_is_so_marked_and_the_others_are_answered(status):
    said = "This model's maximum context length is 64 tokens. However, your messages resulted in 90 tokens."
    error = refusal(status, said, code="context_length_exceeded")
    found, _ = completions([ask("a"), ask("b", "long", n=2), ask("c")], fault=some_of({"long": [error] * 9}))
    rows = [(c.request_id, c.text, c.n_tokens, c.finish_reason) for id_ in "abc" for c in found[id_]]
    assert rows[1:3] == [("b", None, 0, "too_long")] * 2
    assert [row[3] for row in rows] == ["stop", "too_long", "too_long", "stop"]


def limited(context, prompt):
    """A server whose context holds so many tokens; its prompts have `prompt`, and it says so."""

    def fault(body, times):
        if prompt + body["max_tokens"] <= context:
            return None
        asked = f"you requested {prompt + body['max_tokens']} tokens ({prompt} in the messages"
        return refusal(400, f"This model's maximum context length is {context} tokens. However, {asked}, ...).")

    return fault


def test_a_limit_beyond_the_context_is_lowered_to_what_has_room():
    found, server = completions([ask("r", max_tokens=4096)], fault=limited(2048, 30))
    assert found["r"][0].finish_reason == "stop"
    assert [body["max_tokens"] for body in server.asked] == [4096, 2018]


def test_a_refusal_that_gives_no_figures_is_told_apart_by_asking_for_one_token():
    error = refusal(400, "Please reduce the length of the messages.", code="context_length_exceeded")
    found, server = completions([ask("r", max_tokens=50)], fault=lambda body, times: error)
    assert found["r"][0].finish_reason == "too_long"
    assert [body["max_tokens"] for body in server.asked] == [50, 1]
    with pytest.raises(UserError, match=r"has no room for 50 new tokens after request r.*Hint: lower max_tokens"):
        completions([ask("r", max_tokens=50)], fault=lambda body, times: error if body["max_tokens"] > 1 else None)


def test_a_server_that_calls_the_limit_by_its_new_name():
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    error = refusal(400, said, param="max_tokens", code="unsupported_parameter")
    fault = lambda body, times: error if "max_tokens" in body else None  # noqa: E731
    found, server = completions([ask(f"r{number}", str(number)) for number in range(20)], fault=fault)
    assert {id_: batch[0].text for id_, batch in found.items()} == {f"r{number}": str(number) for number in range(20)}
    assert sum("max_tokens" in body for body in server.asked) <= 4  # those in flight when it was found out
    assert all(body["max_completion_tokens"] == 16 for body in server.asked if "max_tokens" not in body)


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (
            refusal(403, "You are not allowed to request logprobs from this model."),
            f"Set logprobs to false.*{WHERE}.logprobs",
        ),
        (refusal(400, "Unknown parameter", param="top_logprobs"), f"Set logprobs to false.*{WHERE}.logprobs"),
        (refusal(422, "top_logprobs must be at most 3"), f"gives no 5 log-probabilities.*at most 3.*{WHERE}.logprobs"),
        (
            refusal(400, "Unsupported value: 'temperature' does not support 0 with this model.", param="temperature"),
            f"does not take temperature 0, at which it is asked.*{WHERE}.model",
        ),
        (
            refusal(400, "temperature and top_p cannot both be set", param="top_p"),
            f"does not take top_p 0.9.*{WHERE}.model",
        ),
    ],
)
def test_a_setting_that_is_not_taken_is_named_with_the_key_to_change(fault, line):
    with pytest.raises(UserError, match=line):
        one(ask("r", first=5, top_p=0.9), fault=lambda body, times: fault)
