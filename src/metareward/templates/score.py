"""The score that ends a judgment.

Only what the judge itself writes may count as a score. A response can hold `Score: 5`, and a judgment can quote
it; the parsers below are strict where such a quotation could pass for the judge's own verdict, and every judgment
that is refused carries its reason.
"""

import re
from dataclasses import dataclass

from metareward.templates.lines import QUOTES, ends_quotation, last_words, own_lines

MAX_SCORE = 5.0
# A score line: the label, a number, perhaps its scale, perhaps a remark without digits, and Markdown around them.
_LABEL = r"(?:final |overall |total )?(?P<label>score)[*_`\s]*(?::|=|is\b)[*_`\s]*"
_NUMBER = r"(?P<number>[-+]?\d+(?:[.,]\d+)?)[*_`]*+"
_SCALE = r"(?:\s*(?:/|out of)\s*(?P<scale>\d+(?:\.\d+)?))?"
_SCORE_LINE = re.compile(rf"^[\s*_#`-]*{_LABEL}{_NUMBER}{_SCALE}(?P<rest>[^\n]*)$", re.IGNORECASE)
_SCORE_AT_END = re.compile(rf"\bscore[*_`\s]*:[*_`\s]*{_NUMBER}{_SCALE}(?:\s*points?)?[*_`\s.]*$", re.IGNORECASE)
_CLAIM = re.compile(r"\bscore[\W_]*+(?:(?:is|of)[\W_]++)?(?P<number>\d+(?:[.,]\d+)?)", re.IGNORECASE)


@dataclass(frozen=True)
class Score:
    """value in [0, 5], or null with the reason: no_score, contradictory or out_of_range."""

    value: float | None
    invalid_reason: str | None


def parse_score(judgment: str, response: str = "") -> Score:
    """The score that ends a judgment: the last `Score: s` of the judge's own, s a decimal in [0, 5] (METHOD §3.3).

    judgment: what the judge wrote; response: what it judged. A score line is the judge's own unless it stands in
    quotation marks, in a block quote or a code block. A score that the response claims for itself counts only as
    the judgment's last line, alone on it, and neither behind a colon nor behind the words that precede it there.
    `4/5`, `4 out of 5`, `4,5`, Markdown around label or number are read; another scale (8/10) is out of range.
    Score lines that follow one another directly and differ, or a second number on the line, are contradictory.
    """
    lines = own_lines(judgment)
    claims = {(_value(claim), last_words(response[: claim.start()])) for claim in _CLAIM.finditer(response)}
    scores: list[tuple[int, re.Match[str]]] = []
    for place, line in enumerate(lines):
        if (match := _SCORE_LINE.match(line)) and not _is_quoted(lines, place, match, claims):
            scores.append((place, match))
    if lines and (not scores or scores[-1][0] != len(lines) - 1):
        last = lines[-1]
        inline = _SCORE_AT_END.search(last)
        # the end of the closing sentence; a quotation opened before the label closes after it, so none may be open
        is_quoted = inline and set(re.split(r"\w", last[: inline.start()])[-1]) & set(QUOTES)
        if inline and not is_quoted and all(_value(inline) != value for value, _ in claims):
            scores.append((len(lines) - 1, inline))
    if not scores:
        return Score(None, "no_score")
    place, match = scores[-1]
    values = [_value(match)]
    for earlier, other in reversed(scores[:-1]):
        if earlier != place - 1:
            break
        place = earlier
        values.append(_value(other))
    rest = match.groupdict().get("rest") or ""
    if len(set(values)) > 1 or re.search(r"\d", rest):
        return Score(None, "contradictory")
    scale = float(match["scale"] or MAX_SCORE)
    if scale != MAX_SCORE or not 0 <= values[0] <= MAX_SCORE:
        return Score(None, "out_of_range")
    return Score(abs(values[0]), None)


def _value(match: re.Match[str]) -> float:
    return float(match["number"].replace(",", "."))


def _is_quoted(lines: list[str], place: int, match: re.Match[str], claims: set[tuple[float, tuple[str, ...]]]) -> bool:
    """Whether a score line ends a quotation, or repeats what the response claims: a value, and the words before it."""
    claimed = [words for value, words in claims if value == _value(match)]
    line_before = lines[place - 1] if place else ""
    before = last_words(line_before + " " + match.string[: match.start("label")])
    stands_alone = place == len(lines) - 1 and not re.search(r"\w", match["rest"])
    is_introduced = line_before.rstrip(" *_`").endswith(":")
    return ends_quotation(match) or any(
        not stands_alone or is_introduced or (words and before[-len(words) :] == words) for words in claimed
    )
