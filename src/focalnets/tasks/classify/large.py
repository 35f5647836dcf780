"""The class of an image of any size."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from focalnets.large.looking import OnProgress, classify_large
from focalnets.large.plan import Plan
from focalnets.large.sources import Source
from focalnets.models.focalnet import FocalNet
from focalnets.tasks.batch import Batch
from focalnets.tasks.task import Task

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["LargeClassification"]


@dataclasses.dataclass(frozen=True)
class LargeClassification:
    """How a classifier looks at large images, see :class:`focalnets.tasks.large.LargeLook`."""

    task: Task
    backbone: FocalNet

    @property
    def stages(self) -> tuple[int, ...]:
        """The last map alone."""
        return (len(self.backbone.config.depths) - 1,)

    def output_bytes(self, source: Source) -> int:
        """A few numbers."""
        return 0

    def look(self, source: Source, plan: Plan, folder: Path | None, on_progress: OnProgress | None) -> Tensor:
        """Compute the probabilities (K,)."""
        return classify_large(self.backbone, source, plan, folder=folder, on_progress=on_progress)

    def result(self, source: Source, found: Tensor) -> Any:
        """Name the likeliest classes."""
        (result,) = self.task.results(
            found.log()[None],
            paths=[Path(source.name)],
            sizes=[(source.width, source.height)],
            labels=self.task.labels(self.backbone),
        )
        return result

    def for_measuring(self) -> LargeClassification:
        """Keep nothing more."""
        return self

    def metrics(self, labels: Sequence[str]) -> MetricCollection:
        """Make the task's metrics."""
        return self.task.metrics(labels)

    def measure(self, metrics: MetricCollection, found: Tensor, known: int) -> tuple[Any, float]:
        """Compare the likeliest classes with the true one."""
        found = found.cpu()
        output, batch = found.log()[None], Batch(found[None], torch.tensor([known]))
        self.task.check_targets(batch, self.task.labels(self.backbone))
        self.task.measure(metrics, output, batch)
        (answer,) = self.task.answers(output, batch)
        return answer, float(sum(self.task.losses(output, batch, train=False).values()))

    def write(self, source: Source, found: Tensor, folder: Path, caption: str) -> list[str]:
        """Write nothing more."""
        return []
