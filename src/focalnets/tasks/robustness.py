"""How a classifier stands other sizes and spoiled pictures: one evaluation after the other on the same images."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from focalnets.data.corruptions import CORRUPTIONS, check_corruptions, corrupt
from focalnets.data.labelled import LabelledData
from focalnets.errors import ConfigError
from focalnets.files import csv_text
from focalnets.models.focalnet import FocalNet
from focalnets.tasks.classify.inference import evaluate_images
from focalnets.tasks.classify.results import Figures

__all__ = [
    "RESOLUTIONS_PX",
    "CorruptionStudy",
    "CorruptionTrial",
    "ResolutionStudy",
    "evaluate_corruptions",
    "evaluate_resolutions",
]

RESOLUTIONS_PX = tuple(range(96, 385, 32))
"""Input sizes of the usual curve [px]."""

_FIGURE_COLUMNS = ("images", "top1", "top1_low", "top1_high", "top5", "top5_low", "top5_high", "loss", "ece")

OnProgress = Callable[[int, str], None]
"""Takes the number of images done, over all passes, and the name of the pass."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResolutionStudy:
    """Accuracy at several input sizes.

    Attributes:
        sizes_px: The sizes, ascending [px].
        figures: What was measured at each.
        own_size_px: The size that the network was made for [px].
    """

    sizes_px: tuple[int, ...]
    figures: tuple[Figures, ...]
    own_size_px: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        rows = zip(self.sizes_px, self.figures, strict=True)
        return {
            "own_size_px": self.own_size_px,
            "sizes": [{"input_size_px": size, **dataclasses.asdict(figures)} for size, figures in rows],
        }

    def to_csv(self) -> str:
        """One line a size."""
        rows = zip(self.sizes_px, self.figures, strict=True)
        return csv_text(["input_size_px", *_FIGURE_COLUMNS], ([size, *_cells(figures)] for size, figures in rows))


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorruptionTrial:
    """What was measured with one corruption at one severity, from 1 to 5."""

    corruption: str
    severity: int
    figures: Figures


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorruptionStudy:
    """Accuracy on spoiled pictures.

    Attributes:
        corruptions, severities: What was done to the pictures, every corruption at every severity.
        trials: What was measured, by corruption and then by severity.
        seed: Decides about the noise, together with the number of the image.
    """

    corruptions: tuple[str, ...]
    severities: tuple[int, ...]
    trials: tuple[CorruptionTrial, ...]
    seed: int

    def mean_top1(self, corruption: str | None = None) -> float:
        """Mean top-1 accuracy over the severities of one corruption, or over everything."""
        chosen = [trial.figures.top1 for trial in self.trials if corruption is None or trial.corruption == corruption]
        return sum(chosen) / len(chosen)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "seed": self.seed,
            "severities": list(self.severities),
            "mean_top1": self.mean_top1(),
            "mean_top1_by_corruption": {name: self.mean_top1(name) for name in self.corruptions},
            "trials": [
                {"corruption": trial.corruption, "severity": trial.severity, **dataclasses.asdict(trial.figures)}
                for trial in self.trials
            ],
        }

    def to_csv(self) -> str:
        """One line a corruption and severity."""
        rows = ([trial.corruption, trial.severity, *_cells(trial.figures)] for trial in self.trials)
        return csv_text(["corruption", "severity", *_FIGURE_COLUMNS], rows)


def evaluate_resolutions(
    model: FocalNet,
    dataset: LabelledData,
    sizes_px: Sequence[int] = RESOLUTIONS_PX,
    *,
    batch_size: int = 32,
    skip_unreadable: bool = False,
    on_progress: OnProgress | None = None,
) -> ResolutionStudy:
    """Measure at several input sizes; the other arguments are those of :func:`evaluate_images`.

    Raises:
        ConfigError: If a size is below 1 or there is none.
    """
    sizes = tuple(sorted(set(sizes_px)))
    if not sizes or sizes[0] < 1:
        raise ConfigError(f"resolutions must be whole numbers from 1 up, got {', '.join(map(str, sizes_px))}.")
    figures = [
        evaluate_images(
            model,
            dataset,
            batch_size=batch_size,
            size_px=size,
            skip_unreadable=skip_unreadable,
            on_progress=_counted(on_progress, number * len(dataset), f"{size} px"),
        ).figures()
        for number, size in enumerate(sizes)
    ]
    return ResolutionStudy(sizes_px=sizes, figures=tuple(figures), own_size_px=model.preprocessing.input_size_px)


def evaluate_corruptions(
    model: FocalNet,
    dataset: LabelledData,
    corruptions: Sequence[str] = tuple(CORRUPTIONS),
    severities: Sequence[int] = (1, 3, 5),
    *,
    seed: int = 0,
    batch_size: int = 32,
    size_px: int | None = None,
    skip_unreadable: bool = False,
    on_progress: OnProgress | None = None,
) -> CorruptionStudy:
    """Measure on pictures that are spoiled after resizing and cropping, so that strengths hold for what is seen.

    Args:
        model: See :func:`evaluate_images`.
        dataset: Likewise.
        corruptions: Names from :data:`focalnets.data.corruptions.CORRUPTIONS`.
        severities: From 1 to 5.
        seed: The same seed gives the same noise to the same image.
        batch_size: See :func:`evaluate_images`.
        size_px: Likewise.
        skip_unreadable: Likewise.
        on_progress: See :data:`OnProgress`.

    Raises:
        UnknownNameError: If there is no corruption of that name.
        ConfigError: If a severity or the seed is out of range.
    """
    names, strengths = tuple(dict.fromkeys(corruptions)), tuple(sorted(set(severities)))
    check_corruptions(names, strengths, seed)
    trials: list[CorruptionTrial] = []
    for name in names:
        for severity in strengths:
            evaluation = evaluate_images(
                model,
                dataset,
                batch_size=batch_size,
                size_px=size_px,
                skip_unreadable=skip_unreadable,
                on_progress=_counted(on_progress, len(trials) * len(dataset), f"{name} {severity}"),
                alter=functools.partial(_spoil, name=name, severity=severity, seed=seed),
            )
            trials.append(CorruptionTrial(corruption=name, severity=severity, figures=evaluation.figures()))
    return CorruptionStudy(corruptions=names, severities=strengths, trials=tuple(trials), seed=seed)


def _spoil(picture: Image.Image, index: int, *, name: str, severity: int, seed: int) -> Image.Image:
    return corrupt(picture, name, severity, seed=seed, index=index)


def _counted(on_progress: OnProgress | None, before: int, name: str) -> Callable[[int], None] | None:
    return None if on_progress is None else lambda done: on_progress(before + done, name)


def _cells(figures: Figures) -> list[Any]:
    return [
        figures.images, figures.top1, *figures.top1_interval, figures.top5, *figures.top5_interval, figures.loss,
        figures.ece,
    ]  # fmt: skip
