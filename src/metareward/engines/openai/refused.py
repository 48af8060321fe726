"""What a server means by refusing a request: it has no room for it, or does not take one of its settings.

No standard says how, so the words of the servers in use are listed: OpenAI, vLLM, SGLang, TGI, llama.cpp, Anthropic,
Google, Mistral, Groq. What none of them says is nothing that is known.
"""

import re
from typing import Any

UNKNOWN = -1
_CONTEXT = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|available context size|context window"
    r"|(prompt|input) is too long|`inputs` tokens \+ `max_new_tokens`"
    r"|(input|prompt) (length|token count)\b.*exceeds the maximum",
    re.IGNORECASE | re.DOTALL,
)
_CONTEXT_TOKENS = re.compile(
    r"context length (?:is|of|\()\s*(\d+)|`max_new_tokens` must be <= (\d+)|n_ctx\W+(\d+)|> (\d+) maximum"
    r"|maximum (?:allowed length|number of (?:input )?tokens allowed) \((\d+)|(\d+) maximum context length",
    re.IGNORECASE,
)
_PROMPT_TOKENS = re.compile(
    r"(\d+) in the messages|(\d+) tokens from the input messages|(?:contains|has|resulted in) (?:at least )?(\d+) "
    r"(?:input )?tokens|(\d+) `inputs` tokens|n_prompt_tokens\W+(\d+)|prompt is too long: (\d+)"
    r"|Input length \((\d+)|input token count \((\d+)",
    re.IGNORECASE,
)
_PROMPT_ALONE = re.compile(
    r"your prompt contains|your messages resulted in|(prompt|input) is too long|request exceeds the available context",
    re.IGNORECASE,
)
_MOST_WRITTEN = re.compile(
    r"at most (\d+) completion tokens|max_model_len=(\d+)|> (\d+), which is the maximum allowed number of output"
    r"|`?max_(?:completion_)?tokens`? must be less than or equal to `?(\d+)",
    re.IGNORECASE,
)
_OTHER_NAME = re.compile(r"(unsupported|not supported|unknown|instead).*max_completion_tokens", re.I | re.DOTALL)
_NAMES = {
    "logprobs": re.compile(r"log_?prob", re.IGNORECASE),
    "temperature": re.compile(r"\btemperature\b", re.IGNORECASE),
    "top_p": re.compile(r"\btop_p\b", re.IGNORECASE),
}


def room(said: str, max_tokens: int) -> int | None:
    """How many tokens may be written after a prompt that was refused with max_tokens; 0: none, it is too long.

    UNKNOWN: what is asked for does not fit the context, and it is not said by how much. None: that is not the reason.
    """
    if (most := _number(_MOST_WRITTEN, said)) is not None and most < max_tokens:
        return most
    if not _CONTEXT.search(said):
        return None
    context, prompt = _number(_CONTEXT_TOKENS, said), _number(_PROMPT_TOKENS, said)
    if context is not None and prompt is not None and context - prompt < max_tokens:
        return max(0, context - prompt)
    return 0 if _PROMPT_ALONE.search(said) else UNKNOWN


def wants_other_limit(said: str) -> bool:
    """Whether a server wants max_tokens to be called max_completion_tokens."""
    return bool(_OTHER_NAME.search(said)) or "use 'max_completion_tokens'" in said.lower()


def refused_setting(said: str, param: str | None, sent: set[str]) -> str | None:
    """Which of the settings that were sent (logprobs, temperature, top_p) a server does not take."""
    names = [name for name in _NAMES if name in sent]
    by_name = next((name for name in names if param and _NAMES[name].search(param)), None)
    return by_name or next((name for name in names if _NAMES[name].search(said)), None)


def said_by(body: Any) -> str:
    """The words in the body of an error, whatever it is wrapped in."""
    while isinstance(body, list) and body:
        body = body[0]
    if isinstance(body, dict):
        inner = next((body[key] for key in ("error", "message", "detail") if body.get(key)), "")
        rest = " ".join(f"{key} {body[key]}" for key in ("code", "type", "n_prompt_tokens", "n_ctx") if body.get(key))
        return f"{said_by(inner)} ({rest})" if rest else said_by(inner)
    return " ".join(str(body or "").split())


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return int(next(group for group in found.groups() if group)) if found else None
