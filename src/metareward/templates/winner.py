"""The verdict that ends a meta-judgment or a comparison."""

import re
from dataclasses import dataclass

from metareward.templates.lines import ends_quotation, own_lines


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
    lines = own_lines(text)
    verdicts = [
        (place, match)
        for place, line in enumerate(lines)
        if (match := _WINNER_LINE.match(line)) and not ends_quotation(match)
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
