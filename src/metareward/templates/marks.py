r"""Closing marks other than our line: [[4]], <score>4</score>, {"score": 4}, \boxed{4}, or a pattern of the user's."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from metareward.params import Pattern
from metareward.templates.lines import NEAR, OwnText, ends_quotation

_ONE_LEVEL = r"(?:[^{}\n]|\{[^{}\n]*+\})*+"
_PATTERNS = {
    "brackets": r"\[\[([^\[\]\n]{0,80})\]\]",
    "arena": r"\[\[([^\[\]\n]{0,80})\]\]",
    "boxed": rf"\\(?:boxed|fbox)\s*+\{{({_ONE_LEVEL})\}}",
    "tag": r"<\s*{label}\s*>([^<]{{0,80}})<\s*/\s*{label}\s*>",
}
_LABELLED = re.compile(
    r"[\s*_#`-]*(?:(?:(?:the|my|final|overall|total)\s+)*(?:score|rating|verdict|winner|answer|result|grade)"
    r"[*_\s]*(?:[:=]|is\b)[*_\s]*)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Mark:
    """What stands in a mark, and after it on its line; start and end are places in the text."""

    content: str
    after: str
    start: int
    end: int


def own_marks(own: OwnText, format_: str | Pattern, label: str) -> list[Mark]:
    """The marks of a format that are not quoted, in order; label: "score" or "winner", a tag's name or JSON's key."""
    marks = list(_find_marks(own.text, format_, label))
    if format_ == "json":  # objects have quotation marks of their own
        text = own.text
        for start, end in sorted({(mark.start, mark.end) for mark in marks}, reverse=True)[:NEAR]:
            text = text[:start] + re.sub(r"[^\n]", "x", text[start:end]) + text[end:]
        own = OwnText(text.split("\n"))
    return [mark for mark in marks if not _is_quoted(own, mark) and not ends_quotation(mark.after)]


def _find_marks(text: str, format_: str | Pattern, label: str) -> Iterator[Mark]:
    if format_ == "json":
        yield from _json_marks(text, label)
    elif isinstance(format_, Pattern):
        yield from _pattern_marks(text, re.compile(format_.pattern, re.MULTILINE))
    else:
        pattern = _PATTERNS[format_]
        pattern = pattern.format(label=label) if format_ == "tag" else pattern
        yield from (_mark(text, match, 1) for match in re.finditer(pattern, text, re.IGNORECASE))


def _is_quoted(own: OwnText, mark: Mark) -> bool:
    """Whether a mark stands in quotation marks or inline code; not where these hold it alone, after its label."""
    span = own.quotation(mark.start)
    if span is None:
        return False
    before, labelled = own.before(span[0]), _LABELLED.fullmatch(own.before(span[0]))
    is_held = not own.text[span[0] + 1 : mark.start].strip() and not own.text[mark.end : span[1]].strip(" .")
    is_code = own.text[span[0]] == "`"
    return not (is_held and labelled and (is_code or before.strip(" *_#-`")))


def is_label(before: str) -> bool:
    """Whether nothing but a label stands before a verdict on its line."""
    return not re.search(r"\w", before) or bool(_LABELLED.fullmatch(before))


def _mark(text: str, match: re.Match[str], group: int) -> Mark:
    return Mark(match[group], _after(text, match.end()), match.start(), match.end())


def _pattern_marks(text: str, pattern: re.Pattern[str]) -> Iterator[Mark]:
    """A number or name that the pattern cuts out of a longer one is handed on with the rest of it."""
    for match in pattern.finditer(text):
        if match[1] is None:
            continue
        mark = _mark(text, match, 1)
        before = re.search(r"[^\s\[({<\"'`*_:=|>]{1,20}\Z", text[max(0, match.start(1) - 20) : match.start(1)])
        cut = before[0] if before and re.search(r"[\d.,/~\u2013-]$", before[0]) else ""
        yield Mark(cut + mark.content, mark.after, mark.start, mark.end)


def _json_marks(text: str, label: str) -> Iterator[Mark]:
    """The values of a key in the objects of a text, not in those inside them; numbers as they are spelt."""
    decoder = json.JSONDecoder(object_pairs_hook=_Object, parse_int=str, parse_float=str, parse_constant=str)
    at = text.find("{")
    while at >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
        except RecursionError:
            return  # thousands of brackets, and nothing that a judge means
        except ValueError:
            found, end = _Object(), at + 1
        is_inner = re.search(r"[\"']\s*:\s*$", text[max(0, at - 20) : at])
        for key, value in found if not is_inner else ():
            if key.casefold() == label:
                yield Mark(value if isinstance(value, str) else "", _after(text, end), at, end)
        at = text.find("{", end)


def _after(text: str, end: int) -> str:
    return text[end : end + NEAR].split("\n", 1)[0]


class _Object(list[tuple[str, object]]):
    """The pairs of a JSON object, a key that is repeated included."""
