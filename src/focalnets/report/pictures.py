"""Pictures of any proportions on a canvas of bounded size."""

from __future__ import annotations

from PIL import Image

__all__ = ["fit_within"]


def fit_within(picture: Image.Image, longest_px: int) -> Image.Image:
    """Make a picture smaller whose longer side exceeds ``longest_px``, in its proportions; others stay the same object.

    Of a very long and narrow picture at least one pixel stays across, so that it is drawn less narrow than it is.
    """
    scale = longest_px / max(picture.size)
    if scale >= 1.0:
        return picture
    size = (max(1, round(scale * picture.width)), max(1, round(scale * picture.height)))
    return picture.resize(size, Image.Resampling.LANCZOS)
