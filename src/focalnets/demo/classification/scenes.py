"""The demonstration's pictures: drawn once, by all cores, and windows cut out of them.

Axes: H W height and width [px].
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from focalnets.data.scenes.generator import VAL_OFFSET, SceneGenerator
from focalnets.demo.classification.settings import DemoSettings

__all__ = ["DrawnScene", "Windows", "draw_scenes", "generator", "scene_numbers"]


@dataclasses.dataclass(frozen=True, eq=False)
class DrawnScene:
    """A scene as the demonstration needs it.

    Attributes:
        index: Its number in the generator.
        picture: (H, W, 3) uint8.
        label: Class of the target.
        target: Visible pixels of the target (H, W) bool.
        others: Visible pixels of everything else that can be confused with it (H, W) bool: what floats in the air.
        box_xyxy: Box of the target [px].
    """

    index: int
    picture: np.ndarray
    label: int
    target: np.ndarray
    others: np.ndarray
    box_xyxy: tuple[int, int, int, int]


class Windows(Dataset):
    """Square windows of scenes that contain the whole target, with its label.

    Args:
        scenes: The scenes, drawn at the size at which the windows are cut.
        window_px: Side of the windows.
        random: Whether the target lies anywhere in the window and half of the windows are mirrored, drawn from torch's
            generator; otherwise it lies in the middle.
    """

    def __init__(self, scenes: Sequence[DrawnScene], window_px: int, *, random: bool) -> None:
        self.scenes, self.window_px, self.random = scenes, window_px, random

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, position: int) -> tuple[Image.Image, int]:
        """Cut out one window as a PIL image; with its label."""
        scene, side = self.scenes[position], self.window_px
        size = len(scene.picture)
        corner = []
        for low, high in (scene.box_xyxy[0::2], scene.box_xyxy[1::2]):
            first, last = max(0, high - side), min(size - side, low)
            if first > last:  # The target is larger than the window: show its middle.
                first = last = min(max((low + high - side) // 2, 0), size - side)
            corner.append(int(torch.randint(first, last + 1, ())) if self.random else (first + last) // 2)
        left, top = corner
        window = scene.picture[top : top + side, left : left + side]
        if self.random and torch.rand(()) < 0.5:
            window = np.ascontiguousarray(window[:, ::-1])
        return Image.fromarray(window), scene.label


class _Drawings(Dataset):
    def __init__(self, generator: SceneGenerator, indices: Sequence[int], shrink_to_px: int | None) -> None:
        self.generator, self.indices, self.shrink_to_px = generator, indices, shrink_to_px

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> DrawnScene:
        index = self.indices[position]
        scene = self.generator.scene(index)
        floating = [entry.mask for entry in scene.objects[:-1] if entry.class_name in _FLOATING_NAMES]
        others = np.any(floating, axis=0) if floating else np.zeros_like(scene.target.mask)
        drawn = DrawnScene(index, scene.image, scene.label, scene.target.mask, others, scene.target.box_xyxy)
        return drawn if self.shrink_to_px is None else _shrink(drawn, self.shrink_to_px)


_FLOATING_NAMES = ("ball", "leaf", "ring", "sheet", "star")


def generator(settings: DemoSettings) -> SceneGenerator:
    """Make what draws the demonstration's scenes."""
    return SceneGenerator(image_size_px=settings.picture_px, target_size=settings.target_size, seed=settings.seed)


def scene_numbers(settings: DemoSettings) -> tuple[range, range, range]:
    """Choose numbers of the scenes to learn from, to choose the best epoch by, and to measure on."""
    choice_end = VAL_OFFSET + settings.choice_scenes
    return (
        range(settings.train_scenes),
        range(VAL_OFFSET, choice_end),
        range(choice_end, choice_end + settings.test_scenes),
    )


def draw_scenes(
    settings: DemoSettings, indices: Sequence[int], *, shrink: bool, on_progress: Callable[[int], None]
) -> list[DrawnScene]:
    """Draw scenes, several at a time; with ``shrink`` at the size of the network's input."""
    drawings = _Drawings(generator(settings), indices, settings.input_px if shrink else None)
    # Starting processes takes longer than drawing a few hundred scenes.
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") and len(indices) > 500 else 0
    keep: Any = _keep_size
    loader = DataLoader(drawings, batch_size=None, num_workers=min(workers, 8) if workers > 1 else 0, collate_fn=keep)
    scenes = []
    for scene in loader:
        scenes.append(scene)
        on_progress(len(scenes))
    return scenes


def _keep_size(scene: DrawnScene) -> DrawnScene:
    return scene


def _shrink(scene: DrawnScene, size_px: int) -> DrawnScene:
    scale = size_px / len(scene.picture)

    def shrink(mask: np.ndarray) -> np.ndarray:
        covered = Image.fromarray(mask.astype(np.uint8) * 255).resize((size_px, size_px), Image.Resampling.BOX)
        return np.asarray(covered) > 127

    picture = Image.fromarray(scene.picture).resize((size_px, size_px), Image.Resampling.BICUBIC)
    left, top, right, bottom = scene.box_xyxy
    box = (int(left * scale), int(top * scale), -int(-right * scale // 1), -int(-bottom * scale // 1))
    return DrawnScene(scene.index, np.asarray(picture), scene.label, shrink(scene.target), shrink(scene.others), box)
