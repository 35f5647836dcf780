"""Counterfactual scenes: the same object on another background, and nothing else differs.

In :class:`focalnets.data.scenes.generator.SceneGenerator` each scene is composed as a whole: the object's colours and
place suit what is behind it. Here object and background are drawn apart, each from numbers of its own, so that any
object can stand before any background. What the object covers wholly is the same to the byte wherever it stands; where
its edge covers a pixel in part, the background shines through in proportion.

Legend: S side of the image [px].
"""

from __future__ import annotations

import dataclasses

import numpy as np

from focalnets.data.scenes.generator import Scene, SceneGenerator, SceneObject, ScenePainter, pixel_box
from focalnets.data.scenes.landscapes import GRAIN, MOODS, TARGET_PALETTES, Canvas, Mood, texture_at
from focalnets.data.scenes.shapes import TARGETS, render
from focalnets.errors import UnknownNameError, nearest

__all__ = ["BACKGROUNDS", "SceneBackground", "SceneCutout", "ScenePairs", "compose"]

BACKGROUNDS: tuple[str, ...] = tuple(mood.name for mood in MOODS)
"""Kinds of background, by their colours."""

_NO_HAZE = ((0.0, 0.0, 0.0), 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class SceneCutout:
    """An object alone.

    Attributes:
        class_name: Its class.
        label: Index of the class in ``SceneGenerator.classes``.
        colours: Premultiplied by the opacity, (S, S, 3) float32, 0 to 255.
        opacity: (S, S) float32, 0 to 1.
    """

    class_name: str
    label: int
    colours: np.ndarray
    opacity: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """Pixels that it covers by half or more, (S, S) bool."""
        return self.opacity >= 0.5

    def over(self, background: np.ndarray) -> np.ndarray:
        """Lay it over pixels (S, S, 3) uint8; the result is of the same shape."""
        mixed = background * (1.0 - self.opacity[..., None]) + self.colours
        return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


@dataclasses.dataclass(frozen=True, eq=False)
class SceneBackground:
    """A landscape with everything but the object.

    Attributes:
        kind: One of :data:`BACKGROUNDS`.
        image: Pixels (S, S, 3), uint8, RGB.
        objects: What stands and flies around, from back to front.
        land: As in :class:`focalnets.data.scenes.generator.Scene`.
    """

    kind: str
    image: np.ndarray
    objects: tuple[SceneObject, ...]
    land: np.ndarray


class ScenePairs:
    """Draws objects and backgrounds apart, and puts them together.

    Args:
        generator: Classes, size of pictures and objects, clutter and the world's seed.
    """

    def __init__(self, generator: SceneGenerator) -> None:
        self.generator = generator

    def cutout(self, index: int) -> SceneCutout:
        """Draw the object of an index; its class is ``generator.label(index)``."""
        generator, side = self.generator, self.generator.image_size_px
        rng = np.random.default_rng([generator.seed, index, 3])
        label = generator.label(index)
        name = generator.classes[label]
        shape, tilt = TARGETS[name]
        size = rng.uniform(*generator.target_size) * side
        margin = size / 2 + 1
        x, y = rng.uniform(margin, side - margin), rng.uniform(margin, 0.92 * side - margin)
        palette = TARGET_PALETTES[int(rng.integers(len(TARGET_PALETTES)))]
        sprite = render(
            shape(palette, rng), size, rotation=rng.uniform(-tilt, tilt), mirror=bool(rng.random() < 0.5), haze=_NO_HAZE
        )
        grain = texture_at(rng, side) * np.float32(GRAIN)
        height, width = sprite.shape[:2]
        top = min(max(round(y - height / 2), 0), side - height)
        left = min(max(round(x - width / 2), 0), side - width)
        whole = np.zeros((side, side, 4), dtype=np.float32)
        whole[top : top + height, left : left + width] = sprite
        opacity = whole[..., 3]
        return SceneCutout(name, label, whole[..., :3] + (grain * opacity)[..., None], opacity)

    def background(self, number: int, kind: str) -> SceneBackground:
        """Draw a background; of one number all kinds have the same hills and plants in other colours.

        Raises:
            UnknownNameError: If there is no such kind.
        """
        if kind not in BACKGROUNDS:
            raise UnknownNameError(f"scenes have no background {kind!r}; {nearest(kind, BACKGROUNDS)}")
        painter = _BackgroundPainter(self.generator, number, MOODS[BACKGROUNDS.index(kind)])
        painter.paint_background()
        return SceneBackground(kind, painter.canvas.finish(), painter.visible_objects(), painter.canvas.land)

    def scene(self, index: int, number: int, kind: str) -> Scene:
        """Put the object of an index before the background of a number and kind."""
        cutout, background = self.cutout(index), self.background(number, kind)
        return compose(cutout, background)


def compose(cutout: SceneCutout, background: SceneBackground) -> Scene:
    """Put an object before a background; what it hides of other things no longer belongs to them."""
    mask = cutout.mask
    behind = [
        dataclasses.replace(thing, mask=seen, box_xyxy=pixel_box(seen))
        for thing in background.objects
        if (seen := thing.mask & ~mask).any()
    ]
    target = SceneObject(cutout.class_name, "target", pixel_box(mask), mask)
    return Scene(cutout.over(background.image), cutout.label, (*behind, target), background.land)


class _BackgroundPainter(ScenePainter):
    """Composes a background of given colours."""

    def __init__(self, generator: SceneGenerator, number: int, mood: Mood) -> None:
        rng = np.random.default_rng([generator.seed, number, 4])
        super().__init__(generator, rng)
        self.mood = mood
        self.canvas = Canvas(self.side, mood, rng, np.random.default_rng([generator.seed, number, 5]))
