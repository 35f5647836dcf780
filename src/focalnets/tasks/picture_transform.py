"""From an item to what a batch is made of, where the answer stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Alter", "PictureTransform"]

Alter = Callable[["Image.Image", int], "Image.Image"]
"""Takes what the network is to see of a picture and the picture's number in its data, and returns a changed one of the
same size; see :mod:`focalnets.tasks.robustness`."""


class PictureTransform:
    """A transform of an item's picture that leaves the answer alone. Reading processes need it, so it can be pickled.

    Args:
        crop: Picture to what the network is to see of it.
        tensor: That to a tensor.
        alter: Changes it in between.
    """

    def __init__(
        self, crop: Callable[[Any], Any], tensor: Callable[[Any], Tensor] | None = None, alter: Alter | None = None
    ) -> None:
        self.crop, self.tensor, self.alter = crop, tensor, alter

    def __call__(self, item: tuple[Any, Any], index: int) -> tuple[Any, Any]:
        """Prepare the item (picture, answer) of a number."""
        picture = self.crop(item[0])
        if self.alter is not None:
            picture = self.alter(picture, index)
        return (picture if self.tensor is None else self.tensor(picture)), item[1]
