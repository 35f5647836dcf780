"""Where in a photo the network looks: a window that is resized and mirrored, and what becomes of boxes and maps.

Axes: N objects, H W height and width of the photo, h w of what the network sees [px].
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from focalnets.data.dense.opencv_resize import resize_as_opencv

__all__ = ["Window"]


@dataclasses.dataclass(frozen=True)
class Window:
    """A part of a photo and the size to which it is brought.

    Attributes:
        left, top, width, height: Of the part [px of the photo], whole numbers within it.
        size: Width and height w, h of what becomes of it [px].
        mirrored: Whether left and right are exchanged.
        upside_down: Whether top and bottom are exchanged.
    """

    left: int
    top: int
    width: int
    height: int
    size: tuple[int, int]
    mirrored: bool = False
    upside_down: bool = False

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the result for a pixel of the photo, along x and y."""
        return self.size[0] / self.width, self.size[1] / self.height

    def of_photo(self, photo: Image.Image, interpolation: str, *, antialias: bool = True) -> Image.Image:
        """Cut, resize and mirror a photo.

        Args:
            photo: In mode RGB.
            interpolation: ``bicubic`` or ``bilinear``.
            antialias: Whether to smooth where it becomes smaller. Frameworks that resize by OpenCV do not.
        """
        whole = (0, 0, *photo.size) == (self.left, self.top, self.width, self.height)
        if whole and not antialias and interpolation == "bilinear":
            photo = Image.fromarray(resize_as_opencv(np.asarray(photo), *self.size))
        elif not (whole and self.size == photo.size):
            mode = InterpolationMode(interpolation)
            # Of PIL images torchvision always smooths.
            source = photo if antialias else functional.pil_to_tensor(photo)
            place = (self.top, self.left, self.height, self.width)
            result = functional.resized_crop(source, *place, list(self.size[::-1]), mode, antialias=antialias)
            photo = result if isinstance(result, Image.Image) else functional.to_pil_image(result)
        photo = functional.horizontal_flip(photo) if self.mirrored else photo
        return functional.vertical_flip(photo) if self.upside_down else photo

    def of_boxes(self, boxes: tv_tensors.BoundingBoxes) -> tv_tensors.BoundingBoxes:
        """Move boxes (N, 4) along and cut off what lies outside."""
        place = (self.top, self.left, self.height, self.width)
        boxes = functional.resized_crop(boxes, *place, list(self.size[::-1]))
        boxes = functional.horizontal_flip(boxes) if self.mirrored else boxes
        return functional.vertical_flip(boxes) if self.upside_down else boxes

    def visible(self, boxes: Tensor) -> Tensor:
        """Compute which share of each box (N, 4) of the photo lies in the window, (N,) float32; 0 for empty boxes."""
        low = torch.tensor([self.left, self.top], dtype=boxes.dtype)
        high = low + torch.tensor([self.width, self.height], dtype=boxes.dtype)
        boxes = torch.as_tensor(boxes)
        inside = (boxes[:, 2:].minimum(high) - boxes[:, :2].maximum(low)).clamp(min=0).prod(dim=1)
        area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)
        return torch.where(area > 0, inside / area.clamp(min=1e-12), torch.zeros_like(area))

    def of_map(self, numbers: np.ndarray) -> np.ndarray:
        """Take from a map (H, W) of numbers or booleans the nearest pixel of each, (h, w).

        Middles of pixels are compared; the nearest of torchvision compares their corners and so shifts maps by up to
        half a pixel against photo and boxes.
        """
        rows = self.top + ((np.arange(self.size[1]) + 0.5) * (self.height / self.size[1])).astype(np.int64)
        columns = self.left + ((np.arange(self.size[0]) + 0.5) * (self.width / self.size[0])).astype(np.int64)
        rows = rows[::-1] if self.upside_down else rows
        columns = columns[::-1] if self.mirrored else columns
        return numbers[rows[:, None], columns[None, :]]
