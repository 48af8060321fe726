"""What the judge of a public benchmark is asked: chats from our template files, or from upstream's own.

- A text, ours or AlpacaEval's `alpaca_eval_clf.txt`: one turn of the user, or turns between ChatML's marks.
- MT-Bench's has four of them, each below its name in brackets: [single-v1], ...; upstream's is `judge_prompts.jsonl`.
- Arena-Hard's upstream is `judge_config.yaml`: system_prompt and prompt_template.
"""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from metareward.errors import UserError, shown
from metareward.load_params import read_yaml
from metareward.templates.texts import check_placeholders, substitute
from metareward.text_files import read_text

Chat = list[tuple[str, str]]  # role and text with {placeholders}

Fields = Mapping[str, Collection[str]]  # the placeholders of each chat of a template file
ALPACA_EVAL: Fields = {"": ("instruction", "output_1", "output_2")}
ARENA_HARD: Fields = {"": ("question_1", "answer_1", "answer_2")}
_DIALOGUE = ("question_1", "answer_1", "question_2", "answer_2")
MT_BENCH: Fields = {
    "single-v1": ("question", "answer"),
    "single-math-v1": ("question", "answer", "ref_answer_1"),
    "single-v1-multi-turn": _DIALOGUE,
    "single-math-v1-multi-turn": (*_DIALOGUE, "ref_answer_1", "ref_answer_2"),
}
FIELDS = {"alpaca_eval": ALPACA_EVAL, "arena_hard": ARENA_HARD, "mt_bench": MT_BENCH}
CATEGORIES: Fields = {"": ("instruction",)}
_MARKED = re.compile(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>\s*", re.DOTALL)
_HEADING = re.compile(r"^\[([\w-]+)\]\s*$\n?", re.MULTILINE)


def load_chats(path: Path, fields: Fields, key: str) -> dict[str, Chat]:
    """The chats of a template file by their names; a file of a single one has it under "".

    fields: of each chat that is needed, its placeholders. key: of params, for messages. Raises UserError when the file
    or a chat is missing, a chat lacks a placeholder or has one that nothing fills, or does not end with the user.
    """
    where = f"({key})"
    text = read_text(path, where)
    if path.suffix == ".jsonl":
        found = {row["name"]: _prompts(row, f"{path}, {row['name']}", where) for row in _rows(text, path, where)}
    elif path.suffix in (".yaml", ".yml"):
        values = read_yaml(path)
        found = {"": _prompts(values if isinstance(values, dict) else {}, str(path), where)}
    elif set(fields) == {""}:
        found = {"": _turns(text, str(path), where)}
    else:
        _, *parts = _HEADING.split(text)
        found = {
            name: _turns(part, f"{path}, [{name}]", where) for name, part in zip(parts[::2], parts[1::2], strict=True)
        }
    for name, wanted in fields.items():
        if name not in found:
            raise UserError(f"{path} has no prompt {name!r}; it must have {', '.join(fields)}. {where}")
        what = f"{path}, {name}" if name else str(path)
        check_placeholders("\n".join(text for _, text in found[name]), wanted, what, where)
    return {name: found[name] for name in fields}


def fill_chat(chat: Chat, **values: str) -> list[dict[str, str]]:
    """The messages of a chat with each {name} replaced; braces inside a value stay what they are."""
    return [{"role": role, "content": substitute(text, values)} for role, text in chat]


def read_categories(chat: Chat, path: Path, key: str) -> list[str]:
    """The categories that a template lists, one a line behind a hyphen.

    Raises UserError when they are fewer than two, or when two differ in nothing but signs and capitals.
    """
    names = [name.strip() for _, text in chat for name in re.findall(r"^- (.+)$", text, re.MULTILINE)]
    if len({category_slug(name) for name in names}) < max(2, len(names)):
        raise UserError(
            f"{path} lists {len(names)} categories; it must list at least two, each a line that begins with '- ', and "
            f"no two alike. ({key})"
        )
    return names


def category_slug(name: str) -> str:
    """A category's name as part of a metric's: lower case, with an underscore for whatever is no letter or digit."""
    return re.sub(r"\W+", "_", name.lower()).strip("_")


def _turns(text: str, what: str, where: str) -> Chat:
    """The turns between ChatML's marks; a text without marks is the user's."""
    text = text.strip()
    if not text:
        raise UserError(f"{what} is empty. {where}")
    if "<|im_start|>" not in text:
        return [("user", text)]
    chat = [(role, content.strip()) for role, content in _MARKED.findall(text)]
    if _MARKED.sub("", text) or not chat or chat[-1][0] != "user" or {role for role, _ in chat} - _ROLES:
        raise UserError(
            f"{what} is no chat: each turn stands between <|im_start|>system, user or assistant and <|im_end|>, and "
            f"the last one is the user's. {where}"
        )
    return chat


_ROLES = {"system", "user", "assistant"}


def _rows(text: str, path: Path, where: str) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    except ValueError as error:
        raise UserError(f"{path} is not JSON Lines: {error}. {where}") from None
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)]


def _prompts(values: Mapping[str, Any], what: str, where: str) -> Chat:
    """A chat of upstream's system_prompt, where there is one, and prompt_template, which may be a list of one."""
    system, user = values.get("system_prompt"), values.get("prompt_template")
    user = user[0] if isinstance(user, list) and len(user) == 1 else user
    if not isinstance(user, str) or not isinstance(system, str | None):
        raise UserError(
            f"{what}: system_prompt is {shown(system)} and prompt_template {shown(user)}; both must be texts. {where}"
        )
    return ([("system", system)] if system else []) + [("user", user)]
