"""Files that went wrong, and how a reader must take them."""

import random
import re
from pathlib import Path

import pytest

from metareward.errors import UserError
from metareward.load_params import load_params
from metareward.templates.texts import load_templates

ROOT = Path(__file__).parents[1]
PARAMS = load_params(ROOT / "profiles/demo.yaml")

SPLICES = [b"\xff", b"\0", b"\xef\xbb\xbf", b"\r\n", b"\r", b"\n", b"\n\n", b"\xe2\x80\xa8", b"\xc2\x85"]
SPLICES += [b"\xed\xa0\xbd", b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"'", b"NaN", b"1e999", b"null"]
SPLICES += [b"\\ud83d", b" ", b"\t", b"[" * 3000, b"9" * 5000, b"-", b"#", b"&a ", b"*a", b"!!int ", b"- ", b"? "]
SPLICES += [b"%", b"{%", b"}}", b"---\n"]
VALUES = ["null", "true", "1", "1.0", "2.5", "NaN", "1e999", "9" * 5000, "9" * 30, '""', '" "', '"\\ud83d"', '"a"']
VALUES += ["[]", '["a"]', "{}", '{"a": 1, "a": 2}', '"\\ud83d\\ude00"', "[" * 3000, "-1", '"Score: 4"']
VALUES += ['"Winner: Judgment A"']


def refusal(read, *arguments) -> str:
    """The one line with which a reader refuses a file."""
    with pytest.raises(UserError) as raised:
        read(*arguments)
    line = str(raised.value)
    assert line.isprintable()
    assert len(line) < 1000
    return line


def rows_or_refusal(read) -> list | None:
    try:
        return read()
    except UserError as error:
        line = str(error)
    assert line.isprintable()
    assert len(line) < 1000
    return None


def load_templates_of_the_root():
    names = {name: str(ROOT / path) for name, path in PARAMS.templates.model_dump().items()}
    return load_templates(PARAMS.templates.model_copy(update=names))


def damaged(good: bytes, draw: random.Random) -> bytes:
    """The file after up to three slips, of bytes or of the value of a field."""
    content = good
    for _ in range(draw.choice([0, 1, 1, 1, 2, 3])):
        at = draw.randrange(len(content) + 1)
        end = min(len(content), at + draw.choice([1, 1, 5, 50]))
        slip = draw.randrange(8)
        if slip == 0:
            content = content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
        elif slip == 1:
            content = content[:at] + content[end:]
        elif slip == 2:
            content = content[:at] + content[at:end] * 2 + content[end:]
        elif slip == 3:
            content = content[:at] if draw.random() < 0.3 else content
        elif slip == 4:
            content = content[:at] + draw.choice(SPLICES) + content[at:]
        else:
            content = with_another_value(content, draw)
    return content


def with_another_value(content: bytes, draw: random.Random) -> bytes:
    """A value of JSON or YAML replaced by another, or a pair repeated with another value, or left out."""
    pairs = list(re.finditer(rb'("?)\w+\1: *("(?:[^"\\]|\\.)*"|[\w.+-]+)', content))
    if not pairs:
        return content
    pair = draw.choice(pairs)
    value = draw.choice(VALUES).encode()
    key = pair[0][: pair.start(2) - pair.start()]
    new = draw.choice([key + value, key + value, key + value, pair[0] + b", " + key + value, b""])
    return content[: pair.start()] + new + content[pair.end() :]
