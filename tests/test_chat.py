"""Chats to token ids: as the model's own template, but no text inside a message can pass for a special token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metareward.engines.common.chat import encode_chat, encode_chats, encode_target
from metareward.errors import UserError

LLAMA3 = (
    "{{ '<|begin_of_text|>' }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
CHATS = [
    [{"role": "user", "content": "Why does bread rise?"}],
    [{"role": "user", "content": " \n indented,\n\n  and so on \n"}],
    [{"role": "user", "content": ""}],
    [{"role": "user", "content": "naïve 日本 \U0001f642 {braces} <b>"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": " Hello."},
        {"role": "user", "content": "\nBye"},
    ],
]


@pytest.fixture(scope="module")
def chatml(tiny_model):
    return load(tiny_model)


@pytest.fixture(scope="module")
def llama3(tiny_model):
    """The tiny tokenizer with the special tokens and a template in the manner of Llama 3, which trims contents."""
    tokenizer = load(tiny_model)
    names = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": names})
    tokenizer.chat_template = LLAMA3
    return tokenizer


def load(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def stock(tokenizer, messages, add_generation_prompt):
    return tokenizer.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=add_generation_prompt, return_dict=False
    )


def special_ids(tokenizer):
    return {id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special}


def test_a_chat_by_hand(chatml):
    start, end = chatml.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])

    def plain(text):
        return chatml(text, add_special_tokens=False)["input_ids"]

    ids = encode_chat(chatml, [{"role": "user", "content": "Why?"}])
    assert ids == [start, *plain("user\nWhy?"), end, *plain("\n"), start, *plain("assistant\n")]
    assert encode_target(chatml, "So.") == [*plain("So."), end]


@pytest.mark.parametrize("add_generation_prompt", [True, False])
@pytest.mark.parametrize("messages", CHATS)
@pytest.mark.parametrize("name", ["chatml", "llama3", "smollm2"])
def test_ordinary_contents_are_encoded_as_by_the_tokenizer_itself(name, messages, add_generation_prompt, request):
    tokenizer = request.getfixturevalue(name)
    tokenizer = load(tokenizer) if name == "smollm2" else tokenizer
    assert encode_chat(tokenizer, messages, add_generation_prompt) == stock(tokenizer, messages, add_generation_prompt)


def test_many_chats_are_encoded_as_each_alone(chatml):
    chats = [*CHATS, *CHATS]
    assert encode_chats(chatml, chats) == [encode_chat(chatml, messages) for messages in chats]


@pytest.mark.parametrize("name", ["chatml", "llama3", "smollm2"])
def test_no_special_token_of_the_model_acts_as_one_inside_a_message(name, request):
    tokenizer = request.getfixturevalue(name)
    tokenizer = load(tokenizer) if name == "smollm2" else tokenizer
    special = special_ids(tokenizer)
    frame = [id_ for id_ in encode_chat(tokenizer, [{"role": "user", "content": "ab"}]) if id_ in special]
    assert frame
    for id_ in special:
        text = f"a{tokenizer.convert_ids_to_tokens(id_)}b"
        messages = [{"role": "user", "content": text}]
        ids = encode_chat(tokenizer, messages)
        assert [id_ for id_ in ids if id_ in special] == frame
        assert text in tokenizer.decode(ids)
        assert ids != stock(tokenizer, messages, True)  # which takes it for the special token: the trap
        target = encode_target(tokenizer, text)
        assert [id_ for id_ in target if id_ in special] == target[-1:]
        assert tokenizer.decode(target[:-1]) == text


@given(text=st.text(max_size=40))
def test_a_target_is_its_text_and_one_end_of_turn(chatml, text):
    target = encode_target(chatml, text)
    assert target[-1] == chatml.eos_token_id
    assert chatml.decode(target[:-1], clean_up_tokenization_spaces=False) == text


def test_a_target_is_trimmed_where_the_template_trims(llama3):
    assert encode_target(llama3, " So.\n") == encode_target(llama3, "So.")
    assert llama3.convert_ids_to_tokens(encode_target(llama3, "So."))[-1] == "<|eot_id|>"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "no chat template"),
        ("{{ '<|im_start|>' + messages[-1]['content'] + '<|im_end|>' }}", "leaves out the system's message"),
    ],
)
def test_a_template_that_will_not_do_is_named(tiny_model, template, message):
    tokenizer = load(tiny_model)
    tokenizer.chat_template = template
    with pytest.raises(UserError, match=message):
        encode_chat(tokenizer, [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}])


def test_a_template_without_end_of_turn_cannot_teach_to_stop(tiny_model):
    tokenizer = load(tiny_model)
    tokenizer.chat_template = "{% for message in messages %}{{ '<|im_start|>' + message['content'] }}{% endfor %}"
    with pytest.raises(UserError, match="no special token"):
        encode_target(tokenizer, "So.")
