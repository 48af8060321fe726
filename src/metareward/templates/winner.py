"""The verdict that ends a meta-judgment or a comparison."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from metareward.params import WinnerFormat
from metareward.templates.lines import OwnText, ends_quotation, own_text
from metareward.templates.marks import own_marks
from metareward.templates.number import latex_to_text, without_frame


@dataclass(frozen=True)
class Winner:
    """winner "a" or "b", or null with the reason: no_winner, tie, contradictory or unclear."""

    winner: str | None
    invalid_reason: str | None


_SYMBOLS = "\u2605\u2b50\u2705\u2714\u2022\u00b7\u25cf\u25aa\u27a4\u2192\U0001f3c6\U0001f947\U0001f3af\U0001f4dd"
_BEGIN = rf"(?:[\s*_#`|(\[{{+\u2013\u2014{_SYMBOLS}-]|\d{{1,2}}[.)]\s)*+"
_LEAD = r"(?:(?:so|thus|therefore|hence|overall|finally|in (?:conclusion|summary))[,:]?\s+)?(?:(?:the|my)\s+)?"
_LABEL = r"(?:(?:final|overall)\s+)?(?:winner|verdict)(?![^\W_])[*_`\s)\]]*+"
_SAYS = r"(?P<says>:|=>|=|\||->|\u2192|[-\u2013\u2014](?=\s)|is\b[\s*_]*:?)"
_WINNER_LINE = re.compile(rf"{_BEGIN}{_LEAD}(?P<label>{_LABEL}){_SAYS}(?P<value>.*)", re.IGNORECASE)
_LABEL_ALONE = re.compile(rf"{_BEGIN}{_LEAD}{_LABEL}[*_`\s:=|)\]}}]*", re.IGNORECASE)

_NOUN = r"(?:judge?ment|response|assistant|answer|option|candidate|model)"
_BETWEEN = r"[\s*_`#(\[\"'-]*"
_SIDE = rf"(?:{_NOUN}{_BETWEEN}(?P<named>[ab])|(?P<bare>[ab]))(?![\w'\u2019])"
_OPEN = r"(?P<open>(?:[\[({<\"'\u201c\u2018\u00ab\u300c*_`\s]|the\s+(?=judg|resp|assis))*+)"
_CLOSE = r"[\])}>\"'\u201d\u2019\u00bb\u300d*_`]*+"
_NAMES_SIDE = re.compile(rf"{_OPEN}{_SIDE}{_CLOSE}(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_ENDS = re.compile(r"[\s*_`|)\]}.!]*")
_WINS = r"(?:wins|won|is (?:the )?(?:better|best|winner)(?: (?:one|judge?ment|response))?)"
_REMARK = re.compile(
    rf"[\s*_`|]*(?:{_WINS}\b[\s*_.!]*$|(?:{_WINS}[\s*_]*)?(?:[.,;:!(\[|]|\s[-\u2013\u2014]+\s|\u2014|"
    r"\b(?:because|since|as|for|due to|given|based on|which|with|by)\b))",
    re.IGNORECASE,
)
_NO_SIDE = (
    r"\b(?:tied?|ties|draw|both|neither|either|none|nobody|no one|equal(?:ly)?|equivalent|same|identical|undecided|"
    r"inconclusive|toss|coin|no (?:clear |real )?(?:winner|difference|preference)|cannot|can't|not sure|unsure|"
    r"unclear|maybe|perhaps|possibly|50 ?[/:-] ?50)\b"
)
_TIE = re.compile(_NO_SIDE, re.IGNORECASE)
_OTHER = re.compile(rf"\b{_NOUN}{_BETWEEN}(?P<named>[ab])\b|\b(?P<bare>[AB])\b", re.IGNORECASE)
_OPERAND = re.compile(
    rf"[\s*_`)\]]*+(?:(?:and|or|nor|over|vs\.?|versus|than|with|to|beats|not|but)\b|[^\w\s.!*_`)\]]++)?[\s*_`(\[\"']*(?:{_NOUN}[\s*_`-]*)?"
    r"[ab]\b(?=[\s*_`)\]\"'.!]*(?:$|[^\w\s]))",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(
    r"[\s*_`(,;:.!-]*(?:\?|(?:or|not|nor|and|if|unless|no|wait|actually|sorry|over|vs|versus|but not)\b)|.*\?\s*$",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    rf"{_BEGIN}(?:(?:(?:or|and|nor|vs\.?|versus|over|[/&=<>,|+]+)\s*)?(?:{_NOUN}\s+)?[ab]|"
    rf"(?:(?:or|and|but)\s+)?(?:it'?s\s+)?(?:an?\s+)?{_NO_SIDE})\W*",
    re.IGNORECASE,
)
_ARENA = re.compile(r"\s*([ab])\s*(>{1,2}|<{1,2}|={1,2})\s*([ab])\s*", re.IGNORECASE)


def parse_winner(text: str, format_: WinnerFormat = "line") -> Winner:
    """The verdict that ends a meta-judgment or a comparison, or the reason why there is none (METHOD §4.2).

    1. Only the author's own text counts, as in `parse_score`.
    2. `line`: the last line that begins with the label decides. Lines that follow one another directly and differ are
       contradictory. Label and side may stand on two lines.
    3. The other formats: marks that differ are contradictory.
    4. A verdict that names both sides, or a side and an operand after it, is contradictory, whatever stands between
       them. One that speaks of a tie is never a win.

    | closing line | winner | |
    |---|---|---|
    | `Winner: Judgment A`, `**Winner:** A`, `Winner: "Judgment A"`, `Winner: [[A]]`, `The winner is A.` | a | |
    | `Winner: B (clearer)`, `Winner: B, because it is right` | b | |
    | `Winner: tie`, `Winner: a draw`, `Winner: neither` | | tie |
    | `Winner: A or B`, `Winner: A/B`, `Winner: A > B`, `Winner: A over B` | | contradictory |
    | `Winner: A?`, `Winner: A (tie)`, `The winner is a clear one` | | unclear |
    | `Winner: not A`, `Winner: Alice`, `> Winner: A` | | no_winner |
    """
    own = own_text(text, closing_code=format_ == "json", keep_tags=not isinstance(format_, str))
    if format_ == "line":
        return _last(list(_winner_lines(_joined(own))))
    is_pattern = not isinstance(format_, str)
    found = {
        _read_arena(mark.content) if format_ == "arena" else read_side(mark.content, mark.after, True, is_pattern)
        for mark in own_marks(own, format_, "winner")
    }
    if len(found) == 1:
        return found.pop()
    return Winner(None, "contradictory" if found else "no_winner")


def read_side(text: str, after: str = "", is_marked: bool = False, is_numbered: bool = False) -> Winner:
    """The side that a text names.

    is_marked: the text stands between marks, as in [[A]], and must hold nothing else; after: what follows them on their
    line. [[C]] is a tie. is_numbered: 1 and 2 are names of the sides, too.
    """
    text = latex_to_text(text)
    if is_numbered:
        text = re.sub(r"^(\D*)([12])(\W*)$", lambda match: match[1] + "_ab"[int(match[2])] + match[3], text)
    match = _NAMES_SIDE.match(text)
    if not match:
        is_tie = _TIE.search(text) or (is_marked and text.strip().casefold() == "c")
        return Winner(None, "tie" if is_tie else "no_winner")
    side, rest = (match["named"] or match["bare"]).lower(), match["rest"]
    if re.match(r"\s+(?:tie|draw)\b", rest, re.IGNORECASE):
        return Winner(None, "tie")  # a tie
    whole = rest + " " + after
    if _OPERAND.match(rest) or any(_is_other(other, side, whole) for other in _OTHER.finditer(whole)):
        return Winner(None, "contradictory")
    if is_marked and not _ENDS.fullmatch(rest):
        return Winner(None, "unclear")
    rest = after if is_marked else rest
    is_clear = _ENDS.fullmatch(rest) or is_marked or _REMARK.match(rest)
    if not is_clear or _TIE.search(rest) or _TAKEN_BACK.match(rest) or (is_marked and _OPERAND.match(rest)):
        return Winner(None, "unclear")
    if "<" in match["open"] and ">" not in text:
        return Winner(None, "unclear")
    return Winner(side, None)


def _is_other(other: re.Match[str], side: str, text: str) -> bool:
    """Whether a remark names the other side; a small "a" does where it cannot be an article."""
    named = other["named"] or other["bare"]
    is_article = named == "a" and not re.match(r" (?:is|was|has|does|did|gets|wins|loses)\b", text[other.end() :])
    return named.lower() != side and (bool(other["named"]) or not is_article)


def _read_arena(text: str) -> Winner:
    """A>>B, A>B, A=B, B>A, B>>A, as Arena-Hard's judges write them."""
    match = _ARENA.fullmatch(text)
    if not match or match[1].lower() == match[3].lower():
        return Winner(None, "unclear" if match else "no_winner")
    if match[2].startswith("="):
        return Winner(None, "tie")
    return Winner(match[1 if match[2].startswith(">") else 3].lower(), None)


def _joined(own: OwnText) -> OwnText:
    """Label and side on one line where they stand on two, and a side with a second one on the next line."""
    lines: list[str] = []
    for line in map(without_frame, own.lines):
        if lines and _GOES_ON.fullmatch(line) and (_LABEL_ALONE.fullmatch(lines[-1]) or _WINNER_LINE.match(lines[-1])):
            is_labelled = re.search(r"[:=]\W*$", lines[-1]) or not _LABEL_ALONE.fullmatch(lines[-1])
            lines[-1] = lines[-1].rstrip(" |*_#`") + (" " if is_labelled else ": ") + line.strip(" |")
        else:
            lines.append(line)
    return OwnText(lines)


def _winner_lines(own: OwnText) -> Iterator[tuple[int, Winner]]:
    for place, line in enumerate(own.lines):
        match = _WINNER_LINE.match(line)
        if not match or own.quotation(own.starts[place] + match.start("label")):
            continue
        found = read_side(match["value"])
        is_prose = match["says"].startswith(("i", "I")) and found.invalid_reason == "no_winner"
        if is_prose and not re.match(r"[\s*_]*not?\b", match["value"], re.IGNORECASE):
            continue
        if not ends_quotation(match["value"]):
            yield place, found


def _last(found: list[tuple[int, Winner]]) -> Winner:
    if not found:
        return Winner(None, "no_winner")
    place, last = found[-1]
    for earlier, winner in reversed(found[:-1]):
        if earlier != place - 1:
            break
        place = earlier
        if winner != last and winner.invalid_reason != "no_winner":
            return Winner(None, "contradictory")
    return last
