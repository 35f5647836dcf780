"""Large generated pictures in which things have the size that they have in scenes, and there are many of them.

Axes: H W height and width [px].
"""

from __future__ import annotations

import dataclasses

import numpy as np

from focalnets.data.scenes.generator import SceneGenerator, ScenePainter
from focalnets.data.scenes.shapes import FLOATING, TARGETS
from focalnets.errors import ConfigError

__all__ = ["Panorama", "PanoramaThing", "draw_panorama"]

_HILLS = 9
_USUAL_HILLS = 3.5
_SMALLEST_VISIBLE_PX = 8


@dataclasses.dataclass(frozen=True)
class PanoramaThing:
    """One thing in a panorama.

    Attributes:
        number: Its number in ``Panorama.owner``.
        class_name: As in scenes.
        box_xyxy: Smallest box around its visible pixels: left, top, right, bottom [px], the last two exclusive.
        area_px: How many they are.
    """

    number: int
    class_name: str
    box_xyxy: tuple[int, int, int, int]
    area_px: int


@dataclasses.dataclass(frozen=True, eq=False)
class Panorama:
    """A large picture and what is in it.

    Attributes:
        image: Pixels (H, W, 3), uint8, RGB.
        things: Everything with at least a few visible pixels, from back to front.
        owner: Number of the thing seen at each pixel, 0 where there is none, (H, W) int16.
        land: What is at each pixel or behind the thing there, as in scenes, (H, W) uint8.
    """

    image: np.ndarray
    things: tuple[PanoramaThing, ...]
    owner: np.ndarray
    land: np.ndarray


def draw_panorama(generator: SceneGenerator, index: int, size: tuple[int, int]) -> Panorama:
    """Draw a picture of any width and height [px] with things as large as in the generator's scenes.

    There are as many of them for an area as in scenes, and several of every class.

    Args:
        generator: Draws such scenes.
        index: Which picture, from 0 up; equal generators and indices give equal pictures.
        size: Width and height, no smaller than a scene.

    Raises:
        ConfigError: If it is smaller.
    """
    if min(size) < generator.image_size_px:
        raise ConfigError(
            f"a panorama is at least as large as a scene, {generator.image_size_px} px, got {size[0]} x {size[1]} px."
        )
    return _PanoramaPainter(generator, np.random.default_rng([generator.seed, index, 2]), size).paint_panorama()


class _PanoramaPainter(ScenePainter):
    """Composes one panorama on a square canvas, of which the middle is kept."""

    def __init__(self, generator: SceneGenerator, rng: np.random.Generator, size: tuple[int, int]) -> None:
        super().__init__(generator, rng, max(size))
        self.size = size
        # As many scenes as would cover the canvas.
        self.scenes = (self.side / self.unit) ** 2
        self.plenty = self.scenes * _USUAL_HILLS / _HILLS

    def paint_panorama(self) -> Panorama:
        rng, canvas = self.rng, self.canvas
        horizon = rng.uniform(0.42, 0.5)
        canvas.paint_sky(horizon + 0.05)
        canvas.paint_mountains(horizon + 0.02)
        lake_after = int(rng.integers(2, _HILLS - 3))
        for number in range(_HILLS):
            nearness = number / (_HILLS - 1)
            base = horizon + (0.95 - horizon) * nearness**1.1 + rng.uniform(-0.01, 0.01)
            ridge = canvas.paint_hill(base, 0.014 + 0.014 * rng.random(), 0.85 * (1 - nearness))
            self.paint_plants(ridge, nearness)
            if number == lake_after:
                canvas.paint_lake(base + 0.3 * (0.95 - horizon) / _HILLS)
        self.paint_birds(horizon)
        names = [
            *rng.choice(list(FLOATING), round(3 * self.generator.clutter * self.scenes)),
            *rng.choice(list(self.generator.classes), max(len(self.generator.classes), round(self.scenes))),
        ]
        for name in rng.permutation(names).tolist():
            self.paint_floating(name, *(FLOATING | TARGETS)[name])
        return self._cut()

    def _cut(self) -> Panorama:
        width, height = self.size
        top, left = (self.side - height) // 2, (self.side - width) // 2
        part = (slice(top, top + height), slice(left, left + width))
        image, owner = self.canvas.finish()[part], self.canvas.owner[part].copy()
        owner[self.canvas.flooded[part]] = 0
        rows, columns = np.nonzero(owner)
        numbers = owner[rows, columns]
        order = np.argsort(numbers, kind="stable")
        rows, columns, numbers = rows[order], columns[order], numbers[order]
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        things = []
        for first, last in zip(starts, [*starts[1:], len(numbers)], strict=True):
            down, across, number = rows[first:last], columns[first:last], int(numbers[first])
            if last - first >= _SMALLEST_VISIBLE_PX:
                box = (int(across.min()), int(down.min()), int(across.max()) + 1, int(down.max()) + 1)
                things.append(PanoramaThing(number, self.names[number - 1], box, int(last - first)))
        return Panorama(image.copy(), tuple(things), owner, self.canvas.land[part].copy())
