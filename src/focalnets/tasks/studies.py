"""What was measured at other sizes and on corrupted pictures: plain values. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Any

from focalnets.files import csv_text
from focalnets.tasks.metric import Figures

__all__ = ["CorruptionStudy", "CorruptionTrial", "ResolutionStudy"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResolutionStudy:
    """What was measured at several input sizes.

    Attributes:
        sizes_px: The sizes, ascending [px].
        figures: What was measured at each.
        own_size_px: The size that the network was made for [px].
    """

    sizes_px: tuple[int, ...]
    figures: tuple[Figures, ...]
    own_size_px: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        rows = zip(self.sizes_px, self.figures, strict=True)
        return {
            "own_size_px": self.own_size_px,
            "sizes": [{"input_size_px": size, **figures.to_dict()} for size, figures in rows],
        }

    def to_csv(self) -> str:
        """Write one line a size."""
        rows = zip(self.sizes_px, self.figures, strict=True)
        heading = ["input_size_px", *self.figures[0].to_row()]
        return csv_text(heading, ([size, *figures.to_row().values()] for size, figures in rows))


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorruptionTrial:
    """What was measured with one corruption at one severity, from 1 to 5."""

    corruption: str
    severity: int
    figures: Figures


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorruptionStudy:
    """What was measured on corrupted pictures.

    Attributes:
        corruptions, severities: What was done to the pictures, every corruption at every severity.
        trials: What was measured, by corruption and then by severity.
        seed: Decides about the noise, together with the number of the image.
        metric: The task's watched metric, of which means are taken.
    """

    corruptions: tuple[str, ...]
    severities: tuple[int, ...]
    trials: tuple[CorruptionTrial, ...]
    seed: int
    metric: str

    def mean(self, corruption: str | None = None) -> float:
        """Average the watched metric over the severities of one corruption, or over everything."""
        chosen = [trial for trial in self.trials if corruption is None or trial.corruption == corruption]
        return sum(trial.figures.value(self.metric) for trial in chosen) / len(chosen)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "seed": self.seed,
            "severities": list(self.severities),
            f"mean_{self.metric}": self.mean(),
            f"mean_{self.metric}_by_corruption": {name: self.mean(name) for name in self.corruptions},
            "trials": [
                {"corruption": trial.corruption, "severity": trial.severity, **trial.figures.to_dict()}
                for trial in self.trials
            ],
        }

    def to_csv(self) -> str:
        """Write one line a corruption and severity."""
        heading = ["corruption", "severity", *self.trials[0].figures.to_row()]
        rows = ([trial.corruption, trial.severity, *trial.figures.to_row().values()] for trial in self.trials)
        return csv_text(heading, rows)
