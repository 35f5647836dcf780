"""How many numbers the heads of the networks for dense tasks hold. Imports no torch.

Counting needs the networks, and those of transformers take seconds to build; a test counts again.
"""

from __future__ import annotations

__all__ = ["COUNTED_CLASSES", "head_parameters"]

COUNTED_CLASSES = 80
"""Classes of the networks that were counted."""

_PARAMETERS: dict[str, dict[str, int]] = {
    "semantic": {"pico": 88_528, "tiny": 211_408, "base": 272_848},
    "upernet": {"tiny": 32_367_264, "base": 34_480_800},
    "fasterrcnn": {"pico": 1_750_240, "tiny": 17_630_624, "base": 17_753_504},
    "maskrcnn": {"pico": 1_961_040, "tiny": 20_273_904, "base": 20_396_784},
    "rtdetr": {"pico": 3_914_288, "tiny": 18_843_916, "base": 18_958_604},
    "dfine": {"pico": 3_401_529, "tiny": 17_163_032, "base": 17_277_720},
    "mask2former_semantic": {"pico": 1_582_833, "tiny": 19_900_945, "base": 20_023_825},
    "mask2former_instance": {"pico": 1_582_833, "tiny": 19_900_945, "base": 20_023_825},
    "mask2former_panoptic": {"pico": 1_582_833, "tiny": 19_900_945, "base": 20_023_825},
}
"""By architecture and size of the backbone; small backbones have the widths of tiny ones."""


def head_parameters(name: str) -> int:
    """Return how many parameters stand on the backbone, with 80 classes.

    Args:
        name: A key of :data:`focalnets.models.heads.table.DENSE_NETWORKS`.
    """
    architecture, _, backbone = name.partition("_focalnet_")
    size = backbone.split("_")[0]
    return _PARAMETERS[architecture]["tiny" if size == "small" else size]
