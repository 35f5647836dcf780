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


DENSE_NETWORKS: dict[str, DenseRow] = {**_semantic_rows()}
"""The networks by name: task or architecture, then the variant of the backbone."""
