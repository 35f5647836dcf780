"""Where a network runs."""

from __future__ import annotations

import torch

from focalnets.errors import ConfigError, nearest

__all__ = ["choose_device", "device_name", "sum_dtype"]


def choose_device(name: str = "auto") -> torch.device:
    """Choose the device to run on.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1`` and so on, ``mps``; or ``auto``, which takes the GPU if there is one.

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


def device_name(device: torch.device) -> str:
    """Read the name of a GPU as its maker gives it; of other devices their kind."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def sum_dtype(device: torch.device) -> torch.dtype:
    """Choose the dtype of long sums: float64, or float32 on Apple's GPUs, which have no wider one."""
    return torch.float32 if device.type == "mps" else torch.float64
