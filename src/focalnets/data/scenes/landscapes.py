"""The land and sky behind generated scenes: gradients, sun, clouds, mountains, hills, lakes, and the colours in use.

Legend: S side of the image [px]; images (S, S, 3) float32, 0 to 255; x to the right and y down, 0 to 1 across the
image.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from focalnets.data.scenes.shapes import Colour, mix

__all__ = [
    "DISTRACTOR_PALETTES",
    "GRAIN",
    "LAND",
    "MOODS",
    "TARGET_PALETTES",
    "Canvas",
    "Mood",
    "Palette",
    "texture_at",
]


@dataclasses.dataclass(frozen=True)
class Mood:
    """The colours of one time of day and year.

    Attributes:
        name: Of this time.
        sky: From the top of the sky to the horizon.
        sun: Sun or moon.
        cloud: Clouds.
        far, near: The farthest and the nearest hill; those between are mixed.
        leaves: Plants.
        water: Lakes.
        stars: Whether stars are out.
    """

    name: str
    sky: tuple[Colour, Colour, Colour]
    sun: Colour
    cloud: Colour
    far: Colour
    near: Colour
    leaves: Colour
    water: Colour
    stars: bool = False


MOODS = (
    Mood(
        "summer", ((92, 162, 214), (150, 200, 228), (222, 236, 232)), (255, 246, 206), (255, 255, 252),
        (158, 188, 200), (104, 148, 86), (64, 112, 72), (118, 178, 200),
    ),
    Mood(
        "dawn", ((122, 134, 188), (222, 168, 184), (255, 214, 176)), (255, 238, 190), (255, 224, 214),
        (186, 158, 182), (94, 92, 116), (76, 82, 104), (206, 172, 186),
    ),
    Mood(
        "sunset", ((70, 78, 134), (208, 116, 120), (255, 190, 112)), (255, 224, 140), (246, 172, 142),
        (152, 106, 136), (66, 56, 84), (58, 58, 78), (204, 134, 122),
    ),
    Mood(
        "autumn", ((150, 186, 200), (206, 216, 206), (246, 230, 200)), (255, 240, 200), (255, 250, 240),
        (184, 180, 172), (172, 122, 70), (188, 104, 54), (150, 176, 180),
    ),
    Mood(
        "winter", ((136, 168, 200), (190, 210, 226), (238, 236, 236)), (255, 250, 230), (250, 252, 255),
        (176, 194, 212), (226, 232, 240), (74, 104, 110), (164, 192, 212),
    ),
    Mood(
        "desert", ((104, 168, 200), (190, 212, 204), (250, 228, 186)), (255, 244, 200), (255, 250, 236),
        (214, 166, 134), (206, 150, 96), (120, 138, 82), (126, 182, 186),
    ),
    Mood(
        "night", ((22, 30, 66), (44, 60, 108), (98, 112, 150)), (246, 242, 216), (96, 110, 150),
        (76, 92, 134), (32, 42, 70), (28, 50, 66), (62, 82, 130), stars=True,
    ),
    Mood(
        "mist", ((168, 198, 196), (202, 220, 208), (232, 236, 218)), (255, 252, 226), (248, 252, 246),
        (170, 196, 188), (74, 118, 92), (52, 98, 78), (160, 196, 194),
    ),
)  # fmt: skip

GRAIN = 1.6
"""How strongly the grain of paper shows."""

LAND = ("sky", "mountain", "ground", "water")
"""What there is where no object is seen. Clouds, stars and far birds are part of what is behind them."""

Palette = tuple[Colour, Colour, Colour]
"""The main colour of a thing, a second one and one for small parts."""

TARGET_PALETTES: tuple[Palette, ...] = (
    ((228, 62, 52), (255, 246, 224), (44, 50, 92)),
    ((246, 130, 36), (255, 246, 224), (44, 50, 92)),
    ((214, 48, 106), (255, 246, 224), (44, 50, 92)),
    ((250, 196, 48), (214, 48, 66), (44, 50, 92)),
    ((255, 246, 224), (228, 62, 52), (44, 50, 92)),
    ((255, 246, 224), (214, 48, 106), (44, 50, 92)),
    ((214, 48, 66), (250, 196, 48), (44, 50, 92)),
    ((255, 240, 206), (246, 130, 36), (44, 50, 92)),
)
"""Vivid and shared by all classes: they draw the eye to the target but do not tell which one it is. Most pairs exist in
both orders, or the share of each colour would give the class away."""

DISTRACTOR_PALETTES: tuple[Palette, ...] = (
    ((70, 124, 164), (156, 196, 206), (60, 80, 100)),
    ((88, 150, 122), (174, 206, 184), (60, 80, 100)),
    ((122, 120, 172), (186, 184, 214), (60, 80, 100)),
    ((104, 142, 152), (190, 204, 204), (60, 80, 100)),
)
"""Cool and quieter, for what else is in the air."""


@functools.lru_cache(maxsize=4)
def _grids(side: int) -> tuple[np.ndarray, np.ndarray]:
    centres = (np.arange(side, dtype=np.float32) + 0.5) / side
    return centres[None, :], centres[:, None]


@functools.lru_cache(maxsize=1)
def _texture() -> np.ndarray:
    """A tile (256, 256) of soft brush marks that repeats without a seam, mean 0 and about -1 to 1."""
    spectrum = np.fft.rfft2(np.random.default_rng(7).standard_normal((256, 256)))
    y, x = np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None, :]
    # Wider than high: strokes, and no energy in scales so large that they would look like shadows.
    strokes = np.fft.irfft2(spectrum * np.exp(-((x * 30) ** 2) - (y * 9) ** 2) * ((x**2 + y**2) > 2e-4), s=(256, 256))
    grain = np.random.default_rng(8).standard_normal((256, 256))
    return (0.4 * strokes / strokes.std() + 0.12 * grain).astype(np.float32)


@functools.lru_cache(maxsize=4)
def _texture_for(side: int) -> np.ndarray:
    """Enough repetitions to cut S x S from anywhere in the first tile."""
    repetitions = math.ceil(side / 256) + 1
    return np.tile(_texture(), (repetitions, repetitions))


def texture_at(rng: np.random.Generator, side: int) -> np.ndarray:
    """Cut brush marks (S, S) from anywhere, mean 0 and about -1 to 1."""
    dx, dy = rng.integers(0, 256, 2)
    return _texture_for(side)[dy : dy + side, dx : dx + side]


@functools.lru_cache(maxsize=1)
def _cloud_sprites() -> tuple[Image.Image, ...]:
    """Opacities of a few clouds, 256 x 128, mode L."""
    sprites = []
    for number in range(10):
        rng = np.random.default_rng(100 + number)
        sprite = Image.new("L", (256, 128))
        draw = ImageDraw.Draw(sprite)
        for x in np.linspace(50, 206, rng.integers(4, 7)):
            radius = rng.uniform(16, 44) * (1 - abs(x - 128) / 150)
            top = 92 - radius * rng.uniform(1.0, 1.5)
            draw.ellipse((x - radius * 1.2, top, x + radius * 1.2, top + 2 * radius), fill=255)
        draw.rounded_rectangle((36, 74, 220, 96), radius=11, fill=255)
        draw.rectangle((0, 97, 256, 128), fill=0)
        sprites.append(sprite.filter(ImageFilter.GaussianBlur(2.5)))
    return tuple(sprites)


class Canvas:
    """An image that is painted from back to front and remembers which object is visible where.

    Args:
        side: S [px].
        mood: Colours.
        rng: Source of all randomness.
        stars: Source of where stars are, where the rest must not depend on whether there are any; None takes ``rng``.

    Attributes:
        pixels: The image so far, (S, S, 3) float32.
        owner: Number of the object seen at each pixel, (S, S) int16; 0 where there is none.
        flooded: Where water lies over an object, (S, S) bool; the object stays the owner, for what is placed later.
        land: Place in :data:`LAND` of what is at each pixel or behind the object there, (S, S) uint8.
    """

    def __init__(
        self, side: int, mood: Mood, rng: np.random.Generator, stars: np.random.Generator | None = None
    ) -> None:
        self.side = side
        self.mood = mood
        self.rng = rng
        self.stars = rng if stars is None else stars
        self.owner = np.zeros((side, side), dtype=np.int16)
        self.flooded = np.zeros((side, side), dtype=bool)
        self.land = np.zeros((side, side), dtype=np.uint8)
        self.x, self.y = _grids(side)
        self.pixels = np.empty((side, side, 3), dtype=np.float32)

    def paint_sky(self, horizon: float) -> None:
        """Gradient down to ``horizon``, stars, sun or moon with its glow, clouds."""
        rng, mood = self.rng, self.mood
        stops = (0.0, horizon * rng.uniform(0.45, 0.7), horizon)
        rows = [np.interp(self.y[:, 0], stops, [colour[channel] for colour in mood.sky]) for channel in range(3)]
        self.pixels[:] = np.stack(rows, axis=-1)[:, None, :]
        if mood.stars:
            count, stars = 45, self.stars
            rows_of_stars = stars.integers(0, max(int(horizon * 0.9 * self.side), 1), count)
            columns = stars.integers(0, self.side, count)
            self.pixels[rows_of_stars, columns] += stars.uniform(40, 150, (count, 1))
        x, y, radius = rng.uniform(0.1, 0.9), rng.uniform(0.1, horizon * 0.9), rng.uniform(0.03, 0.06)
        distance = np.sqrt((self.x - x) ** 2 + (self.y - y) ** 2)
        glow = 0.55 * np.exp(-distance / 0.16) + 0.25 * np.exp(-distance / 0.05)
        disc = np.clip((radius - distance) * self.side + 0.5, 0, 1)
        self._blend(mood.sun, np.maximum(glow, disc * 0.95))
        for _ in range(rng.integers(1, 5)):
            width = rng.uniform(0.16, 0.42)
            self._paint_cloud(rng.uniform(-0.1, 1.0), rng.uniform(0.02, horizon * 0.75), width, rng.uniform(0.5, 0.9))

    def paint_mountains(self, base: float) -> None:
        """A far, jagged range with light on one side."""
        rng = self.rng
        count = int(rng.integers(5, 9))
        xs = np.linspace(-0.1, 1.1, 2 * count + 1) + rng.uniform(-0.03, 0.03, 2 * count + 1)
        heights = np.where(np.arange(2 * count + 1) % 2, rng.uniform(0.08, 0.26, 2 * count + 1), 0.03)
        ridge = base - np.interp(self.x[0], xs, heights)
        colour = mix(self.mood.far, self.mood.sky[2], 0.25)
        self._paint_ground(ridge, colour, 0.0, "mountain")
        falling = np.gradient(ridge) > 0
        snow = np.clip((base - 0.15 - self.y) * self.side * 0.5, 0, 1) * (self.y > ridge[None])
        self._blend(mix(self.mood.cloud, colour, 0.2), snow * 0.8)
        self._blend(mix(colour, self.mood.near, 0.4), 0.35 * falling[None] * self._below(ridge))

    def paint_lake(self, shore: float) -> None:
        """Water from ``shore`` down, with streaks of light."""
        surface = mix(self.mood.water, self.mood.sky[1], 0.3)
        below = np.clip((self.y - shore) * self.side + 0.5, 0, 1) * np.ones_like(self.x)
        self._blend(surface, below)
        self.land[below >= 0.5] = LAND.index("water")
        self.flooded |= (below >= 0.5) & (self.owner > 0)
        shift = self.rng.uniform(0, 6.28)
        depth = np.maximum(self.y - shore, 0.0)
        # Streaks lie closer together towards the far shore and break off along the way.
        waves = np.sin(np.sqrt(depth + 0.004) * 85 + shift) + 0.7 * np.sin(self.x * 17 + shift + depth * 90) - 0.75
        self._blend(mix(self.mood.sun, self.mood.sky[2], 0.5), below * np.clip(waves, 0, 1) * 0.55)

    def paint_hill(self, base: float, roughness: float, distance: float) -> np.ndarray:
        """A rolling hill; returns the height of its ridge in each column, (S,), 0 to 1 from the top."""
        rng = self.rng
        ridge = np.full(self.side, base, dtype=np.float32)
        for octave in range(1, 4):
            wave = math.pi * 2 * (self.x[0] * octave * rng.uniform(0.6, 1.1) + rng.uniform())
            ridge += np.float32(roughness / octave**1.4) * np.sin(wave)
        self._paint_ground(ridge, mix(self.mood.near, self.mood.far, distance), 1.0 - distance, "ground")
        return ridge

    def paint_sprite(self, sprite: np.ndarray, left: int, top: int, number: int) -> None:
        """Lay premultiplied colours and opacity (h, w, 4) over the image and note object ``number`` as its owner."""
        height, width = sprite.shape[:2]
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + width, self.side), min(top + height, self.side)
        if x0 >= x1 or y0 >= y1:
            return
        part = sprite[y0 - top : y1 - top, x0 - left : x1 - left]
        region = self.pixels[y0:y1, x0:x1]
        region *= 1.0 - part[..., 3:]
        region += part[..., :3]
        self.owner[y0:y1, x0:x1][part[..., 3] >= 0.5] = number
        self.flooded[y0:y1, x0:x1][part[..., 3] >= 0.5] = False

    def finish(self) -> np.ndarray:
        """The image as uint8 (S, S, 3), with the grain of paper."""
        grain = self._texture_here() * GRAIN
        return np.clip(self.pixels + grain[..., None] + 0.5, 0, 255).astype(np.uint8)

    def _paint_cloud(self, left: float, top: float, width: float, opacity: float) -> None:
        sprites = _cloud_sprites()
        sprite = sprites[int(self.rng.integers(len(sprites)))]
        size = (max(round(width * self.side), 4), max(round(width * self.side / 2), 2))
        alpha = np.asarray(sprite.resize(size, Image.Resampling.BILINEAR), dtype=np.float32)[..., None] * (
            opacity / 255
        )
        shade = np.linspace(0, 0.5, size[1], dtype=np.float32)[:, None, None]
        colour = np.array(self.mood.cloud, dtype=np.float32) * (1 - shade)
        colour = colour + np.array(self.mood.sky[1], dtype=np.float32) * shade
        sprite_rgba = np.concatenate([colour * alpha, alpha], axis=-1)
        self.paint_sprite(sprite_rgba, round(left * self.side), round(top * self.side), 0)

    def _below(self, ridge: np.ndarray) -> np.ndarray:
        return np.clip((self.y - ridge[None]) * self.side + 0.5, 0, 1)

    def _paint_ground(self, ridge: np.ndarray, colour: Colour, texture: float, land: str) -> None:
        start = max(int(ridge.min() * self.side) - 1, 0)
        below = self._below(ridge)[start:]
        depth = np.clip((self.y[start:] - ridge[None]) * 2.5, 0, 1)[..., None]
        light = np.array(mix(colour, self.mood.sun, 0.22), dtype=np.float32)
        ground = light + (np.array(mix(colour, (40, 40, 60), 0.12), dtype=np.float32) - light) * depth
        if texture:
            ground = ground + (self._texture_here()[start:] * (7 * texture))[..., None]
        region = self.pixels[start:]
        region += (ground - region) * below[..., None]
        self.owner[start:][below >= 0.5] = 0
        self.flooded[start:][below >= 0.5] = False
        self.land[start:][below >= 0.5] = LAND.index(land)

    def _texture_here(self) -> np.ndarray:
        return texture_at(self.rng, self.side)

    def _blend(self, colour: Colour, opacity: np.ndarray) -> None:
        self.pixels += (np.array(colour, dtype=np.float32) - self.pixels) * opacity.astype(np.float32)[..., None]
