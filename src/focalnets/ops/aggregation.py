"""The public operator: focal aggregation for one, two or three spatial dimensions.

Axes: B batch, *S one to three spatial axes, C channels, L focal levels, *k kernel sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from focalnets.errors import ShapeError
from focalnets.ops.backends import BACKENDS, select_backend

__all__ = ["focal_aggregation", "local_aggregation", "takes_float32_kernels"]


def focal_aggregation(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    *,
    normalize: bool = False,
    mask: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Gather the surroundings of every token at several granularities and sum them under its gates.

    With ``Z_0 = context``: ``Z_l = GELU(depthwise convolution of Z_(l-1) with kernels[l-1])`` for l = 1..L, zero
    padded; ``Z_(L+1) = GELU(mean of Z_L over all positions)``; the result is ``sum over l of gates[..., l-1] * Z_l``.
    Differentiable in context, gates and kernels.

    Args:
        context: Tokens (B, *S, C), floating point, channels last.
        gates: One weight per token and level (B, *S, L + 1), the global level last; used as they are, no sigmoid.
        kernels: L tensors (C, *k), one depthwise kernel per channel and level; every size of k odd, also larger than
            the map; in the dtype of ``context``, on CPUs also float32. An empty sequence leaves only the global level.
        normalize: Divide the sum by L + 1.
        mask: Booleans (B, *S), True for valid tokens. Each image of a padded batch then gets at its valid positions
            what it gets alone: padding enters neither a convolution nor the mean. Other positions are zero. An image
            without valid tokens gives zeros.
        backend: ``"reference"``, ``"cpu"`` or ``"triton"``; None takes the best that can run. One asked for by name
            never falls back.

    Returns:
        The aggregated context (B, *S, C), contiguous, in the dtype of ``context``.

    Raises:
        ShapeError: If shapes, dtypes or devices do not fit together.
        UnknownNameError: If no backend has the name asked for.
        BackendUnavailableError: If the backend asked for cannot run here or on these tensors.

    Source: Yang et al., Focal Modulation Networks, NeurIPS 2022, equations 4 and 5. The mask is ours: in the
    implementations published so far the mean covers padding too.
    """
    kernels = list(kernels)
    _check(context, gates, kernels, mask)
    chosen = select_backend(context, gates, kernels, mask, backend)
    return chosen.function(context, gates, kernels, normalize=normalize, mask=mask)


@torch.no_grad()
def local_aggregation(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    *,
    rows: tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Aggregate some rows of a map without the global level, and sum the last level over them.

    Whoever goes through a map by bands of rows gets the global level from the sums of all bands:
    ``focal_aggregation`` = local part + ``gates[..., -1:] * GELU(sums / positions)``. For inference: no gradients.

    Args:
        context: Tokens (B, *S, C) as for :func:`focal_aggregation`. Rows, those of the first spatial axis, beyond the
            wanted ones are there to be read; where the map has them, it takes half of every kernel's height of them on
            each side. Beyond what is given everything counts as zero.
        gates: (B, *S, L + 1); the last is not used.
        kernels: L tensors (C, *k).
        rows: First and last row that are wanted, the last excluded; None for all.

    Returns:
        The gated sum of the L levels (B, rows, ..., C), contiguous, in the dtype of ``context``, and the sums of the
        last level (B, C), float64.

    Raises:
        ShapeError: If shapes, dtypes or devices do not fit together, or the rows are not there.
    """
    kernels = list(kernels)
    _check(context, gates, kernels, None)
    height = context.shape[1]
    first, last = (0, height) if rows is None else rows
    if not 0 <= first < last <= height:
        raise ShapeError(f"rows must be some of the {height} rows of the context, got {first} to {last}.")
    chosen = next(
        backend.local_function
        for backend in BACKENDS.values()
        if backend.local_function is not None and backend.why_not(context, gates, kernels, None) is None
    )
    return chosen(context, gates, kernels, rows=(first, last))


def takes_float32_kernels(context: Tensor, kernel: Tensor) -> bool:
    """Tell whether a kernel may stay in float32 beside a context of 16 bits: CPUs compute in float32 anyway."""
    narrow = context.dtype in (torch.bfloat16, torch.float16)
    return narrow and kernel.dtype == torch.float32 and context.device.type == "cpu"


def _check(context: Tensor, gates: Tensor, kernels: list[Tensor], mask: Tensor | None) -> None:
    if context.ndim not in (3, 4, 5):
        raise ShapeError(f"context must be (B, *S, C) with 1 to 3 spatial axes, got shape {tuple(context.shape)}.")
    if not context.is_floating_point():
        raise ShapeError(f"context must be floating point, got {context.dtype}.")
    channels, positions = context.shape[-1], context.shape[:-1]
    if 0 in context.shape[1:]:
        raise ShapeError(f"context needs at least one position and one channel, got shape {tuple(context.shape)}.")
    if gates.shape[:-1] != positions or gates.shape[-1] != len(kernels) + 1:
        raise ShapeError(
            f"gates must be {(*positions, len(kernels) + 1)}, one weight per position for each of the {len(kernels)} "
            f"levels and the global one, got {tuple(gates.shape)}."
        )
    for index, kernel in enumerate(kernels):
        if kernel.ndim != context.ndim - 1 or kernel.shape[0] != channels or any(k % 2 == 0 for k in kernel.shape[1:]):
            raise ShapeError(
                f"kernels[{index}] must have {channels} channels and {context.ndim - 2} odd sizes, "
                f"got shape {tuple(kernel.shape)}."
            )
    if mask is not None and (mask.shape != positions or mask.dtype != torch.bool):
        raise ShapeError(f"mask must be boolean with shape {tuple(positions)}, got {mask.dtype} {tuple(mask.shape)}.")
    for name, tensor in (("gates", gates), *((f"kernels[{i}]", kernel) for i, kernel in enumerate(kernels))):
        fits = tensor.dtype == context.dtype or (tensor is not gates and takes_float32_kernels(context, tensor))
        if not fits or tensor.device != context.device:
            raise ShapeError(
                f"{name} must be {context.dtype} on {context.device} as the context is, "
                f"got {tensor.dtype} on {tensor.device}."
            )
    if mask is not None and mask.device != context.device:
        raise ShapeError(f"mask must be on {context.device} as the context is, got {mask.device}.")
