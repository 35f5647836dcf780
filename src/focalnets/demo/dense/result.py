"""What the demonstration of a dense task did and measured.

Axes: H W height and width [px].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from focalnets.data.annotated.images import AnnotatedImage
from focalnets.demo.dense.large_scene import LargeScene
from focalnets.demo.dense.settings import DenseDemoSettings
from focalnets.tasks.evaluation import EvaluationReport
from focalnets.tasks.task import Task
from focalnets.training.result import TrainingResult

__all__ = ["DenseResult", "Seen", "picture_path"]


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """A scene, what the network says of it, and where its modulator is long (H, W) float32."""

    known: AnnotatedImage
    result: Any
    heat: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class DenseResult:
    """What a demonstration did and measured.

    Attributes:
        settings: What it was asked to do.
        task: What the network is for.
        network: The trained network.
        training: What the training reached.
        report: Figures on scenes that played no part in training or in choosing the epoch.
        level: What the watched metric is without looking: see :meth:`DenseStory.blind`.
        gallery: Some of these scenes.
        large: The large picture, looked at twice.
        seconds: Duration of each part.
        output: Folder of everything.
    """

    settings: DenseDemoSettings
    task: Task
    network: nn.Module
    training: TrainingResult
    report: EvaluationReport
    level: float
    gallery: tuple[Seen, ...]
    large: LargeScene
    seconds: Mapping[str, float]
    output: Path

    @property
    def run(self) -> Path:
        """The network's folder."""
        return self.training.run

    def figure(self, name: str) -> float:
        """A metric on the new scenes."""
        return self.report.evaluation.figures().value(name)


def picture_path(result: DenseResult, seen: Seen) -> Path:
    """Name the file of a scene of the gallery."""
    return result.output / "pictures" / f"{seen.known.name.replace(' ', '_')}.png"
