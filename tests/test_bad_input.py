"""Every mistake of a user's: one line that names the culprit, exit code 2, no traceback, no model loaded."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from reasons import give_reasons

from metareward.errors import UserError
from metareward.load_params import parse_params

ROOT = Path(__file__).parents[1]
CHECK = """
import sys
from importlib.util import find_spec
from metareward.cli.main import main
sys.argv = ["metareward", "check"]
try:
    main()
finally:
    assert "torch" not in sys.modules, "a model library was loaded"
"""


@pytest.fixture
def project(tmp_path):
    """A copy of what `metareward check` reads."""
    for folder in ("data/samples", "data/benchmarks", "templates", "profiles"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    give_reasons(tmp_path)
    (tmp_path / ".dvc").mkdir()
    for command in ("init -q", "add --all", "-c user.name=T -c user.email=t@example.org commit -qm inputs"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    return tmp_path


def check(project):
    return subprocess.run([sys.executable, "-c", CHECK], cwd=project, capture_output=True, text=True, check=False)


def refused(project, *culprits):
    result = check(project)
    lines = result.stderr.splitlines()
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for culprit in culprits:
        assert culprit in lines[0]


def set_param(project, path, value):
    params = yaml.safe_load((project / "params.yaml").read_text())
    *sections, key = path.split(".")
    place = params
    for section in sections:
        place = place[section]
    place[key] = value
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def test_the_shipped_params_are_in_order(project):
    result = check(project)
    assert result.returncode == 0, result.stderr
    assert "seed, sft, m1, m2, m3, m4" in result.stdout


@pytest.mark.parametrize(
    ("key", "value", "culprits"),
    [
        ("roh", 0.3, ["roh is not a known key", "'rho'"]),
        ("judge.temprature", 0.3, ["judge.temprature", "'temperature'"]),
        ("engine.vllm.max_model_len", 8192, ["engine.vllm.max_model_len can't be set", "engine.max_context"]),
        ("engine.vllm.data_parallel_size", 8, ["engine.vllm.data_parallel_size can't be set", "resources.workers"]),
        ("engine.vllm.logprobs_mode", "raw_logits", ["logprobs_mode can't be set: benchmarks read the model's own"]),
        ("rho", 1.5, ["rho is 1.5", "[0, 1]"]),
        ("rho", "scheduled", ["'scheduled'", "schedule"]),
        ("iterations.m2.rho", -0.1, ["rho is -0.1", "[0, 1]", '"balanced"', "(params.yaml: iterations.m2.rho)"]),
        ("iterations.m2.rho", "schedule", ["rho is 'schedule'", "[0, 1]", "(params.yaml: iterations.m2.rho)"]),
        ("judge.n", "three", ["'three'", "whole number", "judge.n"]),
        ("judge.top_p", 0.0, ["top_p is 0.0", "> 0", "<= 1"]),
        ("sft.learning_rate", "5e-6 or so", ["'5e-6 or so'", "a number > 0", "sft.learning_rate"]),
        ("dpo.gradient_checkpointing", 1, ["true or false"]),
        ("engine.name", "vlm", ["'vlm'", "vllm"]),
        ("iterations.m3.prev", "m9", ["'m9'", "iterations.m3.prev"]),
        ("iterations.m3.prev", "m1", ["m2 starts already", "iterations.m3.prev"]),
        ("iterations", [], ["iterations", "{} runs none"]),
        ("iterations", {}, ["checkpoints is [seed, sft, ", "the iterations make it [seed, sft]"]),
        ("evaluate.referee", "gpt", ["'gpt'", "sft", "evaluate.referee"]),
        ("eft.kinds", ["judging"], ["judge", "eft.kinds"]),
        ("prompts.per_iteration", 1000, ["need 4000", "prompts.per_iteration"]),
        ("prompts.file", "none.jsonl", ["none.jsonl is missing", "prompts.file"]),
        ("templates.judge", "none.txt", ["none.txt is missing", "templates.judge"]),
        ("train.optimizer", "adamw_8bit", ["bitsandbytes", "pip install", "train.optimizer"]),
    ],
)
def test_params(project, key, value, culprits):
    set_param(project, key, value)
    refused(project, *culprits)


ADAPTER = {"r": 8, "alpha": 16, "dropout": 0.0, "targets": ["q_proj"]}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("lora", "lora is 'lora'; it must be a mapping of keys to values, or null"),
        ({"r": 8}, "train.lora.alpha is missing"),
        (ADAPTER | {"r": 0}, "r is 0; it must be a whole number >= 1. (params.yaml: train.lora.r)"),
        (ADAPTER | {"dropout": 1.0}, "dropout is 1.0; it must be a number >= 0 and < 1"),
        (ADAPTER | {"target": ["k_proj"]}, "train.lora.target is not a known key. Do you mean 'targets'?"),
        (ADAPTER | {"targets": "q_proj"}, "targets is 'q_proj'; it must be all-linear or a list"),
        (ADAPTER | {"targets": []}, "targets is []; it must be all-linear or a list"),
    ],
)
def test_adapters(value, said):
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["train"]["lora"] = value
    with pytest.raises(UserError) as found:
        parse_params(values)
    assert said in str(found.value)
    assert "\n" not in str(found.value)


def test_params_missing_broken_or_empty(project):
    (project / "params.yaml").write_text("seed: [1,\n")
    refused(project, "params.yaml, line", "YAML")
    (project / "params.yaml").write_text("")
    refused(project, "params.yaml", "profiles/demo.yaml")
    (project / "params.yaml").unlink()
    refused(project, "params.yaml cannot be read")


@pytest.mark.parametrize(
    ("file", "line", "culprits"),
    [
        ("prompts.jsonl", "{", ["prompts.jsonl, line 3 is not JSON"]),
        ("prompts.jsonl", "[]", ["line 3 is no JSON object"]),
        ("prompts.jsonl", '{"text": "Why?"}', ["line 3", "'prompt'"]),
        ("prompts.jsonl", '{"prompt": " "}', ["line 3", "prompt is ' '"]),
        ("eft.jsonl", '{"prompt": "a", "response": "b", "judgment": "Score: 1"}', ["line 3", "'score'"]),
        (
            "eft.jsonl",
            '{"prompt": "a", "response": "b", "judgment": "Score: 1", "score": 7}',
            ["score is 7", "[0, 5]", "eft.file"],
        ),
        (
            "eft.jsonl",
            '{"prompt": "a", "response": "b", "judgment": "Score: 1", "score": 2}',
            ["row 3", "reads as 1.0, not 2"],
        ),
        ("eval_judged.jsonl", '{"prompt": "a", "response": "b", "rank": "best"}', ["line 3", "'best'"]),
    ],
)
def test_files(project, file, line, culprits):
    path = project / "data/samples" / file
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[2:]]))
    refused(project, *culprits)


def test_file_without_rows_or_not_text(project):
    path = project / "data/samples/prompts.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    refused(project, "not UTF-8")
    path.write_text("\n\n")
    refused(project, "has no rows")


def test_template_without_the_response(project):
    (project / "templates/judge.txt").write_text("{rubric} {prompt}")
    refused(project, "judge.txt", "{response}", "templates.judge")


TAGGED = {"pattern": r"<v>(\d)</v>", "example": "<v>4</v>", "value": 4}


@pytest.mark.parametrize(
    ("key", "value", "culprits"),
    [
        (
            "judge.read",
            "first_token",
            ["judgment must begin with its score", "judge.format", "judge.read)"],
        ),
        ("judge.read", "last_token", ["read is 'last_token'", "first_token", "judge.read)"]),
        ("judge.format", "bracket", ["judge.format is 'bracket'", "brackets", "pattern", "params.yaml: judge.format"]),
        ("judge.format", "arena", ["judge.format is 'arena'", "line, brackets, tag, json, boxed, or"]),
        ("judge.format", 4, ["judge.format is 4", "boxed"]),
        ("judge.format", None, ["judge.format is None"]),
        ("judge.format", {"pattern": "x"}, ["judge.format.example is missing"]),
        ("judge.format", TAGGED | {"exmple": "x"}, ["judge.format.exmple is not a known key"]),
        ("judge.format", TAGGED | {"value": 7}, ["judge.format.value is 7", "[0, 5]"]),
        ("judge.format", TAGGED | {"pattern": "("}, ["'('", "no regular expression", "judge.format"]),
        ("judge.format", TAGGED | {"pattern": "<v>4</v>"}, ["has 0 groups; it must have one"]),
        ("judge.format", TAGGED | {"pattern": "<(v)>(4)</v>"}, ["has 2 groups"]),
        ("judge.format", TAGGED | {"value": 3.0}, ["'<v>4</v>' reads as 4", "not as 3"]),
        ("judge.format", TAGGED | {"example": "Score: 4"}, ["'Score: 4' reads as None"]),
        ("judge.format", TAGGED, ["eft.jsonl, row 1", "no_score", "pattern", "judge.format"]),
        ("judge.format", "json", ["eft.jsonl, row 1", "no_score", "json", "judge.format"]),
        ("meta_judge.format", "arena", ["meta_judge.jsonl, row 1", "no_winner", "arena"]),
        ("meta_judge.format", TAGGED, ["meta_judge.format.value is 4", "a or b"]),
        ("evaluate.format", "tag", ["comparisons.jsonl, row 1", "no_winner", "evaluate.format"]),
        ("resources.unreadable_after", 0, ["unreadable_after is 0", ">= 1"]),
    ],
)
def test_formats(project, key, value, culprits):
    set_param(project, key, value)
    refused(project, *culprits)


def test_a_first_token_is_a_whole_score(project):
    pattern = {"pattern": r"^(\d.\d),", "example": "4.5, right", "value": 4.5}
    set_param(project, "judge.format", pattern)
    set_param(project, "judge.read", "first_token")
    refused(project, "its score, a digit", "judge.read)")


def test_examples_of_a_first_token_begin_with_their_score(project):
    set_param(project, "judge.format", {"pattern": r"([0-5])$", "example": "4", "value": 4.0})
    set_param(project, "judge.read", "first_token")
    refused(project, "eft.jsonl, row 1: judge.read is first_token", "this one begins '", "eft.file)")


def test_check_says_what_it_read_in_the_formats(project):
    said = check(project).stdout.splitlines()
    assert said[0] == (
        "eft.file: 156 examples, all read in the format line (0: 26, 1: 26, 2: 26, 3: 26, 4: 26, 5: 26); "
        "'Score: 5' is 5"
    )
    assert said[1].startswith("eft.meta_judge: 40 examples, all read in the format line (a: 20, b: 20); 'Winner: ")
    assert said[2].startswith("eft.compare: 32 examples, all read in the format line (a: 16, b: 16); 'Winner: ")


def test_check_reads_the_users_own_format_and_looks_for_it_in_the_template(project):
    path = project / "data/samples/eft.jsonl"
    path.write_text(
        path.read_text().replace("Score: 5", "[[5]]").replace("Score: ", "[[4]] ").replace("[[4]] 4", "[[4]]")
    )
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows if row["score"] in (4, 5)))
    set_param(project, "judge.format", "brackets")
    said = check(project).stdout
    assert "eft.file: 52 examples, all read in the format brackets (4: 26, 5: 26); '[[5]]' is 5" in said
    assert "templates.judge does not show the format brackets that it is read in (judge.format)" in said
    judge = project / "templates/judge.txt"
    judge.write_text(judge.read_text().replace("Score: <points>", "[[points]]"))
    assert "does not show" not in check(project).stdout


def test_model_folder(project):
    """The folder is found incomplete or torn before its weights are loaded."""
    model = project / "my-model"
    set_param(project, "seed_model", "my-model")
    model.mkdir()
    refused(project, "my-model has no config.json", "seed_model")
    (model / "config.json").write_text("{")
    refused(project, "config.json is damaged")
    (model / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))
    refused(project, "BertModel", "not a causal language model")
    (model / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    refused(project, "no *.safetensors")
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    whole = len(header).to_bytes(8, "little") + header + bytes(4)
    (model / "model.safetensors").write_bytes(whole[:-1])
    refused(project, "model.safetensors is damaged")
    (model / "model.safetensors").write_bytes(whole)
    refused(project, "no tokenizer_config.json")
    (model / "tokenizer_config.json").write_text("{}")
    refused(project, "has no tokenizer.json")
    (model / "tokenizer.json").write_text("{}")
    refused(project, "no chat template")
    (model / "chat_template.jinja").write_text("{{ messages }}")
    assert check(project).returncode == 0
    set_param(project, "resources.gpu_memory", 0.01)
    assert "whether it fits a GPU is not known: my-model/config.json is a None" in check(project).stdout
    shape = {"num_hidden_layers": 2, "hidden_size": 512, "intermediate_size": 512, "num_attention_heads": 4}
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 1000, **shape}
    (model / "config.json").write_text(json.dumps(config))
    refused(project, "sft takes about", "GB of each GPU, which has 0.01", "(params.yaml: resources.gpu_memory)")
    set_param(project, "seed_model", "./typo")
    refused(project, "./typo", "no such folder")


def test_outside_a_clone(tmp_path):
    refused(tmp_path, "no git clone")


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vllm is installed")
def test_an_engine_that_is_not_installed(project):
    set_param(project, "engine.name", "vllm")
    refused(project, "vllm is not installed", "pip install '.[vllm]'", "engine.name")
