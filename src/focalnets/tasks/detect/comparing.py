"""What was found and what is there, both in pixels of the photo.

Axes: B batch, N detections, M objects. A box is left, top, right, bottom.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from focalnets.data.annotated.images import AnnotatedImage, draw_object
from focalnets.data.annotated.objects import AnnotatedObject
from focalnets.tasks.detect.run_lengths import drawn_in_box, drawn_over_image, encode_mask

__all__ = ["WithObjects", "found_objects", "known_objects"]


@dataclasses.dataclass(frozen=True)
class WithObjects:
    """Prepares items for evaluation, whose targets keep the objects as the data state them, under ``objects``.

    Nothing is known of a photo alone, as in predictions.
    """

    prepare: Callable[[tuple[Any, Any], int], tuple[Any, Any]]

    def __call__(self, item: tuple[Any, Any], index: int) -> tuple[Tensor, dict[str, Any]]:
        """Prepare the item of a number."""
        picture, target = self.prepare(item, index)
        if isinstance(item[1], AnnotatedImage):
            target["objects"] = tuple(item[1].objects)
        return picture, target


def found_objects(
    output: Mapping[str, Any], sizes: Sequence[Sequence[int]], *, masks: bool = True
) -> list[dict[str, Any]]:
    """Take the detections of each image to its photo.

    Args:
        output: Of a detector, with ``input_sizes`` (B, 2): height and width of each image [px of the input], and
            ``stride`` between the places of masks that cover whole images.
        sizes: Width and height of each photo [px].
        masks: Whether masks are drawn, where there are any.

    Returns:
        For each image ``boxes`` (N, 4), ``scores`` (N,), ``labels`` (N,) and ``masks``, N run lengths, on the CPU.
    """
    results = []
    for detected, seen, size in zip(output["detections"], output["input_sizes"].tolist(), sizes, strict=True):
        scale = torch.tensor([seen[1] / size[0], seen[0] / size[1]] * 2)
        found: dict[str, Any] = {name: detected[name].cpu() for name in ("boxes", "scores", "labels")}
        found["boxes"] = found["boxes"] / scale
        if masks and "masks" in detected:
            drawn, width_and_height = detected["masks"].float().cpu(), (int(size[0]), int(size[1]))
            found["masks"] = [
                drawn_in_box(mask, box, width_and_height) for mask, box in zip(drawn, found["boxes"], strict=True)
            ]
        elif masks and "whole_masks" in detected:
            drawn, stride = detected["whole_masks"].float().cpu(), output["stride"]
            covered = torch.tensor([0, 0, drawn.shape[2] * stride, drawn.shape[1] * stride]) / scale
            found["masks"] = [drawn_over_image(mask, covered, (int(size[0]), int(size[1]))) for mask in drawn]
        results.append(found)
    return results


def known_objects(target: Mapping[str, Any], *, masks: bool, drawn: bool = True) -> dict[str, Any]:
    """Take the objects of an image as the data state them.

    Args:
        target: With ``objects`` and ``size``, height and width of the photo [px].
        masks: Whether masks count; an object without one is then passed over like a region of many.
        drawn: Whether they are returned too.

    Returns:
        ``boxes`` (M, 4), ``labels`` (M,), ``crowd`` (M,) bool, ``area`` (M,) [px], and ``masks``, M run lengths.
    """
    things: list[AnnotatedObject] = [thing for thing in target["objects"] if _has_area(thing)]
    crowd = [thing.crowd or (masks and thing.mask_data is None) for thing in things]
    known: dict[str, Any] = {
        "boxes": torch.tensor([thing.box_xyxy for thing in things], dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor([thing.label for thing in things], dtype=torch.int64),
        "crowd": torch.tensor(crowd, dtype=torch.bool),
        "area": torch.tensor([thing.area_px or 0.0 for thing in things], dtype=torch.float32),
    }
    if masks and drawn:
        known["masks"] = []
        for thing in things:
            mask = np.zeros(tuple(target["size"].tolist()), dtype=bool)
            draw_object(thing, mask)
            known["masks"].append(encode_mask(mask))
    return known


def _has_area(thing: AnnotatedObject) -> bool:
    left, top, right, bottom = thing.box_xyxy
    return right > left and bottom > top
