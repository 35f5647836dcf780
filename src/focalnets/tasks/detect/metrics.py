"""Average precision as COCO measures it, of boxes and of masks.

Axes: N detections, M objects, T overlaps, R recalls, K classes, A sizes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from focalnets.data.annotated.encoded_masks import EncodedMask
from focalnets.errors import MissingPackageError
from focalnets.tasks.detect.run_lengths import text_of_runs

__all__ = ["AveragePrecision"]

_NAMES = {
    "map": "map", "map50": "map_50", "map75": "map_75", "map_small": "map_small", "map_medium": "map_medium",
    "map_large": "map_large",
}  # fmt: skip
"""Ours, and torchmetrics' names."""


class AveragePrecision(MeanAveragePrecision):
    """COCO's average precision: over ten overlaps from 0.5 to 0.95, at 0.5, at 0.75, and for sizes of objects.

    Masks are taken as run lengths, so that no picture of each is kept.

    Args:
        masks: Whether masks are measured too, under names that begin with ``mask_``.
        detections: Detections of an image at most.
    """

    def __init__(self, *, masks: bool, detections: int) -> None:
        try:
            super().__init__(
                iou_type=("bbox", "segm") if masks else "bbox",
                max_detection_thresholds=[1, 10, max(detections, 11)],
                backend="faster_coco_eval",
            )
        except ModuleNotFoundError:
            raise MissingPackageError(
                "Average precision needs faster-coco-eval, which is not installed; pip install 'focalnets[dense]'."
            ) from None
        self.masks = masks

    def update(self, preds: list[dict[str, Any]], target: list[dict[str, Any]]) -> None:
        """Take a batch.

        Args:
            preds: For each image ``boxes`` (N, 4) [px of the photo], ``scores`` (N,), ``labels`` (N,) and, where
                measured, ``masks``, N of :class:`focalnets.data.annotated.encoded_masks.EncodedMask`.
            target: Likewise ``boxes`` (M, 4), ``labels`` (M,), ``crowd`` (M,) bool, ``area`` (M,) [px] and ``masks``.
        """
        for found in preds:
            self.detection_box.append(_as_width(found["boxes"]))
            self.detection_scores.append(found["scores"])
            self.detection_labels.append(found["labels"])
            if self.masks:
                self.detection_mask.append(_encoded(found["masks"]))  # type: ignore[arg-type]
        for known in target:
            self.groundtruth_box.append(_as_width(known["boxes"]))
            self.groundtruth_labels.append(known["labels"])
            self.groundtruth_crowds.append(known["crowd"].long())
            self.groundtruth_area.append(known["area"])
            if self.masks:
                self.groundtruth_mask.append(_encoded(known["masks"]))  # type: ignore[arg-type]

    def compute(self) -> dict[str, Tensor]:
        """Compute the figures of all classes together; one that nothing is known for is 0."""
        results = self._measured(in_full=False)
        figures = {}
        for kind, prefix in self._kinds():
            for name, theirs in _NAMES.items():
                value = results.get(f"{kind}{theirs}", torch.tensor(0.0))
                figures[f"{prefix}{name}"] = torch.as_tensor(value, dtype=torch.float32).clamp(min=0.0)
        return figures

    def by_class(self, classes: int) -> dict[str, list[float | None]]:
        """Compute ``map`` and ``map50`` of each class, with masks also ``mask_map`` and ``mask_map50``.

        None stands for classes without objects.
        """
        results = self._measured(in_full=True)
        figures: dict[str, list[float | None]] = {}
        places = {int(label): place for place, label in enumerate(results.get("classes", torch.zeros(0)).reshape(-1))}
        for kind, prefix in self._kinds():
            precision = results.get(f"{kind}precision")  # (T, R, K, A, limits), -1 where nothing is known
            for name, overlaps in ((f"{prefix}map", slice(None)), (f"{prefix}map50", slice(0, 1))):
                figures[name] = [
                    None
                    if precision is None or label not in places
                    else _mean(precision[overlaps, :, places[label], 0, -1])
                    for label in range(classes)
                ]
        return figures

    def _kinds(self) -> list[tuple[str, str]]:
        return [("bbox_", ""), ("segm_", "mask_")] if self.masks else [("", "")]

    def _measured(self, *, in_full: bool) -> dict[str, Any]:
        if not any(len(labels) for labels in self.groundtruth_labels):
            return {}
        self.extended_summary = in_full  # Every precision at every recall takes long to hand over.
        return super().compute()


def _as_width(boxes: Tensor) -> Tensor:
    """Left, top, width and height, as the states of the class above have it."""
    return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).float()


def _encoded(masks: list[EncodedMask]) -> tuple[tuple[tuple[int, int], bytes], ...]:
    return tuple(((mask.height, mask.width), text_of_runs(mask.runs).encode()) for mask in masks)


def _mean(values: Tensor) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if len(known) else None
