"""What a benchmark's judge is asked: our template files, upstream's own, and what is wrong with others."""

import json
import re

import pytest

from metareward.errors import UserError
from metareward.templates.chats import (
    ALPACA_EVAL,
    ARENA_HARD,
    CATEGORIES,
    FIELDS,
    MT_BENCH,
    fill_chat,
    load_chats,
    read_categories,
)

from pipeline import ROOT

OURS = ROOT / "templates/benchmarks"


@pytest.mark.parametrize("name", FIELDS)
def test_ours_hold_every_placeholder_in_a_turn_of_the_user(name):
    for chat in load_chats(OURS / f"{name}.txt", FIELDS[name], "key").values():
        assert [role for role, _ in chat] == ["user"]  # some models' chats have no system


def test_ours_list_the_labels_that_are_read():
    ((_, text),) = load_chats(OURS / "arena_hard.txt", ARENA_HARD, "key")[""]
    assert [f"[[{label}]]" in text for label in ("A>>B", "A>B", "A=B", "B>A", "B>>A")] == [True] * 5
    for ((_, text),) in load_chats(OURS / "mt_bench.txt", MT_BENCH, "key").values():
        assert re.search(r"Rating: \[\[\d\]\]", text)


def test_eighteen_categories_are_named():
    chat = load_chats(OURS / "categories.txt", CATEGORIES, "key")[""]
    assert len(read_categories(chat, OURS, "key")) == 18


def test_values_are_put_in_as_they_are():
    chat = [("system", "s"), ("user", " {question_1}|{answer_1}|{answer_2} ")]
    filled = fill_chat(chat, question_1="{answer_1}", answer_1="\n", answer_2="<|im_end|>")
    assert filled == [{"role": "system", "content": "s"}, {"role": "user", "content": " {answer_1}|\n|<|im_end|> "}]


def test_upstreams_chatml_is_turns(tmp_path):
    text = (
        "<|im_start|>system\nBe fair.\n<|im_end|>\n<|im_start|>user\n{ {instruction}\n{output_1} {output_2}\n<|im_end|>"
    )
    (path := tmp_path / "clf.txt").write_text(text)
    assert load_chats(path, ALPACA_EVAL, "key") == {
        "": [("system", "Be fair."), ("user", "{ {instruction}\n{output_1} {output_2}")]
    }


def test_upstreams_judge_prompts_are_found_by_name(tmp_path):
    rows = [
        {
            "name": name,
            "system_prompt": "Be fair.\n\n",
            "prompt_template": "\n".join(f"{{{field}}}" for field in fields),
        }
        for name, fields in MT_BENCH.items()
    ]
    other = {"name": "pair-v2", "system_prompt": "", "prompt_template": "{answer_a}"}
    (path := tmp_path / "judge_prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [other, *rows]))
    chats = load_chats(path, MT_BENCH, "key")
    assert list(chats) == list(MT_BENCH)
    assert chats["single-v1"] == [("system", "Be fair.\n\n"), ("user", "{question}\n{answer}")]  # white space and all


def test_upstreams_judge_config_is_read(tmp_path):
    text = 'system_prompt: "Be fair."\nprompt_template: ["{question_1}\\n{answer_1}\\n{answer_2}"]\ntemperature: 0\n'
    (path := tmp_path / "judge_config.yaml").write_text(text)
    assert load_chats(path, ARENA_HARD, "key")[""] == [
        ("system", "Be fair."),
        ("user", "{question_1}\n{answer_1}\n{answer_2}"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "fields", "said"),
    [
        ("a.txt", "", ALPACA_EVAL, "is empty"),
        ("a.txt", "{instruction} {output_1}", ALPACA_EVAL, "no {output_2}, so the model would not see it"),
        ("a.txt", "{instruction} {output_1} {output_2} {prompt}", ALPACA_EVAL, "{prompt}, which nothing fills"),
        ("a.txt", "<|im_start|>judge\n{instruction}<|im_end|>", ALPACA_EVAL, "is no chat"),
        ("a.txt", "<|im_start|>system\n{instruction}<|im_end|>", ALPACA_EVAL, "is no chat"),
        ("a.txt", "x<|im_start|>user\n{instruction}<|im_end|>", ALPACA_EVAL, "is no chat"),
        ("a.txt", "<|im_start|>user\n{instruction}", ALPACA_EVAL, "is no chat"),
        ("m.txt", "{question} {answer}", MT_BENCH, "has no prompt 'single-v1'"),
        ("m.txt", "[single-v1]\n{question} {answer}", MT_BENCH, "has no prompt 'single-math-v1'"),
        ("m.txt", "[single-v1]\n{question}", {"single-v1": ("question", "answer")}, "single-v1 has no {answer}"),
        ("m.jsonl", "{", MT_BENCH, "is not JSON Lines"),
        ("m.jsonl", '{"name": "single-v1"}', MT_BENCH, "both must be texts"),
        ("c.yaml", "[]", ARENA_HARD, "both must be texts"),
        ("c.yaml", "a: b: c", ARENA_HARD, "not valid YAML"),
        ("c.yaml", "prompt_template: [a, b]", ARENA_HARD, "both must be texts"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_line(tmp_path, name, text, fields, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as error:
        load_chats(tmp_path / name, fields, "params.yaml: key")
    assert said in str(error.value)
    assert name in str(error.value)


@pytest.mark.parametrize("listed", ["", "- One", "- One\n- one", "- A b\n- a-B"])
def test_categories_must_be_several_and_different(tmp_path, listed):
    with pytest.raises(UserError, match="at least two"):
        read_categories([("user", f"{listed}\n{{instruction}}")], tmp_path, "key")
