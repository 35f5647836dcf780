"""Patterns that show nothing: colours, noise, stripes, fractals, shapes, strokes.

Axes: S side [px]; pictures are (S, S, 3) uint8, RGB.
"""

from __future__ import annotations

import string
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["PATTERNS", "Pattern"]

Pattern = Callable[[np.random.Generator, int], np.ndarray]
"""Draws a picture of the given side from random numbers."""


def _colour(rng: np.random.Generator) -> np.ndarray:
    """Choose a colour (3,) from 0 to 255: any, a pure one, or a grey one down to black and up to white."""
    kind = rng.random()
    if kind < 0.6:
        return rng.uniform(0, 255, 3)
    if kind < 0.8:
        return rng.choice([0.0, 64.0, 128.0, 192.0, 255.0], 3)
    return np.full(3, rng.choice([0.0, 255.0, rng.uniform(0, 255)]))


def _pixels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _between(weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colour a map (S, S) or (S, S, 1) of values from 0 to 1 by two to four colours, one after the other."""
    stops = np.stack([_colour(rng) for _ in range(int(rng.integers(2, 5)))])
    position = np.clip(weight, 0, 1).reshape(*weight.shape[:2], 1) * (len(stops) - 1)
    low = np.minimum(position.astype(int), len(stops) - 2)[..., 0]
    return stops[low] + (stops[low + 1] - stops[low]) * (position - low[..., None])


def _grid(rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates from -1 to 1, turned by any angle, each (S, S)."""
    line = np.linspace(-1, 1, side)
    x, y = np.meshgrid(line, line)
    angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.7 else 0.0
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _field(rng: np.random.Generator, side: int, channels: int) -> np.ndarray:
    """Draw noise (S, S, channels) from 0 to 1 whose spectrum falls with a random power: from white to clouds."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1 / side
    spectrum = frequency[..., None] ** -rng.uniform(0.3, 3.0)
    noise = np.fft.rfft2(rng.standard_normal((side, side, channels)), axes=(0, 1))
    field = np.fft.irfft2(noise * spectrum, s=(side, side), axes=(0, 1))
    low, high = np.percentile(field[::4, ::4], [1, 99])
    return np.clip((field - low) / max(high - low, 1e-9), 0, 1)


def plain(rng: np.random.Generator, side: int) -> np.ndarray:
    """Fill with one colour, now and then with a trace of noise."""
    picture = np.broadcast_to(_colour(rng), (side, side, 3))
    if rng.random() < 0.3:
        picture = picture + rng.normal(0, rng.uniform(0.5, 4), (side, side, 3))
    return _pixels(picture)


def gradient(rng: np.random.Generator, side: int) -> np.ndarray:
    """Let colours pass into each other along a line, from a centre or around it."""
    x, y = _grid(rng, side)
    kind = int(rng.integers(3))
    if kind == 0:
        weight = (x + 1.42) / 2.84
    else:
        x, y = x - rng.uniform(-0.8, 0.8), y - rng.uniform(-0.8, 0.8)
        weight = np.hypot(x, y) / rng.uniform(0.6, 2.2) if kind == 1 else (np.arctan2(y, x) / np.pi + 1) / 2
    return _pixels(_between(weight, rng))


def white_noise(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw every pixel alone: normal, uniform, sparse or black and white; grey or in colours."""
    channels = 1 if rng.random() < 0.35 else 3
    shape = (side, side, channels)
    kind = int(rng.integers(4))
    if kind == 0:
        picture = rng.choice([127.5, rng.uniform(0, 255)]) + rng.normal(0, rng.uniform(8, 90), shape)
    elif kind == 1:
        picture = rng.uniform(0, 255, shape)
    elif kind == 2:
        picture = np.where(rng.random(shape) < rng.uniform(0.02, 0.5), rng.choice([0.0, 255.0], shape), _colour(rng))
    else:
        picture = 255.0 * (rng.random(shape) < rng.uniform(0.2, 0.8))
    return _pixels(np.broadcast_to(picture, (side, side, 3)))


def coarse_noise(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw noise at a few pixels and make it larger, smoothly or in squares."""
    few = int(side / 2 ** rng.uniform(0.5, 5.5))
    channels = 1 if rng.random() < 0.3 else 3
    noise = rng.uniform(0, 255, (max(2, few), max(2, few), channels))
    if rng.random() < 0.5:
        noise = 127.5 + rng.normal(0, rng.uniform(15, 90), noise.shape)
    small = Image.fromarray(_pixels(np.broadcast_to(noise, (*noise.shape[:2], 3)).copy()))
    way = [Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC][int(rng.integers(3))]
    return np.asarray(small.resize((side, side), way))


def clouds(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw noise with a falling spectrum, one field in a few colours or one for each channel."""
    if rng.random() < 0.6:
        return _pixels(_between(_field(rng, side, 1), rng))
    return _pixels(255 * _field(rng, side, 3))


def stripes(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw stripes, checks, plaids, rings, waves or dots in rows."""
    x, y = _grid(rng, side)
    rate_x, rate_y = np.exp(rng.uniform(np.log(2), np.log(60), 2))
    if rng.random() < 0.4:
        x = x + rng.uniform(0.02, 0.3) * np.sin(rng.uniform(2, 12) * y)
    kind = int(rng.integers(5))
    waves_x, waves_y = np.sin(rate_x * x + rng.uniform(0, 6)), np.sin((rate_x if kind == 1 else rate_y) * y)
    weight = {
        0: waves_x,
        1: np.sign(waves_x) * np.sign(waves_y),
        2: (waves_x + waves_y) / 2,
        3: np.sin(rate_x * np.hypot(x - rng.uniform(-1, 1), y - rng.uniform(-1, 1))),
        4: waves_x * waves_y,
    }[kind]
    if rng.random() < 0.5:
        weight = np.sign(weight - rng.uniform(-0.6, 0.6))
    return _pixels(_between(weight / 2 + 0.5, rng))


def fractal(rng: np.random.Generator, side: int) -> np.ndarray:
    """Colour a part of a Julia set by how fast its points escape."""
    x, y = _grid(rng, min(side, 96))
    zoom = rng.uniform(0.4, 1.4)
    z = zoom * (x + 1j * y) + rng.uniform(-0.4, 0.4) + 1j * rng.uniform(-0.4, 0.4)
    angle = rng.uniform(0, 2 * np.pi)
    c = rng.uniform(0.95, 1.1) * (np.exp(1j * angle) / 2 - np.exp(2j * angle) / 4)
    steps = np.zeros(z.shape)
    for _ in range(24):
        z = np.where(np.abs(z) < 4, z * z + c, z)
        steps += np.abs(z) < 4
    weight = (steps / 24) ** rng.uniform(0.4, 1.0)
    return np.asarray(Image.fromarray(_pixels(_between(weight, rng))).resize((side, side), Image.Resampling.BICUBIC))


def _ground(rng: np.random.Generator, side: int) -> Image.Image:
    """Draw what shapes and strokes stand on: mostly a plain colour."""
    draw = plain if rng.random() < 0.55 else [gradient, clouds, coarse_noise][int(rng.integers(3))]
    return Image.fromarray(np.ascontiguousarray(draw(rng, side)))


def _tuple(colour: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in _pixels(colour))
    return red, green, blue


def shapes(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw ellipses, boxes and polygons over each other: few large or many small ones, sharp or blurred."""
    picture = _ground(rng, side)
    pen = ImageDraw.Draw(picture)
    count = int(np.exp(rng.uniform(0, np.log(80))))
    largest = side * rng.uniform(0.3, 0.9) / count**0.4
    palette = [_colour(rng) for _ in range(int(rng.integers(1, 6)))]
    alike = int(rng.integers(3)) if rng.random() < 0.5 else None
    for _ in range(count):
        x, y = rng.uniform(0, side, 2)
        width, height = rng.uniform(0.4, 1, 2) * largest / 2
        kind = int(rng.integers(3)) if alike is None else alike
        fill = _tuple(palette[int(rng.integers(len(palette)))] + rng.normal(0, 12, 3))
        outline = _tuple(_colour(rng)) if rng.random() < 0.2 else None
        box = (x - width, y - height, x + width, y + height)
        if kind == 0:
            pen.ellipse(box, fill, outline)
        elif kind == 1:
            pen.rectangle(box, fill, outline)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
            pen.polygon([(x + width * np.cos(a), y + height * np.sin(a)) for a in angles], fill, outline)
    if rng.random() < 0.35:
        picture = picture.filter(ImageFilter.GaussianBlur(side * rng.uniform(0.005, 0.08)))
    return np.asarray(picture)


def strokes(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw lines of writing, straight lines or scribbles."""
    picture = _ground(rng, side)
    pen = ImageDraw.Draw(picture)
    ink = _tuple(_colour(rng))
    kind = int(rng.integers(3))
    if kind == 0:
        letters = list(string.ascii_letters + string.digits + "      .,:-")
        size = side * rng.uniform(0.06, 0.3)
        line = rng.uniform(0, 1) * size
        while line < side:
            text = "".join(rng.choice(letters, int(2.2 * side / size) + 1))
            pen.text((rng.uniform(-0.1, 0.1) * side, line), text, fill=ink, font_size=size)
            line += size * rng.uniform(1.0, 1.5)
    else:
        for _ in range(int(rng.integers(1, 40 if kind == 1 else 6))):
            points = rng.uniform(-0.1, 1.1, (2 if kind == 1 else int(rng.integers(4, 30)), 2)) * side
            if kind == 2:
                points = points[0] + np.cumsum(rng.normal(0, 0.12 * side, points.shape), axis=0)
            colour = ink if rng.random() < 0.7 else _tuple(_colour(rng))
            pen.line([(x, y) for x, y in points], colour, int(side * rng.uniform(0.005, 0.06)) + 1, "curve")
    return np.asarray(picture)


def mixture(rng: np.random.Generator, side: int) -> np.ndarray:
    """Lay two patterns on each other, evenly or by a cloudy mask."""
    simple = [gradient, clouds, stripes, fractal, shapes, coarse_noise, white_noise, plain]
    first, second = (simple[int(place)](rng, side) for place in rng.integers(len(simple), size=2))
    share = rng.uniform(0.2, 0.8) if rng.random() < 0.4 else _field(rng, side, 1) > rng.uniform(0.3, 0.7)
    return _pixels(first * share + second * (1.0 - share))


PATTERNS: dict[str, Pattern] = {
    "plain": plain,
    "gradient": gradient,
    "white noise": white_noise,
    "coarse noise": coarse_noise,
    "clouds": clouds,
    "stripes": stripes,
    "fractal": fractal,
    "shapes": shapes,
    "strokes": strokes,
    "mixture": mixture,
}
"""Every pattern by its name."""
