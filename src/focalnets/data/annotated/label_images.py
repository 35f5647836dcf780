"""Mask images: the numbers or colours in them, as they were written.

Axes: H W height and width [px].
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from focalnets.data.images import (
    DEFAULT_MAX_PIXELS,
    exif_orientation,
    image_header,
    open_image_file,
    turned_upright,
)
from focalnets.errors import ImageError

__all__ = ["read_label_image"]


def read_label_image(path: Path) -> np.ndarray:
    """Read the numbers that a mask image holds, turned as its own EXIF data says.

    Returns:
        (H, W), of whole numbers or booleans: of a palette image the indices, not the colours. (H, W, 3) uint8 for
        images in colour, whatever their transparency.

    Raises:
        ImageError: If it cannot be read, or is a JPEG, which does not keep numbers as they were.
    """
    with open_image_file(path) as file:
        image = image_header(file, f"'{path}'")
        if image.format in ("JPEG", "MPO"):
            raise ImageError(f"the mask '{path}' is a JPEG, which blurs numbers into each other; store it as PNG.")
        if image.width * image.height > DEFAULT_MAX_PIXELS:
            raise ImageError(
                f"the mask '{path}' has {image.width} x {image.height} pixels, more than the limit of "
                f"{DEFAULT_MAX_PIXELS / 1e6:.0f} megapixels; cut it into pieces."
            )
        try:
            image.load()
        except Exception as error:  # Damaged files make decoders raise anything.
            reason = str(error).rstrip(".") or type(error).__name__
            raise ImageError(
                f"the mask '{path}' is damaged or incomplete ({reason}); save or fetch it again."
            ) from error
        orientation = exif_orientation(image)
        if image.mode in ("LA", "La", "PA"):
            image = image.getchannel(0)
        elif image.mode not in ("1", "L", "P", "I", "F") and not image.mode.startswith("I;16"):
            image = image.convert("RGBA" if image.mode == "RGBa" else "RGB").convert("RGB")
        return np.asarray(turned_upright(image, orientation))
