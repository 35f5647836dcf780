"""The size of a JPEG XL image from its first bytes: its decoder would decode the whole to tell."""

from __future__ import annotations

from typing import BinaryIO

__all__ = ["jxl_size"]

_CODESTREAM = b"\xff\x0a"
_CONTAINER_BYTES = 12
_HEADER_BYTES = 16
_SIZE_BITS = (9, 13, 18, 30)
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


def jxl_size(file: BinaryIO) -> tuple[int, int]:
    """Width and height [px] as stored, before it is turned upright.

    Raises:
        SyntaxError: If there is no such header.
    """
    file.seek(0)
    header = file.read(_HEADER_BYTES)
    if not header.startswith(_CODESTREAM):
        header = _header_in_container(file)
    if not header.startswith(_CODESTREAM):
        raise SyntaxError("no JPEG XL header")
    bits = int.from_bytes(header[2:], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    small = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if small else take(_SIZE_BITS[take(2)]) + 1

    height = side()
    ratio = take(3)
    if ratio == 0:
        return side(), height
    above, below = _RATIOS[ratio]
    return height * above // below, height


def _header_in_container(file: BinaryIO) -> bytes:
    """The first bytes of the codestream, which lies in a box or, cut into parts, in several."""
    start = _CONTAINER_BYTES
    while True:
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return b""
        length, kind, content = int.from_bytes(head[:4], "big"), head[4:8], start + 8
        if length == 1:
            length, content = int.from_bytes(head[8:16], "big"), start + 16
        if kind in (b"jxlc", b"jxlp"):
            file.seek(content + 4 * (kind == b"jxlp"))
            return file.read(_HEADER_BYTES)
        if length < 8:
            return b""
        start += length
