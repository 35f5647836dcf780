"""Pictures of any proportions on a canvas of bounded size."""

from __future__ import annotations

from PIL import Image

__all__ = ["fit_within", "seen_well", "widening"]

_NARROWEST = 36
"""Longer over shorter side beyond which little more than a line would be seen of a picture."""


def fit_within(picture: Image.Image, longest_px: int) -> Image.Image:
    """Make a picture smaller whose longer side exceeds ``longest_px``, in its proportions; others stay the same object.

    One pixel stays across whatever the proportions.
    """
    scale = longest_px / max(picture.size)
    if scale >= 1.0:
        return picture
    size = (max(1, round(scale * picture.width)), max(1, round(scale * picture.height)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def seen_well(picture: Image.Image, longest_px: int) -> Image.Image:
    """Fit a picture into a canvas, and widen it where so little would be seen of it, see :func:`widening`."""
    if widening(picture.size) == 1.0:
        return fit_within(picture, longest_px)
    longer = min(longest_px, max(picture.size))
    shorter = max(1, round(longer / _NARROWEST))
    size = (longer, shorter) if picture.width > picture.height else (shorter, longer)
    return picture.resize(size, Image.Resampling.LANCZOS)


def widening(size: tuple[int, int]) -> float:
    """How many times as wide across as it is a long and narrow picture is drawn; 1 for those of usual proportions."""
    return max(1.0, max(size) / min(size) / _NARROWEST)
