"""What the demonstrations of dense tasks draw and how long they train. Imports no torch."""

from __future__ import annotations

import dataclasses

__all__ = ["DenseDemoSettings", "in_seconds"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseDemoSettings:
    """Everything that decides a demonstration.

    Attributes:
        scene_px: Height and width of the scenes, at which the network sees them.
        target_size: Smallest and largest longer side of what flies, as a fraction of the scene's side.
        train_scenes, choice_scenes, test_scenes: Scenes to learn from, to choose the best epoch by, and to measure on.
            No scene is in two of these sets.
        gallery: How many of the measured scenes the report shows: the first ones.
        epochs: Passes over the scenes.
        batch_size: Scenes a step.
        learning_rate: Highest rate.
        layer_decay: Factor on the rate from each layer to the one below.
        large_px: Width and height of the large picture.
        large_index: Which of the large pictures that can be drawn.
        tile_px, overlap_px: Of the tiles that it is cut into.
        toy: Whether a toy network is trained from random numbers, in place of the one in the package.
        seed: Decides order and random changes.
    """

    scene_px: int = 192
    target_size: tuple[float, float] = (0.14, 0.22)
    train_scenes: int
    choice_scenes: int
    test_scenes: int
    gallery: int = 6
    epochs: int
    batch_size: int
    learning_rate: float
    layer_decay: float = 1.0
    large_px: tuple[int, int] = (2048, 1536)
    large_index: int = 12
    tile_px: int = 512
    overlap_px: int = 64
    toy: bool = False
    seed: int = 0


def in_seconds() -> DenseDemoSettings:
    """Choose what takes seconds: it shows that everything runs and learns next to nothing."""
    return DenseDemoSettings(
        scene_px=64,
        train_scenes=12,
        choice_scenes=4,
        test_scenes=6,
        gallery=2,
        epochs=2,
        batch_size=4,
        learning_rate=1e-3,
        large_px=(256, 192),
        tile_px=96,
        overlap_px=32,
        toy=True,
    )
