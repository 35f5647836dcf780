"""Where the network looks, as an illustration: maps prove nothing, what is changed in pictures does.

Axes: N images, S side of the picture as the network sees it [px].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from focalnets.auditing.answers import Answers
from focalnets.auditing.cutouts import Parted
from focalnets.auditing.samples import name_of
from focalnets.auditing.statistics.averages import mean_with_interval
from focalnets.data.transforms import framing, to_tensor
from focalnets.intervals import Estimate
from focalnets.models.config import Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.visualize.draw import overlay
from focalnets.visualize.localization.scores import energy_inside
from focalnets.visualize.localization.sources import BlindSource, UntrainedSource, View, main_map
from focalnets.visualize.maps import default_focus

__all__ = ["MOST_LOOKED_AT", "ConfidentError", "Looks", "Share", "look"]

MOST_LOOKED_AT = 300
"""The map is measured on at most so many images."""

_MOST_ERRORS = 12
_LEAST_NAMED = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """How much of a map lies on the object, on average, with the 95 % interval of the mean."""

    name: str
    images: int
    on_object: Estimate
    area: float


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ConfidentError:
    """An image that the network is sure of and wrong about, and where it looked."""

    name: str
    label: str
    predicted: str
    confidence: float
    picture: np.ndarray
    map: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without pictures."""
        return {key: getattr(self, key) for key in ("name", "label", "predicted", "confidence")}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Looks:
    """Where the network looks.

    Attributes:
        block: Whose modulator is drawn, as ``stage.block``.
        methods: The modulator, and maps that know nothing of the image: of a network that learnt nothing, always the
            centre, noise, and any point alike. None without masks.
        classes, groups: The modulator class by class and group by group.
        errors: The most confident errors.
    """

    block: str
    methods: tuple[Share, ...]
    classes: tuple[Share, ...]
    groups: tuple[Share, ...]
    errors: tuple[ConfidentError, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without pictures."""
        return {
            "block": self.block,
            **{
                key: [dataclasses.asdict(each) for each in getattr(self, key)]
                for key in ("methods", "classes", "groups")
            },
            "errors": [error.to_dict() for error in self.errors],
        }


def look(
    model: nn.Module,
    data: Any,
    answers: Answers,
    parted: Mapping[int, Parted],
    attributes: Mapping[str, Sequence[str]],
    spec: Preprocessing,
    *,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> Looks | None:
    """Draw and measure maps.

    Args:
        model: The network.
        data: The images, with ``samples``.
        answers: Of the network to all of them.
        parted: Images taken apart, by their number; empty without masks.
        attributes: By name, the value of each image in the order of ``answers``.
        spec: How pictures are prepared.
        seed: Of the untrained network and of noise.
        on_progress: Called with the number of images looked at.

    Returns:
        The figures; None for networks without modulators.
    """
    if not isinstance(model, FocalNet) or model.norm is None:
        return None
    focus, tensor = default_focus(model), to_tensor(spec)
    blind: list[UntrainedSource | BlindSource] = [UntrainedSource(model, focus, seed), BlindSource(model, focus, seed)]
    labels = ["modulator", *(method.label for source in blind for method in source.methods)]
    known = [place for place, index in enumerate(answers.indices.tolist()) if index in parted]
    chosen = known[:: max(1, -(-len(known) // MOST_LOOKED_AT))]
    rows, areas, places = [], [], []
    for done, place in enumerate(chosen, 1):
        found = parted[int(answers.indices[place])]
        mask = found.opacity >= 0.5
        if not mask.all():
            view = _view(place, found.picture, mask, tensor)
            maps = np.concatenate([main_map(model, view, focus), *(source.maps(view) for source in blind)])
            rows.append(energy_inside(maps, mask))
            areas.append(float(mask.mean()))
            places.append(place)
        if on_progress is not None:
            on_progress(done)
    shares, area, at = np.array(rows).reshape(-1, len(labels)), np.array(areas), np.array(places, dtype=int)

    def group(name: str, inside: np.ndarray, column: int = 0) -> Share:
        return Share(
            name=name,
            images=int(inside.sum()),
            on_object=mean_with_interval(shares[inside, column], least=0.0),
            area=float(area[inside].mean()),
        )

    everyone = np.ones(len(at), dtype=bool)
    return Looks(
        block=f"{focus[0]}.{focus[1]}",
        methods=tuple(group(label, everyone, column) for column, label in enumerate(labels)) if len(at) else (),
        classes=tuple(
            group(answers.classes[label], inside)
            for label in np.unique(answers.labels[at]).tolist()
            if (inside := answers.labels[at] == label).sum() >= _LEAST_NAMED
        ),
        groups=tuple(
            group(f"{attribute} = {value}", inside)
            for attribute, values in attributes.items()
            for value in sorted(set(values) - {""})
            if (inside := np.asarray(values, dtype=object)[at] == value).sum() >= _LEAST_NAMED
        ),
        errors=_errors(model, data, answers, spec),
    )


def _errors(model: FocalNet, data: Any, answers: Answers, spec: Preprocessing) -> tuple[ConfidentError, ...]:
    crop, tensor, focus = framing(spec), to_tensor(spec), default_focus(model)
    wrong = np.flatnonzero(~answers.right)
    found = []
    for place in wrong[np.argsort(-answers.confidences[wrong], kind="stable")][:_MOST_ERRORS].tolist():
        index = int(answers.indices[place])
        picture = np.asarray(crop(data[index][0]))
        view = _view(place, picture, np.zeros(picture.shape[:2], dtype=bool), tensor)
        found.append(
            ConfidentError(
                name=name_of(data.samples[index][0]),
                label=answers.classes[answers.labels[place]],
                predicted=answers.classes[answers.predicted[place]],
                confidence=float(answers.confidences[place]),
                picture=picture,
                map=overlay(picture, main_map(model, view, focus)[0]),
            )
        )
    return tuple(found)


def _view(number: int, picture: np.ndarray, mask: np.ndarray, tensor: Callable[[Any], Any]) -> View:
    image = Image.fromarray(picture)
    return View(number, image, image, tensor(image).unsqueeze(0), mask)
