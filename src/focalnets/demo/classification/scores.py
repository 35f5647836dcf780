"""Do the maps lie on the object? Measured over all scenes that were held out, beside maps that know nothing.

Axes: N scenes, H W height and width [px].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image

from focalnets.data.transforms import evaluation_transform
from focalnets.demo.classification.scenes import DrawnScene
from focalnets.intervals import wilson_interval
from focalnets.models.focalnet import FocalNet
from focalnets.visualize.evidence import look_inside
from focalnets.visualize.localization.scores import centre_map, energy_inside, grown_mask, peak, pointing_game
from focalnets.visualize.map_names import DEFAULT_MAP
from focalnets.visualize.maps import default_focus, evidence_map, focus_map, modulator_map
from focalnets.visualize.recording import token_grids
from focalnets.visualize.relevance import draw_relevance

__all__ = ["Look", "MapScore", "score_maps"]

_BATCH = 25
_DRAWN = "Where it looks: evidence of the focal levels"
_PRODUCT = "Modulator × evidence"
_EVIDENCE = "Evidence of the first stage alone"
_CENTRE = "Always the centre, without looking"
_ANYWHERE = "Anywhere at random"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapScore:
    """How well one kind of map finds the object, over all scenes.

    Attributes:
        name: What the map is, in words.
        hits: Fraction of scenes where its brightest point lies on the object, from 0 to 1.
        hits_interval: Wilson's 95 % confidence interval of that.
        near: Fraction where that point is at most half a token away from the object.
        on_others: Fraction where it lies on something else that floats in the air.
        energy: Mean fraction of the map that lies on the object.
        drawn: Whether this is the map that the report and ``focalnets explain`` draw large.
    """

    name: str
    hits: float
    hits_interval: tuple[float, float]
    near: float
    on_others: float
    energy: float
    drawn: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
    """What the network says about one scene and where it looks.

    Attributes:
        probabilities: One a class.
        heat: The map that is drawn large (H, W) float32.
        peak_yx: Its brightest pixel.
        hit: Whether that lies on the object.
    """

    probabilities: tuple[float, ...]
    heat: np.ndarray
    peak_yx: tuple[int, int]
    hit: bool


def score_maps(
    model: FocalNet, scenes: Sequence[DrawnScene], on_progress: Callable[[int], None]
) -> tuple[list[MapScore], list[Look], float]:
    """Look inside the network for every scene.

    Returns:
        One score for each kind of map, the drawn one first and blind ones last; one look a scene; and the distance that
        counts as near [px of the pictures].
    """
    focus = default_focus(model)
    transform = evaluation_transform(model.preprocessing)
    side = len(scenes[0].picture)
    near_px = 0.5 * token_grids(model)[focus[0]].stride_px * side / model.preprocessing.input_size_px
    blind = {_CENTRE: centre_map(side, side), _ANYWHERE: np.ones((side, side))}
    names: list[str] = []
    rows: list[np.ndarray] = []
    looks: list[Look] = []
    for start in range(0, len(scenes), _BATCH):
        batch = scenes[start : start + _BATCH]
        inputs = torch.stack([transform(Image.fromarray(scene.picture)) for scene in batch])
        inside, probabilities = look_inside(model, inputs)
        maps = {_DRAWN: draw_relevance(model, inputs, inside, DEFAULT_MAP, focus).heat}
        maps |= {_PRODUCT: focus_map(inside, focus), _EVIDENCE: evidence_map(inside, 0)}
        for block in reversed(inside.last_blocks()):
            maps[f"Length of the modulator of block {block[0]}.{block[1]}"] = modulator_map(inside, block)
        names = [*maps, *blind]
        stretched = torch.nn.functional.interpolate(
            torch.from_numpy(np.stack(list(maps.values()), axis=1)), size=(side, side), mode="bilinear"
        ).numpy()
        for scene, heats, confidences in zip(batch, stretched, probabilities.tolist(), strict=True):
            rows.append(_figures(np.stack([*heats, *blind.values()]), scene, near_px))
            place = peak(heats[0])
            looks.append(Look(tuple(confidences), heats[0], place, bool(scene.target[place])))
        on_progress(len(rows))
    return [_score(name, figures) for name, figures in zip(names, np.stack(rows, axis=1), strict=True)], looks, near_px


def _figures(heats: np.ndarray, scene: DrawnScene, near_px: float) -> np.ndarray:
    """Measure hits, near, on others and energy (maps, 4) of the maps (maps, H, W) of one scene."""
    figures = (
        pointing_game(heats, scene.target),
        pointing_game(heats, grown_mask(scene.target, near_px)),
        pointing_game(heats, scene.others),
        energy_inside(heats, scene.target),
    )
    return np.stack(figures, axis=1)


def _score(name: str, figures: np.ndarray) -> MapScore:
    hits, near, on_others, energy = figures.mean(0).tolist()
    interval = wilson_interval(round(hits * len(figures)), len(figures))
    return MapScore(
        name=name,
        hits=hits,
        hits_interval=interval,
        near=near,
        on_others=on_others,
        energy=energy,
        drawn=name == _DRAWN,
    )
