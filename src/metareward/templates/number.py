"""A number that stands where a score must stand."""

import re
import unicodedata
from dataclasses import dataclass

MAX_SCORE = 5.0
_WORDS = {
    "zero": 0,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
}
_WORD = rf"(?:{'|'.join(_WORDS)})\b"
_LATEX = re.compile(r"\\(?:text|textbf|mathbf|mathrm|bf|rm|emph|underline|boxed|fbox)\s*\{([^{}\n]{0,80})\}")
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}\n]{1,9})\}\{([^{}\n]{1,9})\}")
_MATH = re.compile(r"(?<!\$)\$++([^$\n]{1,80})\$++")
_FRAME = re.compile(r"</?(?:answer|output|result|final|verdict|judge?ment|evaluation)>", re.IGNORECASE)
_OPEN = r"(?P<open>(?:<points>|[\[({<\"'\u201c\u2018\u00ab\u300c*_`\s])*+)"
_CLOSE = r"(?:</points>|[\])}>\"'\u201d\u2019\u00bb\u300d*_`])*+"
_UNIT = r"(?:\s*(?:points?|pts?\b\.?|stars?)\b)?"
_OF = r"(?:/|out of(?: a possible| a maximum of)?\b|of\b|max\b\.?|on a scale (?:of|from) [01] ?(?:-|\u2013|to\b))"
_SCALE = rf"(?:\s*[(\[]?\s*{_OF}[*_`\s]*(?P<scale>\d+(?:[.,]\d+)?|{_WORD}){_UNIT}\s*[)\]]?)?"
_AGAIN = r"(?:\s*\((?P<again>\d+(?:[.,]\d+)?)\s*(?:/\s*5\s*)?\))?"
_NUMBER = re.compile(
    rf"{_OPEN}(?P<number>[-+]?(?:\d+(?:[.,]\d+)?|\.\d+))(?P<inside>{_UNIT}){_SCALE}{_CLOSE}(?P<outside>{_UNIT})"
    rf"{_SCALE.replace('<scale>', '<scale_after>')}{_AGAIN}{_CLOSE}(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
# What makes another number of the one before it, or takes it back.
_CHANGES = (
    r"(?:or|nor|to|plus|minus|and|up|down|maybe|perhaps|possibly|probably|nearly|almost|roughly|about|approximately|"
    r"at (?:most|least|best|first|worst)|higher|lower|less|more|under|over|below|above|if|before|initially|"
    r"tentative(?:ly)?|provisional(?:ly)?|out of|percent|per cent|half|thousand|hundred|times|of|wait|actually|rather|"
    r"sorry|no(?=,)|"
    r"points? (?:less|more|lower|higher|below|above|off))\b"
)
_ENDS = re.compile(r"[\s*_`|)\]}.!\u2713\u2714\u2705\u2b50\u2605]*")
_REMARK = re.compile(
    r"[\s*_`|]*(?:[.,;:!(\[|]|\s[-\u2013\u2014]+\s|\u2014|"
    r"(?=(?:because|since|due to|given|based on|reflecting|indicating|which)\b))"
    rf"(?![\s*_`(]*{_CHANGES})",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    rf"[\s*_`)\]}}>$]*(?:[^\w\s.,;:!|()\[\]*_`\"'}}>$\u2013\u2014-]|[-\u2013]\s*[\d\u00bd]|{_CHANGES})", re.IGNORECASE
)
_HALF = re.compile(
    r"\b(?:and|plus|minus)\s+(?:an? |one |three )?(?:half|quarters?|thirds?|bit)\b|\bper ?cent", re.IGNORECASE
)


@dataclass(frozen=True)
class Score:
    """value in [0, 5], or null with the reason: no_score, contradictory, unclear or out_of_range."""

    value: float | None
    invalid_reason: str | None


def read_number(text: str, after: str = "", is_marked: bool = False) -> Score:
    """The score that a text says: a number, perhaps its unit and scale, perhaps a remark that leaves it what it is.

    is_marked: the text stands between marks that say where the number ends, as in [[4]]; it must hold nothing else.
    after: what follows the marks on their line. There a remark may be any words.
    """
    match = _NUMBER.match(latex_to_text(text))
    if not match:
        return Score(None, "no_score")
    rest = match["rest"]
    if is_marked:
        if not _ENDS.fullmatch(rest):
            return Score(None, "contradictory" if _has_number(rest) else "unclear")
        outer = re.match(rf"\s*{_SCALE}(?P<rest>.*)", latex_to_text(after), re.IGNORECASE | re.DOTALL)
        scale_outside, rest = (outer["scale"], outer["rest"]) if outer else (None, after)
        if _GOES_ON.match(rest) or _has_number(rest[:1]) or _HALF.search(rest):
            return Score(None, "unclear")
    else:
        scale_outside = None
        if _has_number(rest):
            return Score(None, "contradictory")
        if not _ENDS.fullmatch(rest) and not _is_remark(rest, match["number"]):
            return Score(None, "unclear")
    if re.search(r",\d{3}$", match["number"]) or ("<" in match["open"] and ">" not in match[0]):
        return Score(None, "unclear")
    value = _value(match["number"])
    if match["again"] and _value(match["again"]) != value:
        return Score(None, "contradictory")
    scales = {_value(scale) for scale in (match["scale"], match["scale_after"], scale_outside) if scale}
    if scales - {MAX_SCORE} or not 0 <= value <= MAX_SCORE:
        return Score(None, "out_of_range")
    return Score(abs(value), None)


def rest_of(text: str) -> str:
    """What follows the number, its unit and its scale."""
    match = _NUMBER.match(latex_to_text(text))
    return match["rest"] if match else text


def first_number(text: str) -> float | None:
    """The number with which a text begins, whether it is readable as a score or not."""
    match = _NUMBER.match(latex_to_text(text))
    return _value(match["number"]) if match else None


def latex_to_text(text: str) -> str:
    r"""$\boxed{4}$ and \textbf{4} as 4, \frac{4}{5} as 4/5; other LaTeX stays."""
    if "\\" in text:
        text = _FRACTION.sub(r"\1/\2", text)
        for _ in range(3):
            text = _LATEX.sub(r"\1", text)
        text = re.sub(r"\\([()\[\]*_:])", r"\1", text)
    return _MATH.sub(r"\1", text) if "$" in text else text


def without_frame(line: str) -> str:
    """A line without the LaTeX and the tags that a closing line may stand in, <answer> for one."""
    line = latex_to_text(line)
    return _FRAME.sub("", line).strip() if "<" in line else line


def _is_remark(rest: str, number: str) -> bool:
    start = _REMARK.match(rest)
    if not start or _HALF.search(rest) or "?" in rest:
        return False
    said = re.match(rf"[\s*_`(]*({_WORD})", rest[start.end() :], re.IGNORECASE)
    return not said or _WORDS[said[1].casefold()] == _value(number)


def _has_number(text: str) -> bool:
    return (text.isascii() and any(map(str.isdigit, text))) or (
        not text.isascii() and any(unicodedata.category(character)[0] == "N" for character in text)
    )


def _value(number: str) -> float:
    return float(_WORDS[number.casefold()]) if number.casefold() in _WORDS else float(number.replace(",", "."))
