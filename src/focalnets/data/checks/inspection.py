"""Looks at every image of a data set before a network does: one row an image, from which findings are drawn."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from focalnets.data.checks.properties import Properties, measure_picture
from focalnets.data.decoding import declared_white, has_16_bits, uses_few_bits
from focalnets.data.images import decode_image, encoded_image_size, image_header
from focalnets.data.samples import ImageFile, Sample
from focalnets.errors import ImageError

__all__ = ["InspectedImage", "inspect_images", "near_pairs"]

_COMPARED_PX = 256
_NEAR_BITS, _LEAST_STRUCTURE = 3, 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class InspectedImage:
    """What one image file is.

    Attributes:
        name: Its name, stable when the data moves.
        side: train or val.
        label: Index of its class.
        error: Why it cannot be read; None if it can. Then the rest is unknown.
        width, height: Size [px] after EXIF rotation.
        mode: Pillow's name of how pixels are stored, e.g. RGB, L, CMYK.
        frames: Pictures in the file; above 1 for animations, of which the first is used.
        sha256: Hash of the bytes.
        few_bits: Whether its values have 16 bits but stay within 12, and the file does not say so.
        looks: 64 bits that change little when the picture is resized or saved again, see
            :func:`focalnets.data.checks.properties.perceptual_hash`.
        properties: What it is like, which should not tell its class.
    """

    name: str
    side: str
    label: int
    error: str | None = None
    width: int = 0
    height: int = 0
    mode: str = ""
    frames: int = 1
    sha256: str = ""
    looks: int = 0
    few_bits: bool = False
    properties: Properties | None = None


def inspect_images(
    sides: Sequence[tuple[str, Sequence[Sample]]],
    name_of: Callable[[ImageFile], str],
    *,
    on_progress: Callable[[int], None] | None = None,
) -> list[InspectedImage]:
    """Read and decode every image, several at a time.

    Args:
        sides: The images of train and val with their class.
        name_of: Gives the name of an image.
        on_progress: Called with the number of images done.
    """
    entries = [(side, file, label) for side, samples in sides for file, label in samples]

    def inspect(entry: tuple[str, ImageFile, int]) -> InspectedImage:
        side, file, label = entry
        name = name_of(file)
        try:
            return _inspect(file.read_bytes(), name, side, label, file)
        except ImageError as error:
            return InspectedImage(name=name, side=side, label=label, error=str(error))
        except OSError as error:
            return InspectedImage(
                name=name, side=side, label=label, error=f"'{name}' cannot be read ({error.strerror})"
            )

    inspected = []
    # Decoding leaves Python's lock, so threads are enough and need no copies of the list.
    with ThreadPoolExecutor() as pool:
        for image in pool.map(inspect, entries):
            inspected.append(image)
            if on_progress is not None:
                on_progress(len(inspected))
    return inspected


def near_pairs(hashes: Sequence[int]) -> list[tuple[int, int]]:
    """Find pairs of pictures that look alike: whose hashes differ in at most three bits; plain ones are left out.

    Args:
        hashes: Of :func:`focalnets.data.checks.properties.perceptual_hash`.

    Returns:
        Numbers of the two pictures, the smaller first, in the order of the larger.
    """
    # Two hashes that differ in at most three bits agree in one of four quarters.
    quarters: dict[tuple[int, int], list[int]] = collections.defaultdict(list)
    found: dict[tuple[int, int], None] = {}
    for number, looks in enumerate(hashes):
        if not _LEAST_STRUCTURE <= looks.bit_count() <= 64 - _LEAST_STRUCTURE:
            continue
        for quarter in range(4):
            bucket = quarters[quarter, looks >> (16 * quarter) & 0xFFFF]
            # Where thousands look alike, the last ones say enough, and comparing all would take for ever.
            for other in bucket[-1000:]:
                if (looks ^ hashes[other]).bit_count() <= _NEAR_BITS:
                    found[other, number] = None
            bucket.append(number)
    return list(found)


def _inspect(data: bytes, name: str, side: str, label: int, file_of: ImageFile) -> InspectedImage:
    quoted = f"'{name}'"
    # Decoding coarsely reads a file to its end too, and what is compared is much smaller.
    picture = decode_image(data, name=quoted, smallest_side_px=_COMPARED_PX)
    width, height = encoded_image_size(data, name=quoted)
    with image_header(io.BytesIO(data), quoted) as header:
        mode, frames = header.mode, 1
        # Counting reads the later pictures, which may be damaged in any way; the first one is whole.
        with contextlib.suppress(Exception):
            frames = int(getattr(header, "n_frames", 1))
    few_bits = False
    file = io.BytesIO(data)
    with image_header(file, quoted) as header:
        if has_16_bits(header) and declared_white(header, file) is None:
            few_bits = uses_few_bits(header)
    properties = measure_picture(picture, file_of, data)
    return InspectedImage(
        name=name,
        side=side,
        label=label,
        width=width,
        height=height,
        mode=mode,
        frames=frames,
        sha256=hashlib.sha256(data).hexdigest(),
        looks=properties.looks,
        few_bits=few_bits,
        properties=properties,
    )
