"""The demonstration of naming every pixel.

Axes: H W height and width [px].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from focalnets.data.annotated.images import AnnotatedImage
from focalnets.demo.dense.large_scene import LargeScene
from focalnets.demo.dense.settings import DenseDemoSettings
from focalnets.demo.dense.story import DenseStory
from focalnets.large.labels import ClassMap
from focalnets.large.sources import Source
from focalnets.report.overlay import class_colours, laid_over
from focalnets.tasks.large_look import LargeLook
from focalnets.tasks.semantic.metrics import class_figures
from focalnets.tasks.semantic.results import Segmentation
from focalnets.training.recipes import segment
from focalnets.visualize.draw import overlay

__all__ = ["SemanticStory"]


class SemanticStory(DenseStory):
    """Naming the class of every pixel of a scene, see :class:`focalnets.demo.story.Story`."""

    recipe = staticmethod(segment)
    stuff = True
    title = "A small network that names every pixel"
    lead = (
        "It says of each pixel what it belongs to: one of the things that stand and fly around, sky, mountain, ground "
        "or water. All pictures were drawn by the program a moment ago."
    )
    task_in_words = (
        "Every pixel belongs to one of these things, or to what lies behind them: sky, mountain, ground or water. "
        "Things are small, so most pixels are sky and ground; the mean over the classes counts each class the same. "
        "The frames have the colours of the classes below."
    )
    level_in_words = "one class everywhere"
    gallery_in_words = (
        "From left to right the classes as they are, the classes as the network names them, and the length of the "
        "modulator: bright where the network lets its surroundings change what it sees most."
    )
    changes_in_words = "Bright: pixels that the two looks name differently."

    def settings(self) -> DenseDemoSettings:
        """Choose what takes about three minutes on two cores."""
        return DenseDemoSettings(
            train_scenes=300, choice_scenes=24, test_scenes=80, epochs=4, batch_size=4, learning_rate=1.5e-3
        )

    def blind(self, test: Sequence[AnnotatedImage]) -> float:
        """Compute mIoU of naming the commonest class everywhere."""
        maps = [scene.semantic for scene in test if scene.semantic is not None]
        counts = np.sum([np.bincount(labels.ravel(), minlength=256) for labels in maps], axis=0)
        confusion = np.zeros((256, 256), np.int64)
        confusion[:, counts.argmax()] = counts
        return class_figures(confusion).means()["miou"]

    def large_answer(self, look: LargeLook, source: Source, found: ClassMap) -> np.ndarray:
        """Keep the class of each pixel (H, W)."""
        return np.array(found.labels)

    def draw_known(self, known: AnnotatedImage, picture: Image.Image, classes: Sequence[str]) -> Image.Image:
        """Tint a picture by the true class of each pixel."""
        assert known.semantic is not None
        return _tinted(picture, known.semantic, len(classes))

    def draw_result(self, result: Segmentation, picture: Image.Image) -> Image.Image:
        """Tint a picture by the class that each pixel is named."""
        return _tinted(picture, result.labels, len(result.class_names))

    def draw_large(self, answer: np.ndarray, picture: Image.Image, classes: Sequence[str]) -> Image.Image:
        """Tint the large picture."""
        return _tinted(picture, answer, len(classes))

    def changes(self, large: LargeScene) -> np.ndarray:
        """Find pixels that are named differently."""
        return large.tile.answer != large.image.answer

    def draw_changes(self, large: LargeScene, changes: np.ndarray) -> Image.Image:
        """Lay them over the picture."""
        return Image.fromarray(overlay(large.known.image, changes.astype(np.float32), limits=(0.0, 1.0)))

    def change_in_words(self, large: LargeScene) -> str:
        """Say which fraction of the pixels it is."""
        return f"{self.changes(large).mean():.1%} of its pixels are named differently"

    def change_in_numbers(self, large: LargeScene) -> dict[str, float]:
        """Return that fraction."""
        return {"pixels": float(self.changes(large).mean())}


def _tinted(picture: Image.Image, labels: np.ndarray, classes: int) -> Image.Image:
    numbers = Image.fromarray(labels.astype(np.int32))
    if numbers.size != picture.size:
        numbers = numbers.resize(picture.size, Image.Resampling.NEAREST)
    return laid_over(picture, np.asarray(numbers), class_colours(classes), strength=0.7)
