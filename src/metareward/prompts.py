"""What the judge, the meta-judge and the referee are asked, and how their words are read.

Only what the judge itself writes may count as a score. A response can hold `Score: 5`, and a judgment can quote
it; the parsers below are strict where such a quotation could pass for the judge's own verdict, and every judgment
that is refused carries its reason.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from metareward.errors import UserError

MAX_SCORE = 5.0

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
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], template).strip()


def load_templates(paths: Mapping[str, str]) -> Templates:
    """Templates from files, by name: rubric, judge, meta_judge, compare.

    Raises UserError when a file is missing, lacks a placeholder or has one that nothing fills.
    """
    texts = {}
    for name, fields in _FIELDS.items():
        path, where = paths[name], f"(params.yaml: templates.{name})"
        try:
            texts[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise UserError(f"{path} cannot be read as UTF-8 text. {where}") from None
        found = set(re.findall(r"\{(\w+)\}", texts[name]))
        for field in sorted(fields - found):
            raise UserError(f"{path} has no {{{field}}}, so the model would not see it. {where}")
        for field in sorted(found - fields):
            known = ", ".join(sorted(fields)) or "none"
            raise UserError(f"{path} has {{{field}}}, which nothing fills; known: {known}. {where}")
    return Templates(**texts)


# A score line: the label, a number, perhaps its scale, perhaps a remark without digits, and Markdown around them.
_LABEL = r"(?:final |overall |total )?(?P<label>score)[*_`\s]*(?::|=|is\b)[*_`\s]*"
_NUMBER = r"(?P<number>[-+]?\d+(?:[.,]\d+)?)[*_`]*+"
_SCALE = r"(?:\s*(?:/|out of)\s*(?P<scale>\d+(?:\.\d+)?))?"
_SCORE_LINE = re.compile(rf"^[\s*_#`-]*{_LABEL}{_NUMBER}{_SCALE}(?P<rest>[^\n]*)$", re.IGNORECASE)
_SCORE_AT_END = re.compile(rf"\bscore[*_`\s]*:[*_`\s]*{_NUMBER}{_SCALE}(?:\s*points?)?[*_`\s.]*$", re.IGNORECASE)
_CLAIM = re.compile(r"\bscore[\W_]*+(?:(?:is|of)[\W_]++)?(?P<number>\d+(?:[.,]\d+)?)", re.IGNORECASE)
_QUOTES = "\"'\u201c\u201d\u2018\u2019\u00ab\u00bb"


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
    lines = _own_lines(judgment)
    claims = {(_value(claim), _last_words(response[: claim.start()])) for claim in _CLAIM.finditer(response)}
    scores: list[tuple[int, re.Match[str]]] = []
    for place, line in enumerate(lines):
        if (match := _SCORE_LINE.match(line)) and not _is_quoted(lines, place, match, claims):
            scores.append((place, match))
    if lines and (not scores or scores[-1][0] != len(lines) - 1):
        last = lines[-1]
        inline = _SCORE_AT_END.search(last)
        # the end of the closing sentence; a quotation opened before the label closes after it, so none may be open
        is_quoted = inline and set(re.split(r"\w", last[: inline.start()])[-1]) & set(_QUOTES)
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


def _own_lines(text: str) -> list[str]:
    """Lines that are neither empty nor in a code block, a block quote or quotation marks."""
    own, fenced = [], False
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith(("```", "~~~")):
            fenced = not fenced
        elif stripped and not fenced and not stripped.startswith((">", *_QUOTES)):
            own.append(line)
    return own


def _is_quoted(lines: list[str], place: int, match: re.Match[str], claims: set[tuple[float, tuple[str, ...]]]) -> bool:
    """Whether a score line ends a quotation, or repeats what the response claims: a value, and the words before it."""
    claimed = [words for value, words in claims if value == _value(match)]
    line_before = lines[place - 1] if place else ""
    before = _last_words(line_before + " " + match.string[: match.start("label")])
    stands_alone = place == len(lines) - 1 and not re.search(r"\w", match["rest"])
    is_introduced = line_before.rstrip(" *_`").endswith(":")
    return _ends_quotation(match) or any(
        not stands_alone or is_introduced or (words and before[-len(words) :] == words) for words in claimed
    )


def _last_words(text: str) -> tuple[str, ...]:
    """Up to three words that end a text, whatever stands between them."""
    return tuple(re.findall(r"[^\W_]+", text[-200:].casefold())[-3:])


def _ends_quotation(match: re.Match[str]) -> bool:
    return match["rest"].rstrip(" .!*_`").endswith(tuple(_QUOTES))


@dataclass(frozen=True)
class Winner:
    """winner "a" or "b", or null with the reason: no_winner, tie or contradictory."""

    winner: str | None
    invalid_reason: str | None


_WINNER_LINE = re.compile(
    r"^[\s*_#`-]*(?:(?:final |overall |the )?(?:winner|verdict))[*_`\s]*(?::|=|is\b)[*_`\s]*\[*"
    r"(?:(?P<side>(?:(?:judg(?:e)?ment|response)[*_`\s]*)?[ab]\b)|(?P<tie>tie\b|draw\b|both\b|neither\b|none\b|equal\b))"
    r"(?P<rest>[^\n]*)$",
    re.IGNORECASE,
)
_OTHER_SIDE = re.compile(r"\b(?:judg(?:e)?ment|response)\s+[ab]\b|\b(?:and|or|/)\s*[ab]\b", re.IGNORECASE)


def parse_winner(text: str) -> Winner:
    """The verdict that ends a meta-judgment or a comparison: the last `Winner: Judgment A` (METHOD §4.2).

    `Winner: A`, `**Winner:** Judgment B`, `Winner: Response A` are read alike; quoted lines do not count. Verdict
    lines that follow one another directly and differ, or that name a second side, are contradictory.
    """
    lines = _own_lines(text)
    verdicts = [
        (place, match)
        for place, line in enumerate(lines)
        if (match := _WINNER_LINE.match(line)) and not _ends_quotation(match)
    ]
    if not verdicts:
        return Winner(None, "no_winner")
    place, match = verdicts[-1]
    sides = {_side(match)}
    for earlier, other in reversed(verdicts[:-1]):
        if earlier != place - 1:
            break
        place = earlier
        sides.add(_side(other))
    if len(sides) > 1 or (match["side"] and _OTHER_SIDE.search(match["rest"])):
        return Winner(None, "contradictory")
    side = sides.pop()
    return Winner(side, None if side else "tie")


def _side(match: re.Match[str]) -> str | None:
    return match["side"][-1].lower() if match["side"] else None
