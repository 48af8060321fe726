"""params.yaml in, a frozen Params out, or one line that names the key that is wrong."""

import difflib
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from metareward.errors import UserError
from metareward.params import Iteration, Params


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
        # an unknown key often causes a missing one, so it is the better thing to name
        problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        raise UserError(_explain(problems[0], source)) from None
    _check_together(params, source)
    return params


def load_params(path: Path) -> Params:
    """Params of a YAML file; UserError also when it is missing or no YAML."""
    try:
        values = yaml.safe_load(path.read_text())
    except OSError:
        raise UserError(f"{path} cannot be read. Hint: cp profiles/demo.yaml params.yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{where} is not valid YAML: {getattr(error, 'problem', error)}.") from None
    return parse_params(values, str(path))


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
    if path[0] == "rho":
        path = ["rho"]  # without the branch of the union
    if isinstance(problem["loc"][-1], int):
        path = path[:-1]  # the item of a list: name the list
    key, name, value = ".".join(path), path[-1], problem["input"]
    section = _section(path)
    if problem["type"] == "extra_forbidden":
        nearest = _nearest(name, set(section.model_fields) if section else set())
        return f"{key} is not a known key. {nearest}({source}: {key})"
    if problem["type"] == "missing":
        return f"{key} is missing. Hint: profiles/demo.yaml has every key. ({source}: {key})"
    if name == "rho":
        schedule = ' or "schedule", which takes each iteration\'s own' if key == "rho" else ""
        allowed = f"it must lie in [0, 1]{schedule}"
        return f"{name} is {value!r}; {allowed}. 0 turns length control off. ({source}: {key})"
    return f"{name} is {value!r}; {_allowed(problem, _field(path))}. ({source}: {key})"


def _allowed(problem: Any, field: FieldInfo | None) -> str:
    """What the key takes: its kind and its whole range, not only the bound that was missed."""
    if problem["type"] == "literal_error":
        return f"it must be {problem['ctx']['expected']}"
    text = str(field.annotation) if field else ""
    if "dict" in text:
        return "it must be a mapping with at least one iteration: m1: {prev: sft, rho: 0.0, train_judge: true}"
    kind = next((words for name, words in _KINDS.items() if name in text), "a mapping of keys to values")
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = {name: getattr(rule, name) for rule in _rules(field) for name in signs if hasattr(rule, name)}
    bounds = " and ".join(f"{signs[name]} {limit}" for name, limit in found.items())
    looks_scientific = kind == "a number" and isinstance(problem["input"], str)
    hint = ". Hint: YAML reads 5e-6 as text; write 5.0e-6" if looks_scientific else ""
    return f"it must be {kind} {bounds}".rstrip() + hint


_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text that is not empty"}


def _rules(field: FieldInfo | None) -> list[Any]:
    """The range rules of a field, also of one that may be null."""
    if field is None:
        return []
    inner = [rule for option in get_args(field.annotation) for rule in getattr(option, "__metadata__", ())]
    flat = [*field.metadata, *inner]
    return [part for rule in flat for part in (rule, *getattr(rule, "metadata", ()))]


def _section(path: list[str]) -> type[BaseModel] | None:
    """The model that holds the last part of the path."""
    if len(path) == 1:
        return Params
    if path[0] == "iterations":
        return Iteration if len(path) == 3 else None
    section = Params.model_fields[path[0]].annotation
    return section if isinstance(section, type) and issubclass(section, BaseModel) else None


def _field(path: list[str]) -> FieldInfo | None:
    section = _section(path)
    return section.model_fields.get(path[-1]) if section else None


def _nearest(word: str, known: set[str]) -> str:
    """ "Do you mean ...? " for the closest known word, or the list of all of them."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.5)
    return f"Do you mean {close[0]!r}? " if close else f"Known: {', '.join(sorted(known))}. "
