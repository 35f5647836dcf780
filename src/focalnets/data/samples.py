"""Where labelled images are stored, and the data set that reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

from focalnets.data.images import DEFAULT_MAX_PIXELS, decode_image, encoded_image_size, image_size, read_image
from focalnets.data.shards.members import ShardMember

__all__ = ["ImageFile", "ImageFolder", "Sample", "read_stored_image", "stored_bytes", "stored_image_size"]


ImageFile = Path | ShardMember
"""Where an image is stored: its own file, or a member of a shard. Both have ``read_bytes()``."""


Sample = tuple[ImageFile, int]
"""An image and the index of its class."""


def read_stored_image(
    file: ImageFile, *, max_pixels: int = DEFAULT_MAX_PIXELS, smallest_side_px: int | None = None
) -> Image.Image:
    """Read an image as upright RGB wherever it is stored, see :func:`focalnets.data.images.read_image`."""
    if isinstance(file, Path):
        return read_image(file, max_pixels=max_pixels, smallest_side_px=smallest_side_px)
    return decode_image(file.read_bytes(), name=f"'{file}'", max_pixels=max_pixels, smallest_side_px=smallest_side_px)


def stored_image_size(file: ImageFile) -> tuple[int, int]:
    """Width and height [px] of an image wherever it is stored, from its header alone.

    Raises:
        ImageError: If the image is missing, unreadable or no image.
    """
    return image_size(file) if isinstance(file, Path) else encoded_image_size(file.read_bytes(), name=f"'{file}'")


def stored_bytes(file: ImageFile) -> int:
    """Size of an image file [bytes]."""
    return file.stat().st_size if isinstance(file, Path) else file.size


class ImageFolder(Dataset):
    """Stored images with their class, read when asked for.

    Args:
        samples: Images and the index of their class in ``classes``.
        classes: Names of the classes.
        transform: Called with the upright RGB image; what it returns is the item. None returns the image itself.
        notes: What of the data is not used, a line each, for whoever shows it.
        max_pixels: Largest image that is decoded [px], see :func:`focalnets.data.images.read_image`.
        smallest_side_px: Lets JPEGs be decoded at a fraction of their size, see there. Faster; changes values slightly.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        classes: Sequence[str],
        transform: Callable[[Any], Any] | None = None,
        *,
        notes: Sequence[str] = (),
        max_pixels: int = DEFAULT_MAX_PIXELS,
        smallest_side_px: int | None = None,
    ) -> None:
        self.notes = tuple(notes)
        self.samples: tuple[Sample, ...] = tuple(
            (file if isinstance(file, ShardMember) else Path(file), int(label)) for file, label in samples
        )
        self.classes = tuple(classes)
        self.transform = transform
        self.max_pixels = max_pixels
        self.smallest_side_px = smallest_side_px
        assert all(0 <= label < len(self.classes) for _, label in self.samples), "a label is no index of a class"

    @property
    def class_of(self) -> list[int]:
        """Index of the class of each image."""
        return [label for _, label in self.samples]

    @property
    def shard_of(self) -> list[int] | None:
        """Number of the shard of each image, where these lie on a server; None where images are on this disk."""
        files = [file for file, _ in self.samples]
        if not files or not isinstance(files[0], ShardMember) or not files[0].shard.is_remote:
            return None
        numbers: dict[str, int] = {}
        return [numbers.setdefault(file.shard.location, len(numbers)) for file in files]  # type: ignore[union-attr]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """One transformed image and its label.

        Raises:
            ImageError: If the image cannot be read; the message names it.
        """
        file, label = self.samples[index]
        image = read_stored_image(file, max_pixels=self.max_pixels, smallest_side_px=self.smallest_side_px)
        return (image if self.transform is None else self.transform(image)), label
