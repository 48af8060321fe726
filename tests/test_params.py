"""params.yaml: each value is read as what its writer meant, whether a person wrote it or DVC's `-S`."""

import copy
import functools
import re
import shutil
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import load_yaml
from pydantic import BaseModel
from ruamel.yaml import YAML

from metareward.errors import UserError
from metareward.load_params import load_params, parse_params
from metareward.params import Lora, Params, RewardModel, ScorePattern, WinnerPattern

ROOT = Path(__file__).parents[1]
DEMO = (ROOT / "profiles/demo.yaml").read_text()


def leaves(model: type[BaseModel], place: str = "") -> list[tuple[str, Any]]:
    """Every key of params with its annotation; of the iterations m1, which has them all, stands for the rest."""
    found = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if name == "iterations":
            found += leaves(get_args(kind)[1], "iterations.m1.")
        elif get_origin(kind) is dict:
            continue  # variables of the chat template, which may be of any kind
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            found += leaves(kind, f"{place}{name}.")
        else:
            found.append((place + name, kind))
    return found


def kinds(annotation: Any) -> set[Any]:
    """The plain types in an annotation: {int, NoneType} of a count or null."""
    if get_origin(annotation) is Annotated:
        return kinds(get_args(annotation)[0])
    if get_origin(annotation) in (types.UnionType, Union):
        return {found for part in get_args(annotation) for found in kinds(part)}
    return {get_origin(annotation) or annotation}


KEYS = {key: kinds(annotation) for key, annotation in leaves(Params)}
OF = {kind: [key for key, found in KEYS.items() if kind in found] for kind in (int, float, bool, str, type(None))}
CHAINED = {"evaluate.referee", "iterations.m1.prev"}  # must name a checkpoint


def value_of(params: Params, key: str) -> Any:
    value: Any = params
    for part in key.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    return value


def override(path: Path, spellings: dict[str, str]) -> Params:
    """What is read after `dvc exp run -S key=spelling` of each key."""
    path.write_text(DEMO)
    apply_overrides(path, [f"{key}={spelling}" for key, spelling in spellings.items()])
    return load_params(path)


def by_hand(path: Path, spellings: dict[str, str]) -> Params:
    """What is read after a person wrote each key's value into the file."""
    lines = DEMO.splitlines()
    for key, spelling in spellings.items():
        at = 0
        for depth, part in enumerate(key.split(".")):
            start = re.compile(rf"{'  ' * depth}{part}:")
            at = next(number for number in range(at, len(lines)) if start.match(lines[number]))
        lines[at] = f"{start.match(lines[at])[0]} {spelling}"
    path.write_text("\n".join(lines))
    return load_params(path)


def read(write: Any, tmp_path: Path, keys: list[str], spelling: str) -> dict[str, Any]:
    """What is read of each key when all of them are spelt so."""
    params = write(tmp_path / "params.yaml", dict.fromkeys(keys, spelling))
    return {key: value_of(params, key) for key in keys}


def test_variables_of_the_chat_template_come_through_an_override(tmp_path):
    (path := tmp_path / "params.yaml").write_text(DEMO)
    given = {"date_string": "'26 Jul 2024'", "enable_thinking": "false", "level": "2", "share": "0.5", "none": "null"}
    apply_overrides(path, [f"+chat_template_kwargs.{key}={value}" for key, value in given.items()])
    read = load_params(path).chat_template_kwargs
    assert read == {"date_string": "26 Jul 2024", "enable_thinking": False, "level": 2, "share": 0.5, "none": None}


def test_options_of_vllms_come_through_an_override(tmp_path):
    (path := tmp_path / "params.yaml").write_text(DEMO)
    given = {"max_num_seqs": "64", "gpu_memory_utilization": "0.8", "quantization": "fp8", "enforce_eager": "true"}
    given |= {"hf_overrides": "{rope_theta: 1e6}", "kv_cache_memory_bytes": "null"}
    apply_overrides(path, [f"+engine.vllm.{key}={value}" for key, value in given.items()])
    section = load_params(path).engine.vllm
    assert section.dtype == "auto"
    assert section.options == {
        "max_num_seqs": 64,
        "gpu_memory_utilization": 0.8,
        "quantization": "fp8",
        "enforce_eager": True,
        "hf_overrides": {"rope_theta": 1e6},
        "kv_cache_memory_bytes": None,
    }


@pytest.mark.parametrize("value", ["2026-01-01", "{when: 2026-01-01}", ".nan", "{1: 2}"])
def test_an_option_of_vllms_that_is_no_plain_value_is_refused_in_one_line(tmp_path, value):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"(  vllm:.*\n)", rf"\1    load_format: {value}\n", DEMO, count=1))
    with pytest.raises(UserError, match=r"engine\.vllm\.load_format is or holds .*: engine\.vllm\.load_format"):
        load_params(path)


def test_every_key_is_of_a_kind_that_is_tested():
    # mappings: test_bad_input.py, test_reward_model.py
    found = {kind for found in KEYS.values() for kind in found} - {ScorePattern, WinnerPattern, Lora, RewardModel}
    assert found == {int, float, bool, str, type(None), Literal, list}
    assert len(OF[int]) > 20
    assert len(OF[float]) > 10
    assert len(OF[bool]) > 2
    assert len(OF[str]) > 10
    assert len(OF[type(None)]) > 5


SPELLINGS = [
    *("010", "0x10", "0o10", "0b11", "1_000", "1e3", "1E+3", "5e-6", ".5", "+1", ".inf", "-.INF", ".nan", "1:30"),
    *("2026-01-01", "yes", "No", "on", "OFF", "y", "~", "null", "''", "[1, 0o7, yes]", "{a: 010}", "&x [1]"),
    *("|\n  a\n  b", "'é\u2028'", '"\\x41"'),
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_dvc_sees_the_values_that_a_stage_sees(text):
    """DVC parses in C, a stage in Python, where it can tell how a number was written."""
    in_c, in_python = YAML(typ="safe"), YAML(typ="safe", pure=True)
    assert in_c.Parser is not in_python.Parser
    found, expected = (yaml.load(f"a: {text}\n") for yaml in (in_c, in_python))
    assert repr(found) == repr(expected)


@pytest.mark.parametrize("write", [override, by_hand])
def test_every_spelling_of_a_number_in_every_key(tmp_path, write):
    half = {".5": 0.5, "0.5": 0.5, "'0.5'": 0.5, "5e-1": 0.5, "+5.0E-01": 0.5}
    # of a ridge 1e-6 is the least
    small = {"0.000005": 5e-6, "5e-6": 5e-6, "5.0e-6": 5e-6, "5E-06": 5e-6, "'5e-6'": 5e-6, "+5e-6": 5e-6}
    one = {"1": 1.0, "1.": 1.0, "+1": 1.0, "'1'": 1.0, "1e0": 1.0, "01": 1.0}
    large = {"1e3": 1e3, "1_000": 1e3, "0x10": 16.0, "1e+16": 1e16, "'1e+16'": 1e16, "1e16": 1e16, "010": 10.0}
    for spelling, value in (half | small | one | large).items():
        keys = [key for key in OF[float] if value < 1 or key != "dpo.held_out"]
        keys = [key for key in keys if value <= 1 or key.rsplit(".", 1)[-1] not in ("rho", "top_p", "similarity")]
        found = read(write, tmp_path, keys, spelling)
        assert found == dict.fromkeys(keys, value), spelling
        assert {type(number) for number in found.values()} == {float}, spelling


@pytest.mark.parametrize("write", [override, by_hand])
def test_every_spelling_of_a_whole_number_in_every_key(tmp_path, write):
    spellings = {"7": 7, "+7": 7, "7.0": 7, "7.": 7, "'7'": 7, "007": 7, "010": 10, "0x10": 16, "0o10": 8, "0b11": 3}
    spellings |= {"1_000": 1000, "1e3": 1000, "1E3": 1000, "1.5e1": 15, "'1e3'": 1000}
    for spelling, value in spellings.items():
        found = read(write, tmp_path, OF[int], spelling)
        assert found == dict.fromkeys(OF[int], value), spelling
        assert {type(number) for number in found.values()} == {int}, spelling


@pytest.mark.parametrize("write", [override, by_hand])
def test_every_spelling_of_null_in_every_key(tmp_path, write):
    for spelling in ("null", "NULL", "None", "none", "'null'", "", *(["~"] if write is by_hand else [])):
        found = read(write, tmp_path, OF[type(None)], spelling)
        assert found == dict.fromkeys(found), spelling


@pytest.mark.parametrize("write", [override, by_hand])
def test_every_spelling_of_true_and_false_in_every_key(tmp_path, write):
    words = dict.fromkeys(("true", "True", "yes", "on", "ON", "y", "'true'"), True)
    words |= dict.fromkeys(("false", "False", "no", "off", "OFF", "n", "'no'"), False)
    for word, value in words.items():
        found = read(write, tmp_path, OF[bool], word)
        assert all(switch is value for switch in found.values()), word


@pytest.mark.parametrize("write", [override, by_hand])
def test_every_word_in_every_key(tmp_path, write):
    words = ["on", "off", "yes", "No", "y", "n", "1:30", "123", "true", "a b", "http://localhost:8000/v1", "x/y.jsonl"]
    quoted = ["0123", "1.10", "1e5", "True", "2024-01-01", "5e-6"]
    spellings = {word: word for word in words} | {f"'{word}'": word for word in quoted}
    for spelling, value in spellings.items():
        keys = [key for key in OF[str] if key not in CHAINED]
        assert read(write, tmp_path, keys, spelling) == dict.fromkeys(keys, value)


def test_a_checkpoint_may_have_a_name_that_yaml_1_1_reads_as_true(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"\bm1\b", "on", DEMO))
    apply_overrides(path, ["evaluate.referee=on"])
    params = load_params(path)
    assert params.evaluate.referee == "on"
    assert params.checkpoints[2] == "on"
    assert "on" in params.iterations


def test_the_schedule_balanced_or_a_number(tmp_path):
    words = ("schedule", "0", "1", ".5", "1e-06", "'0.4'")
    found = [override(tmp_path / "params.yaml", {"rho": word}).rho for word in words]
    assert found == ["schedule", 0.0, 1.0, 0.5, 1e-6, 0.4]
    assert [type(value) for value in found[1:]] == [float] * 5
    assert override(tmp_path / "params.yaml", {"rho": "balanced"}).rho == "balanced"


def test_a_list(tmp_path):
    path = tmp_path / "params.yaml"
    assert override(path, {"eft.kinds": "[judge]"}).eft.kinds == ["judge"]
    with pytest.raises(UserError, match=r"kinds is 'judge'; it must be a list with at least one item, in brackets"):
        override(path, {"eft.kinds": "judge"})


@pytest.mark.parametrize(
    ("key", "spelling", "said"),
    [
        ("dpo.learning_rate", "1:30", "learning_rate is '1:30'; it must be a number > 0."),
        ("dpo.learning_rate", "true", "learning_rate is True; it must be a number > 0."),
        ("dpo.learning_rate", "nan", "learning_rate is nan; it must be a number > 0."),
        ("dpo.learning_rate", "inf", "learning_rate is inf; it must be a number > 0."),
        ("dpo.learning_rate", "1e400", "learning_rate is inf; it must be a number > 0."),
        ("dpo.learning_rate", "null", "learning_rate is None; it must be a number > 0."),
        ("dpo.learning_rate", "", "learning_rate is ''; it must be a number > 0."),
        ("dpo.learning_rate", "1__0", "learning_rate is '1__0'; it must be a number > 0."),
        ("judge.n", "1.5", "n is 1.5; it must be a whole number >= 1."),
        ("judge.n", "0", "n is 0; it must be a whole number >= 1."),
        ("judge.n", "yes", "n is 'yes'; it must be a whole number >= 1."),
        ("seed", "true", "seed is True; it must be a whole number >= 0."),
        ("judge.n", "1e30", "n is 1e+30; it must be a whole number of at most"),
        ("judge.n", "'" + "9" * 5000 + "'", "it must be a whole number >= 1."),
        ("sft.max_steps", "0", "max_steps is 0; it must be a whole number >= 1, or null."),
        ("resources.ray", "1", "ray is 1; it must be true or false."),
        ("resources.ray", "null", "ray is None; it must be true or false."),
        ("seed_model", "1.10", "seed_model is 1.1; YAML reads it as a number or a date; it must be a text. Hint: put"),
        ("seed_model", "null", "seed_model is None; it must be a text that is not empty."),
        ("rho", "true", "rho is True; it must lie in [0, 1]"),
        ("rho", "null", "rho is None; it must lie in [0, 1]"),
    ],
)
def test_what_stays_a_mistake_is_one_line(tmp_path, key, spelling, said):
    with pytest.raises(UserError) as raised:
        override(tmp_path / "params.yaml", {key: spelling})
    assert said in str(raised.value)
    assert str(raised.value).isprintable()
    assert str(raised.value).endswith(f"params.yaml: {key})")


@pytest.mark.parametrize(
    ("hand", "said"),
    [
        ("0123", "put it in quotes"),  # DVC's paths would say 123
        ("0x10", "put it in quotes"),
        ("2024-01-01", "put it in quotes"),
        ('"a\\0b"', "without NUL characters"),
        ('"\\ud83d"', "lone surrogates"),
    ],
)
def test_words_that_dvc_reads_as_another_thing(tmp_path, hand, said):
    with pytest.raises(UserError, match=said):
        by_hand(tmp_path / "params.yaml", {"seed_model": hand})


def test_numbers_are_read_as_dvc_reads_them(tmp_path):
    """Else DVC could call a stage unchanged whose number is another."""
    path = tmp_path / "params.yaml"
    for spelling in ("010", "0x10", "0o10", "1_000", "5e-6", "1e3", "+1", "1.", ".5", "12e03", "7"):
        assert by_hand(path, {"dpo.beta": spelling}).dpo.beta == load_yaml(path)["dpo"]["beta"], spelling


BOMB = "a0: &a0 [1, 1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))


LINE_OF_N = DEMO[: DEMO.index("  n: 4 ")].count("\n") + 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DEMO.replace("seed: 1 ", "seed: 1\nseed: 2 "), 'line 6 is not valid YAML: found duplicate key "seed"'),
        (DEMO.replace("  n: 4 ", "  n: 4\n  n: 5 "), 'found duplicate key "n"'),
        (DEMO + "---\nseed: 1\n", "found another document"),
        (
            DEMO.replace("  n: 4 ", "\tn: 4 "),
            f"line {LINE_OF_N} is not valid YAML",
        ),
        (DEMO.replace("seed: 1 ", "seed: !!python/object/apply:os.system [ls] "), "python/object/apply:os.system"),
        (DEMO.replace("seed: 1 ", "seed: 2024-13-45 "), "month must be in 1..12"),
        (DEMO.replace("seed: 1 ", f"seed: {'9' * 5000} "), "not valid YAML"),
        (DEMO.replace("seed: 1 ", f"seed: {'[' * 5000} "), "nested too deeply"),
        (DEMO.replace("seed: 1 ", "seed: &a [*a] "), "its aliases stand for more than 10000 values"),
        (BOMB + DEMO, "its aliases stand for more than 10000 values"),
        (DEMO.replace("  m1:", "  1:"), "iterations.1 is no key"),
        ("%YAML 1.1\n---\n" + DEMO, "line 1 names a version of YAML"),
        ("[]", "holds no mapping"),
        ("\x1b[31m", "unacceptable character"),
    ],
)
def test_yaml_that_cannot_be_meant(tmp_path, text, said):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        load_params(path)
    assert said in str(raised.value)
    assert str(raised.value).isprintable()


def test_a_byte_order_mark_line_ends_and_anchors_change_nothing(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(DEMO)
    params = load_params(path)
    for content in ("\ufeff" + DEMO, DEMO.replace("\n", "\r\n")):
        path.write_bytes(content.encode())
        assert load_params(path) == params
        assert load_yaml(path)["seed"] == 1  # DVC reads it, too
    shared = DEMO.replace("respond:\n", "respond: &sampling\n")
    shared = re.sub(r"(?m)^meta_judge:\n(  .*\n)+", "meta_judge: {<<: *sampling}\n", shared).replace("  n: 4 ", "  #")
    path.write_text(shared)
    with pytest.raises(UserError, match=r"respond.n is missing"):
        load_params(path)
    path.write_text(DEMO.replace("    rho: 0.32\n", "    rho: &rho 0.32\n", 1).replace("rho: 0.32\n", "rho: *rho\n"))
    assert load_params(path) == params


def test_the_profiles_are_read(tmp_path):
    for profile in (ROOT / "profiles").glob("*.yaml"):
        shutil.copy(profile, tmp_path / "params.yaml")
        assert load_params(tmp_path / "params.yaml").eft.n == 1


def every_key(values: Any, place: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of each section and key of a document."""
    if not isinstance(values, dict):
        return [place]
    return [place, *(path for key, value in values.items() for path in every_key(value, (*place, key)))]


@pytest.mark.parametrize("wrong", [{}, {"a": 1}, {"pattern": 1}, [], [{}], [[1]], None, 1e9, -1, "", "a word", True])
def test_another_kind_of_value_in_any_place_is_read_or_refused_in_one_line(tmp_path, wrong):
    (path := tmp_path / "params.yaml").write_text(DEMO)
    document, refused = load_yaml(path), 0
    for place in every_key(document)[1:]:
        changed = copy.deepcopy(document)
        section = functools.reduce(dict.__getitem__, place[:-1], changed)
        section[place[-1]] = wrong
        said = refusal(changed)
        assert said is None or (said.isprintable() and "params.yaml: " in said), place
        refused += said is not None
    assert refused > 30


def refusal(document: Any) -> str | None:
    """What is said of a document that is no params."""
    try:
        parse_params(document)
    except UserError as error:
        return str(error)
    return None
