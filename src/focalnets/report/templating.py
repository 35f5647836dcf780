"""From parts to markup: the templates of all rooms, in which every text is escaped."""

from __future__ import annotations

import functools
import importlib.resources
import unicodedata
from collections.abc import Iterable
from typing import Any

import jinja2
from markupsafe import Markup

from focalnets.report.colours import DARK, LIGHT
from focalnets.report.parts import Part
from focalnets.report.words import marks_of, plain_text
from focalnets.version import __version__

__all__ = ["render_parts", "render_template"]


def render_template(name: str, **values: Any) -> Markup:
    """Fill a template, which is named by its room and file: ``report/page.html`` is ``report/templates/page.html``."""
    return Markup(_environment().get_template(name).render(values))


def render_parts(parts: Iterable[Part]) -> Markup:
    """Turn parts into markup, one below the other."""
    return Markup("\n").join(render_template(part.template, part=part) for part in parts)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_replace_controls,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals |= {"render_parts": render_parts, "marks_of": marks_of, "version": __version__}
    environment.globals |= {"light": LIGHT, "dark": DARK}
    environment.filters["plain"] = plain_text
    return environment


def _read_template(name: str) -> str:
    room, _, file = name.rpartition("/")
    return (importlib.resources.files("focalnets") / room / "templates" / file).read_text(encoding="utf-8")


def _replace_controls(value: Any) -> Any:
    """Put a sign in the place of what no page can hold: control characters, and halves of letters from file names."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(
        "\ufffd" if unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\t" else letter
        for letter in value
    )
