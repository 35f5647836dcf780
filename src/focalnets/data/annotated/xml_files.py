"""Reads xml files of annotations: plain elements only, nothing that grows or fetches other files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import Element
from xml.parsers import expat

from focalnets.data.annotated.problems import abridge
from focalnets.data.annotated.sniffing import first_bytes
from focalnets.errors import DataError

__all__ = ["read_xml", "root_name"]

_MOST_BYTES = 2_000_000_000
_MOST_ELEMENTS = 200_000
_DEEPEST = 32
_LONGEST_TEXT = 1_000_000
_CHUNK = 1 << 16


def root_name(file: Path) -> str | None:
    """Name of the outermost element; None for what is no xml."""
    parser, found = expat.ParserCreate(), []

    def stop(tag: str, _: object) -> None:
        found.append(tag)
        raise ValueError("found")  # Nothing behind it is looked at, and entities are never expanded.

    parser.StartElementHandler = stop
    with contextlib.suppress(ValueError, LookupError, expat.ExpatError):
        parser.Parse(first_bytes(file, _CHUNK), False)
    return found[0] if found else None


def read_xml(
    file: Path, expected: str, *, each: str | None = None, take: Callable[[Element], None] | None = None
) -> Element:
    """Read an xml file.

    Args:
        file: The file.
        expected: Name of the outermost element.
        each: Name of elements right inside it that are handed over one by one and not kept.
        take: Gets each of them when it is complete.

    Returns:
        The outermost element. Text behind elements is left out.

    Raises:
        DataError: If it cannot be read, is no such xml, declares entities, or is too large or nested too deeply.
    """
    reader = _Reader(each, take)
    try:
        if not file.is_file():
            raise DataError(f"'{file}' is no regular file; expected an xml file.")
        size = file.stat().st_size
        if size > _MOST_BYTES:
            raise DataError(f"'{file}' has {size / 1e9:.1f} GB, more than the limit of {_MOST_BYTES / 1e9:.0f} GB.")
        with file.open("rb") as opened:
            while chunk := opened.read(_CHUNK):
                reader.parser.Parse(chunk, False)
            reader.parser.Parse(b"", True)
    except OSError as error:
        raise DataError(f"'{file}' cannot be read ({error.strerror or error}); expected an xml file.") from error
    except expat.ExpatError as error:
        raise DataError(f"'{file}' is no xml or incomplete ({error}); save or fetch it again.") from error
    except DataError:
        raise
    except (ValueError, LookupError) as error:  # Own limits, and encodings that do not exist.
        raise DataError(f"'{file}' is no xml of annotations ({error}); expected plain elements.") from error
    if reader.root is None or reader.root.tag != expected:
        found = "nothing" if reader.root is None else f"<{abridge(reader.root.tag)[1:-1]}>"
        raise DataError(f"'{file}' holds {found}; expected <{expected}>.")
    return reader.root


class _Reader:
    """Builds elements from what expat reports, within limits."""

    def __init__(self, each: str | None, take: Callable[[Element], None] | None) -> None:
        self.root: Element | None = None
        self.stack: list[Element] = []
        self.each, self.take = each, take
        self.elements = 0
        self.text = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.data
        for name in ("EntityDeclHandler", "UnparsedEntityDeclHandler", "ExternalEntityRefHandler"):
            setattr(self.parser, name, _refuse)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.elements += 1
        if self.elements > _MOST_ELEMENTS:
            raise ValueError(f"more than {_MOST_ELEMENTS:,} elements")
        if len(self.stack) >= _DEEPEST:
            raise ValueError(f"elements lie more than {_DEEPEST} deep")
        element = Element(tag, attributes)
        if self.stack:
            self.stack[-1].append(element)
        else:
            self.root = element
        self.stack.append(element)
        self.text = 0

    def end(self, tag: str) -> None:
        element = self.stack.pop()
        if len(self.stack) == 1 and tag == self.each and self.take is not None:
            self.take(element)
            self.stack[0].remove(element)
            self.elements = 0

    def data(self, text: str) -> None:
        self.text += len(text)
        if self.text > _LONGEST_TEXT:
            raise ValueError(f"more than {_LONGEST_TEXT:,} letters of text in one place")
        element = self.stack[-1]
        if not len(element):  # Else it stands behind an inner element.
            element.text = (element.text or "") + text


def _refuse(*_: object) -> int:
    raise ValueError("it declares entities, which are not read")
