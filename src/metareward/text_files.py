"""Text files that users write: UTF-8, with or without a byte order mark, with any line ends."""

import codecs
import gzip
import zlib
from pathlib import Path

from metareward.errors import UserError

# the longer marks first: that of UTF-32 begins with that of UTF-16
_OTHER = {
    codecs.BOM_UTF32_LE: "UTF-32 text",
    codecs.BOM_UTF32_BE: "UTF-32 text",
    codecs.BOM_UTF16_LE: "UTF-16 text",
    codecs.BOM_UTF16_BE: "UTF-16 text",
    b"\x1f\x8b": "a gzip archive",
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"PAR1": "a Parquet file",
}
_LARGEST = 2**30  # bytes that a gzip archive may hold: more would be a mistake or malice, and fill the memory


def read_text(path: Path, where: str, packed: bool = False) -> str:
    r"""The text of a file, its line ends as \n, without a byte order mark.

    where: the end of an error line, "(params.yaml: prompts.file)" for one. packed: a gzip archive of it will do, too.
    Raises UserError when the file is missing, no ordinary file, unreadable, or not UTF-8 text.
    """
    try:
        if path.is_dir():
            raise UserError(f"{path} cannot be read: it is a folder, not a file. {where}")
        if path.exists() and not path.is_file():  # a pipe or a device would be waited for
            raise UserError(f"{path} cannot be read: it is no ordinary file. {where}")
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: the name itself is impossible
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}. {where}") from None
    if packed and content.startswith(b"\x1f\x8b"):
        content = _unpacked(path, where)
    kind = next((kind for mark, kind in _OTHER.items() if content.startswith(mark)), None)
    if kind:
        raise UserError(f"{path} is not UTF-8 text: it is {kind}; save it as plain text in UTF-8. {where}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"{content[error.start]:#04x}"
        raise UserError(f"{path} is not UTF-8 text: line {line} has the byte {byte}. {where}") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path} is no text: line {line} has a NUL byte, as UTF-16 and binary files do. {where}")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _unpacked(path: Path, where: str) -> bytes:
    try:
        with gzip.open(path) as file:
            content = file.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is a damaged gzip archive: {error}. {where}") from None
    if len(content) > _LARGEST:
        raise UserError(f"{path} holds more than {_LARGEST:,} bytes, packed by gzip. {where}")
    return content
