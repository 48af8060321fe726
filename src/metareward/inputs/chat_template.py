"""A chat template, tried on a chat as the pipeline writes them, without transformers."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from metareward.errors import UserError

_USER, _ASSISTANT = "What is 2 + 2?", "It is 4."
DAYS = [datetime(2024, 7, 26, 9, 5), datetime(2025, 11, 3, 17, 40)]
_FAILURES = (TemplateError, RecursionError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)


def check_chat_template(
    template: str, tokens: Mapping[str, str], owner: str, where: str, kwargs: Mapping[str, Any] | None = None
) -> None:
    """Raise UserError when a template is no Jinja, refuses a chat of one user's turn, or leaves that turn out.

    tokens: bos_token and its like, by name; owner, where: begin and end of the error line. kwargs: the template's
    variables (params.chat_template_kwargs), with which it must write the same on any day; null: not looked at. Every
    request of the pipeline is one turn of a user's, and every trained target the assistant's turn after it (METHOD §1):
    a template must write both without a system's turn. The environment is that of transformers 5.
    """
    user, assistant = {"role": "user", "content": _USER}, {"role": "assistant", "content": _ASSISTANT}
    try:
        compiled = _environment().from_string(template)
        for messages, add in (([user], True), ([user, assistant], False)):
            chat = {"messages": messages, "add_generation_prompt": add, "tools": None, "documents": None}
            days = [compiled.render({**tokens, **chat, **(kwargs or {}), "strftime_now": day.strftime}) for day in DAYS]
            rendered = days[0]
            if kwargs is not None and rendered != days[1]:
                raise UserError(
                    f"{owner} has a chat template that writes the day's date, so a rerun would have other prompts. "
                    "Hint: set its variable, date_string for one. (params.yaml: chat_template_kwargs)"
                )
            for message in messages:
                if message["content"] not in rendered:
                    turn = f"the {message['role']}'s turn, or changes it"
                    raise UserError(f"{owner} has a chat template that leaves out {turn}. {where}")
    except TemplateSyntaxError as error:
        raise UserError(f"{owner} has a damaged chat template, line {error.lineno}: {error.message}. {where}") from None
    except _FAILURES as error:
        reason = str(error).strip() or type(error).__name__
        raise UserError(
            f"{owner} has a chat template that cannot write a chat of one user's turn, which is what every request is: "
            f"{reason.rstrip('.')}. {where}"
        ) from None


class _Generation(Extension):
    """`{% generation %}`, with which transformers marks what an assistant wrote: its inside is rendered as it is."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    return environment


def _to_json(value: Any, ensure_ascii: bool = False, **settings: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **settings)


def _raise(message: str) -> None:
    raise TemplateError(message)
