"""Generated pictures of cluttered landscapes in which the thing to be named is small.

Every picture shows one small thing in the air, its class, among plants, houses, rocks, and other things in the air that
are no class. All classes share the same vivid colours, places and sizes, so that only the shape tells them apart; the
other things are cooler in colour, which lets a small network find the target within a few thousand pictures. Class, box
and mask of every object are known.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from focalnets.data.scenes.landscapes import DISTRACTOR_PALETTES, MOODS, TARGET_PALETTES, Canvas, Palette
from focalnets.data.scenes.shapes import FLOATING, GROUNDED, TARGETS, Shape, mix, render
from focalnets.errors import ConfigError, UnknownNameError, nearest
from focalnets.files import listed

__all__ = ["DISTRACTOR_CLASSES", "SCENE_CLASSES", "Scene", "SceneGenerator", "SceneObject", "ScenePainter", "pixel_box"]

SCENE_CLASSES: tuple[str, ...] = tuple(TARGETS)
"""What a picture can be named after."""

DISTRACTOR_CLASSES: tuple[str, ...] = (*FLOATING, *GROUNDED)
"""What else stands and flies around."""

VAL_OFFSET = 1_000_000
"""Index of the first picture that :func:`focalnets.data.scenes.writing.write_folders` holds out: far from the rest."""

_SMALLEST_VISIBLE_PX = 8

_BIRD = np.array(
    [(-1, -0.3), (-0.5, -0.45), (0, 0), (0.5, -0.45), (1, -0.3), (0.5, -0.28), (0, 0.22), (-0.5, -0.28)], dtype=float
)


@dataclasses.dataclass(frozen=True, eq=False)
class SceneObject:
    """One thing in a scene.

    Attributes:
        class_name: One of :data:`SCENE_CLASSES` or :data:`DISTRACTOR_CLASSES`.
        category: ``target`` if scenes are named after such things, else ``distractor``.
        box_xyxy: Smallest box around the visible pixels: left, top, right, bottom [px], the last two exclusive.
        mask: Visible pixels, (H, W) bool.
    """

    class_name: str
    category: Literal["target", "distractor"]
    box_xyxy: tuple[int, int, int, int]
    mask: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """One generated picture and what is in it.

    Attributes:
        image: Pixels (H, W, 3), uint8, RGB.
        label: Index of the class of the target in ``SceneGenerator.classes``.
        objects: Everything with at least a few visible pixels, from back to front; the target comes last.
        land: What is at each pixel or behind the object there: place in
            :data:`focalnets.data.scenes.landscapes.LAND`, (H, W) uint8.
    """

    image: np.ndarray
    label: int
    objects: tuple[SceneObject, ...]
    land: np.ndarray

    @property
    def target(self) -> SceneObject:
        """The object that the scene is named after."""
        return self.objects[-1]


def pixel_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Find the smallest box around the pixels of a mask (H, W) that is not empty; the ends lie behind the last ones."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


class SceneGenerator:
    """Draws scenes; equal settings and index give equal scenes, in any order and process.

    Any ``len(classes)`` scenes in a row whose first index is a multiple of that number show every class once.

    Args:
        classes: Which of :data:`SCENE_CLASSES` to draw; labels count in this order.
        image_size_px: Height and width of the pictures [px], from 32 up. Things keep their size relative to it.
        seed: Chooses another world.
        target_size: Smallest and largest longer side of the target's box, as a share of the image side.
        clutter: How many other things there are, relative to the usual number; 0 leaves the landscape alone.
    """

    def __init__(
        self,
        classes: Sequence[str] = SCENE_CLASSES,
        *,
        image_size_px: int = 192,
        seed: int = 0,
        target_size: tuple[float, float] = (0.09, 0.14),
        clutter: float = 1.0,
    ) -> None:
        self.classes = tuple(listed(classes))
        self.image_size_px = image_size_px
        self.seed = seed
        self.target_size = (float(target_size[0]), float(target_size[1]))
        self.clutter = float(clutter)
        unknown = [name for name in self.classes if name not in TARGETS]
        if unknown:
            raise UnknownNameError(
                f"scenes have no class {', '.join(map(repr, unknown))}; {nearest(unknown[0], SCENE_CLASSES)}"
            )
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ConfigError(f"classes must name at least one class and each once, got {list(self.classes)}.")
        if not isinstance(image_size_px, int) or image_size_px < 32:
            raise ConfigError(f"image_size_px must be a whole number from 32 up, got {image_size_px!r}.")
        if not isinstance(seed, int) or seed < 0:
            raise ConfigError(f"seed must be a whole number from 0 up, got {seed!r}.")
        if not 0.0 < self.target_size[0] <= self.target_size[1] <= 0.5:
            raise ConfigError(
                f"target_size must be two shares of the side with 0 < smallest <= largest <= 0.5, got {target_size}."
            )
        if not 0.0 <= self.clutter <= 4.0:
            raise ConfigError(f"clutter must lie between 0 and 4, got {clutter!r}.")

    def __repr__(self) -> str:
        return (
            f"SceneGenerator({list(self.classes)}, image_size_px={self.image_size_px}, seed={self.seed}, "
            f"target_size={self.target_size}, clutter={self.clutter})"
        )

    def label(self, index: int) -> int:
        """Class index of scene ``index``, without drawing it."""
        assert index >= 0, "scenes count from 0"
        block, place = divmod(index, len(self.classes))
        return int(np.random.default_rng([self.seed, block, 1]).permutation(len(self.classes))[place])

    def scene(self, index: int) -> Scene:
        """Draw scene ``index``, from 0 up."""
        label = self.label(index)
        return ScenePainter(self, np.random.default_rng([self.seed, index, 0])).paint(label)


class ScenePainter:
    """Composes one scene.

    Args:
        generator: What is drawn, and how large.
        rng: Source of all randomness.
        side: Height and width of the canvas [px]; None takes the generator's.

    Attributes:
        unit: What sizes of things are fractions of [px].
        plenty: How many times as many plants stand on a hill as usual.
    """

    def __init__(self, generator: SceneGenerator, rng: np.random.Generator, side: int | None = None) -> None:
        self.generator = generator
        self.rng = rng
        self.side = generator.image_size_px if side is None else side
        self.unit = generator.image_size_px
        self.plenty = 1.0
        self.mood = MOODS[int(rng.integers(len(MOODS)))]
        self.canvas = Canvas(self.side, self.mood, rng)
        self.names: list[str] = []

    def paint(self, label: int) -> Scene:
        """Draw a scene that is named after a class."""
        self.paint_background()
        target_name = self.generator.classes[label]
        self.paint_floating(target_name, *TARGETS[target_name])
        return Scene(image=self.canvas.finish(), label=label, objects=self.visible_objects(), land=self.canvas.land)

    def paint_background(self) -> None:
        """Landscape, what stands on it, and what is in the air besides the target."""
        rng, canvas = self.rng, self.canvas
        horizon = rng.uniform(0.42, 0.66)
        canvas.paint_sky(horizon + 0.05)
        if rng.random() < 0.6:
            canvas.paint_mountains(horizon + 0.02)
        hills = int(rng.integers(3, 5))
        lake_after = int(rng.integers(0, hills - 1)) if rng.random() < 0.45 else -1
        for number in range(hills):
            nearness = number / (hills - 1)
            base = horizon + (0.93 - horizon) * nearness**1.2 + rng.uniform(-0.02, 0.02)
            ridge = canvas.paint_hill(base, 0.02 + 0.025 * rng.random(), 0.85 * (1 - nearness))
            self.paint_plants(ridge, nearness)
            if number == lake_after:
                canvas.paint_lake(base + 0.3 * (0.93 - horizon) / hills)
        self.paint_birds(horizon)
        for _ in range(round(rng.integers(2, 5) * self.generator.clutter)):
            name = str(rng.choice(list(FLOATING)))
            self.paint_floating(name, *FLOATING[name])

    def paint_plants(self, ridge: np.ndarray, nearness: float) -> None:
        """Plants, rocks and houses along a ridge (S,), larger the nearer it is, from 0 to 1."""
        rng, mood = self.rng, self.mood
        haze = (mood.far, 0.6 * (1 - nearness))
        count = round(rng.integers(2, 6) * self.generator.clutter * self.plenty)
        # Things stand in groups: a wood looks better than a scatter.
        centre = rng.uniform(0.0, 1.0)
        favourite = int(rng.integers(3))
        xs = np.sort(np.where(rng.random(count) < 0.6, centre + rng.normal(0, 0.12, count), rng.random(count)))
        for x in xs:
            if not 0.0 <= x < 1.0:
                continue
            name = str(rng.choice(["tree", "bush", "rock", "house"], p=[0.62, 0.16, 0.12, 0.1]))
            shapes, relative_size = GROUNDED[name]
            shape = shapes[favourite if len(shapes) > 1 and rng.random() < 0.75 else int(rng.integers(len(shapes)))]
            size = relative_size * (0.07 + 0.13 * nearness) * rng.uniform(0.75, 1.25) * self.unit
            leaves = mix(mood.leaves, mood.near, rng.uniform(0, 0.35))
            light = mix(leaves, mood.sun, 0.28)
            stone = mix((134, 128, 128), mood.near, 0.35)
            colours = (leaves, light, stone if name == "rock" else mix((96, 70, 56), mood.near, 0.3))
            sprite = render(shape(colours, rng), size, mirror=bool(rng.random() < 0.5), haze=haze)
            foot = ridge[int(x * self.side)] + rng.uniform(0.0, 0.02 + 0.03 * nearness)
            left, top = round(x * self.side - sprite.shape[1] / 2), round(foot * self.side - sprite.shape[0] + 1)
            self._paint(name, sprite, left, top)

    def paint_birds(self, horizon: float) -> None:
        """Far birds, a few pixels of ink each: part of the background."""
        rng = self.rng
        ink = mix(self.mood.far, (40, 40, 60), 0.6)
        x, y = rng.uniform(0.1, 0.9), rng.uniform(0.08, horizon * 0.7)
        for _ in range(int(rng.integers(0, 6))):
            sprite = render([(_BIRD, ink)], rng.uniform(0.018, 0.034) * self.unit, haze=(ink, 0.0))
            left, top = (x + rng.normal(0, 0.06)) * self.side, (y + rng.normal(0, 0.03)) * self.side
            self.canvas.paint_sprite(sprite, round(left), round(top), 0)

    def paint_floating(self, name: str, shape: Shape, tilt: float) -> None:
        """Where and how large is the same for classes and for everything else in the air; only the palettes differ."""
        rng = self.rng
        size = rng.uniform(*self.generator.target_size) * self.unit
        x, y = self._free_place(size)
        palette = self._visible_palette(x, y, size, TARGET_PALETTES if name in TARGETS else DISTRACTOR_PALETTES)
        sprite = render(
            shape(palette, rng),
            size,
            rotation=rng.uniform(-tilt, tilt),
            mirror=bool(rng.random() < 0.5),
            haze=(self.mood.sky[2], 0.04),
        )
        self._paint(name, sprite, round(x - sprite.shape[1] / 2), round(y - sprite.shape[0] / 2))

    def _free_place(self, size: float) -> tuple[float, float]:
        """Of a few random centres [px] the one that hides least of what is there already."""
        rng, margin = self.rng, size / 2 + 1
        best, best_covered = (0.0, 0.0), math.inf
        for _ in range(8):
            x, y = rng.uniform(margin, self.side - margin), rng.uniform(margin, 0.92 * self.side - margin)
            half = size / 2 + 1
            owner = self.canvas.owner[int(y - half) : math.ceil(y + half), int(x - half) : math.ceil(x + half)]
            covered = float((owner > 0).mean())
            if covered < best_covered:
                best, best_covered = (x, y), covered
            if covered == 0.0:
                break
        return best

    def _visible_palette(self, x: float, y: float, size: float, palettes: Sequence[Palette]) -> Palette:
        """Of three random palettes the one whose main colours differ most from the surroundings."""
        half = size / 2
        around = self.canvas.pixels[int(y - half) : math.ceil(y + half), int(x - half) : math.ceil(x + half)]
        mean = around.mean(axis=(0, 1))
        choices = [palettes[number] for number in self.rng.choice(len(palettes), 3, replace=False)]
        return max(choices, key=lambda colours: 2 * math.dist(colours[0], mean) + math.dist(colours[1], mean))

    def _paint(self, name: str, sprite: np.ndarray, left: int, top: int) -> None:
        self.names.append(name)
        self.canvas.paint_sprite(sprite, left, top, len(self.names))

    def visible_objects(self) -> tuple[SceneObject, ...]:
        """List what has at least a few visible pixels, from back to front."""
        objects = []
        for number, name in enumerate(self.names, start=1):
            mask = (self.canvas.owner == number) & ~self.canvas.flooded
            if mask.sum() < _SMALLEST_VISIBLE_PX:
                continue
            objects.append(SceneObject(name, "target" if name in TARGETS else "distractor", pixel_box(mask), mask))
        return tuple(objects)
