"""The network that a command works with."""

from __future__ import annotations

import os
from typing import Any

from focalnets.errors import ConfigError

__all__ = ["DEFAULT_MODEL", "load_for_command", "require_model"]

DEFAULT_MODEL: str | None = None
"""What is used without ``--model``; None while no network comes with the package."""


def require_model(given: str | None) -> str:
    """The network named, or the default.

    Raises:
        ConfigError: If there is neither.
    """
    source = given or DEFAULT_MODEL
    if source is None:
        raise ConfigError(
            "No network was given; name one with --model: the folder of a run (focalnets train), a weights file, or "
            "published weights such as timm/focalnet_tiny_srf.ms_in1k."
        )
    return source


def load_for_command(source: str | os.PathLike[str], device: str) -> Any:
    """Load a network onto a device, see :func:`focalnets.load_model`."""
    from focalnets.tasks.devices import choose_device
    from focalnets.weights.loading import load_model

    chosen = choose_device(device)
    return load_model(source).to(chosen).eval()
