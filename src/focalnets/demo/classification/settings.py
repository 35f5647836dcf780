"""What the demonstration draws and how it trains. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

__all__ = ["DemoSettings", "Lesson", "full", "quick"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lesson:
    """A part of the training, on windows cut out of the scenes.

    Attributes:
        name: What it is, in words.
        window_px: Height and width of the windows, in pixels of the network's input; the target lies anywhere inside.
        epochs: Passes over all scenes, each through another window.
        learning_rate: Highest rate.
    """

    name: str
    window_px: int
    epochs: int
    learning_rate: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """Everything that decides the demonstration.

    Attributes:
        picture_px: Height and width of the pictures that are drawn.
        input_px: Height and width at which the network sees them.
        target_size: Smallest and largest longer side of the object to be named, as a fraction of the picture's side.
        train_scenes, choice_scenes, test_scenes: Scenes to learn from, to choose the best epoch by, and to measure on.
            No scene is in two of these sets.
        gallery: How many of the measured scenes the report shows: the first ones.
        lessons: Parts of the training, in order; the last one sees whole scenes.
        network: Fields in which the network differs from ``focalnet_pico``.
        batch_size: Images per step.
        seed: Decides scenes, initial weights and order.
    """

    picture_px: int = 192
    input_px: int = 96
    target_size: tuple[float, float] = (0.14, 0.22)
    train_scenes: int = 3000
    choice_scenes: int = 160
    test_scenes: int = 400
    gallery: int = 12
    lessons: tuple[Lesson, ...]
    network: Mapping[str, Any]
    batch_size: int = 32
    seed: int = 0


def full() -> DemoSettings:
    """Choose what takes two to three minutes on two cores.

    Three stages leave a map with a value every 8 px of the input before the last one. Small objects are hard to begin
    with, so close-ups come first, see docs/looking_inside.md.
    """
    return DemoSettings(
        lessons=(
            Lesson(name="close-ups", window_px=32, epochs=4, learning_rate=4e-3),
            Lesson(name="surroundings", window_px=56, epochs=2, learning_rate=3e-3),
            Lesson(name="whole scenes", window_px=96, epochs=3, learning_rate=3e-3),
        ),
        network={
            "depths": [2, 3, 1],
            "embed_dim": 24,
            "focal_levels": [2, 2, 2],
            "focal_windows": [3, 3, 3],
            "stem": "convolutional",
            "initialization": "fan_in",
            "drop_path": 0.0,
        },
    )


def quick() -> DemoSettings:
    """Choose what takes seconds: it shows that everything runs and learns next to nothing."""
    return DemoSettings(
        picture_px=96,
        input_px=48,
        train_scenes=64,
        choice_scenes=16,
        test_scenes=24,
        gallery=4,
        lessons=(
            Lesson(name="close-ups", window_px=24, epochs=1, learning_rate=3e-3),
            Lesson(name="whole scenes", window_px=48, epochs=1, learning_rate=3e-3),
        ),
        network={
            "depths": [1, 1, 1],
            "embed_dim": 8,
            "focal_levels": [2, 2, 2],
            "focal_windows": [3, 3, 3],
            "stem": "convolutional",
            "initialization": "fan_in",
            "drop_path": 0.0,
        },
        batch_size=16,
    )
