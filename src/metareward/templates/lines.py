"""The lines of a generated text that are its author's own: no drafts, no code, no quotations.

One spelling comes out of many: full-width characters become plain ones, invisible ones and formatting tags go.
"""

import bisect
import re
from dataclasses import dataclass
from functools import cached_property

QUOTES = "\"'\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb\u2039\u203a\u300c\u300d\u300e\u300f"
_CLOSERS = {
    '"': '"',
    "'": "'",
    "`": "`",
    "\u201c": "\u201d",
    "\u201e": "\u201c\u201d",
    "\u2018": "\u2019",
    "\u201a": "\u2018\u2019",
    "\u00ab": "\u00bb",
    "\u2039": "\u203a",
    "\u300c": "\u300d",
    "\u300e": "\u300f",
}
_ONE_LINE = "'`\u2018\u201a"  # marks that are apostrophes as well, or code: they quote within a line alone
_QUOTE = re.compile(f"[{QUOTES}`]")

_PLAIN = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    **dict.fromkeys(map(ord, "\u3000\u00a0\u202f\u2007"), " "),
    **dict.fromkeys(map(ord, "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad\ufe0e\ufe0f"), ""),
    **dict.fromkeys(map(ord, "\u2236\ua789\ufe55"), ":"),
    **dict.fromkeys(map(ord, "\u2010\u2011\u2212"), "-"),
    ord("\u3002"): ".",
    ord("\u3010"): "[",
    ord("\u3011"): "]",
}
_FORMATTING = re.compile(
    r"</?(?:b|i|u|em|strong|br|p|div|span|center|font|h[1-6])\b[^<>\n]{0,80}>|<!--.*?(?:-->|\Z)", re.I | re.S
)
_DRAFT = re.compile(
    r"[<\[\u25c1]\s*(?P<close>/?)\s*(?P<name>think(?:ing)?|thoughts?|reasoning|reflection|scratchpad|draft)"
    r"\b[^<>\[\]\n\u25b7]{0,80}[>\]\u25b7]",
    re.I,
)
_QUOTED = re.compile(r"<\s*(?P<close>/?)\s*(?P<name>del|strike|blockquote|pre|code|q|cite)\b[^<>\n]{0,80}>", re.I)
_STRUCK = re.compile(r"(?<!~)~~(?!~)[^~\n]+~~(?!~)")
_RULE = re.compile(r"[\s|:=+*_-]+")
NEAR = 200  # characters: what says that a verdict is quoted, or changes it, stands near it
_FENCES = ("```", "~~~")


@dataclass(frozen=True)
class OwnText:
    """Own lines, none of them empty, as they stand in `text`."""

    lines: list[str]

    @cached_property
    def text(self) -> str:
        return "\n".join(self.lines)

    @cached_property
    def starts(self) -> list[int]:
        """Where each line begins in `text`."""
        starts, at = [], 0
        for line in self.lines:
            starts.append(at)
            at += len(line) + 1
        return starts

    @cached_property
    def _quotations(self) -> list[tuple[int, int]]:
        return quotations(self.text)

    def place(self, at: int) -> int:
        """The number of the line that holds a character of `text`."""
        return bisect.bisect_right(self.starts, at) - 1

    def before(self, at: int) -> str:
        """What stands before a character of `text` on its line, the last NEAR characters of it."""
        return self.text[max(self.starts[self.place(at)], at - NEAR) : at]

    def quotation(self, at: int) -> tuple[int, int] | None:
        """The first and last character of the quotation that holds a character of `text`; no code that fills a line."""
        number = bisect.bisect_right(self._quotations, (at, len(self.text))) - 1
        found = self._quotations[number] if number >= 0 else None
        if not found or not found[0] <= at <= found[1]:
            return None
        line = self.lines[self.place(found[0])]
        fills = (
            self.text[found[0]] == "`" and line.strip(" *_#-.").startswith("`") and line.strip(" *_#-.").endswith("`")
        )
        return None if fills and found[1] - found[0] >= len(line.strip(" *_#-.")) - 1 else found


def plain(text: str, keep_tags: bool = False) -> str:
    """The text in its plain spelling, line breaks as they are."""
    text = text if text.isascii() else text.translate(_PLAIN)
    return text if keep_tags or "<" not in text else _FORMATTING.sub("", text)


def own_text(text: str, closing_code: bool = False, keep_tags: bool = False) -> OwnText:
    """A text without its drafts, block quotes, code blocks and what is struck out; runs of blanks made one.

    A draft stands in <think> and its kind; one that is not closed goes on to the end, and one that was opened by the
    chat template began before the text did. closing_code: keep the code block that ends the text, if one does.
    keep_tags: keep those of formatting.
    """
    text = plain(text, keep_tags)
    if any(opening in text for opening in "<[\u25c1"):  # most texts hold no tag, and half a million are read
        text = _without(_QUOTED, _without(_DRAFT, text, are_drafts=True), are_drafts=False)
    own: list[str] = []
    block: list[str] = []
    fence = ""
    for line in text.splitlines():
        stripped = line.strip()
        if fence:
            if stripped.startswith(fence):
                fence = ""
            else:
                block.append(line)
        elif stripped.startswith(_FENCES):
            mark = stripped[:3]
            end = stripped.find(mark, len(stripped) - len(stripped.lstrip(mark[0])))
            block, fence = ([], mark) if end < 0 else ([stripped[:end].lstrip(mark[0])], "")
        elif stripped and not stripped.startswith(">"):
            line = " ".join((_STRUCK.sub("", line) if "~~" in line else line).split())
            if not _RULE.fullmatch(line):
                own.append(line)
                block = []
    return OwnText([*own, *(line for line in block if line.strip())] if closing_code else own)


def all_text(text: str) -> OwnText:
    """All lines of a text, own or not, spelt as `own_text` spells them."""
    return OwnText([" ".join(line.split()) for line in plain(text).splitlines() if line.strip()])


def quotations(text: str) -> list[tuple[int, int]]:
    """First and last character of each quotation, in order. One that is not closed ends with its line."""
    found: list[tuple[int, int]] = []
    opened: int | None = None
    for match in _QUOTE.finditer(text):
        at, mark = match.start(), match[0]
        before, after = text[at - 1 : at] or "\n", text[at + 1 : at + 2] or "\n"
        if opened is not None and text[opened] in _ONE_LINE and (end := text.find("\n", opened)) < at and end >= 0:
            found += _unclosed(text, opened)
            opened = None
        if opened is not None and mark in _CLOSERS[text[opened]] and not before.isspace() and not after.isalnum():
            found.append((opened, at))
            opened = None
        elif mark in _CLOSERS and not before.isalnum() and not after.isspace():
            if opened is not None:
                if mark in _ONE_LINE and text[opened] not in _ONE_LINE:
                    continue  # a quotation within one
                found += _unclosed(text, opened)
            opened = at
    return found if opened is None else found + _unclosed(text, opened)


def last_words(text: str) -> tuple[str, ...]:
    """Up to three words that end a text, whatever stands between them."""
    return tuple(re.findall(r"[^\W_]+", text[-200:].casefold())[-3:])


def ends_quotation(rest: str) -> bool:
    """Whether what follows a verdict closes a quotation that was opened before it."""
    closing = rest.rstrip(" .!*_`")[-1:]
    if not closing or closing not in QUOTES:
        return False
    openers = "".join(mark for mark, closers in _CLOSERS.items() if closing in closers)
    return rest.count(closing) % 2 == 1 if closing in openers else not any(mark in rest for mark in openers)


def _unclosed(text: str, opened: int) -> list[tuple[int, int]]:
    """To the end of the line; an apostrophe or backtick that is never closed quotes only where it begins its line."""
    start, end = text.rfind("\n", 0, opened) + 1, text.find("\n", opened)
    if text[opened] in _ONE_LINE and text[start:opened].strip(" *_-"):
        return []
    return [(opened, len(text) if end < 0 else end)]


def _without(tags: re.Pattern[str], text: str, are_drafts: bool) -> str:
    """The text without what stands between opening and closing tags, nested ones included."""
    kept: list[str] = []
    at = 0
    opened: list[tuple[str, int]] = []
    for tag in tags.finditer(text):
        around = text[tag.start() - 1 : tag.start()] + text[tag.end() : tag.end() + 1]
        is_mention = len(around) == 2 and set(around) <= {*QUOTES, "`"}
        name = tag["name"].casefold()
        if is_mention or tag[0].endswith("/>") or (tag[0].startswith("[") and name != "think"):
            continue
        if not tag["close"]:
            opened.append((name, tag.start()))
        elif any(name == other for other, _ in opened):
            while opened[-1][0] != name:
                opened.pop()
            start = opened.pop()[1]
            if not opened:
                kept.append(text[at:start])
                at = tag.end()
        elif are_drafts and not opened:
            kept, at = [], tag.end()
    return "".join(kept) + (text[at : opened[0][1]] if are_drafts and opened else text[at:])
