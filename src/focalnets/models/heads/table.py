"""Networks with heads for dense tasks, by name: a row each. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from focalnets.models.heads.widths import PUBLISHED_WIDTHS, SMALL_WIDTHS
from focalnets.models.input_specs import WholeImage

__all__ = ["DENSE_NETWORKS", "DenseRow"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseRow:
    """A network for a dense task.

    Attributes:
        task: What it is for.
        backbone: The variant that it stands on, see :data:`focalnets.models.variants.VARIANTS`.
        backbone_fields: Fields of the backbone's config that differ from those of the variant.
        head: Settings of the task's section of a training config, which it takes where these say nothing else.
        input: How images are prepared.
        summary: What it is, for people.
    """

    task: str
    backbone: str
    backbone_fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    head: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    input: WholeImage
    summary: str


_AT_512 = WholeImage(input_size_px=512, longest_px=2048)
_UPER = {"head": "uper", "channels": 512}


def _semantic_rows() -> dict[str, DenseRow]:
    rows = {
        f"semantic_{backbone}": DenseRow(
            task="semantic", backbone=backbone, head={"head": "mlp"}, input=size,
            summary="the class of each pixel by a light head",
        )
        for backbone, size in (
            ("focalnet_pico", WholeImage(input_size_px=256)),
            ("focalnet_tiny_srf", _AT_512), ("focalnet_tiny_lrf", _AT_512),
            ("focalnet_small_lrf", _AT_512), ("focalnet_base_lrf", _AT_512),
        )
    }  # fmt: skip
    for size in ("tiny", "small", "base"):
        for focus in ("srf", "lrf"):
            backbone = f"focalnet_{size}_{focus}"
            rows[f"upernet_{backbone}"] = DenseRow(
                task="semantic", backbone=backbone, head=_UPER, input=_AT_512,
                summary="the class of each pixel by UPerNet",
            )  # fmt: skip
    return rows


_PUBLISHED_DETECTOR = {
    **PUBLISHED_WIDTHS["rcnn"], "anchor_sizes": "32,64,128,256,512", "anchor_ratios": "0.5,1,2", "normalised": False,
}  # fmt: skip
_SMALL_DETECTOR = {**SMALL_WIDTHS["rcnn"], "stages": "1,2,3"}
_PUBLISHED_DROP_PATH = {"tiny": 0.1, "small": 0.2, "base": 0.3}


def _detector_rows() -> dict[str, DenseRow]:
    rows = {}
    for kind, task, words in (
        ("fasterrcnn", "detect", "objects with boxes"),
        ("maskrcnn", "instance", "objects with boxes and masks"),
    ):
        small, masks = (SMALL_WIDTHS["rcnn_masks"], PUBLISHED_WIDTHS["rcnn_masks"]) if task == "instance" else ({}, {})
        rows[f"{kind}_focalnet_pico"] = DenseRow(
            task=task, backbone="focalnet_pico", head=_SMALL_DETECTOR | small, input=WholeImage(input_size_px=256),
            summary=f"{words}, for hundreds of images and no cluster",
        )  # fmt: skip
        for size, drop_path in _PUBLISHED_DROP_PATH.items():
            for focus in ("srf", "lrf"):
                rows[f"{kind}_focalnet_{size}_{focus}"] = DenseRow(
                    task=task, backbone=f"focalnet_{size}_{focus}", head=_PUBLISHED_DETECTOR | masks,
                    backbone_fields={"focal_windows": (9, 9, 9, 9), "drop_path": drop_path},
                    input=WholeImage(input_size_px=800, longest_px=1333),
                    summary=f"{words}, with the anchors and sizes of the published configs",
                )  # fmt: skip
    return rows


_QUERIES = {
    "rtdetr": ("detect", "rtdetr", "objects with boxes by the queries of RT-DETRv2"),
    "dfine": ("detect", "dfine", "objects with boxes by the queries of D-FINE"),
    "mask2former_semantic": ("semantic", "mask2former", "the class of each pixel by the queries of Mask2Former"),
    "mask2former_instance": ("instance", "mask2former", "objects with masks by the queries of Mask2Former"),
    "mask2former_panoptic": ("panoptic", "mask2former", "objects and ground by the queries of Mask2Former"),
}
"""Heads of transformers: task, head and words."""


def _query_rows() -> dict[str, DenseRow]:
    rows = {}
    for name, (task, kind, words) in _QUERIES.items():
        head = {} if task == "panoptic" else {"head": kind}
        rows[f"{name}_focalnet_pico"] = DenseRow(
            task=task, backbone="focalnet_pico", head=head | SMALL_WIDTHS[kind], input=WholeImage(input_size_px=256),
            summary=f"{words}, small",
        )  # fmt: skip
        input_px = WholeImage(input_size_px=640, longest_px=1024) if task == "detect" else _AT_512
        for size, drop_path in _PUBLISHED_DROP_PATH.items():
            for focus in ("srf", "lrf"):
                rows[f"{name}_focalnet_{size}_{focus}"] = DenseRow(
                    task=task, backbone=f"focalnet_{size}_{focus}", head=head | PUBLISHED_WIDTHS[kind], input=input_px,
                    backbone_fields={"drop_path": drop_path}, summary=f"{words}, as published",
                )  # fmt: skip
    return rows


DENSE_NETWORKS: dict[str, DenseRow] = {**_semantic_rows(), **_detector_rows(), **_query_rows()}
"""The networks by name: task or architecture, then the variant of the backbone."""
