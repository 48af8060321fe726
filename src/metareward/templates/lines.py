"""The lines of a judgment that are its author's own, and the marks of quotation around those that are not."""

import re

QUOTES = "\"'\u201c\u201d\u2018\u2019\u00ab\u00bb"


def own_lines(text: str) -> list[str]:
    """Lines that are neither empty nor in a code block, a block quote or quotation marks."""
    own, fenced = [], False
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith(("```", "~~~")):
            fenced = not fenced
        elif stripped and not fenced and not stripped.startswith((">", *QUOTES)):
            own.append(line)
    return own


def last_words(text: str) -> tuple[str, ...]:
    """Up to three words that end a text, whatever stands between them."""
    return tuple(re.findall(r"[^\W_]+", text[-200:].casefold())[-3:])


def ends_quotation(match: re.Match[str]) -> bool:
    return match["rest"].rstrip(" .!*_`").endswith(tuple(QUOTES))
