"""How wide heads that find objects are where nothing is said: as published, on small backbones smaller.

Imports no torch.
"""

from __future__ import annotations

__all__ = ["PUBLISHED_WIDTHS", "SMALL_WIDTHS", "usual_widths"]

_LARGE_EMBED_DIM = 64

PUBLISHED_WIDTHS: dict[str, dict[str, int]] = {
    "rcnn": {"pyramid_channels": 256, "box_channels": 1024, "proposals": 1000, "sampled_boxes": 512},
    "rcnn_masks": {"mask_channels": 256, "mask_layers": 4},
    "rtdetr": {"channels": 256, "queries": 300, "decoder_layers": 6},
    "dfine": {"channels": 256, "queries": 300, "decoder_layers": 6},
    "mask2former": {"channels": 256, "queries": 100, "decoder_layers": 10},
}
"""By head, with what draws masks apart; the keys are those of the tasks' sections of a training config."""

SMALL_WIDTHS: dict[str, dict[str, int]] = {
    "rcnn": {"pyramid_channels": 96, "box_channels": 256, "proposals": 300, "sampled_boxes": 128},
    "rcnn_masks": {"mask_channels": 96, "mask_layers": 2},
    "rtdetr": {"channels": 128, "queries": 100, "decoder_layers": 3},
    "dfine": {"channels": 128, "queries": 100, "decoder_layers": 3},
    "mask2former": {"channels": 96, "queries": 50, "decoder_layers": 4},
}
"""The same for hundreds of images and no cluster."""


def usual_widths(head: str, embed_dim: int) -> dict[str, int]:
    """Choose the widths that suit a backbone.

    Args:
        head: A key of :data:`PUBLISHED_WIDTHS`.
        embed_dim: Channels of the backbone's first stage.
    """
    return (SMALL_WIDTHS if embed_dim < _LARGE_EMBED_DIM else PUBLISHED_WIDTHS)[head]
