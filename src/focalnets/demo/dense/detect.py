"""The demonstration of finding things.

Axes: H W height and width [px]. A box is left, top, right, bottom [px].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageColor

from focalnets.data.annotated.images import AnnotatedImage
from focalnets.data.annotated.objects import filled_box
from focalnets.demo.dense.large_scene import LargeScene
from focalnets.demo.dense.settings import DenseDemoSettings
from focalnets.demo.dense.story import DenseStory
from focalnets.large.sources import Source
from focalnets.report.colours import LIGHT
from focalnets.report.overlay import class_colours
from focalnets.tasks.detect.drawing import draw_box, draw_objects
from focalnets.tasks.detect.matching import CORRECT, match
from focalnets.tasks.detect.results import Box, DetectedObject, Detections
from focalnets.tasks.large_look import LargeLook
from focalnets.training.recipes import detect

__all__ = ["DetectStory"]

_SHOWN_FROM = 0.5


class DetectStory(DenseStory):
    """Finding everything in a scene, see :class:`focalnets.demo.story.Story`."""

    recipe = staticmethod(detect)
    stuff = False
    title = "A small network that finds things"
    lead = (
        "It draws a box around everything that stands and flies around in a picture, and names it. All pictures were "
        "drawn by the program a moment ago."
    )
    task_in_words = (
        "Everything is to be found, and named: what flies in warm and in cool colours, and what stands on the ground. "
        "Things cover each other, and those far away are a few pixels large. "
        "The frames have the colours of the classes below."
    )
    level_in_words = "no boxes"
    gallery_in_words = (
        f"From left to right the true boxes, what the network finds from a score of {_SHOWN_FROM:.0%} on, and the "
        "length of the modulator: bright where the network lets its surroundings change what it sees most."
    )
    changes_in_words = (
        f"Boxes from a score of {_SHOWN_FROM:.0%} on: green where both looks agree, orange what only the tiles show, "
        "blue what only the whole picture shows."
    )

    def settings(self) -> DenseDemoSettings:
        """Choose what takes about three minutes on two cores."""
        return DenseDemoSettings(
            train_scenes=240,
            choice_scenes=20,
            test_scenes=80,
            epochs=4,
            batch_size=2,
            learning_rate=1e-3,
            layer_decay=0.95,
        )

    def blind(self, test: Sequence[AnnotatedImage]) -> float:
        """Without looking nothing is found."""
        return 0.0

    def large_answer(self, look: LargeLook, source: Source, found: Any) -> Detections:
        """Keep the objects that are drawn."""
        result: Detections = look.result(source, found)
        return result.above(_SHOWN_FROM)

    def draw_known(self, known: AnnotatedImage, picture: Image.Image, classes: Sequence[str]) -> Image.Image:
        """Draw the true boxes."""
        drawn, colours, scale = picture.copy(), class_colours(len(classes)), picture.width / known.size[0]
        for thing in known.objects:
            draw_box(drawn, _scaled(thing.box_xyxy, scale), tuple(colours[thing.label].tolist()), classes[thing.label])
        return drawn

    def draw_result(self, result: Detections, picture: Image.Image) -> Image.Image:
        """Draw what was found, with classes and scores."""
        scale = picture.width / result.size[0]
        objects = [
            dataclasses.replace(thing, box=_scaled(thing.box, scale)) for thing in result.above(_SHOWN_FROM).objects
        ]
        return draw_objects(picture, objects, len(result.class_names))

    def draw_large(self, answer: Detections, picture: Image.Image, classes: Sequence[str]) -> Image.Image:
        """Draw what was found, without words."""
        return draw_objects(picture, answer.objects, len(classes), names=False)

    def changes(self, large: LargeScene) -> np.ndarray:
        """Fill the boxes that only one of the two shows."""
        _, tile, image = _compared(large)
        width, height = large.known.size
        changed = np.zeros((height, width), dtype=bool)
        for thing in (*tile, *image):
            changed[filled_box(thing.box, height, width)] = True
        return changed

    def draw_changes(self, large: LargeScene, changes: np.ndarray) -> Image.Image:
        """Draw the boxes of both, by who shows them."""
        drawn = large.known.image.convert("L").convert("RGB")
        for things, colour in zip(_compared(large), (LIGHT.green, LIGHT.orange, LIGHT.blue), strict=True):
            for thing in things:
                draw_box(drawn, thing.box, ImageColor.getrgb(colour))
        return drawn

    def change_in_words(self, large: LargeScene) -> str:
        """Count who shows what."""
        both, tile, image = map(len, _compared(large))
        return f"both find {both} things, the tiles alone {tile}, the whole alone {image}"

    def change_in_numbers(self, large: LargeScene) -> dict[str, float]:
        """Return these counts."""
        return dict(zip(("both", "tile", "image"), map(len, _compared(large)), strict=True))


def _compared(large: LargeScene) -> tuple[list[DetectedObject], list[DetectedObject], list[DetectedObject]]:
    """Tell apart what both looks show, as the tiles have it, what the tiles alone do, and what the whole alone does."""
    tile, image = large.tile.answer.objects, large.image.answer.objects
    (boxes, labels), (others, classes) = _tensors(tile), _tensors(image)
    found = match(boxes, labels, others, classes, torch.zeros(len(image), dtype=torch.bool))
    agree = (found.kinds == CORRECT).tolist()
    return (
        [thing for thing, same in zip(tile, agree, strict=True) if same],
        [thing for thing, same in zip(tile, agree, strict=True) if not same],
        [thing for thing, missed in zip(image, found.missed.tolist(), strict=True) if missed],
    )


def _tensors(objects: Sequence[DetectedObject]) -> tuple[torch.Tensor, torch.Tensor]:
    boxes = torch.tensor([thing.box for thing in objects], dtype=torch.float32).reshape(-1, 4)
    return boxes, torch.tensor([thing.class_index for thing in objects], dtype=torch.int64)


def _scaled(box: Sequence[float], scale: float) -> Box:
    left, top, right, bottom = (scale * corner for corner in box)
    return left, top, right, bottom
