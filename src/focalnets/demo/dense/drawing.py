"""What differs from one dense task to another in the report of a demonstration: words, and how answers are drawn.

Axes: H W height and width [px].
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from focalnets.data.annotated.images import AnnotatedImage
from focalnets.demo.dense.large_scene import LargeScene

__all__ = ["DenseDrawing"]


class DenseDrawing(abc.ABC):
    """Draws the answers of a task, and says what they are.

    Attributes:
        title: Heading of the page.
        lead: What the network does, below it.
        task_in_words: What is to be learned.
        level_in_words: What the level is that the watched metric has without looking.
        gallery_in_words: What the pictures of the gallery show.
        changes_in_words: What the picture of the two answers' differences shows.
    """

    title: ClassVar[str]
    lead: ClassVar[str]
    task_in_words: ClassVar[str]
    level_in_words: ClassVar[str]
    gallery_in_words: ClassVar[str]
    changes_in_words: ClassVar[str]

    @abc.abstractmethod
    def draw_known(self, known: AnnotatedImage, picture: Image.Image, classes: Sequence[str]) -> Image.Image:
        """Draw what is known onto a picture of a scene, of any size."""

    @abc.abstractmethod
    def draw_result(self, result: Any, picture: Image.Image) -> Image.Image:
        """Draw what the network says onto a picture of a scene, of any size."""

    @abc.abstractmethod
    def draw_large(self, answer: Any, picture: Image.Image, classes: Sequence[str]) -> Image.Image:
        """Draw an answer of :meth:`large_answer` onto the large picture."""

    @abc.abstractmethod
    def changes(self, large: LargeScene) -> np.ndarray:
        """Find where the two answers differ, booleans (H, W)."""

    @abc.abstractmethod
    def draw_changes(self, large: LargeScene, changes: np.ndarray) -> Image.Image:
        """Draw where the two answers differ."""

    @abc.abstractmethod
    def change_in_words(self, large: LargeScene) -> str:
        """Say how much the two answers differ."""

    @abc.abstractmethod
    def change_in_numbers(self, large: LargeScene) -> dict[str, float]:
        """Return the same as plain values."""
