"""params.yaml in, a frozen Params out, or one line that names the key that is wrong."""

import difflib
import re
import warnings
from math import inf
from pathlib import Path, PurePath
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError

from metareward.errors import UserError, shown
from metareward.params import GENERATED_PROMPTS, Params, VllmEngine
from metareward.spelling import Respelled
from metareward.text_files import read_text

MOST_NODES = 10_000  # of params.yaml; profiles have about 200


def parse_params(values: Any, source: str = "params.yaml") -> Params:
    """Params from a parsed YAML document.

    Raises UserError for the first unknown key (with the nearest known one), missing key, wrong type, value out
    of range, or iteration whose `prev` chain does not lead to sft.
    """
    if not isinstance(values, dict):
        raise UserError(f"{source} holds no mapping of keys to values. Hint: cp profiles/demo.yaml {source}")
    try:
        params = Params.model_validate(values)
    except ValidationError as error:
        # an unknown key often causes a missing one, so it is the better thing to name; of a mapping that may stand for
        # a name, what is wrong within it
        problems = sorted(
            error.errors(),
            key=lambda one: (
                one["type"] != "extra_forbidden",
                one["type"] == "literal_error" and isinstance(one["input"], dict),
            ),
        )
        raise UserError(_explain(problems[0], source)) from None
    _check_together(params, source)
    return params


def load_params(path: Path) -> Params:
    """Params of a YAML file; UserError also when it is missing or no YAML."""
    return parse_params(read_yaml(path), str(path))


class _Constructor(SafeConstructor):
    """Values as DVC sees them; a whole number of another spelling than Python's is marked."""

    def construct_document(self, node: Any) -> Any:
        if _size(node, {}) > MOST_NODES:
            raise YAMLError(f"its aliases stand for more than {MOST_NODES} values")
        return super().construct_document(node)

    def construct_yaml_int(self, node: Any) -> int:
        value = int(super().construct_yaml_int(node))
        return value if str(value) == node.value else Respelled(value)


_Constructor.add_constructor("tag:yaml.org,2002:int", _Constructor.construct_yaml_int)


def read_yaml(path: Path, where: str = "Hint: cp profiles/demo.yaml params.yaml") -> Any:
    """The document of a YAML file, read by DVC's own YAML library, so that DVC and a stage see the same values.

    where: the end of the error line when it cannot be read. Raises UserError when it is no YAML, has a key twice, or is
    more than one document.
    """
    text = read_text(path, where)
    if found := re.search(r"^%YAML", text, re.MULTILINE):
        line = text.count("\n", 0, found.start()) + 1
        raise UserError(f"{path}, line {line} names a version of YAML. Hint: remove the line; DVC writes YAML 1.2.")
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that are reused: DVC reads on, too
            return yaml.load(text)
    except Exception as error:  # bad tags, dates and digits end in a dozen kinds beside YAMLError
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise UserError(f"{path}{where} is not valid YAML: {getattr(error, 'problem', None) or reason}.") from None


def _size(node: Any, known: dict[int, float]) -> float:
    """How many values a node stands for, each alias counted in full; infinite when it holds itself."""
    if id(node) not in known:
        known[id(node)] = inf
        children = [] if isinstance(node.value, str) else node.value
        flat = [child for item in children for child in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(_size(child, known) for child in flat)
    return known[id(node)]


def _check_together(params: Params, source: str) -> None:
    """What no field can check alone: the chain of iterations, the referee, the endpoint."""
    known = {"sft", *params.iterations}
    starts: dict[str, str] = {}
    for name, iteration in params.iterations.items():
        key = f"({source}: iterations.{name}.prev)"
        if name in ("seed", "sft") or not name.isidentifier():
            raise UserError(
                f"iteration name {name!r} is taken or not a plain word; use m1, m2, ... ({source}: iterations)"
            )
        if iteration.prev not in known:
            raise UserError(
                f"prev is {iteration.prev!r}, which is no checkpoint; it must be sft or an iteration. "
                f"{_nearest(iteration.prev, known)}{key}"
            )
        if iteration.prev in starts:
            raise UserError(
                f"prev is {iteration.prev!r}, from which {starts[iteration.prev]} starts already; iterations form "
                f"one chain, so that each takes prompts of its own. {key}"
            )
        starts[iteration.prev] = name
    reached, at = 0, "sft"
    while at in starts and reached <= len(starts):
        at, reached = starts[at], reached + 1
    if reached != len(starts):
        raise UserError(f"the iterations do not form one chain that begins at sft. ({source}: iterations.*.prev)")
    chain, at = ["seed", "sft"], "sft"
    while at in starts:
        at = starts[at]
        chain.append(at)
    if params.checkpoints != chain:
        raise UserError(
            f"checkpoints is [{', '.join(params.checkpoints)}]; the iterations make it [{', '.join(chain)}], "
            f"in training order. ({source}: checkpoints)"
        )
    trained = [name for name, iteration in params.iterations.items() if iteration.train_judge]
    if params.reward_model is not None and trained:
        raise UserError(
            "train_judge is true, but reward_model scores the responses, so no judgments are there to battle; "
            f"it must be false. ({source}: iterations.{trained[0]}.train_judge)"
        )
    seeds = params.prompts.generate.seeds
    if PurePath(seeds) == PurePath(GENERATED_PROMPTS):
        raise UserError(
            f"seeds is {seeds}, which is what is to be written from them; it must be another file of prompts. "
            f"({source}: prompts.generate.seeds)"
        )
    if params.engine.name == "openai" and not params.resources.base_url:
        raise UserError(
            "base_url is null, but the engine is openai; it must be the endpoint's address, "
            f"http://localhost:8000/v1 for one. ({source}: resources.base_url)"
        )
    if params.evaluate.referee not in params.checkpoints:
        raise UserError(
            f"referee is {params.evaluate.referee!r}; it must be one of {', '.join(params.checkpoints)}. "
            f"({source}: evaluate.referee)"
        )


def _explain(problem: Any, source: str) -> str:
    """One line for one pydantic problem: the key, the value, what is allowed, the nearest known key."""
    path = [str(part) for part in problem["loc"] if part != "[key]"]
    if "format" in path[1:2]:
        return _explain_format(problem, path, source)
    if "rho" in path:
        path = path[: path.index("rho") + 1]  # without the branch of the union
    if path[:3] == ["train", "lora", "targets"] and problem["type"] != "missing":
        allowed = "all-linear or a list of modules' names: [q_proj, v_proj]"
        return f"targets is {shown(problem['input'])}; it must be {allowed}. ({source}: train.lora.targets)"
    if path[:-1] and isinstance(problem["loc"][-1], int):
        path = path[:-1]  # the item of a list: name the list
    if "chat_template_kwargs" in path and problem["type"] != "missing":
        path = path[: path.index("chat_template_kwargs") + 2]
        allowed = "a text, a number, true, false or null; put quotes around a date"
        if path[-1] == "chat_template_kwargs":
            allowed = "a mapping of the chat template's variables to values; {} sets none"
        key = ".".join(path)
        return f"{key} is {shown(problem['input'])}; it must be {allowed}. ({source}: {key})"
    if path[:2] == ["engine", "vllm"] and path[2:] and path[2] not in VllmEngine.model_fields:
        key, value = ".".join(path[:3]), shown(problem["input"])
        kinds = "a text, a number, true, false, null, or a list or mapping of such; put quotes around a date"
        return f"{key} is or holds {value}; an option of vLLM's must be {kinds}. ({source}: {key})"
    key, name, value = ".".join(path), path[-1], shown(problem["input"])
    section = _section(path)
    if problem["type"] == "invalid_key" or problem["loc"][-1] == "[key]":
        return f"{key} is no key: keys are words, in quotes where YAML reads another thing. ({source}: {key})"
    if problem["type"] == "extra_forbidden":
        nearest = _nearest(name, set(section.model_fields) if section else set())
        return f"{key} is not a known key. {nearest}({source}: {key})"
    if problem["type"] == "missing":
        return f"{key} is missing. Hint: profiles/demo.yaml has every key. ({source}: {key})"
    if name == "rho":
        schedule = ' or "schedule", which takes each iteration\'s own' if key == "rho" else ""
        allowed = f'it must lie in [0, 1] or be "balanced"{schedule}'
        return f"{name} is {value}; {allowed}. 0 turns length control off. ({source}: {key})"
    if path[:2] == ["resources", "judges"] and len(path) <= 3:
        return f"{key} is {value}; it must be {_JUDGES}. ({source}: {key})"
    return f"{name} is {value}; {_allowed(problem, _field(path))}. ({source}: {key})"


_JUDGES = "a mapping of judges' models to endpoints: {gpt-4-1106-preview: {base_url: ..., key: MY_KEY}}; {} has none"


def _explain_format(problem: Any, path: list[str], source: str) -> str:
    """One line for a format of closing lines, or for a key of the mapping that is one."""
    key, inner = ".".join(path[:2]), path[3:4] if path[2:3] in (["ScorePattern"], ["WinnerPattern"]) else []
    wrong = {"missing": "is missing", "extra_forbidden": "is not a known key"}.get(problem["type"])
    said = f"{'.'.join([key, *inner])} {wrong or 'is ' + shown(problem['input'])}"
    names = "line, brackets, tag, json, boxed" + (", arena" if path[0] != "judge" else "")
    value = "a score in [0, 5]" if path[0] == "judge" else "a or b"
    return (
        f"{said}; a format is {names}, or a mapping of pattern (a regular expression with one group), example (a text) "
        f"and value ({value}). ({source}: {key})"
    )


def _allowed(problem: Any, field: FieldInfo | None) -> str:
    """What the key takes: its kind and its whole range, not only the bound that was missed."""
    if problem["type"] == "literal_error":
        return f"it must be {problem['ctx']['expected']}"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    kinds = _types(field.annotation) if field else [dict]
    kind = next((words for known, words in _KINDS.items() if known in kinds), "a mapping of keys to values")
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = {name: getattr(rule, name) for rule in _rules(field) for name in signs if hasattr(rule, name)}
    bounds = " and ".join(f"{signs[name]} {limit}" for name, limit in found.items())
    or_null = ", or null" if type(None) in kinds else ""
    return f"it must be {kind} {bounds}".rstrip() + or_null


_KINDS = {
    list: "a list with at least one item, in brackets: [one, two]",
    dict: "a mapping of iterations: m1: {prev: sft, rho: 0.0, train_judge: true}; {} runs none",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text that is not empty",
}


def _types(annotation: Any) -> list[Any]:
    """What a field's annotation comes down to: [int, NoneType] of a count that may be null."""
    if get_origin(annotation) in (list, dict):
        return [get_origin(annotation)]
    return [found for part in get_args(annotation) for found in _types(part)] or [annotation]


def _rules(field: FieldInfo | None) -> list[Any]:
    """The range rules of a field, also of one that may be null."""
    if field is None:
        return []
    inner = [rule for option in get_args(field.annotation) for rule in getattr(option, "__metadata__", ())]
    flat = [*field.metadata, *inner]
    return [part for rule in flat for part in (rule, *getattr(rule, "metadata", ()))]


def _section(path: list[str]) -> type[BaseModel] | None:
    """The model that holds the last part of the path."""
    at: Any = Params
    for part in path[:-1]:
        if isinstance(at, type) and issubclass(at, BaseModel):
            kind = at.model_fields[part].annotation if part in at.model_fields else None
            at = kind if get_origin(kind) is dict else _section_in(kind)
        else:
            at = get_args(at)[1] if get_origin(at) is dict else None
    return _section_in(at)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, also one that may be null."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (list, dict):
        return None
    return next((found for part in get_args(annotation) if (found := _section_in(part))), None)


def _field(path: list[str]) -> FieldInfo | None:
    section = _section(path)
    return section.model_fields.get(path[-1]) if section else None


def _nearest(word: str, known: set[str]) -> str:
    """ "Do you mean ...? " for the closest known word, or the list of all of them."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.5)
    return f"Do you mean {close[0]!r}? " if close else f"Known: {', '.join(sorted(known))}. "
