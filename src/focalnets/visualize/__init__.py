"""Looking inside a network: modulators, gates and kernels, how to draw them, and whether they lie on the object."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from focalnets.visualize.draw import explain_figure as explain_figure
    from focalnets.visualize.draw import overlay as overlay
    from focalnets.visualize.draw import save_figure as save_figure
    from focalnets.visualize.evidence import look_inside as look_inside
    from focalnets.visualize.kernels import kernels_figure as kernels_figure
    from focalnets.visualize.kernels import stage_kernels as stage_kernels
    from focalnets.visualize.localization.measure import measure_localization as measure_localization
    from focalnets.visualize.localization.scores import energy_inside as energy_inside
    from focalnets.visualize.localization.scores import pixel_auc as pixel_auc
    from focalnets.visualize.localization.scores import pointing_game as pointing_game
    from focalnets.visualize.maps import default_focus as default_focus
    from focalnets.visualize.maps import evidence_map as evidence_map
    from focalnets.visualize.maps import focus_map as focus_map
    from focalnets.visualize.maps import gate_maps as gate_maps
    from focalnets.visualize.maps import mean_kernels as mean_kernels
    from focalnets.visualize.maps import modulator_map as modulator_map
    from focalnets.visualize.receptive_field import effective_receptive_field as effective_receptive_field
    from focalnets.visualize.receptive_field import field_width_px as field_width_px
    from focalnets.visualize.receptive_field import receptive_field_figure as receptive_field_figure
    from focalnets.visualize.recording import capture as capture
    from focalnets.visualize.relevance import draw_relevance as draw_relevance
    from focalnets.visualize.video import explain_video as explain_video

_HOMES = {
    "capture": "recording",
    "default_focus": "maps",
    "draw_relevance": "relevance",
    "effective_receptive_field": "receptive_field",
    "energy_inside": "localization.scores",
    "evidence_map": "maps",
    "explain_figure": "draw",
    "explain_video": "video",
    "field_width_px": "receptive_field",
    "focus_map": "maps",
    "gate_maps": "maps",
    "kernels_figure": "kernels",
    "look_inside": "evidence",
    "mean_kernels": "maps",
    "measure_localization": "localization.measure",
    "modulator_map": "maps",
    "overlay": "draw",
    "pixel_auc": "localization.scores",
    "pointing_game": "localization.scores",
    "receptive_field_figure": "receptive_field",
    "save_figure": "draw",
    "stage_kernels": "kernels",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'focalnets.visualize' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"focalnets.visualize.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
