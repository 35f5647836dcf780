"""Reports as one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from focalnets.files import write_text
from focalnets.report.parts import Part, Section
from focalnets.report.templating import render_template

__all__ = ["render_page", "write_page"]


def render_page(
    *,
    title: str,
    opening: Sequence[Part],
    sections: Sequence[Section],
    footer: Sequence[Part] = (),
    styles: Sequence[str] = (),
) -> str:
    """Turn parts into a whole page.

    Args:
        title: Name of the page, as browsers show it.
        opening: What stands above all sections.
        sections: One below the other; those without parts are left out.
        footer: How it was made.
        styles: Templates with further rules of style, each as room and file, e.g. ``visualize/blocks.css``.

    Returns:
        A document that needs nothing from elsewhere, in which every text of the parts is escaped.
    """
    shown = [section for section in sections if section.parts]
    page = render_template(
        "report/page.html", title=title, opening=opening, sections=shown, footer=footer, styles=styles
    )
    return str(page)


def write_page(
    path: str | Path,
    *,
    title: str,
    opening: Sequence[Part],
    sections: Sequence[Section],
    footer: Sequence[Part] = (),
    styles: Sequence[str] = (),
) -> Path:
    """Write a page, complete or not at all, and return the file; the arguments are those of :func:`render_page`."""
    write_text(path, render_page(title=title, opening=opening, sections=sections, footer=footer, styles=styles))
    return Path(path)
