"""The maps that can be drawn large, by name. Imports no torch."""

from __future__ import annotations

from focalnets.errors import ConfigError

__all__ = ["DEFAULT_MAP", "MAPS", "UNSHOWN", "choose_map", "label_of"]

MAPS = {
    "focal-evidence": "Evidence of the focal levels, mean of three views",
    "evidence": "Evidence of the first stage",
    "modulator-evidence": "Modulator of block {block} × evidence",
    "modulator": "Length of the modulator of block {block}",
}
"""What the maps are, in words; ``{block}`` stands for a block. :mod:`focalnets.visualize.relevance` draws them."""

DEFAULT_MAP = "focal-evidence"
"""The one that was best on images held apart, see docs/interpretability.md."""

_CENTRE = "It was not shown to beat the centre of photos; focalnets localize measures it on your images."

UNSHOWN = {
    "focal-evidence": "It lay on pedestrians more than Grad-CAM and the centre did. On photos of COCO its AUC was not "
    "told from the centre's, and deletion and insertion did not tell it from Grad-CAM, nor insertion from the centre.",
    "evidence": _CENTRE,
    "modulator-evidence": _CENTRE,
    "modulator": "It knows nothing of the answer, and on photos it lies on objects less than the centre does.",
}
"""What was not shown of each map, or is known to fail; pages that draw one say so."""


def choose_map(name: str | None, block: tuple[int, int] | None) -> str:
    """Name the map to draw: where nothing is asked for the default, and where only a block is, what shows that block.

    Raises:
        ConfigError: If there is no such map.
    """
    if name is None:
        return DEFAULT_MAP if block is None else "modulator-evidence"
    if name not in MAPS:
        raise ConfigError(f"map must be one of {', '.join(MAPS)}, got {name!r}.")
    return name


def label_of(name: str, block: tuple[int, int]) -> str:
    """Say in words what a map is."""
    return MAPS[name].format(block=f"{block[0]}.{block[1]}")
