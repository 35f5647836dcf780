"""The maps that can be drawn large, by name. Imports no torch."""

from __future__ import annotations

from focalnets.errors import ConfigError

__all__ = ["DEFAULT_MAP", "MAPS", "choose_map", "label_of"]

MAPS = {
    "focal-evidence": "Evidence of the focal levels, mean of three views",
    "evidence": "Evidence of the first stage",
    "modulator-evidence": "Modulator of block {block} × evidence",
    "modulator": "Length of the modulator of block {block}",
}
"""What the maps are, in words; ``{block}`` stands for a block. :mod:`focalnets.visualize.relevance` draws them."""

DEFAULT_MAP = "focal-evidence"
"""The one that was best on images held apart, see docs/interpretability.md."""


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
