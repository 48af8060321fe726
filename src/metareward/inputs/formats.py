"""The formats of closing lines: whether a pattern of the user's reads its own example, and what is read of EFT."""

import re
from collections import Counter
from collections.abc import Callable, Iterator

from metareward.errors import UserError
from metareward.inputs.examples import formats_of, read_eft
from metareward.params import Params, ScorePattern, WinnerPattern
from metareward.templates.score import parse_score
from metareward.templates.texts import Templates
from metareward.templates.winner import parse_winner

# What a template holds that shows its format.
_SHOWN = {
    "line": r"(?i)score|winner|verdict",
    "brackets": r"\[\[",
    "tag": r"(?i)<\s*(?:score|winner)\s*>",
    "json": r"(?i)\"(?:score|winner)\"\s*:",
    "boxed": r"\\boxed",
    "arena": r"\[\[\s*[AB]\s*[<>=]",
}


def check_formats(params: Params) -> None:
    """Raises UserError for a pattern that is no regular expression with one group, or does not read its example."""
    formats = formats_of(params)
    _check(formats.judge, "judge.format", lambda text: parse_score(text, "", formats.judge).value)
    of = formats.judge
    begins = isinstance(of, ScorePattern) and of.example[0] in "012345" and float(of.example[0]) == of.value
    if params.judge.read == "first_token" and not begins:
        raise UserError(
            "judge.read is first_token, so a judgment must begin with its score, a digit, and judge.format be a "
            "pattern whose example does. Hint: {pattern: '^([0-5]),', example: '4, right', value: 4.0} "
            "(params.yaml: judge.read)"
        )
    _check(formats.meta_judge, "meta_judge.format", lambda text: parse_winner(text, formats.meta_judge).winner)
    _check(formats.compare, "evaluate.format", lambda text: parse_winner(text, formats.compare).winner)


def describe_formats(params: Params, templates: Templates) -> Iterator[str]:
    """What was understood of the example files, in the formats that params name, a line each."""
    formats = formats_of(params)
    eft = read_eft(params.eft, templates, formats)
    readers: dict[str, tuple[str, object, str, Callable[[str, float], object]]] = {
        "judge": ("eft.file", formats.judge, "judge.format", lambda _, score: score),
        "meta_judge": (
            "eft.meta_judge",
            formats.meta_judge,
            "meta_judge.format",
            lambda text, _: parse_winner(text, formats.meta_judge).winner,
        ),
        "compare": (
            "eft.compare",
            formats.compare,
            "evaluate.format",
            lambda text, _: parse_winner(text, formats.compare).winner,
        ),
    }
    for kind, (key, format_, format_key, read) in readers.items():
        rows = eft.filter(eft["kind"] == kind).select("target", "score").rows()
        name = format_ if isinstance(format_, str) else "pattern"
        if rows:
            counts = Counter(read(*row) for row in rows)
            shares = ", ".join(
                f"{value:g}: {count}" if isinstance(value, float) else f"{value}: {count}"
                for value, count in sorted(counts.items(), key=lambda item: str(item[0]))
            )
            line = rows[0][0].strip().splitlines()[-1][-60:]
            first = f"{line!r} is {_plain(read(*rows[0]))}"
            yield f"{key}: {len(rows)} examples, all read in the format {name} ({shares}); {first}"
        if isinstance(format_, str) and not re.search(_SHOWN[format_], getattr(templates, kind)):
            yield f"templates.{kind} does not show the format {name} that it is read in ({format_key})"
    if answers := eft.filter(eft["kind"] == "reply").height:
        yield f"eft.reply: {answers} replies, as the actor is to answer"


def _check(format_: object, key: str, read: Callable[[str], object]) -> None:
    if not isinstance(format_, ScorePattern | WinnerPattern):
        return
    where = f"(params.yaml: {key})"
    try:
        pattern = re.compile(format_.pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UserError(f"pattern {format_.pattern!r} is no regular expression: {error}. {where}") from None
    if pattern.groups != 1:
        raise UserError(
            f"pattern {format_.pattern!r} has {pattern.groups} groups; it must have one, around the score or the side; "
            f"(?:...) groups without counting. {where}"
        )
    if (found := read(format_.example)) != format_.value:
        raise UserError(
            f"example {format_.example!r} reads as {_plain(found)} with pattern {format_.pattern!r}, not as "
            f"{_plain(format_.value)}. {where}"
        )


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
