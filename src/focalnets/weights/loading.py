"""Networks by name, and from weights in any layout."""

from __future__ import annotations

import os
from typing import Any

from focalnets.models.focalnet import FocalNet
from focalnets.models.variants import variant

__all__ = ["create_model", "load_model"]


def create_model(
    name: str, num_classes: int | None = None, in_chans: int | None = None, pretrained: bool = False, **overrides: Any
) -> FocalNet:
    """Build a network by name."""
    row = variant(name)
    changes = {"num_classes": num_classes, "in_chans": in_chans}
    overrides.update({key: value for key, value in changes.items() if value is not None})
    return FocalNet(row.config.replace(**overrides), preprocessing=row.preprocessing)


def load_model(source: str | os.PathLike[str]) -> FocalNet:
    """Load a network."""
    from pathlib import Path

    from focalnets.weights.checkpoint import load_checkpoint

    path = Path(source)
    if path.is_dir():
        path = path / ("best.safetensors" if (path / "best.safetensors").exists() else "last.safetensors")
    return load_checkpoint(path)
