"""What is found wrong with a tokenizer and its template when they are loaded, before a token is generated."""

import json
import random
import shutil
import time
from datetime import datetime
from pathlib import Path

import pytest
from chat_models import KINDS, LLAMA3_REQUEST, LLAMA3_TURN, turns

from metareward.engines.common.chat import chat_of, encode_chat
from metareward.engines.common.chat_check import check_chat
from metareward.engines.common.sampler import text_settings
from metareward.engines.common.tokenizer import end_tokens, load_tokenizer
from metareward.errors import UserError
from metareward.load_params import load_params, parse_params

ROOT = Path(__file__).parents[1]
# Llama 3.1's: the day of the run, unless a variable names another
DATED = turns(
    LLAMA3_TURN,
    LLAMA3_REQUEST,
    "{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}"
    "{% else %}{% set date_string = '26 Jul 2024' %}{% endif %}{% endif %}"
    "{{ bos_token + 'Today Date: ' + date_string + '\n' }}",
)


@pytest.mark.parametrize("name", KINDS)
def test_tokenizers_and_templates_of_the_kinds_in_use_pass(name):
    check_chat(KINDS[name]())


def test_the_check_is_quick(smollm2):
    load_tokenizer(smollm2, {})
    started = time.process_time()
    tokenizer = load_tokenizer(smollm2, {})
    loaded = time.process_time()
    check_chat(tokenizer)
    assert time.process_time() - loaded < max(0.3, loaded - started)


def dated(**kwargs):
    tokenizer = KINDS["llama3"]()
    tokenizer.chat_template = DATED
    tokenizer.chat_template_kwargs = kwargs
    return tokenizer


def test_a_template_that_writes_the_date_is_refused_and_its_variable_named():
    with pytest.raises(UserError, match=r"changes with the day.*date_string: 26 Jul 2024.*chat_template_kwargs"):
        check_chat(dated())


def test_with_its_variable_set_the_prompt_is_the_same_at_any_time():
    tokenizer = dated(date_string="1 Jan 2020")
    check_chat(tokenizer)
    assert "Today Date: 1 Jan 2020" in tokenizer.decode(encode_chat(tokenizer, [{"role": "user", "content": "a"}]))


@pytest.mark.parametrize(
    "written",
    [
        "{{ strftime_now('%Y-%m-%d') }}",
        "{% if strftime_now('%H') | int < 12 %}Good morning{% endif %}",
        "{% if strftime_now('%m') == '12' %}Merry Christmas{% endif %}",
        "{{ ['red', 'blue'] | random }}",
        "{{ lipsum(1) }}",
    ],
)
def test_a_template_that_changes_from_run_to_run_is_refused(tiny_model, written):
    tokenizer = load_tokenizer(tiny_model, {})
    tokenizer.chat_template += written
    state = random.getstate()
    with pytest.raises(UserError, match="changes from run to run"):
        check_chat(tokenizer)
    assert random.getstate() == state  # others draw from it, too


def test_the_clock_that_is_told_is_the_one_that_templates_ask(tiny_model):
    """If this fails, transformers gives templates the hour in another way than by `strftime_now`."""
    tokenizer = load_tokenizer(tiny_model, {})
    tokenizer.chat_template += "{{ strftime_now('%Y') }}"
    messages = [{"role": "user", "content": "a"}]
    assert chat_of(tokenizer).render(messages, True).endswith(str(datetime.now().year))
    assert chat_of(tokenizer).render(messages, True, clock=datetime(1999, 1, 1)).endswith("1999")


def test_a_variable_that_the_template_does_not_know_is_named(tiny_model):
    for key in ("enable_thinkng", "messages", "add_generation_prompt", "a b"):
        with pytest.raises(UserError, match=rf"no variable {key}.*chat_template_kwargs.{key}"):
            load_tokenizer(tiny_model, {key: False})


@pytest.mark.parametrize(
    "change", ["| upper", "| tojson", "[:200]", "| replace('UPPER', 'lower')", "| escape", "| wordwrap", "| title"]
)
def test_a_template_that_changes_contents_is_refused(tiny_model, change):
    tokenizer = load_tokenizer(tiny_model, {})
    tokenizer.chat_template = tokenizer.chat_template.replace("message['content']", f"(message['content'] {change})")
    with pytest.raises(UserError, match=r"leaves out|changes what messages say"):
        check_chat(tokenizer)


def test_a_tokenizer_that_is_not_followed_is_refused_with_what_differs(tiny_model):
    """One whose special tokens are never found in a text, so that the stock way reads the template as plain text."""
    tokenizer = load_tokenizer(tiny_model, {})
    tokenizer._tokenizer.encode_special_tokens = True
    tokenizer.split_special_tokens = True
    with pytest.raises(UserError, match=r"can't be encoded as the tokenizer does it.*<\|im_start\|>"):
        check_chat(tokenizer)


def test_generation_stops_at_the_templates_end_of_turn(tiny_model, tmp_path):
    """Configs often name the end of a text alone."""
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    for name in ("config.json", "generation_config.json"):
        values = json.loads((folder / name).read_text()) | {"eos_token_id": 0}
        (folder / name).write_text(json.dumps(values))
    tokenizer = load_tokenizer(folder, {})
    tokenizer.eos_token = "<|endoftext|>"
    assert end_tokens(folder, tokenizer) == [0, tokenizer.convert_tokens_to_ids("<|im_end|>")]


def test_a_model_whose_turns_could_never_end_is_refused(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    template = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(UserError, match="no response can end"):
        load_tokenizer(folder, {})


def test_the_variables_are_part_of_what_decides_a_text():
    engine = load_params(ROOT / "profiles/tiny.yaml").engine
    assert text_settings(engine, {}) != text_settings(engine, {"date_string": "26 Jul 2024"})


def test_variables_are_scalars_of_json():
    values = load_params(ROOT / "profiles/tiny.yaml").model_dump()
    scalars = {"a": None, "b": 1.5, "c": "x", "d": False, "e": 2}
    assert parse_params(values | {"chat_template_kwargs": scalars}).chat_template_kwargs == scalars
    for wrong in ({"a": [1]}, {"a": {"b": 1}}, [], None):
        with pytest.raises(UserError, match=r"chat_template_kwargs"):
            parse_params(values | {"chat_template_kwargs": wrong})
