"""What the judge, the meta-judge and the referee are asked: the template files, loaded and filled."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from metareward.errors import UserError
from metareward.params import TemplateFiles
from metareward.text_files import read_text

_PLACEHOLDER = re.compile(r"\\[A-Za-z]+\{[^{}\n]*\}|\{([A-Za-z_]\w*)\}")  # LaTeX such as \boxed{A} holds none
_FIELDS = {
    "rubric": set[str](),
    "judge": {"rubric", "prompt", "response"},
    "meta_judge": {"rubric", "prompt", "response", "judgment_a", "judgment_b"},
    "compare": {"prompt", "response_a", "response_b"},
}


@dataclass(frozen=True)
class Templates:
    """The texts of the four templates; `fill` puts values into one of them."""

    rubric: str
    judge: str
    meta_judge: str
    compare: str

    def judge_prompt(self, prompt: str, response: str) -> str:
        return fill(self.judge, rubric=self.rubric, prompt=prompt, response=response)

    def meta_judge_prompt(self, prompt: str, response: str, judgment_a: str, judgment_b: str) -> str:
        values = {"prompt": prompt, "response": response, "judgment_a": judgment_a, "judgment_b": judgment_b}
        return fill(self.meta_judge, rubric=self.rubric, **values)

    def compare_prompt(self, prompt: str, response_a: str, response_b: str) -> str:
        return fill(self.compare, prompt=prompt, response_a=response_a, response_b=response_b)


def fill(template: str, **values: str) -> str:
    """The template with each {name} replaced, in one pass: braces inside a value stay what they are.

    Raises KeyError where a name has no value; templates that were loaded have none such.
    """
    return substitute(template, values).strip()


def substitute(template: str, values: Mapping[str, str]) -> str:
    """As `fill`, with the white space at the edges as it is."""
    return "".join(values[piece] if is_name else piece for piece, is_name in _pieces(template))


@cache
def _pieces(template: str) -> list[tuple[str, bool]]:
    """A template as texts and, marked so, the names between them; there are a few, and they are filled very often."""
    pieces, at = [], 0
    for match in _PLACEHOLDER.finditer(template):
        if match[1]:
            pieces += [(template[at : match.start()], False), (match[1], True)]
            at = match.end()
    return [*pieces, (template[at:], False)]


def check_placeholders(text: str, fields: Collection[str], what: str, where: str) -> None:
    """Raise UserError when a text lacks a placeholder or has one that nothing fills. what: the text, for messages."""
    found = set(_PLACEHOLDER.findall(text)) - {""}
    for field in sorted(set(fields) - found):
        raise UserError(f"{what} has no {{{field}}}, so the model would not see it. {where}")
    for field in sorted(found - set(fields)):
        known = ", ".join(sorted(fields)) or "none"
        raise UserError(f"{what} has {{{field}}}, which nothing fills; known: {known}. {where}")


def load_new_prompt_template(path: str) -> str:
    """The text that asks for a new prompt. Raises UserError when the file is missing or has other placeholders."""
    where = "(params.yaml: prompts.generate.template)"
    text = read_text(Path(path), where).strip()
    check_placeholders(text, {"shots"}, path, where)
    return text


def load_templates(files: TemplateFiles) -> Templates:
    """The texts of the template files.

    Raises UserError when a file is missing, lacks a placeholder or has one that nothing fills.
    """
    texts = {}
    for name, fields in _FIELDS.items():
        path, where = getattr(files, name), f"(params.yaml: templates.{name})"
        texts[name] = read_text(Path(path), where).strip()
        if not texts[name]:
            raise UserError(f"{path} is empty. {where}")
        check_placeholders(texts[name], fields, str(path), where)
    return Templates(**texts)
