"""Where a network runs."""

from __future__ import annotations

import torch

from focalnets.errors import ConfigError, nearest

__all__ = ["choose_device"]


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name; ``auto`` takes the GPU if there is one.

    Raises:
        ConfigError: If there is no such device here.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    try:
        device = torch.device(name)
    except RuntimeError:
        hint = nearest(name, ("auto", *available), "choose auto, cpu, cuda, cuda:N or mps.")
        raise ConfigError(f"There is no device {name!r}; {hint}") from None
    known = available.get(device.type, False)
    if not known or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        here = ", ".join(kind for kind, present in available.items() if present)
        raise ConfigError(f"There is no usable device {name!r} here; available: {here}.")
    return device
