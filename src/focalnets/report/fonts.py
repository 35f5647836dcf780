"""Fonts that have the letters of a text: names of classes and files may be in any language.

The font of all figures is DejaVu Sans, which comes with matplotlib. Letters that it lacks come from an installed font
that has them. Where there is none they become boxes, and one sentence says so.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

__all__ = [
    "FAMILY",
    "Line",
    "choose_fonts",
    "families_for",
    "first_letters",
    "fitting_fonts",
    "printable",
    "width_in_letters",
]

FAMILY = "DejaVu Sans"

_PREFERRED = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Source Han Sans", "Noto Serif CJK SC", "Hiragino Sans", "PingFang SC",
    "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "WenQuanYi Zen Hei", "Noto Sans Devanagari", "Noto Sans Thai",
    "Noto Emoji", "Symbola", "Arial Unicode MS",
)  # fmt: skip
"""Families that are tried before the other installed ones."""

_PLACEHOLDERS = "Last Resort"
"""Fonts whose names begin so have a box for each letter and no letter."""

_SCRIPTS = {"CJK": "Chinese characters", "HANGUL": "Korean", "HIRAGANA": "Japanese", "KATAKANA": "Japanese"}
_MARKS = frozenset("\ufe0e\ufe0f")

_logger = logging.getLogger("focalnets")


class _Face(NamedTuple):
    """A font in a file that may hold several."""

    family: str
    path: str
    number: int


def printable(text: str) -> str:
    """Leave out marks without a form of their own, and put a sign in the place of what cannot be printed."""
    shown = (letter for letter in text if unicodedata.category(letter) != "Cf" and letter not in _MARKS)
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in shown)


def width_in_letters(text: str) -> int:
    """Estimate how many Latin letters are as wide as a text: ideographs and emoji count twice, accents not at all."""
    return sum(_width(letter) for letter in text)


def first_letters(text: str, most: int) -> str:
    """Cut off what goes beyond the width of ``most`` Latin letters."""
    taken = width = 0
    for letter in text:
        width += _width(letter)
        if width > most:
            break
        taken += 1
    return text[:taken]


def families_for(text: str) -> tuple[str, ...]:
    """Choose fonts that together have the letters of a text, :data:`FAMILY` first; says so once where there is none."""
    families = _families(text)
    _tell_missing()
    return families


@contextlib.contextmanager
def fitting_fonts(figure: Figure) -> Iterator[None]:
    """Give every text of a figure fonts that have its letters, and keep matplotlib's own warnings away in the block."""
    choose_fonts(figure)
    # It logs where a family has no bold face, and warns of each letter that no font has.
    manager = logging.getLogger("matplotlib.font_manager")
    level = manager.level
    manager.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            yield
    finally:
        manager.setLevel(level)


def choose_fonts(figure: Figure) -> None:
    """Give every text of a figure fonts that have its letters."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        words = text.get_text()  # type: ignore[attr-defined]
        if not words.isascii():
            own = text.get_fontfamily()  # type: ignore[attr-defined]
            text.set_fontfamily(list(dict.fromkeys([*own, *_families(words)])))  # type: ignore[attr-defined]
    _tell_missing()


class Line:
    """A line of text that PIL draws, each of its letters in a font that has it.

    Args:
        text: The line; made printable.
        size_px: Size of its letters.

    Attributes:
        width_px: How wide it will be.
    """

    def __init__(self, text: str, size_px: int) -> None:
        self.text, self.size_px = printable(text), size_px
        self._runs = [(run, _pil_font(face, size_px)) for run, face in _runs(self.text)]
        _tell_missing()
        self.width_px = sum(font.getlength(run) for run, font in self._runs)

    def draw(self, picture: Image.Image, x: float, baseline: float, colour: Any) -> None:
        """Write it into a picture, from ``x`` on, with its base line at ``baseline`` [px]."""
        pen = ImageDraw.Draw(picture)
        for run, font in self._runs:
            pen.text((x, baseline), run, colour, font, anchor="ls")
            x += font.getlength(run)


def _families(text: str) -> tuple[str, ...]:
    faces = [_face_of(letter) for letter in dict.fromkeys(text) if not letter.isspace() and letter.isprintable()]
    return tuple(dict.fromkeys([FAMILY, *(face.family for face in faces if face is not None)]))


def _width(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) == "Mn":
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _runs(text: str) -> list[tuple[str, _Face]]:
    """Cut a text where its font changes; letters stay in the font of the one before if that has them."""
    runs: list[tuple[str, _Face]] = []
    for letter in text:
        face = runs[-1][1] if runs and _has(runs[-1][1], letter) else _face_of(letter) or _own_face()
        if runs and (face == runs[-1][1] or letter.isspace()):
            runs[-1] = (runs[-1][0] + letter, runs[-1][1])
        else:
            runs.append((letter, face))
    return runs


@functools.lru_cache(maxsize=64)
def _pil_font(face: _Face, size_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(face.path, size_px, index=face.number)


@functools.cache
def _face_of(letter: str) -> _Face | None:
    """Find a font that can draw a letter; None where there is none."""
    for list_faces in (lambda: (_own_face(),), _installed_faces, _new_faces):
        for face in list_faces():
            if _has(face, letter) and _draws(face, letter):
                return face
    _missing.setdefault(_script(letter), False)
    return None


@functools.cache
def _own_face() -> _Face:
    import matplotlib

    return _Face(FAMILY, str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), 0)


@functools.cache
def _installed_faces() -> tuple[_Face, ...]:
    """The fonts that matplotlib knows, preferred ones first."""
    from matplotlib.font_manager import fontManager

    return _one_of_each_family(fontManager.ttflist)


@functools.cache
def _new_faces() -> tuple[_Face, ...]:
    """The fonts that were installed after matplotlib listed them all, which it does once; from now on it knows them."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    known = {entry.fname for entry in fontManager.ttflist}
    count = len(fontManager.ttflist)
    for path in sorted(set(findSystemFonts()) - known):
        with contextlib.suppress(Exception):  # A damaged font is no reason to draw nothing.
            fontManager.addfont(path)
    return _one_of_each_family(fontManager.ttflist[count:])


def _one_of_each_family(entries: Iterable[Any]) -> tuple[_Face, ...]:
    import matplotlib

    own = str(matplotlib.get_data_path())  # Mostly fonts of formulas, whose letters stand in odd places.
    upright = [
        entry for entry in entries if not entry.fname.startswith(own) and not entry.name.startswith(_PLACEHOLDERS)
    ]
    faces: dict[str, _Face] = {}
    for entry in sorted(upright, key=lambda entry: (entry.style != "normal", _far_from_regular(entry.weight))):
        faces.setdefault(entry.name, _Face(entry.name, entry.fname, getattr(entry, "index", 0)))
    ranks = {name: rank for rank, name in enumerate(_PREFERRED)}
    return tuple(sorted(faces.values(), key=lambda face: (ranks.get(face.family, len(ranks)), face.family)))


def _far_from_regular(weight: Any) -> int:
    from matplotlib.font_manager import weight_dict

    return abs((weight_dict.get(weight, 400) if isinstance(weight, str) else int(weight)) - 400)


def _has(face: _Face, letter: str) -> bool:
    import numpy as np

    codes = _codes(face)
    place = int(np.searchsorted(codes, ord(letter)))
    return place < len(codes) and int(codes[place]) == ord(letter)


@functools.cache
def _codes(face: _Face) -> np.ndarray:
    """The code points that a font has, in their order; none of a font that cannot be drawn at every size."""
    import numpy as np

    try:
        font = _opened(face)
        codes: Sequence[int] = sorted(font.get_charmap()) if font.scalable else ()
    except Exception:  # Fonts may be damaged or gone.
        codes = ()
    return np.array(codes, dtype=np.uint32)


def _draws(face: _Face, letter: str) -> bool:
    """Whether the letter has an outline: that of coloured emoji may be empty."""
    font = _opened(face)
    font.set_size(12, 72)
    left, bottom, right, top = font.load_char(ord(letter)).bbox
    return letter.isspace() or (right > left and top > bottom)


def _opened(face: _Face) -> Any:
    from matplotlib.ft2font import FT2Font

    return FT2Font(face.path, face_index=face.number) if face.number else FT2Font(face.path)


_missing: dict[str, bool] = {}
"""Scripts of which some letter has no font, and whether that was said."""


def _tell_missing() -> None:
    """Say which scripts have no font, once for each."""
    scripts = [script for script, said in _missing.items() if not said]
    if scripts:
        _missing.update(dict.fromkeys(scripts, True))
        _logger.warning(
            "No installed font has some letters (%s), which are drawn as boxes; install one that has them, e.g. of "
            "Google's Noto (on Debian and Ubuntu: fonts-noto-cjk for Chinese, Japanese and Korean, fonts-noto-core for "
            "most other scripts, fonts-symbola for emoji).",
            ", ".join(scripts),
        )


def _script(letter: str) -> str:
    if unicodedata.category(letter)[0] not in "LMN":
        return "emoji and other signs"
    first = unicodedata.name(letter, "unknown").split()[0]
    return _SCRIPTS.get(first, first.capitalize())
