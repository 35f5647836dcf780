"""Generated scenes as annotated images: boxes, masks and classes of pixels.

Axes: H W height and width [px].
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
from PIL import Image

from focalnets.data.annotated.images import AnnotatedImage, AnnotatedImages
from focalnets.data.annotated.objects import AnnotatedObject, Category
from focalnets.data.annotated.parts import DENSE_TASKS, Recognised
from focalnets.data.scenes.generator import DISTRACTOR_CLASSES, SCENE_CLASSES, Scene, SceneGenerator
from focalnets.data.scenes.landscapes import LAND
from focalnets.data.scenes.panorama import Panorama
from focalnets.errors import DataError

__all__ = [
    "FIRST_SCENE",
    "SCENE_TARGET_SIZE",
    "annotated_panorama",
    "class_map",
    "open_scenes",
    "recognise_scenes",
    "scene_categories",
    "scene_images",
    "scenes_count",
]

SCENE_TARGET_SIZE = (0.14, 0.22)
"""Longer side of the object in generated scenes, as a fraction of the picture's side: as in ``focalnets demo``."""

FIRST_SCENE = 2_000_000
"""Number of the first generated scene: far from all that the demonstration trains on, chooses by or measures on."""

_USUAL_SCENES = 400


def scenes_count(data: object) -> int | None:
    """Number of scenes that ``scenes`` or ``scenes:COUNT`` asks for; None for the name of anything else.

    Raises:
        DataError: If the count is none.
    """
    found = re.fullmatch(r"scenes(?::(.*))?", data) if isinstance(data, str) else None
    if found is None:
        return None
    count = found[1]
    if count is not None and (not count.isdecimal() or int(count) < 1):
        raise DataError(f"expected scenes:COUNT with a whole number from 1 up, got 'scenes:{count}'.")
    return int(count or _USUAL_SCENES)


def recognise_scenes(place: object) -> Recognised | None:
    """Take ``scenes:COUNT`` for generated scenes."""
    count = scenes_count(place)
    if count is None:
        return None
    generator = SceneGenerator(target_size=SCENE_TARGET_SIZE)
    numbers = range(FIRST_SCENE, FIRST_SCENE + count)
    return Recognised(
        format="generated scenes",
        place=f"scenes:{count}",
        tasks=frozenset(DENSE_TASKS),
        open=lambda task, problems: {None: scene_images(generator, numbers, stuff=task in ("semantic", "panoptic"))},
    )


def scene_images(generator: SceneGenerator, numbers: Sequence[int], *, stuff: bool) -> AnnotatedImages:
    """Take scenes with everything in them.

    Args:
        generator: Draws the scenes.
        numbers: Which.
        stuff: Whether sky and land are classes too, and each pixel has one.
    """
    categories = scene_categories() if stuff else [each for each in scene_categories() if each.thing]
    return AnnotatedImages(
        data=f"{len(numbers)} generated scenes of {generator.image_size_px} px",
        objects="everything that stands and flies around",
        names=[f"scene {number}" for number in numbers],
        read=_SceneReader(generator, numbers, stuff=stuff),
        categories=categories,
        kinds=frozenset(DENSE_TASKS),
        maps=stuff,
    )


def open_scenes(count: int, category: str | None, *, everything: bool) -> AnnotatedImages:
    """Take scenes that show a category, see :func:`focalnets.data.annotated.open.open_annotated_images`."""
    generator = SceneGenerator(target_size=SCENE_TARGET_SIZE)
    known = (*SCENE_CLASSES, *DISTRACTOR_CLASSES)
    if category is not None and category not in known:
        raise DataError(f"scenes hold no {category!r}; choose from {', '.join(known)}.")
    numbers: Sequence[int] = range(FIRST_SCENE, FIRST_SCENE + count)
    if category in SCENE_CLASSES and not everything:
        numbers = [number for number in numbers if generator.classes[generator.label(number)] == category]
    if not numbers:
        raise DataError(f"None of {count} scenes shows a {category}; ask for more.")
    reader = _SceneReader(generator, numbers, category, only_target=category is None and not everything)
    found = scene_images(generator, numbers, stuff=False)
    words = category or (found.objects if everything else "the thing that the scene is named after")
    return dataclasses.replace(found, objects=words, read=reader)


def scene_categories() -> list[Category]:
    """Kinds of things in scenes, with the numbers that written scenes give them, and after them sky and land."""
    things = (*SCENE_CLASSES, *DISTRACTOR_CLASSES)
    return [
        *(
            Category(place, name, "target" if name in SCENE_CLASSES else "distractor")
            for place, name in enumerate(things, start=1)
        ),
        *(Category(place, name, "land", thing=False) for place, name in enumerate(LAND, start=len(things) + 1)),
    ]


def class_map(scene: Scene) -> np.ndarray:
    """Place of each pixel's class in :func:`scene_categories`, (H, W) uint8."""
    place = {category.name: number for number, category in enumerate(scene_categories())}
    labels = scene.land + np.uint8(place[LAND[0]])
    for thing in scene.objects:
        labels[thing.mask] = place[thing.class_name]
    return labels


def annotated_panorama(panorama: Panorama, name: str, *, stuff: bool) -> AnnotatedImage:
    """Take a large generated picture with the boxes of its things and, with ``stuff``, the class of each pixel.

    Classes are those of :func:`scene_categories`, without sky and land where pixels have none.
    """
    categories = scene_categories()
    place = {category.name: number for number, category in enumerate(categories)}
    objects = [
        AnnotatedObject(
            categories[place[thing.class_name]], place[thing.class_name], thing.box_xyxy, area_px=float(thing.area_px)
        )
        for thing in panorama.things
    ]
    labels = None
    if stuff:
        of_number = np.zeros(int(panorama.owner.max(initial=0)) + 1, np.uint8)
        for thing in panorama.things:
            of_number[thing.number] = place[thing.class_name] + 1
        things = of_number[panorama.owner]
        labels = np.where(things > 0, things - np.uint8(1), panorama.land + np.uint8(place[LAND[0]]))
    return AnnotatedImage(name, Image.fromarray(panorama.image), objects, semantic_data=labels)


@dataclasses.dataclass(frozen=True, eq=False)
class _SceneReader:
    """Draws the scene of a number, with its objects."""

    generator: SceneGenerator
    numbers: Sequence[int]
    category: str | None = None
    only_target: bool = False
    stuff: bool = False

    def __call__(self, index: int) -> AnnotatedImage:
        scene = self.generator.scene(self.numbers[index])
        things = [scene.target] if self.only_target else scene.objects
        labels = {category.name: (label, category) for label, category in enumerate(scene_categories())}
        objects = []
        for thing in things:
            if self.category in (None, thing.class_name):
                label, category = labels[thing.class_name]
                area = float(thing.mask.sum())
                objects.append(AnnotatedObject(category, label, thing.box_xyxy, thing.mask, area_px=area))
        return AnnotatedImage(
            f"scene {self.numbers[index]}",
            Image.fromarray(scene.image),
            objects,
            semantic_data=class_map(scene) if self.stuff else None,
        )
