"""Chats to token ids: as the tokenizer itself writes them, but no text in a message can pass for a control token."""

# ruff: noqa: RUF001 (DeepSeek's bars are full-width)

import chat_models
import pytest
from chat_models import KINDS
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from metareward.engines.common.chat import (
    decode,
    encode_chat,
    encode_chats,
    encode_prompt,
    encode_target,
    end_of_turn,
    opened_thought,
    token_text,
)
from metareward.errors import UserError
from metareward.params import SamplingSettings
from metareward.roles.requests import dialogue, dialogue_request
from metareward.training.rows import check_first_token

TEXTS = [
    "Why does bread rise?",
    " \n indented,\n\n  and so on \n",
    "\n\nline breaks first",
    "na\u00efve \u65e5\u672c \U0001f642 {braces} <b> e\u0301 \u00a0x",
    "ends in blanks  ",
    "a",
    "Many words. " * 300,
]
BYTE_LEVEL = ["llama3", "qwen25", "qwen3", "deepseek_r1", "falcon", "single_word"]
WITHOUT_FLAG = {"<think>", "</think>", "<|im_start|>", "<|im_end|>", "<｜User｜>", "<｜Assistant｜>", "<tool_call>"}


@pytest.fixture(scope="module")
def models(smollm2):
    """Tokenizers made after the documentation of those in use, and a real one."""
    from transformers import AutoTokenizer

    return {**{name: make() for name, make in KINDS.items()}, "smollm2": AutoTokenizer.from_pretrained(smollm2)}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "qwen3"])
def test_a_score_is_the_first_token_of_a_judgment(kind, tmp_path):
    KINDS[kind]().save_pretrained(tmp_path)
    check_first_token(tmp_path)


def test_a_first_token_before_the_score_is_refused(tmp_path, monkeypatch):
    """The tags of a thought, which a template writes; a blank, where digits are tokens by themselves, as Llama 2's."""
    KINDS["qwen3"]().save_pretrained(tmp_path / "thinks")
    with pytest.raises(UserError, match=r"the first token of the judgment '0' is '<think>'.*enable_thinking: false"):
        check_first_token(tmp_path / "thinks")
    check_first_token(tmp_path / "thinks", {"enable_thinking": False})
    vocabulary, merges = chat_models.sentencepiece_model(("<s>", "</s>"))
    split = [pair for pair in merges if not any(letter.isdigit() for letter in "".join(pair))]
    monkeypatch.setattr(chat_models, "sentencepiece_model", lambda _: (vocabulary, split))
    KINDS["llama2"]().save_pretrained(tmp_path / "splits")
    with pytest.raises(UserError, match=r"the first token of the judgment '0' is ' '"):
        check_first_token(tmp_path / "splits")


@pytest.fixture(scope="module")
def chatml(tiny_model):
    return load(tiny_model)


def load(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def user(text):
    return [{"role": "user", "content": text}]


def assistant(text):
    return {"role": "assistant", "content": text}


def stock(tokenizer, messages, add_generation_prompt):
    return tokenizer.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=add_generation_prompt, return_dict=False
    )


def whole_chat(tokenizer, messages):
    """The stock ids of a chat up to the end of its last turn."""
    ids = stock(tokenizer, messages, False)
    end = end_of_turn(tokenizer)
    return ids[: len(ids) - ids[::-1].index(end)]


def controls(tokenizer, ids):
    """Those of the ids that are control tokens."""
    added = tokenizer.added_tokens_decoder.items()
    names = {id_: token.content for id_, token in added if token.special or token.content in WITHOUT_FLAG}
    return [id_ for id_ in ids if names.get(id_, "<unk>") != "<unk>"]


def pieces(tokenizer, ids):
    return "".join(tokenizer.convert_ids_to_tokens(ids))


def test_a_chat_by_hand(chatml):
    start, end = chatml.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])

    def plain(text):
        return chatml(text, add_special_tokens=False)["input_ids"]

    ids = encode_chat(chatml, user("Why?"))
    assert ids == [start, *plain("user\nWhy?"), end, *plain("\n"), start, *plain("assistant\n")]
    assert encode_target(chatml, "So.") == [*plain("So."), end]
    assert encode_target(chatml, "So", ended=False) == plain("So")


@pytest.mark.parametrize("name", [*KINDS, "smollm2"])
def test_ordinary_texts_are_encoded_as_by_the_tokenizer_itself(models, name):
    tokenizer = models[name]
    for text in TEXTS:
        for other in TEXTS:
            assert encode_chat(tokenizer, user(text)) == stock(tokenizer, user(text), True)
            chat = [*user(other), assistant(text)]
            assert encode_chat(tokenizer, chat, False) == stock(tokenizer, chat, False)
            chat += user(other)
            assert encode_chat(tokenizer, chat) == stock(tokenizer, chat, True)


@pytest.mark.parametrize("name", [*KINDS, "smollm2"])
def test_dialogues_are_encoded_as_by_the_tokenizer_itself(models, name):
    """The request of a benchmark's second turn, and of later ones: roles alternate, and each turn is its own."""
    tokenizer = models[name]
    for turns in (3, 5, 7):
        for start in range(len(TEXTS)):
            texts = [TEXTS[(start + place) % len(TEXTS)] for place in range(turns)]
            request = dialogue_request("r", texts, SamplingSettings(temperature=0.7, top_p=1.0, max_tokens=9), 3)
            assert [message["role"] for message in request.messages] == ["user", "assistant"] * (turns // 2) + ["user"]
            assert encode_chat(tokenizer, request.messages) == stock(tokenizer, list(request.messages), True)


@pytest.mark.parametrize("name", [*KINDS, "smollm2"])
def test_an_answer_cannot_end_its_turn_within_a_dialogue(models, name):
    """The first answer of a model that wrote control tokens is plain text before the second question."""
    tokenizer = models[name]
    frame = controls(tokenizer, encode_chat(tokenizer, [*user("a"), assistant("b"), *user("c")]))
    for id_ in controls(tokenizer, tokenizer.added_tokens_decoder):
        text = f"a {tokenizer.convert_ids_to_tokens(id_)} b"
        assert controls(tokenizer, encode_chat(tokenizer, [*user("a"), assistant(text), *user("c")])) == frame


def test_a_dialogue_ends_with_the_user():
    with pytest.raises(ValueError, match="a dialogue of 2 turns"):
        dialogue(["a", "b"])


def test_the_text_of_a_token_keeps_its_blanks(models):
    """As OpenAI and vLLM name tokens; a tokenizer alone strips a blank at a text's beginning."""
    for name, tokenizer in models.items():
        ids = tokenizer("a b two words", add_special_tokens=False)["input_ids"]
        whole = "".join(token_text(tokenizer, id_) for id_ in ids)
        assert whole.strip() == "a b two words", name
    llama2 = models["llama2"]
    (id_,) = llama2.convert_tokens_to_ids(["\u2581a"])
    assert llama2.decode([id_]) == "a"  # the trap
    assert token_text(llama2, id_) == " a"
    chatml = models["qwen25"]
    assert token_text(chatml, chatml.convert_tokens_to_ids("<|im_end|>")) == "<|im_end|>"


@pytest.mark.parametrize("name", [*KINDS, "smollm2"])
def test_prompt_and_target_are_the_whole_chat(models, name):
    tokenizer = models[name]
    for text in TEXTS:
        for question in TEXTS:
            prompt, target = encode_prompt(tokenizer, user(question)), encode_target(tokenizer, text)
            whole = whole_chat(tokenizer, [*user(question), assistant(text)])
            assert pieces(tokenizer, prompt + target) == pieces(tokenizer, whole)
            if not text[0].isspace() and name != "single_word":  # whose request ends with a blank, which joins a word
                assert prompt + target == whole
            if name != "deepseek_r1":
                assert prompt == encode_chat(tokenizer, user(question))


harmless = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Co", "Cn"]), min_size=1, max_size=30)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=40)
@given(question=harmless, text=harmless.map(lambda text: "x" + text))
def test_any_harmless_text_is_encoded_as_by_the_tokenizer_itself(models, name, question, text):
    tokenizer = models[name]
    names = [token.content for token in tokenizer.added_tokens_decoder.values()]
    assume(not any(name.strip() and name in question + "\n" + text for name in [*names, "<think>", "</think>"]))
    assert encode_chat(tokenizer, user(question)) == stock(tokenizer, user(question), True)
    whole = whole_chat(tokenizer, [*user(question), assistant(text)])
    row = encode_prompt(tokenizer, user(question)) + encode_target(tokenizer, text)
    assert row == whole or (name == "single_word" and pieces(tokenizer, row) == pieces(tokenizer, whole))


def test_no_token_reaches_across_from_prompt_to_target(models):
    """A model that was asked wrote one line break after the template's; the tokenizer joins them to one token."""
    qwen = models["qwen25"]
    joined = qwen.convert_tokens_to_ids("ĊĊ")
    assert joined in stock(qwen, [*user("a"), assistant("\nb")], False)
    assert encode_prompt(qwen, user("a")) == stock(qwen, user("a"), True)
    assert qwen.convert_ids_to_tokens(encode_target(qwen, "\nb")) == ["Ċ", "b", "<|im_end|>"]


def test_many_chats_are_encoded_as_each_alone(models):
    chats = [user(text) for text in TEXTS]
    for tokenizer in models.values():
        assert encode_chats(tokenizer, chats) == [encode_chat(tokenizer, messages) for messages in chats]
    assert encode_chats(tokenizer, []) == []


def hostile(tokenizer):
    """Texts of control strings, also cut, doubled, of full-width letters, and at the edges of words and blanks."""
    names = [token.content for token in tokenizer.added_tokens_decoder.values()][:12]
    names += [token.content for token in tokenizer.added_tokens_decoder.values() if token.content in WITHOUT_FLAG]
    wide = [name.translate({code: code + 0xFEE0 for code in range(0x21, 0x7F)}) for name in names]
    parts = [part for name in names for part in (name, name[:-1], name[1:], name.strip("<>|"))]
    everything = st.sampled_from([*parts, *wide, " ", "\n", "a", "<", "|", "\u2581"])
    return st.lists(everything, min_size=1, max_size=6).map("".join)


@pytest.mark.parametrize("name", [*KINDS, "smollm2"])
@settings(max_examples=80)
@given(data=st.data())
def test_no_text_inside_a_message_yields_a_control_token(models, name, data):
    tokenizer = models[name]
    text = data.draw(hostile(tokenizer))
    ids = encode_chat(tokenizer, user(text))
    assert controls(tokenizer, ids) == controls(tokenizer, encode_chat(tokenizer, user("ab")))
    target = encode_target(tokenizer, text)
    assert controls(tokenizer, target) == controls(tokenizer, encode_target(tokenizer, "ab"))
    if name in BYTE_LEVEL:
        assert text.strip() in tokenizer.decode(ids)
        assert text.strip() in tokenizer.decode(target)


@pytest.mark.parametrize("name", [*KINDS, "smollm2"])
def test_each_control_token_of_a_tokenizer_is_plain_text_in_a_message(models, name):
    tokenizer = models[name]
    frame = controls(tokenizer, encode_chat(tokenizer, user("ab")))
    assert frame
    for id_ in controls(tokenizer, tokenizer.added_tokens_decoder):
        text = f"a {tokenizer.convert_ids_to_tokens(id_)} b"
        assert controls(tokenizer, stock(tokenizer, user(text), True)) != frame  # the trap
        assert controls(tokenizer, encode_chat(tokenizer, user(text))) == frame


def test_tokens_that_only_abbreviate_text_stay(models):
    """Runs of blanks and tags are ordinary text to the tokenizer, so they are to us."""
    gemma, falcon = models["gemma"], models["falcon"]
    cases = [(gemma, "<table>", "a<table>b"), (gemma, "\n\n", "a\n\nb"), (falcon, "    ", "a    b")]
    for tokenizer, token, text in cases:
        assert tokenizer.convert_tokens_to_ids(token) in encode_chat(tokenizer, user(text))


@given(text=st.text(st.characters(codec="utf-8"), max_size=40))
def test_a_target_is_its_text_and_one_end_of_turn(chatml, text):
    target = encode_target(chatml, text)
    assert target[-1] == chatml.eos_token_id
    assert chatml.decode(target[:-1], clean_up_tokenization_spaces=False) == text
    assert encode_target(chatml, text, ended=False) == target[:-1]


@pytest.mark.parametrize("name", [*KINDS, "smollm2"])
def test_a_text_that_was_cut_has_nothing_behind_it(models, name):
    tokenizer = models[name]
    cut, ended = encode_target(tokenizer, "So it", ended=False), encode_target(tokenizer, "So it")
    assert ended[: len(cut)] == cut
    assert ended[-1] == end_of_turn(tokenizer)
    assert tokenizer.convert_ids_to_tokens(cut)[-1].endswith("it")


def test_a_target_is_trimmed_where_the_template_trims(models):
    llama3 = models["llama3"]
    assert encode_target(llama3, " So.\n") == encode_target(llama3, "So.")
    assert llama3.convert_ids_to_tokens(encode_target(llama3, "So."))[-1] == "<|eot_id|>"
    assert llama3.decode(encode_target(llama3, " So ", ended=False)) == "So "  # a blank at a cut is the text's own


def test_thinking_as_the_template_has_it(models):
    """Qwen3 writes an empty thought before a last turn that has none; without thinking it stands in the prompt."""
    qwen3, block = models["qwen3"], "<think>\n\n</think>\n\n"
    assert qwen3.decode(encode_target(qwen3, "So.")) == f"{block}So.<|im_end|>"
    quiet = KINDS["qwen3"]()
    quiet.chat_template_kwargs = {"enable_thinking": False}
    assert quiet.decode(encode_prompt(quiet, user("a"))).endswith(block)
    assert quiet.decode(encode_target(quiet, "So.")) == "So.<|im_end|>"
    assert (opened_thought(qwen3), opened_thought(quiet)) == ("", "")


def test_a_request_that_opens_a_thought(models):
    """DeepSeek-R1's past turns have no thought: a row of training is the chat as it is read later."""
    r1 = models["deepseek_r1"]
    assert r1.decode(encode_chat(r1, user("a"))).endswith("<｜Assistant｜><think>\n")
    assert r1.decode(encode_prompt(r1, user("a"))).endswith("a<｜Assistant｜>")
    assert r1.decode(encode_target(r1, "So.")) == "So.<｜end▁of▁sentence｜>"
    assert opened_thought(r1) == "<think>\n"


def test_decoding_keeps_thinking_tags_also_where_they_are_special(tiny_model):
    tokenizer = load(tiny_model)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    ids = tokenizer("<|im_start|><think>hm</think>So.", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "hmSo."  # the trap
    assert decode(tokenizer, ids) == "<think>hm</think>So."


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "no chat template"),
        ("{{ '<|im_start|>' + messages[-1]['content'] + '<|im_end|>' }}", "leaves out the system's message"),
        ({"tool_use": "{{ messages[0]['content'] }}"}, "default"),
        ("{{ raise_exception('only prose') }}", "system, user: only prose"),
        ("{{ messages[0]['content'] + 1 }}", "can't write a chat of the turns system, user"),
        ("{% for message in messages %}", "Unexpected end of template"),
        ("{{ 'unclosed }}", "template can't be used"),
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


@pytest.mark.parametrize(
    "change",
    ["| upper", "| tojson", "[:20]", "| replace('bread', 'cake')", "| escape", "| truncate(15)", ".split('\\n')[0]"],
)
def test_a_template_that_changes_contents_is_named(tiny_model, change):
    tokenizer = load(tiny_model)
    tokenizer.chat_template = tokenizer.chat_template.replace("message['content']", f"(message['content'] {change})")
    with pytest.raises(UserError, match=r"leaves out|changes what messages say"):
        encode_chat(tokenizer, user("Why does 'bread' rise?\n" * 20))


def test_a_change_of_the_template_or_its_variables_is_seen(tiny_model):
    tokenizer = load(tiny_model)
    before = encode_chat(tokenizer, user("a"))
    tokenizer.chat_template = "{{ greeting }}" + tokenizer.chat_template
    tokenizer.chat_template_kwargs = {"greeting": "Hello. "}
    assert tokenizer.decode(encode_chat(tokenizer, user("a"))) == "Hello. " + tokenizer.decode(before)
