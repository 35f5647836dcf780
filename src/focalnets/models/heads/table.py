"""Networks with heads for dense tasks, by name: a row each. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

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
    "anchor_sizes": "32,64,128,256,512", "anchor_ratios": "0.5,1,2", "pyramid_channels": 256, "box_channels": 1024,
    "proposals": 1000, "sampled_boxes": 512, "normalised": False,
}  # fmt: skip
_SMALL_DETECTOR = {
    "stages": "1,2,3", "pyramid_channels": 96, "box_channels": 256, "proposals": 300, "sampled_boxes": 128,
}  # fmt: skip
_PUBLISHED_DROP_PATH = {"tiny": 0.1, "small": 0.2, "base": 0.3}


def _detector_rows() -> dict[str, DenseRow]:
    rows = {}
    for kind, task, words, masks in (
        ("fasterrcnn", "detect", "objects with boxes", {}),
        ("maskrcnn", "instance", "objects with boxes and masks", {"mask_channels": 256, "mask_layers": 4}),
    ):
        small = {"mask_channels": 96, "mask_layers": 2} if masks else {}
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
    "rtdetr": ("detect", "", "objects with boxes by the queries of RT-DETRv2",
               {"channels": 256, "queries": 300, "decoder_layers": 6},
               {"channels": 128, "queries": 100, "decoder_layers": 3}),
    "dfine": ("detect", "", "objects with boxes by the queries of D-FINE",
              {"channels": 256, "queries": 300, "decoder_layers": 6},
              {"channels": 128, "queries": 100, "decoder_layers": 3}),
    **{f"mask2former_{task}": (task, "mask2former", f"{words} by the queries of Mask2Former",
                               {"channels": 256, "queries": 100, "decoder_layers": 10},
                               {"channels": 96, "queries": 50, "decoder_layers": 4})
       for task, words in (("semantic", "the class of each pixel"), ("instance", "objects with masks"),
                           ("panoptic", "objects and ground"))},
}  # fmt: skip
"""Heads of transformers: task, words, and what they are made of on large backbones and on the smallest one."""


def _query_rows() -> dict[str, DenseRow]:
    rows = {}
    for name, (task, kind, words, published, small) in _QUERIES.items():
        head = {} if task == "panoptic" else {"head": kind or name}
        rows[f"{name}_focalnet_pico"] = DenseRow(
            task=task, backbone="focalnet_pico", head=head | small, input=WholeImage(input_size_px=256),
            summary=f"{words}, small",
        )  # fmt: skip
        input_px = WholeImage(input_size_px=640, longest_px=1024) if task == "detect" else _AT_512
        for size, drop_path in _PUBLISHED_DROP_PATH.items():
            for focus in ("srf", "lrf"):
                rows[f"{name}_focalnet_{size}_{focus}"] = DenseRow(
                    task=task, backbone=f"focalnet_{size}_{focus}", head=head | published, input=input_px,
                    backbone_fields={"drop_path": drop_path}, summary=f"{words}, as published",
                )  # fmt: skip
    return rows


DENSE_NETWORKS: dict[str, DenseRow] = {**_semantic_rows(), **_detector_rows(), **_query_rows()}
"""The networks by name: task or architecture, then the variant of the backbone."""
