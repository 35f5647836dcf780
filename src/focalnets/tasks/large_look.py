"""What a task knows of its network for images of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from focalnets.large.looking import OnProgress
from focalnets.large.plan import Plan
from focalnets.large.sources import Source
from focalnets.models.focalnet import FocalNet

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
