"""Do the maps lie on the object? Measured over all held-out scenes, beside maps that know nothing.

Axes: N scenes, H W height and width [px].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image

from focalnets.data.transforms import evaluation_transform
from focalnets.demo.scenes import DrawnScene
from focalnets.models.focalnet import FocalNet
from focalnets.tasks.results import wilson_interval
from focalnets.visualize.evidence import look_inside
from focalnets.visualize.localization import centre_map, energy_inside, peak, pointing_game
from focalnets.visualize.maps import default_focus, evidence_map, focus_map, modulator_map

__all__ = ["Look", "MapScore", "score_maps"]

_BATCH = 25
_DRAWN = "Where it looks: modulator × evidence"
_EVIDENCE = "Evidence of the first stage alone"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapScore:
    """How well one kind of map finds the object, over all scenes.

    Attributes:
        name: What the map is, in words.
        hits: Share of scenes where its brightest point lies on the object, from 0 to 1.
        hits_interval: Wilson's 95 % confidence interval of that.
        near: Share where that point is at most half a token away from the object.
        on_others: Share where it lies on something else that floats in the air.
        energy: Mean share of the map that lies on the object.
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
    scale = side / model.preprocessing.input_size_px
    tallies: dict[str, _Tally] = {}
    looks: list[Look] = []
    near_px = 0.0
    for start in range(0, len(scenes), _BATCH):
        batch = scenes[start : start + _BATCH]
        inputs = torch.stack([transform(Image.fromarray(scene.picture)) for scene in batch])
        inside, probabilities = look_inside(model, inputs)
        near_px = 0.5 * inside[focus].grid.stride_px * scale
        maps = {_DRAWN: focus_map(inside, focus), _EVIDENCE: evidence_map(inside, 0)}
        for block in reversed(inside.last_blocks()):
            maps[f"Length of the modulator of block {block[0]}.{block[1]}"] = modulator_map(inside, block)
        for name, values in maps.items():
            stretched = torch.nn.functional.interpolate(
                torch.from_numpy(values).unsqueeze(1), size=(side, side), mode="bilinear", align_corners=False
            )
            for scene, heat in zip(batch, stretched.squeeze(1).numpy(), strict=True):
                tallies.setdefault(name, _Tally()).add(heat, scene, near_px)
                if name == _DRAWN:
                    index = len(looks) - start
                    looks.append(
                        Look(tuple(probabilities[index].tolist()), heat, peak(heat), pointing_game(heat, scene.target))
                    )
        on_progress(min(start + _BATCH, len(scenes)))
    blind = centre_map(side, side)
    for scene in scenes:
        tallies.setdefault("Always the centre, without looking", _Tally()).add(blind, scene, near_px)
    scores = [tally.score(name, drawn=name == _DRAWN) for name, tally in tallies.items()]
    return [*scores, _anywhere(scenes, near_px)], looks, near_px


class _Tally:
    """Collects what one kind of map gets."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float, float, float]] = []

    def add(self, heat: np.ndarray, scene: DrawnScene, near_px: float) -> None:
        hit = pointing_game(heat, scene.target)
        near = hit or pointing_game(heat, scene.target, tolerance_px=near_px)
        self.rows.append((hit, near, pointing_game(heat, scene.others), energy_inside(heat, scene.target)))

    def score(self, name: str, *, drawn: bool) -> MapScore:
        hits, near, on_others, energy = np.mean(self.rows, axis=0).tolist()
        interval = wilson_interval(round(hits * len(self.rows)), len(self.rows))
        return MapScore(
            name=name, hits=hits, hits_interval=interval, near=near, on_others=on_others, energy=energy, drawn=drawn
        )


def _anywhere(scenes: Sequence[DrawnScene], near_px: float) -> MapScore:
    """What a point drawn anywhere gets on average: the share of the area."""
    area = float(np.mean([scene.target.mean() for scene in scenes]))
    near = float(np.mean([_grown_share(scene.target, near_px) for scene in scenes]))
    others = float(np.mean([scene.others.mean() for scene in scenes]))
    interval = wilson_interval(round(area * len(scenes)), len(scenes))
    return MapScore(
        name="Anywhere at random", hits=area, hits_interval=interval, near=near, on_others=others, energy=area
    )


def _grown_share(mask: np.ndarray, distance_px: float) -> float:
    radius = int(distance_px)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = np.hypot(y, x) <= distance_px
    reached = torch.nn.functional.conv2d(
        torch.from_numpy(mask)[None, None].float(), torch.from_numpy(disk)[None, None].float(), padding=radius
    )
    return float((reached > 0.5).float().mean())
