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


DENSE_NETWORKS: dict[str, DenseRow] = {}
"""The networks by name: task or architecture, then the variant of the backbone."""
