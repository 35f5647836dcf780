"""Turns decoded pixels of every kind into 8-bit RGB, strip by strip so that large images need little more memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from focalnets.data.png_chunks import significant_bits

__all__ = ["declared_white", "has_16_bits", "to_rgb", "uses_few_bits"]

_STRIP_PX = 4_000_000
_BITS_TAG, _LARGEST_TAG, _LARGEST_OF_ANY_KIND_TAG = 258, 281, 341
_FULL_WHITE = 65535
_FEW_BITS = 12


def to_rgb(image: Image.Image, white: int | None = None, limits: tuple[float, float] | None = None) -> Image.Image:
    """Convert a loaded image to RGB.

    Transparency is laid on white. 16-bit grey is divided so that ``white``, or 65535, becomes 255. Integers of 32 bits
    and floats are taken as 0 to ``white`` or 65535, and 0 to 1, where they lie in these ranges; otherwise the smallest
    finite value becomes black and the largest white.

    Args:
        image: The image. Its pixels may be taken over.
        white: The largest value by the file's own word, see :func:`declared_white`; not believed where a value is
            larger.
        limits: Smallest and largest value of the whole picture that this is a part of; None if it is all.
    """
    if image.mode.startswith("I;16"):
        largest = white if white is not None and (limits or _range_of(image))[1] <= white else _FULL_WHITE
        return _in_strips(image, lambda strip: _grey(np.asarray(strip).astype(np.float64) / largest))
    if image.mode in ("I", "F"):
        low, high = limits or _range_of(image)
        usual = 1.0 if image.mode == "F" else float(_FULL_WHITE)
        if white is not None and low >= 0.0 and high <= white and not (image.mode == "F" and high <= 1.0):
            usual = float(white)
        if low >= 0.0 and high <= usual:
            low, high = 0.0, usual
        return _in_strips(image, lambda strip: _grey(_unit_values(np.asarray(strip).astype(np.float64), low, high)))
    if white is not None and white >= 256:
        # Pillow keeps the upper eight bits of colours, so that few steps are left.
        image = _stretched(image, white >> 8, limits)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        return _in_strips(image, _laid_on_white)
    if image.mode == "RGB":
        # The same pixels without the file; conversion would copy them.
        return image._new(image.im)
    return image.convert("RGB")


def declared_white(image: Image.Image, file: BinaryIO) -> int | None:
    """The largest value of a file with 16 bits and more by its own word; None if it says nothing of less than 16 bits.

    What a TIFF calls its largest value is rounded up to whole bits: it is often that of this very picture, and pictures
    of one camera should be read alike.

    Args:
        image: From the file's header, not yet loaded: loading forgets it.
        file: The file; its position is kept.
    """
    try:
        tags: Any = getattr(image, "tag_v2", None)
        if tags is not None:
            bits = _tiff_bits(tags) if has_16_bits(image) else None
        elif image.format == "PNG" and has_16_bits(image):
            position = file.tell()
            bits = significant_bits(file)
            file.seek(position)
        else:
            bits = None
    except (TypeError, ValueError, OverflowError, IndexError):  # Broken metadata is no reason to refuse a picture.
        return None
    return None if bits is None or bits >= 16 else (1 << max(bits, 8)) - 1


def _tiff_bits(tags: Any) -> int | None:
    bits = max(tags.get(_BITS_TAG, (1,)))
    if 8 < bits < 16:
        return int(bits)
    for tag in (_LARGEST_OF_ANY_KIND_TAG, _LARGEST_TAG):
        value = tags.get(tag)
        if value is None:
            continue
        largest = max(value) if isinstance(value, tuple) else value
        if largest >= 1:
            return int(largest).bit_length()
    return None


def has_16_bits(image: Image.Image) -> bool:
    """Whether the values in the file of an image that is not yet loaded have 16 bits or more, also in colour."""
    if image.mode.startswith("I") or image.mode == "F":
        return True
    return any(
        isinstance(word, str) and ";16" in word
        for tile in getattr(image, "tile", ())
        for word in (tile[3] if isinstance(tile[3], tuple) else (tile[3],))
    )


def uses_few_bits(image: Image.Image) -> bool:
    """Whether values of 16 bits stay within 12, so that the picture is nearly black; loads the image."""
    if image.mode.startswith("I") or image.mode == "F":
        low, high = _range_of(image)
        return image.mode != "F" and low >= 0 and 0 < high < 1 << _FEW_BITS
    if not has_16_bits(image):
        return False
    image.load()
    colours = image.getextrema()[: 1 if image.mode == "LA" else 3]
    return 0 < max(high for _, high in colours) < 1 << (_FEW_BITS - 8)  # type: ignore[misc]


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The first row of each strip, and the strip."""
    width, height = image.size
    rows = max(1, _STRIP_PX // max(width, 1))
    if rows >= height:
        yield 0, image
        return
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _in_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    result: Image.Image | None = None
    for top, strip in _strips(image):
        if strip is image:
            return convert(image)
        if result is None:
            result = Image.new("RGB", image.size, None)
        result.paste(convert(strip), (0, top))
    assert result is not None
    return result


def _laid_on_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _stretched(image: Image.Image, largest: int, limits: tuple[float, float] | None) -> Image.Image:
    bands = [*image.split()]
    colours = len(bands) - (image.mode in ("RGBA", "LA"))
    extrema: Any = [limits] if limits else [band.getextrema() for band in bands[:colours]]
    if max(highest for _, highest in extrema) > largest:
        return image
    for number in range(colours):
        bands[number] = bands[number].point([min(255, round(value * 255 / largest)) for value in range(256)])
    return Image.merge(image.mode, bands)


def _range_of(image: Image.Image) -> tuple[float, float]:
    """The smallest and the largest finite value; zeros where there is none."""
    lows, highs = [], []
    image.load()
    for _, strip in _strips(image):
        values = np.asarray(strip)
        if values.dtype.kind == "f":
            values = values[np.isfinite(values)]
        if values.size:
            lows.append(float(values.min()))
            highs.append(float(values.max()))
    return (min(lows), max(highs)) if lows else (0.0, 0.0)


def _unit_values(values: np.ndarray, low: float, high: float) -> np.ndarray:
    span = high - low if high > low else 1.0
    # Infinities become the ends of the range, NaN becomes black.
    return np.clip(np.nan_to_num((values - low) / span, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)


def _grey(unit_values: np.ndarray) -> Image.Image:
    return Image.fromarray((unit_values * 255.0 + 0.5).astype(np.uint8)).convert("RGB")
