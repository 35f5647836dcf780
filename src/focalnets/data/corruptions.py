"""Pictures spoiled in the ways that cameras, networks and weather spoil them, the same way every time.

The list and the five strengths follow the idea of Hendrycks and Dietterich, Benchmarking neural network robustness,
2019, but operations and strengths are our own: results are not comparable with published ones on ImageNet-C.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter
from torchvision.transforms.v2 import functional

from focalnets.errors import ConfigError, UnknownNameError, nearest

__all__ = ["CORRUPTIONS", "SEVERITIES", "check_corruptions", "corrupt"]

SEVERITIES = (1, 2, 3, 4, 5)
_REFERENCE_PX = 224

Operation = Callable[[Image.Image, float, np.random.Generator], Image.Image]


def corrupt(picture: Image.Image, name: str, severity: int, *, seed: int = 0, index: int = 0) -> Image.Image:
    """Spoil a picture.

    Args:
        picture: In mode RGB. The strength of blur holds for 224 px and grows with the shorter side.
        name: One of :data:`CORRUPTIONS`.
        severity: From 1 to 5.
        seed: Decides about the noise, together with name, severity and index.
        index: Number of the image.

    Returns:
        A picture of the same size and mode.
    """
    operation, strengths = CORRUPTIONS[name]
    random = np.random.default_rng([seed, zlib.crc32(name.encode()), severity, index])
    return operation(picture, strengths[severity - 1], random)


def check_corruptions(names: tuple[str, ...], severities: tuple[int, ...], seed: int) -> None:
    """Refuse what :func:`corrupt` could not do.

    Raises:
        UnknownNameError: If there is no corruption of that name.
        ConfigError: If a severity is not from 1 to 5, or the seed is negative.
    """
    for name in names:
        if name not in CORRUPTIONS:
            raise UnknownNameError(f"There is no corruption {name!r}; {nearest(name, CORRUPTIONS)}")
    if not severities or not set(severities) <= set(SEVERITIES):
        raise ConfigError(f"severities must be whole numbers from 1 to 5, got {', '.join(map(str, severities))}.")
    if seed < 0:
        raise ConfigError(f"seed must be a whole number from 0 up, got {seed}.")


def _from_shares(values: np.ndarray) -> Image.Image:
    return Image.fromarray((values.clip(0.0, 1.0) * 255.0).round().astype(np.uint8))


def _shares(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, dtype=np.float64) / 255.0


def _gaussian_noise(picture: Image.Image, deviation: float, random: np.random.Generator) -> Image.Image:
    values = _shares(picture)
    return _from_shares(values + random.normal(0.0, deviation, values.shape))


def _shot_noise(picture: Image.Image, photons: float, random: np.random.Generator) -> Image.Image:
    return _from_shares(random.poisson(_shares(picture) * photons) / photons)


def _impulse_noise(picture: Image.Image, share: float, random: np.random.Generator) -> Image.Image:
    values = _shares(picture)
    hit = random.random(values.shape) < share
    return _from_shares(np.where(hit, random.integers(0, 2, values.shape), values))


def _gaussian_blur(picture: Image.Image, deviation_px: float, random: np.random.Generator) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(deviation_px * min(picture.size) / _REFERENCE_PX))


def _pixelation(picture: Image.Image, share: float, random: np.random.Generator) -> Image.Image:
    small = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    return picture.resize(small, Image.Resampling.BOX).resize(picture.size, Image.Resampling.NEAREST)


def _jpeg(picture: Image.Image, quality: float, random: np.random.Generator) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, format="jpeg", quality=int(quality))
    return Image.open(stream).convert("RGB")


def _brightness(picture: Image.Image, factor: float, random: np.random.Generator) -> Image.Image:
    return functional.adjust_brightness(picture, factor)


def _contrast(picture: Image.Image, factor: float, random: np.random.Generator) -> Image.Image:
    return functional.adjust_contrast(picture, factor)


def _saturation(picture: Image.Image, factor: float, random: np.random.Generator) -> Image.Image:
    return functional.adjust_saturation(picture, factor)


def _posterization(picture: Image.Image, bits: float, random: np.random.Generator) -> Image.Image:
    return functional.posterize(picture, int(bits))


CORRUPTIONS: dict[str, tuple[Operation, tuple[float, ...]]] = {
    "gaussian_noise": (_gaussian_noise, (0.04, 0.08, 0.14, 0.22, 0.32)),
    "shot_noise": (_shot_noise, (120, 50, 22, 10, 5)),
    "impulse_noise": (_impulse_noise, (0.01, 0.03, 0.07, 0.13, 0.22)),
    "gaussian_blur": (_gaussian_blur, (0.8, 1.5, 2.5, 4.0, 6.0)),
    "pixelation": (_pixelation, (0.6, 0.45, 0.32, 0.22, 0.15)),
    "jpeg": (_jpeg, (40, 25, 15, 10, 6)),
    "brightness": (_brightness, (1.25, 1.5, 1.8, 2.2, 2.8)),
    "darkness": (_brightness, (0.75, 0.55, 0.4, 0.28, 0.18)),
    "contrast": (_contrast, (0.7, 0.5, 0.35, 0.22, 0.12)),
    "saturation": (_saturation, (1.5, 2.0, 3.0, 5.0, 9.0)),
    "greyness": (_saturation, (0.7, 0.5, 0.3, 0.15, 0.0)),
    "posterization": (_posterization, (5, 4, 3, 2, 1)),
}
"""What is done, and how strongly at severity 1 to 5: deviation of values from 0 to 1, photons of white, share of the
values, deviation [px of 224], share of the pixels a side, quality, factor, bits a colour."""
