"""From a picture to the input of a network and back.

Legend: S input size, H W height and width, C channels: 3 colours in RGB order, or 1 grey value. Pictures are PIL images
in mode RGB.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from focalnets.data.images import DEFAULT_MAX_PIXELS, read_image
from focalnets.errors import ConfigError, ImageError
from focalnets.models.config import Preprocessing, WholeImage
from focalnets.models.input_specs import LARGEST_SIDE_PX

__all__ = [
    "LONGEST_ASPECT",
    "Augmentation",
    "ResizeAndCrop",
    "ResizeWhole",
    "bounded_size",
    "denormalize",
    "evaluation_transform",
    "framing",
    "load_for_model",
    "resize_whole",
    "to_tensor",
    "training_transform",
]

Augmentation = Literal["none", "light", "strong"]
"""``none`` = as in evaluation; ``light`` = random crop and mirroring; ``strong`` = also random colours, geometry and
erasing."""

LONGEST_ASPECT = 32
"""Longer over shorter side beyond which a network sees a whole picture smaller, with as many pixels as one so long."""

_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


class ResizeAndCrop:
    """Resize so that the crop covers ``crop_fraction`` of the shorter side, then cut out the centre.

    Only the pixels of the crop are computed, which is faster than resizing everything and keeps a picture of 1 x 10000
    pixels from growing out of memory. The values are those of resizing with antialiasing followed by cropping.

    Args:
        size_px: Height and width S of the crop [px].
        crop_fraction: Share of the shorter side, above 0 and at most 1. The shorter side becomes S / crop_fraction
            [px], rounded down as the published evaluations do.
        interpolation: ``bicubic`` or ``bilinear``.
    """

    def __init__(self, size_px: int, crop_fraction: float, interpolation: str) -> None:
        self.size_px = size_px
        self.shorter_side_px = int(size_px / crop_fraction + 1e-6)
        self.resampling = _RESAMPLING[interpolation]

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the crop, S x S."""
        size = self.size_px
        width, height = _size_with_shorter_side(image.size, self.shorter_side_px)
        left, top = round((width - size) / 2), round((height - size) / 2)
        x_scale, y_scale = image.width / width, image.height / height
        box = (left * x_scale, top * y_scale, (left + size) * x_scale, (top + size) * y_scale)
        # Rounding may carry the end of the box past the image by less than a millionth of a pixel.
        box = (box[0], box[1], min(box[2], image.width), min(box[3], image.height))
        return image.resize((size, size), self.resampling, box=box)

    def __repr__(self) -> str:
        return f"ResizeAndCrop(size_px={self.size_px}, shorter_side_px={self.shorter_side_px})"


class ResizeWhole:
    """Resize the whole picture to the size at which a network sees it, see :meth:`WholeImage.size_of`.

    Args:
        spec: The size, and the interpolation, which smooths where it makes smaller.
        max_pixels: Largest picture that is made [px].
    """

    def __init__(self, spec: WholeImage, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        self.spec, self.max_pixels = spec, max_pixels

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the resized picture.

        Raises:
            ImageError: If it would be larger than ``max_pixels``.
        """
        width, height = self.spec.size_of(*image.size)
        if width * height > self.max_pixels:
            raise ImageError(
                f"A picture of {image.width} x {image.height} pixels would become {width} x {height}; use a smaller "
                "input size."
            )
        return (
            image
            if (width, height) == image.size
            else image.resize((width, height), _RESAMPLING[self.spec.interpolation])
        )

    def __repr__(self) -> str:
        return f"ResizeWhole({self.spec.in_words()})"


def framing(spec: Preprocessing) -> ResizeAndCrop | ResizeWhole:
    """Make what turns a picture into what a network sees of it, in evaluation."""
    if isinstance(spec, WholeImage):
        return ResizeWhole(spec)
    return ResizeAndCrop(spec.input_size_px, spec.crop_fraction, spec.interpolation)


class NormalizedTensor:
    """Picture of any size (uint8) to normalised tensor (C, H, W) float32.

    For a network of one channel the picture is turned grey (0.299 red + 0.587 green + 0.114 blue). The values are, bit
    for bit, those of ToImage, ToDtype with scale and Normalize of torchvision, in one step: each of these looks through
    its arguments first, which counts where images are small.

    Args:
        preprocessing: Mean and standard deviation of each channel, 1 or 3.

    Raises:
        ConfigError: If the network takes another number of channels than pictures have.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        if preprocessing.channels not in (1, 3):
            raise ConfigError(
                f"A picture gives a network 3 channels (red, green, blue) or 1 (grey), but this one takes "
                f"{preprocessing.channels}; give it tensors (B, {preprocessing.channels}, H, W) in Python instead."
            )
        self.grey = preprocessing.channels == 1
        self.mean = torch.tensor(preprocessing.mean).view(-1, 1, 1)
        self.std = torch.tensor(preprocessing.std).view(-1, 1, 1)

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """The tensor (C, H, W) float32 of a picture in mode RGB."""
        if self.grey:
            pixels = torch.from_numpy(np.array(image.convert("L"))).unsqueeze(0)
        else:
            pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        return pixels.to(torch.float32).mul_(1.0 / 255).sub_(self.mean).div_(self.std)


def to_tensor(preprocessing: Preprocessing) -> NormalizedTensor:
    """Picture of any size (uint8) to normalised tensor (C, H, W) float32, for networks of 3 channels or 1."""
    return NormalizedTensor(preprocessing)


class Steps:
    """Transforms one after the other, as ``torchvision.transforms.v2.Compose`` without importing torchvision.

    Args:
        *steps: Each takes what the one before it returns.
    """

    def __init__(self, *steps: Callable[[Any], Any]) -> None:
        self.steps = steps

    def __call__(self, item: Any) -> Any:
        """Apply all steps."""
        for step in self.steps:
            item = step(item)
        return item

    def __repr__(self) -> str:
        return f"Steps({', '.join(map(repr, self.steps))})"


def evaluation_transform(preprocessing: Preprocessing) -> Steps:
    """Picture to (C, S, S) float32, or (C, H, W) of a whole image: resize, centre crop, scale to 0..1, normalise.

    Source: evaluation of the official code: bicubic, shorter side 256/224 of the crop, rounded down.
    """
    return Steps(framing(preprocessing), to_tensor(preprocessing))


def training_transform(
    preprocessing: Preprocessing,
    *,
    augmentation: Augmentation = "light",
    scale: tuple[float, float] = (0.35, 1.0),
    horizontal_flip: float = 0.5,
    randaugment_magnitude: float = 9.0,
    randaugment_noise: float = 0.5,
    colour_jitter: float = 0.4,
    erasing: float = 0.25,
) -> Callable[[Image.Image], torch.Tensor]:
    """Picture to randomly changed (C, S, S) float32.

    Crop and resizing come first and work on bytes; all later steps see S x S pixels only.

    Args:
        preprocessing: Size, interpolation and normalisation.
        augmentation: See :data:`Augmentation`. The defaults of what ``strong`` adds are those of the published recipe.
        scale: Smallest and largest share of the picture's area that a random crop covers.
        horizontal_flip: Probability of mirroring; 0 for pictures where left and right matter, e.g. writing.
        randaugment_magnitude: Strength of two operations of RandAugment, from 0 to 10; for ``strong``.
        randaugment_noise: Standard deviation of that strength; for ``strong``.
        colour_jitter: Largest relative change of brightness, contrast and saturation; for ``strong``.
        erasing: Probability of overwriting a rectangle with normal noise, pixel by pixel; for ``strong``.

    Raises:
        ConfigError: If a value is out of range.
    """
    # Not needed in evaluation, and importing torchvision takes as long as importing torch.
    from torchvision.transforms import InterpolationMode, v2

    from focalnets.data.randaugment import STRONGEST, noisy_randaugment

    if augmentation not in ("none", "light", "strong"):
        raise ConfigError(f"augmentation must be 'none', 'light' or 'strong', got {augmentation!r}.")
    if not 0.0 < scale[0] <= scale[1] <= 1.0:
        raise ConfigError(f"scale must be two shares of the area with 0 < smallest <= largest <= 1, got {scale}.")
    if not 0.0 <= horizontal_flip <= 1.0:
        raise ConfigError(f"horizontal_flip is a probability from 0 to 1, got {horizontal_flip!r}.")
    if not 0.0 <= randaugment_magnitude <= STRONGEST or randaugment_noise < 0.0:
        raise ConfigError(
            "randaugment_magnitude must be from 0 to 10 and randaugment_noise 0 or more, got "
            f"{randaugment_magnitude!r} and {randaugment_noise!r}."
        )
    if augmentation == "none":
        return evaluation_transform(preprocessing)
    size = preprocessing.input_size_px
    interpolation = InterpolationMode(preprocessing.interpolation)
    steps: list[Callable] = [
        v2.RandomResizedCrop(size, scale=scale, interpolation=interpolation, antialias=True),
        v2.RandomHorizontalFlip(horizontal_flip),
    ]
    if augmentation == "strong":
        mean_colour = [round(255 * value) for value in preprocessing.mean]
        if preprocessing.channels == 1:
            mean_colour = 3 * mean_colour  # pictures turn grey after this
        steps.append(noisy_randaugment(randaugment_magnitude, randaugment_noise, mean_colour))
        steps.append(v2.ColorJitter(brightness=colour_jitter, contrast=colour_jitter, saturation=colour_jitter))
    steps.append(to_tensor(preprocessing))
    if augmentation == "strong":
        steps.append(v2.RandomErasing(p=erasing, value="random"))
    return v2.Compose(steps)


def denormalize(images: torch.Tensor, preprocessing: Preprocessing) -> np.ndarray:
    """Network inputs (..., C, H, W) back to pixels (..., H, W, 3), uint8, on the CPU, e.g. for drawing."""
    mean = images.new_tensor(preprocessing.mean, dtype=torch.float32).view(-1, 1, 1)
    std = images.new_tensor(preprocessing.std, dtype=torch.float32).view(-1, 1, 1)
    pixels = (images.detach().float() * std + mean).mul(255.0).round().clamp(0.0, 255.0)
    if pixels.shape[-3] == 1:  # grey
        pixels = pixels.expand(*pixels.shape[:-3], 3, *pixels.shape[-2:])
    return pixels.to(torch.uint8).movedim(-3, -1).cpu().numpy()


def load_for_model(
    path: str | Path,
    preprocessing: Preprocessing,
    size_px: int | None = None,
    keep_aspect: bool = False,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> tuple[torch.Tensor, Image.Image]:
    """Read one picture for a network, together with what the network will see of it.

    Args:
        path: The image file.
        preprocessing: Size, crop, interpolation and normalisation.
        size_px: Side of the square crop [px], or the shorter side with ``keep_aspect``; None takes
            ``preprocessing.input_size_px``.
        keep_aspect: Show the network the whole picture in its own proportions instead of the centre crop.
        max_pixels: Largest picture that is read, and that is made by resizing [px].

    Returns:
        The normalised tensor (C, H, W) float32 and the picture in mode RGB with the same H and W.

    Raises:
        ImageError: If the file cannot be read, or would be larger than ``max_pixels`` after resizing.
        ConfigError: If ``size_px`` is out of range.
    """
    size = preprocessing.input_size_px if size_px is None else size_px
    if not 1 <= size <= LARGEST_SIDE_PX:
        raise ConfigError(f"size_px must be a whole number from 1 to {LARGEST_SIDE_PX:,}, got {size}.")
    image = read_image(path, max_pixels=max_pixels)
    if keep_aspect:
        image = resize_whole(image, size, preprocessing, name=f"'{path}'", max_pixels=max_pixels)
    else:
        image = ResizeAndCrop(size, preprocessing.crop_fraction, preprocessing.interpolation)(image)
    return to_tensor(preprocessing)(image), image


def resize_whole(
    image: Image.Image,
    shorter_side_px: int,
    preprocessing: Preprocessing,
    *,
    name: str = "the image",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    longest_aspect: float | None = None,
) -> Image.Image:
    """The whole picture in its own proportions, with a shorter side as asked; ``name`` is what errors call it.

    Args:
        image: The picture.
        shorter_side_px: Its new shorter side [px].
        preprocessing: The interpolation.
        name: What errors call it.
        max_pixels: Largest picture that is made [px].
        longest_aspect: Longer over shorter side beyond which it becomes smaller than asked, see :func:`bounded_size`.

    Raises:
        ImageError: If it would be larger than ``max_pixels``.
    """
    width, height = _size_with_shorter_side(image.size, shorter_side_px)
    if longest_aspect is not None:
        width, height = bounded_size(width, height, int(longest_aspect * shorter_side_px**2))
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {image.width} x {image.height} pixels and would have {width} x {height} with a shorter side "
            f"of {shorter_side_px}, more than the limit of {max_pixels / 1e6:.1f} megapixels; use a smaller size."
        )
    return image.resize((width, height), _RESAMPLING[preprocessing.interpolation])


def bounded_size(width: int, height: int, most_pixels: int) -> tuple[int, int]:
    """Shrink a size, in its proportions, to at most so many pixels; smaller ones stay.

    One pixel stays across whatever the proportions; then only the longer side shrinks on.
    """
    if width * height <= most_pixels:
        return width, height
    scale = math.sqrt(most_pixels / (width * height))
    shorter = max(1, int(scale * min(width, height)))
    longer = min(int(scale * max(width, height)), most_pixels // shorter)
    return (longer, shorter) if width >= height else (shorter, longer)


def _size_with_shorter_side(size: tuple[int, int], shorter_side_px: int) -> tuple[int, int]:
    """Width and height [px] with the shorter side as asked and the longer one rounded down, as torchvision does."""
    width, height = size
    if width <= height:
        return shorter_side_px, int(shorter_side_px * height / width)
    return int(shorter_side_px * width / height), shorter_side_px
