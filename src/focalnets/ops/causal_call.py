"""What the C++ library is handed for causal focal aggregation: tensors that it can read, and their addresses.

Axes: B sequences, T positions, C channels, L focal levels, R running levels, H groups of channels with gates of their
own, k kernel sizes.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import torch
from torch import Tensor

from focalnets.ops.cpu_call import DTYPES, TRANSFORMED, UNUSED_LEVELS, readable
from focalnets.ops.cpu_library import MAX_LEVELS
from focalnets.ops.eager import is_transformed

__all__ = ["Call", "reach_of", "running_levels", "shapes_after", "why_unsupported"]

_MAX_REACH = 4096

TILE = 64
"""Positions that are handled at once: maps of them stay in the caches of the first two levels."""


def why_unsupported(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    dilations: Sequence[int],
    decay: Tensor | None,
) -> str | None:
    """Say in one sentence why the C++ kernels cannot take these tensors, gates (B, T, L + R, H); None if they can."""
    if is_transformed():
        return TRANSFORMED
    if context.device.type != "cpu":
        return f"The C++ kernels work on CPU tensors, but the context is on {context.device}; move it."
    if context.dtype not in DTYPES:
        return f"The C++ kernels take float32, float16 and bfloat16, got {context.dtype}; use backend='reference'."
    running = running_levels(decay)
    if len(kernels) > MAX_LEVELS or running > MAX_LEVELS:
        return (
            f"The C++ kernels take up to {MAX_LEVELS} focal and {MAX_LEVELS} running levels, got {len(kernels)} and "
            f"{running}; use backend='reference'."
        )
    if any(past > _MAX_REACH for past in reach_of(kernels, dilations)):
        return f"The C++ kernels take kernels that reach back up to {_MAX_REACH:,} positions; use backend='reference'."
    groups = gates.shape[3]
    if groups > 1 and context.shape[2] // groups % 16:
        return (
            "The C++ kernels take groups of a multiple of 16 channels with gates of their own, got "
            f"{context.shape[2] // groups}; use backend='reference'."
        )
    return None


def _gates_readable(gates: Tensor) -> Tensor:
    """Turn into float32 with adjacent levels and groups, in this order."""
    gates = gates if gates.dtype == torch.float32 else gates.float()
    return gates if gates.stride(3) == 1 and gates.stride(2) == gates.shape[3] else gates.contiguous()


class Call:
    """The tensors of a call as the library reads them, and ``Causal`` of csrc/causal.h with their addresses."""

    def __init__(
        self,
        context: Tensor,
        gates: Tensor,
        kernels: Sequence[Tensor],
        dilations: Sequence[int],
        decay: Tensor | None,
        mask: Tensor | None,
        windows: Sequence[Tensor] = (),
        running: Tensor | None = None,
        count: Tensor | None = None,
    ) -> None:
        self.context, self.gates = readable(context), _gates_readable(gates)
        self.kernels = [readable(kernel).contiguous() for kernel in kernels]
        self.decay = None if decay is None else readable(decay)
        if self.decay is not None and self.decay.ndim == 2:
            self.decay = self.decay.contiguous()
        self.mask = None if mask is None else mask.contiguous()
        self.windows = [readable(window).contiguous() for window in windows]
        self.running = None if running is None else running.contiguous()
        self.count = None if count is None else count.contiguous()
        unused = UNUSED_LEVELS[len(kernels)]
        kind = 0 if self.decay is None else 1 if self.decay.ndim == 2 else 2
        self.problem = array(
            "q",
            [
                *self.context.shape,
                len(kernels),
                running_levels(decay),
                self.gates.shape[3],
                torch.get_num_threads(),
                kind,
                tile_of(reach_of(kernels, dilations)),
                self.context.data_ptr(),
                *self.context.stride()[:2],
                self.gates.data_ptr(),
                *self.gates.stride()[:2],
                *(address(self.decay), *(self.decay.stride()[:2] if self.decay is not None else (0, 0))),
                address(self.mask),
                address(self.count),
                address(self.running),
                *[window.data_ptr() for window in self.windows],
                *UNUSED_LEVELS[len(self.windows)],
                *[kernel.data_ptr() for kernel in self.kernels],
                *unused,
                *[kernel.shape[1] for kernel in self.kernels],
                *unused,
                *dilations,
                *unused,
            ],
        )


def address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def running_levels(decay: Tensor | None) -> int:
    """Count the levels behind the focal ones."""
    return decay.shape[0] if decay is not None and decay.ndim == 2 else 1


def reach_of(kernels: Sequence[Tensor], dilations: Sequence[int]) -> list[int]:
    """List how many positions each kernel reaches back."""
    return [(kernel.shape[1] - 1) * step for kernel, step in zip(kernels, dilations, strict=True)]


def tile_of(reach: Sequence[int]) -> int:
    return max((TILE, *reach))


def shapes_after(
    context: Tensor, kernels: Sequence[Tensor], dilations: Sequence[int], decay: Tensor | None, keep: bool
) -> tuple[list[tuple[int, ...]], tuple[int, ...], tuple[int, ...]]:
    """Compute the shapes of windows, of what runs along, and of checkpoints."""
    batch, length, channels = context.shape
    reach = reach_of(kernels, dilations)
    running = running_levels(decay)
    rows = sum(reach) + (2 if decay is None else running)
    tiles = -(-length // tile_of(reach))
    checkpoints = (batch, tiles, rows, channels) if keep else (0,)
    return [(batch, past, channels) for past in reach], (batch, running, channels), checkpoints
