"""What a task knows of its network for images of any size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from focalnets.large.looking import OnProgress
from focalnets.large.plan import Plan
from focalnets.large.sources import Source
from focalnets.models.focalnet import FocalNet

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["LargeLook"]


class LargeLook(Protocol):
    """What a task knows of its network for large images; :meth:`focalnets.tasks.task.Task.large` makes it."""

    @property
    def backbone(self) -> FocalNet:
        """What computes the maps."""

    @property
    def stages(self) -> tuple[int, ...] | None:
        """Whose maps are wanted; None for all."""

    def output_bytes(self, source: Source) -> int:
        """Say what results take in memory."""

    def look(self, source: Source, plan: Plan, folder: Path | None, on_progress: OnProgress | None) -> Any:
        """Look at the image, and return what was found."""

    def result(self, source: Source, found: Any) -> Any:
        """Make the task's typed result."""

    def write(self, source: Source, found: Any, folder: Path, caption: str) -> list[str]:
        """Write files for people and programs; returns their names."""

    def for_measuring(self) -> LargeLook:
        """Return what looks at images whose answers are known: it may keep more of what was found."""

    def metrics(self, labels: Sequence[str]) -> MetricCollection:
        """Make fresh metrics by name, those of the task."""

    def measure(self, metrics: MetricCollection, found: Any, known: Any) -> tuple[Any, float | None]:
        """Take an image into the metrics.

        Args:
            metrics: Of :meth:`metrics`.
            found: What :meth:`look` found.
            known: What the data says of the image: the answer of its item.

        Returns:
            What an evaluation keeps of it, see :meth:`focalnets.tasks.task.Task.answers`, and its loss, where there is
            one.

        Raises:
            DataError: If the data says what the network cannot answer.
        """
