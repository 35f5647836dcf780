"""What stands between the pixels of a PNG file: how many bits count, and texts that are too large to read."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["significant_bits", "without_large_texts"]

_SIGNATURE_BYTES = 8
_FRAME_BYTES = 12
"""Length, kind and checksum around the content of a chunk."""

_TEXTS = (b"iCCP", b"tEXt", b"zTXt", b"iTXt")
_TURNING_TEXTS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
"""Texts that may say which way is up."""

_MOST_TEXT_BYTES = 1 << 20


def significant_bits(file: BinaryIO) -> int | None:
    """How many bits of each value count by the file's own word, the most of its channels; None if it says nothing."""
    for kind, _, content in _chunks(file, content_of=(b"sBIT",)):
        if kind == b"sBIT" and content:
            return max(content[:3])
        if kind == b"IDAT":
            break
    return None


def without_large_texts(file: BinaryIO) -> io.BytesIO:
    """The same file without colour profile and texts, but for short ones that say which way is up."""
    file.seek(0)
    kept = io.BytesIO()
    kept.write(file.read(_SIGNATURE_BYTES))
    for kind, start, content in _chunks(file, content_of=_TEXTS):
        if kind in _TEXTS and not _is_short_and_turns(kind, content):
            continue
        file.seek(start)
        length = int.from_bytes(file.read(4), "big")
        file.seek(start)
        kept.write(file.read(length + _FRAME_BYTES))
    kept.seek(0)
    return kept


def _is_short_and_turns(kind: bytes, content: bytes) -> bool:
    keyword = next((keyword for keyword in _TURNING_TEXTS if content.startswith(keyword)), None)
    if keyword is None or len(content) > _MOST_TEXT_BYTES:
        return False
    if kind != b"zTXt" and not (kind == b"iTXt" and content[len(keyword) : len(keyword) + 1] == b"\x01"):
        return True
    start = len(keyword) + 1 if kind == b"zTXt" else content.find(b"\0", content.find(b"\0", len(keyword) + 2) + 1) + 1
    reader = zlib.decompressobj()
    try:
        reader.decompress(content[start:], _MOST_TEXT_BYTES)
    except zlib.error:
        return False
    return not reader.unconsumed_tail


def _chunks(file: BinaryIO, *, content_of: tuple[bytes, ...]) -> Iterator[tuple[bytes, int, bytes]]:
    """Kind and beginning of each chunk, with the content of the kinds asked for."""
    start = _SIGNATURE_BYTES
    while True:
        file.seek(start)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        yield kind, start, file.read(length) if kind in content_of else b""
        start += length + _FRAME_BYTES
