"""Model folders and their chat templates: what is found wrong before anything is loaded."""

import json
import random

import pytest

from metareward.inputs.chat_template import check_chat_template
from metareward.inputs.model_folder import check_model_folder

from damage import damaged, refusal, rows_or_refusal

TEMPLATE = "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}{{ eos_token }}{% endfor %}"


@pytest.fixture
def model(tmp_path):
    """A folder that is in order."""
    folder = tmp_path / "model"
    folder.mkdir()
    header = json.dumps({"__metadata__": {}, "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    objects = {
        "config": {"architectures": ["LlamaForCausalLM"]},
        "model.safetensors.index": {"weight_map": {"w": "model.safetensors"}},
        "generation_config": {"eos_token_id": 2},
        "tokenizer": {},
        "tokenizer_config": {"chat_template": TEMPLATE, "bos_token": "<s>", "eos_token": {"content": "</s>"}},
    }
    for name, value in objects.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    check_model_folder(folder)
    return folder


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.json", "", "config.json is damaged: it is empty"),
        ("config.json", "[]", "config.json is damaged: no JSON object"),
        ("config.json", "[" * 100_000, "config.json is damaged: no JSON"),
        ("config.json", '{"architectures": "LlamaForCausalLM"}', "no JSON object with architectures"),
        ("config.json", '{"architectures": [1]}', "no JSON object with architectures"),
        ("config.json", '{"architectures": []}', "not a causal language model"),
        ("model.safetensors.index.json", '{"weight_map": []}', "no weight_map from weights to files"),
        ("model.safetensors.index.json", '{"weight_map": {"w": [1]}}', "no weight_map from weights to files"),
        ("model.safetensors.index.json", '{"weight_map": {"w": "b.safetensors"}}', "lacks b.safetensors"),
        ("model.safetensors.index.json", "{", "index.json is damaged"),
        ("model.safetensors", "", "model.safetensors is damaged"),
        ("model.safetensors", b"\x02\0\0\0\0\0\0\0[]", "model.safetensors is damaged"),
        ("model.safetensors", b"\xff" * 16, "model.safetensors is damaged"),
        ("tokenizer.json", "null", "tokenizer.json is damaged: no JSON object"),
        ("tokenizer_config.json", "", "tokenizer_config.json is damaged: it is empty"),
        ("tokenizer_config.json", "{}", "has no chat template"),
        ("tokenizer_config.json", '{"chat_template": null}', "has no chat template"),
        ("tokenizer_config.json", '{"chat_template": 5}', "has a chat template that is no text: 5"),
        ("tokenizer_config.json", '{"chat_template": [5]}', "has chat templates without name or template"),
        (
            "tokenizer_config.json",
            '{"chat_template": [{"name": "tool_use", "template": "x"}, {"name": "rag", "template": "x"}]}',
            "has chat templates by name (tool_use, rag) and none called default",
        ),
        ("generation_config.json", "\ufeff{", "generation_config.json is damaged"),
    ],
)
def test_a_model_folder_that_is_refused(model, file, content, said):
    (model / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    line = refusal(check_model_folder, model)
    assert said in line
    assert line.endswith("(params.yaml: seed_model)")


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_or_a_loop_where_a_file_should_be(model, name):
    (model / name).unlink()
    (model / name).mkdir()
    assert name in refusal(check_model_folder, model)
    (model / name).rmdir()
    (model / name).symlink_to(model / name)
    assert name in refusal(check_model_folder, model)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (
            "{% if messages[0]['role'] != 'system' %}{{ raise_exception('System turn first!') }}{% endif %}",
            "cannot write a chat of one user's turn, which is what every request is: System turn first!",
        ),
        ("{{ messages[1]['content'] }}", "cannot write a chat of one user's turn"),
        ("\n{% for m in messages %}{{ m['content'] }}", "has a damaged chat template, line 2: Unexpected end"),
        ("{% nonsense %}", "has a damaged chat template, line 1: Encountered unknown tag 'nonsense'"),
        ("{{ messages[0]['role'] }}", "leaves out the user's turn"),
        ("{{ messages[0]['content'] }}", "leaves out the assistant's turn"),
        ("{{ messages[0]['content'] | upper }}", "leaves out the user's turn, or changes it"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ messages.append(1) }}", "cannot write a chat of one user's turn"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", "cannot write a chat of one user's turn"),
    ],
)
def test_a_chat_template_that_is_refused(model, template, said):
    (model / "chat_template.jinja").write_text(template)
    assert said in refusal(check_model_folder, model)


@pytest.mark.parametrize(
    "template",
    [
        TEMPLATE,
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}{{ m.content | trim }}{% continue %}{% endif %}{% endfor %}",
        "{{ bos_token }}{{ strftime_now('%Y') }}{{ messages | tojson(indent=2) }}{{ tools }}{{ not_there }}",
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + TEMPLATE,
    ],
)
def test_a_chat_template_that_is_taken(model, template):
    (model / "chat_template.jinja").write_text(template)
    check_model_folder(model)
    (model / "chat_template.jinja").unlink()
    named = [{"name": "rag", "template": "{{ 1 / 0 }}"}, {"name": "default", "template": template}]
    (model / "tokenizer_config.json").write_text(json.dumps({"chat_template": named, "bos_token": "<s>"}))
    check_model_folder(model)


def test_generated_model_folders(model):
    draw, kept = random.Random(6), 0
    good = {path: path.read_bytes() for path in sorted(model.iterdir())}
    for number in range(1000):
        path = list(good)[number % len(good)]
        path.write_bytes(damaged(good[path], draw))
        kept += rows_or_refusal(lambda: check_model_folder(model) or []) is not None
        path.write_bytes(good[path])
    assert 200 < kept < 800


DATED = "{{ date_string | default(strftime_now('%d %b %Y'), true) }}{% for m in messages %}{{ m.content }}{% endfor %}"


def test_a_template_that_writes_the_date_is_told_before_anything_runs():
    line = refusal(check_chat_template, DATED, {}, "model", "(x)", {})
    assert "writes the day's date" in line
    assert line.endswith("(params.yaml: chat_template_kwargs)")
    check_chat_template(DATED, {}, "model", "(x)", {"date_string": "26 Jul 2024"})
    check_chat_template(DATED, {}, "model", "(x)")  # where params are not known
