"""The score that ends a judgment.

Only what the judge itself writes may count as a score. A response can hold `Score: 5`, and a judgment can quote
it; the parsers below are strict where such a quotation could pass for the judge's own verdict, and every judgment
that is refused carries its reason.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from metareward.params import ScoreFormat
from metareward.templates.lines import NEAR, OwnText, all_text, ends_quotation, last_words, own_text, plain
from metareward.templates.marks import is_label, own_marks
from metareward.templates.number import MAX_SCORE, Score, first_number, read_number, rest_of, without_frame

_SYMBOLS = "\u2605\u2b50\u2705\u2714\u2022\u00b7\u25cf\u25aa\u27a4\u2192\U0001f3c6\U0001f3af\U0001f4ca\U0001f4dd"
_BEGIN = rf"(?:[\s*_#`|(\[{{+\u2013\u2014{_SYMBOLS}-]|\d{{1,2}}[.)]\s)*+"
_LEAD = r"(?:(?:so|thus|therefore|hence|finally|in (?:conclusion|summary|total))[,:]?\s+)?(?:(?:the|my)\s+)?"
_VERDICT = r"(?:(?:final\s+)?(?:verdict|conclusion|result|judge?ment|answer)[*_\s]*[:\u2013\u2014-][*_\s]*)?"
_OF_RESPONSE = r"(?:\s+(?:of|for)\s+(?:the|this)\s+response)?"
_LABEL_SCALE = (
    r"(?:[\s*_]*[(\[]\s*(?:(?:from\s+)?[01]\s*(?:-|\u2013|to\b)|out of\b|/|max\.?)\s*(?P<label_scale>\d+)\s*[)\]]"
    r"|\s+out of\s+(?P<label_scale_2>\d+))?"
)
_LABEL = (
    rf"(?P<label>(?P<qualified>(?:(?:final|overall|total)[\s-]+){{0,2}})(?:response(?:'s)?\s+)?score)(?![^\W_])"
    rf"{_OF_RESPONSE}{_LABEL_SCALE}[*_`\s)\]]*+"
)
_SAYS = r"(?P<says>:|=>|=|\||->|\u2192|[-\u2013\u2014](?=\s)|is\b[\s*_]*:?)"
_SCORE_LINE = re.compile(rf"{_BEGIN}{_LEAD}{_VERDICT}{_LABEL}{_SAYS}(?P<value>.*)", re.IGNORECASE)
_LABEL_ALONE = re.compile(rf"{_BEGIN}{_LEAD}{_LABEL}[*_`\s:=|)\]}}]*", re.IGNORECASE)
_NUMBER_ALONE = re.compile(
    r"[\s*_`|\[({<$\"'\\(-]*\d{1,3}(?:[.,]\d+)?[\s*_`|\])}>$\"'\\).]*"
    r"(?:(?:points?\s*)?(?:/|out of)\s*\d+[\s*_`|\])}>.]*)?(?:points?)?[\s*_.]*"
)
# The end of the closing sentence. A noun before the label would make it the score of a part.
_SCORE_AT_END = re.compile(
    rf"(?:^|[.!?;]|[,:\u2014]\s*(?:so|thus|hence|therefore|then)|\b(?:so|thus|hence|therefore)|"
    rf"\b(?:it|i|response|text|answer)\b[^.!?;,:]{{0,40}}\b(?:an?|the|my))[,:*_`\s]*{_LABEL}(?P<says>:)(?P<value>[^:]*)$",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    r"[\s*_-]*\d+(?:[.,]\d+)?[\s*_.]*$|[\s*_]*(?:/\s*\d|out of\b|%|\u00bd|"
    r"(?:or|to|and|plus|minus)\b[\s*_]*(?:an? )?[\d.]*(?:half|quarter|\d))",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"\s*(?:#+\s*(?P<hash>.*\w)|(?:\d+[.)]\s*|[-*\u2022]\s+)?(?:\*\*|__)(?P<bold>[^*_]*\w)[.:]?(?:\*\*|__)[.:]?|(?P<colon>[^.!?:]{1,40}):)[\s#]*"
)
_NEUTRAL = re.compile(
    r"\b(?:score|overall|final|total|verdict|judge?ment|evaluation|assessment|conclusion|summary|result|rating|answer|so|"
    r"task|therefore|thus|decision|reasons?|reasoning|explanation|justification)\b",
    re.IGNORECASE,
)
_CLAIM = re.compile(r"\bscore[\W_]*+(?:(?:is|of)[\W_]++)?(?P<number>\d+(?:[.,]\d+)?)", re.IGNORECASE)
Claims = dict[float, set[tuple[str, ...]]]


@dataclass(frozen=True)
class _Verdict:
    """A score where one must stand. number: the one that stands there, readable or not; place: of its line.

    before, rest: what stands around it on the line.
    qualified: it is called final, overall or total. part: the heading under which it stands, if that names a part.
    """

    score: Score
    number: float | None
    place: int
    before: str
    rest: str
    qualified: bool = False
    part: str = ""


def parse_score(judgment: str, response: str = "", format_: ScoreFormat = "line") -> Score:
    r"""The score that ends a judgment, a decimal in [0, 5], or the reason why there is none (METHOD §3.3).

    judgment: what the judge wrote; response: what it judged; format_: how the judge template asks for the score.

    1. Only the judge's own text counts: no draft (<think>, closed or not), nothing struck out, in quotation marks, in a
       block quote or a code block.
    2. A score that the response claims for itself counts only as the judgment's last line, alone on it, and neither
       behind a colon nor behind the words that precede it in the response.
    3. `line`: the last line that begins with the label decides, or else the label at the end of the last sentence.
       Lines that follow one another directly and differ are contradictory; so is a score that differs from an earlier
       one called final, overall or total. The score of a part (`Depth score: 1`, `Score for style: 2`, a score under a
       heading of its own) is none of these. Label and number may stand on two lines.
    4. The other formats: marks that differ are contradictory.
    5. Behind the number may stand its unit, the scale 5 and a remark without numbers. Whatever makes it another number
       makes it unreadable: it is never read as the number before it.

    | closing line | score | |
    |---|---|---|
    | `Score: 4`, `**Score:** 4/5`, `Score: 4 (out of 5)`, `Score: [4]`, `Score: <4>` | 4 | |
    | `Final score: 4,5 points`, `The score is 4.5.` | 4.5 | |
    | `Score: 3 (complete, but dull)`, `Score: 3, because it is dull` | 3 | |
    | `Score: 4 1/2`, `Score: 3 or 4`, `Score: 3-4` | | contradictory |
    | `Score: 4%`, `Score: 4+`, `Score: 4 and a half`, `Score: 4?`, `Score: <4` | | unclear |
    | `Score: 8/10`, `Score: 6`, `Score: -1` | | out_of_range |
    | `Score: four`, `Score: ~4`, `Depth score: 1`, `> Score: 4` | | no_score |
    """
    own = own_text(judgment, closing_code=format_ == "json", keep_tags=not isinstance(format_, str))
    if format_ == "line":
        own = _joined(own)
    claims = _claims(response, format_)
    found = [verdict for verdict in _verdicts(own, format_) if not _is_repeated(own, verdict, claims)]
    if format_ == "line":
        if not found or found[-1].place != len(own.lines) - 1:
            found += [verdict for verdict in _score_at_end(own) if verdict.number not in claims]
        return _last(found)
    scores = {verdict.score for verdict in found}
    if len(scores) == 1:
        return scores.pop()
    return Score(None, "contradictory" if scores else "no_score")


def _verdicts(own: OwnText, format_: ScoreFormat) -> list[_Verdict]:
    """The scores that stand where one must, those in quotation marks left out."""
    return list(_score_lines(own) if format_ == "line" else _marked_scores(own, format_))


def _marked_scores(own: OwnText, format_: ScoreFormat) -> Iterator[_Verdict]:
    for mark in own_marks(own, format_, "score"):
        score = read_number(mark.content, mark.after, is_marked=True)
        yield _Verdict(score, first_number(mark.content), own.place(mark.start), own.before(mark.start), mark.after)


def _joined(own: OwnText) -> OwnText:
    """Label and number on one line where they stand on two, and a number with what goes on with it on the next."""
    lines: list[str] = []
    for line in map(without_frame, own.lines):
        if lines and (
            (_LABEL_ALONE.fullmatch(lines[-1]) and _NUMBER_ALONE.fullmatch(line))
            or (_GOES_ON.match(line) and _SCORE_LINE.match(lines[-1]))
        ):
            is_labelled = re.search(r"[:=]\W*$", lines[-1]) or not _LABEL_ALONE.fullmatch(lines[-1])
            lines[-1] = lines[-1].rstrip(" |*_#`") + (" " if is_labelled else ": ") + line.strip(" |")
        else:
            lines.append(line)
    return OwnText(lines)


def _score_lines(own: OwnText) -> Iterator[_Verdict]:
    for place, line in enumerate(own.lines):
        match = _SCORE_LINE.match(line)
        if not match or own.quotation(own.starts[place] + match.start("label")):
            continue
        value, score = match["value"], _labelled_score(match)
        if match["says"].startswith(("i", "I")) and score.invalid_reason == "no_score":
            continue  # prose: the score is based on ...
        rest = rest_of(value)
        if ends_quotation(value):
            continue
        qualified = bool(match["qualified"])
        part = "" if qualified or not place else _part(own.lines[place - 1])
        yield _Verdict(score, first_number(value), place, line[: match.start("label")], rest, qualified, part)


def _score_at_end(own: OwnText) -> Iterator[_Verdict]:
    """The last sentence of the last line, if it ends in a label and a number."""
    if not own.lines:
        return
    place, line = len(own.lines) - 1, own.lines[-1][-400:]
    match = _SCORE_AT_END.search(line)
    if not match or "score" in line[: match.start()].casefold():
        return
    at = len(own.lines[-1]) - len(line) + match.start("label")
    if (
        own.quotation(own.starts[place] + at)
        or ends_quotation(match["value"])
        or rest_of(match["value"]).strip(" .!*_`)|")
    ):
        return
    score = _labelled_score(match)
    if score.invalid_reason != "no_score":
        yield _Verdict(
            score, first_number(match["value"]), place, line[: match.start("label")], "", bool(match["qualified"])
        )


def _labelled_score(match: re.Match[str]) -> Score:
    scale = match["label_scale"] or match["label_scale_2"]
    score = read_number(match["value"])
    return Score(None, "out_of_range") if score.value is not None and scale and float(scale) != MAX_SCORE else score


def _part(line: str) -> str:
    """The heading that a line is, unless it names the whole."""
    match = _HEADING.fullmatch(line[:200])
    words = (match["hash"] or match["bold"] or match["colon"]) if match else ""
    return "" if len(words.split()) > 6 or _NEUTRAL.search(words) else words


def _last(found: list[_Verdict]) -> Score:
    """The score of the last line that gives one (rule 3)."""
    if not found:
        return Score(None, "no_score")
    overall = [verdict for verdict in found if verdict.qualified]
    if overall:
        found = [verdict for verdict in found if not verdict.part]
    elif any(verdict.part for verdict in found) and len({verdict.score for verdict in found}) > 1:
        return Score(None, "contradictory")
    last = found[-1]
    differs = bool(overall) and not last.qualified and overall[-1].score != last.score
    place = last.place
    for earlier in reversed(found[:-1]):
        if earlier.place != place - 1:
            break
        place = earlier.place
        differs |= earlier.score != last.score and earlier.score.invalid_reason != "no_score"
    return Score(None, "contradictory") if differs and last.score.value is not None else last.score


@lru_cache(maxsize=1)  # the judgments of a response come one after the other
def _claims(response: str, format_: ScoreFormat) -> Claims:
    """What a response says of its own score: values, and the words before each. Nobody may change what is returned."""
    text, claims = plain(response), Claims()
    for claim in _CLAIM.finditer(text):
        words = last_words(text[max(0, claim.start() - NEAR) : claim.start()])
        claims.setdefault(float(claim["number"].replace(",", ".")), set()).add(words)
    own = _joined(all_text(response)) if format_ == "line" else all_text(response)
    for verdict in _verdicts(own, format_):
        if verdict.number is not None:
            claims.setdefault(verdict.number, set()).add(last_words(_lines_before(own, verdict)))
    return claims


def _is_repeated(own: OwnText, verdict: _Verdict, claims: Claims) -> bool:
    """Whether a score repeats what the response claims: the value, and the words before it (rule 2)."""
    if verdict.number not in claims:
        return False
    stands_alone = (
        verdict.place == len(own.lines) - 1 and not re.search(r"\w", verdict.rest) and is_label(verdict.before)
    )
    is_introduced = bool(verdict.place) and own.lines[verdict.place - 1].rstrip(" *_`").endswith(":")
    before, claimed = last_words(_lines_before(own, verdict)), claims[verdict.number]
    follows_the_same = any(before[-n:] in claimed for n in range(1, len(before) + 1))
    return not stands_alone or is_introduced or follows_the_same


def _lines_before(own: OwnText, verdict: _Verdict) -> str:
    return (own.lines[verdict.place - 1][-NEAR:] if verdict.place else "") + " " + verdict.before
