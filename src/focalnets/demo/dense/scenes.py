"""Scenes of the demonstrations of dense tasks: drawn once and kept, with everything that is known of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from PIL import Image

from focalnets.data.annotated.images import AnnotatedImage
from focalnets.data.annotated.scenes import annotated_panorama, scene_images
from focalnets.data.annotated.training import AnnotatedData
from focalnets.data.scenes.generator import VAL_OFFSET, SceneGenerator
from focalnets.data.scenes.panorama import draw_panorama
from focalnets.demo.dense.settings import DenseDemoSettings

__all__ = ["close_up", "draw_large_scene", "draw_sets", "generator", "scene_numbers"]

_CLOSE_UP_PX = 208


def generator(settings: DenseDemoSettings) -> SceneGenerator:
    """Make what draws the scenes."""
    return SceneGenerator(image_size_px=settings.scene_px, target_size=settings.target_size)


def scene_numbers(settings: DenseDemoSettings) -> tuple[range, range, range]:
    """Choose numbers of the scenes to learn from, to choose the best epoch by, and to measure on."""
    choice_end = VAL_OFFSET + settings.choice_scenes
    return (
        range(settings.train_scenes),
        range(VAL_OFFSET, choice_end),
        range(choice_end, choice_end + settings.test_scenes),
    )


def draw_sets(
    settings: DenseDemoSettings, *, stuff: bool, on_progress: Callable[[int], None]
) -> tuple[AnnotatedData, AnnotatedData, AnnotatedData]:
    """Draw the scenes to learn from, to choose by and to measure on.

    Args:
        settings: How many, and how large.
        stuff: Whether sky and land are classes too, and each pixel has one.
        on_progress: Called with the number of scenes drawn.
    """
    sets, done = [], 0
    for numbers in scene_numbers(settings):
        images = scene_images(generator(settings), numbers, stuff=stuff)
        drawn = []
        for number in range(len(numbers)):
            drawn.append(images[number])
            done += 1
            on_progress(done)
        sets.append(AnnotatedData(dataclasses.replace(images, read=drawn.__getitem__)))
    train, choice, test = sets
    return train, choice, test


def draw_large_scene(settings: DenseDemoSettings, *, stuff: bool) -> AnnotatedImage:
    """Draw the large picture, in which things are as large as in scenes."""
    panorama = draw_panorama(generator(settings), settings.large_index, settings.large_px)
    return annotated_panorama(panorama, "the large picture", stuff=stuff)


def close_up(scenes: Sequence[AnnotatedImage], class_name: str) -> Image.Image | None:
    """Cut out the largest thing of a class; None where there is none."""
    found = [
        (scene, thing) for scene in scenes for thing in scene.objects
        if thing.category is not None and thing.category.name == class_name
    ]  # fmt: skip
    if not found:
        return None
    scene, thing = max(found, key=lambda entry: entry[1].area_px or 0.0)
    left, top, right, bottom = thing.box_xyxy
    side = min(round(1.5 * max(right - left, bottom - top)), *scene.size)
    x = min(max(round(left + right - side) // 2, 0), scene.size[0] - side)
    y = min(max(round(top + bottom - side) // 2, 0), scene.size[1] - side)
    return scene.image.crop((x, y, x + side, y + side)).resize((_CLOSE_UP_PX, _CLOSE_UP_PX), Image.Resampling.LANCZOS)
