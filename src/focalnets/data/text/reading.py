"""Reading texts: plain, compressed, or as one JSON object a line."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from focalnets.errors import DataError, abridged

__all__ = ["BETWEEN_TEXTS", "decode_text", "json_lines", "read_file", "read_texts", "without_surrogates"]

BETWEEN_TEXTS = "\n\n"
"""What is put between the texts of several files, or of several lines of a ``.jsonl``."""

_SOURCES = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_texts(files: Sequence[Path], *, text_field: str = "text") -> str:
    """Read the texts of files, joined by :data:`BETWEEN_TEXTS`.

    Args:
        files: ``.jsonl`` holds an object a line; everything else is taken for plain text in UTF-8. Either may be
            compressed (``.gz``).
        text_field: Which field of such an object is the text.

    Raises:
        DataError: If a file cannot be read, is damaged, empty, no text, or not in UTF-8.
    """
    return BETWEEN_TEXTS.join(_read_text(file, text_field) for file in files)


def read_file(file: Path) -> str:
    """Read a text in UTF-8, compressed (``.gz``) or not; it may be empty.

    Raises:
        DataError: If the file cannot be read, is damaged, no text, or not in UTF-8.
    """
    return decode_text(_read_bytes(file), f"'{file}'")


def without_surrogates(text: str) -> str:
    """Put U+FFFD for halves of pairs of UTF-16 that stand alone, which are no characters.

    They come from bytes of a command line that are no UTF-8, and from escapes in JSON.
    """
    return _SURROGATE.sub("\ufffd", text)


def decode_text(content: bytes, what: str) -> str:
    """Turn bytes in UTF-8 into a text, whose lines end with a line feed.

    Args:
        content: The bytes.
        what: What messages call their source, e.g. ``standard input``.

    Raises:
        DataError: If they are no text, or not in UTF-8.
    """
    if content[:2] in _SOURCES:
        raise DataError(f"{what} is in {_SOURCES[content[:2]]}; save it in UTF-8.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" in content:
            raise DataError(f"{what} is no text: it holds bytes that no text has; name a text file.") from None
        raise DataError(
            f"{what} is not in UTF-8 (byte 0x{content[error.start]:02x} at position {error.start:,}); convert it, "
            "e.g. with `iconv -f latin1 -t utf-8`."
        ) from None
    if "\0" in text:
        raise DataError(f"{what} is no text: it holds zero bytes; name a text file.")
    return text.replace("\r\n", "\n")


def json_lines(text: str, file: Path) -> Iterator[tuple[int, Any]]:
    """Read one JSON value a line; yields the number of each line, from 1, and its value.

    Names and texts of an object come :func:`without_surrogates`.

    Args:
        text: The lines; empty ones are passed over.
        file: Where they come from, for messages.

    Raises:
        DataError: If a line is no JSON.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"line {number:,} of '{file}' is no JSON ({error!s:.100}); correct or remove it."
            ) from error
        if isinstance(entry, dict):
            entry = {without_surrogates(name): _whole(value) for name, value in entry.items()}
        yield number, entry


def _read_text(file: Path, text_field: str) -> str:
    name = file.name.lower()
    content = _read_bytes(file)
    if not content.strip():
        raise DataError(f"'{file}' is empty; give a file that holds text.")
    text = decode_text(content, f"'{file}'")
    if not text.strip():
        raise DataError(f"'{file}' holds no text; give a file that does.")
    if name.removesuffix(".gz").endswith(".jsonl"):
        return BETWEEN_TEXTS.join(_text_of_lines(text, file, text_field))
    return text


def _read_bytes(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        return gzip.decompress(content) if file.name.lower().endswith(".gz") else content
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"'{file}' is damaged: it cannot be uncompressed ({str(error).rstrip('.') or type(error).__name__}); get "
            "it again."
        ) from error
    except OSError as error:
        raise DataError(f"'{file}' cannot be read ({error.strerror}); change its rights or name another.") from error


def _whole(value: Any) -> Any:
    return without_surrogates(value) if isinstance(value, str) else value


def _text_of_lines(text: str, file: Path, text_field: str) -> list[str]:
    texts = []
    for number, entry in json_lines(text, file):
        if not isinstance(entry, dict) or not isinstance(entry.get(text_field), str):
            fields = f"its fields are {abridged(list(entry))}" if isinstance(entry, dict) else "it is no object"
            raise DataError(
                f"line {number:,} of '{file}' has no text in a field {text_field!r} ({fields}); name the field with "
                "--text_field."
            )
        texts.append(entry[text_field])
    if not any(each.strip() for each in texts):
        raise DataError(f"'{file}' holds no text; give a file that does.")
    return texts
