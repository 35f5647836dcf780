"""No markup and no colours of pages and charts in Python: templates and one file hold them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import focalnets

PACKAGE = Path(focalnets.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

TAG = re.compile(
    r"</?(?:a|b|body|br|code|div|figcaption|figure|footer|h[1-6]|head|header|html|i|img|input|li|line|link|main|meta|p|"
    r"path|pre|script|section|span|strong|style|svg|table|td|text|th|title|tr|ul)(?=[\s>/])",
    re.IGNORECASE,
)
COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")


def strings_of(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_markup_in_strings(path):
    assert [text for text in strings_of(path) if TAG.search(text)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_colours_stand_in_one_file(path):
    if path != PACKAGE / "report" / "colours.py":
        assert [text for text in strings_of(path) if COLOUR.search(text)] == []


def test_every_template_is_used_and_none_is_missing():
    there = {
        f"{path.parent.parent.relative_to(PACKAGE).as_posix()}/{path.name}" for path in PACKAGE.rglob("templates/*")
    }
    texts = [text for path in FILES for text in strings_of(path)]
    texts += [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("templates/*")]
    named = {name for text in texts for name in re.findall(r"\b(?:[a-z_]+/)+\w+\.(?:html|css|js)\b", text)}
    assert there == {name for name in named if (PACKAGE / name).parent.is_dir() and "/templates/" not in name}
