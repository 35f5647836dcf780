"""Reads a page as a browser does, and checks that it is well made and needs nothing else."""

from __future__ import annotations

import html.parser
import re

EMPTY = {"br", "circle", "img", "input", "line", "meta", "polyline", "rect", "source"}

ODD_NAMES = (
    "<script>alert(1)</script> & 'quoted' \"twice\"",
    "$x^2$ {{ 7 * 7 }} {% raw %}",
    "猫と犬 ねこ",
    "דג גדול سمكة",
    "n" * 200,
    "two\x00bad\x1bletters\ud800",
)
"""Names of classes and files as they come from outside."""


class Page(html.parser.HTMLParser):
    """What a page holds: its text, tags, attributes, and the addresses that it loads or links to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source, self.words, self.tags, self.attributes, self.addresses = text, [], [], [], []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], "all tags are closed"

    @property
    def text(self) -> str:
        return "".join(self.words)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [value or "" for _, value in attrs]
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in EMPTY:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self._open):
            self.words.append(data)


def check_alone(text: str, *, scripts: bool = False) -> Page:
    """Read a page that must load nothing, and whose texts have become no markup."""
    page = Page(text)
    assert all(re.match(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+$", address) for address in page.addresses)
    assert not re.search(r"@import|url\(|https?://|<link|<iframe", text)
    assert scripts or "script" not in page.tags
    text.encode("utf-8")
    return page


def without_pictures(text: str) -> str:
    """A page without the letters of its pictures, which could be any."""
    return re.sub(r"data:image/[^\"']+", "", text)


def shown(name: str) -> str:
    """How a page shows a name: with signs in the place of what no page can hold."""
    return re.sub("[\x00-\x08\x0b-\x1f\ud800-\udfff]", "\ufffd", name)
