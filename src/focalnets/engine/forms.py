"""The form in which a trained network is run for inference: the engine's where it applies, PyTorch's elsewhere."""

from __future__ import annotations

import contextlib
import dataclasses

import torch
from torch import nn

from focalnets.engine.accelerate import PRECISIONS, AcceleratedNetwork, Precision, accelerate
from focalnets.errors import BackendUnavailableError, ConfigError, UnknownNameError, nearest
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.network import DenseNetwork

__all__ = ["InferenceForm", "inference_form", "plain_form"]

_LEAST_PIXELS = 8 * 224**2
"""Packing the weights takes about as long as one image of 224 px; it must pay."""


@dataclasses.dataclass(frozen=True, eq=False)
class InferenceForm:
    """A network as it is run.

    Attributes:
        network: Answers like the one that it was made from.
        arithmetic: What it computes with, in words.
        autocast: What PyTorch computes its products in, where that is not the dtype of the weights.
    """

    network: nn.Module
    arithmetic: str
    autocast: torch.dtype | None = None

    def context(self, device: torch.device) -> contextlib.AbstractContextManager[object]:
        """Enter what a pass of the network needs around it."""
        if self.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(device.type, self.autocast)


def plain_form(model: nn.Module) -> InferenceForm:
    """Run a network as PyTorch does, with its own weights."""
    weight = next((each for each in model.parameters() if each.is_floating_point()), None)
    kind = "float32" if weight is None else str(weight.dtype).removeprefix("torch.")
    return InferenceForm(model, f"{kind} by PyTorch on {'cpu' if weight is None else weight.device}")


def inference_form(model: nn.Module, precision: Precision = "auto", *, pixels: float) -> InferenceForm:
    """Choose how a network is run; it stays as it is, and later changes of its weights are not seen.

    Args:
        model: The network, on its device, in evaluation mode. One that an exported file computes has an attribute
            ``computed_by``, which says so, and stays as it is.
        precision: ``auto`` is exact: the engine's float32 on a CPU, for networks that it takes, if there is enough to
            do; what the weights are in elsewhere. ``float32`` is the same without regard to how much there is to do.
            ``bfloat16`` is the engine's on a CPU and PyTorch's on other devices, ``int8`` the engine's.
        pixels: How many pixels it will see in all, about; infinite for many.

    Raises:
        UnknownNameError: If there is no such precision.
        BackendUnavailableError: If this machine's CPU has no engine for ``bfloat16`` or ``int8``.
        ConfigError: If the network cannot be run in ``bfloat16`` or ``int8``.
    """
    if precision not in PRECISIONS:
        raise UnknownNameError(f"There is no precision {precision!r}; {nearest(str(precision), PRECISIONS)}")
    runtime = getattr(model, "computed_by", None)
    if runtime is not None:
        if precision != "auto":
            raise ConfigError(f"The network is an exported file, computed with {runtime}; leave precision out.")
        return InferenceForm(model, runtime)
    plain = plain_form(model)
    weights = [weight for weight in model.parameters() if weight.is_floating_point()]
    on_cpu = all(weight.device.type == "cpu" for weight in weights)
    if precision in ("auto", "float32"):
        if not on_cpu or any(weight.dtype != torch.float32 for weight in weights):
            return plain
        if precision == "auto" and pixels < _LEAST_PIXELS:
            return plain
        with contextlib.suppress(BackendUnavailableError, ConfigError):
            return _by_the_engine(model, "float32")
        return plain
    if on_cpu:
        return _by_the_engine(model, precision)
    if precision == "int8":
        raise ConfigError("Precision int8 is for CPUs; use bfloat16 here, or device cpu.")
    return dataclasses.replace(
        plain, arithmetic=f"bfloat16 by {plain.arithmetic.partition(' by ')[2]}", autocast=torch.bfloat16
    )


def _by_the_engine(model: nn.Module, precision: Precision) -> InferenceForm:
    if isinstance(model, DenseNetwork):
        fast = accelerate(model.backbone, precision)
        return InferenceForm(model.with_backbone(fast), f"{_in_words(fast)}, the head by PyTorch")
    if not isinstance(model, FocalNet):
        raise ConfigError(f"The engine takes FocalNets and networks on top of one, not {type(model).__name__}.")
    fast = accelerate(model, precision)
    return InferenceForm(fast, _in_words(fast))


def _in_words(fast: AcceleratedNetwork) -> str:
    return f"{fast.precision} by the engine on cpu ({fast.instruction_set})"
