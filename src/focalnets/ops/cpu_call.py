"""What the C++ library is handed: tensors that it can read, and the structure that describes a call.

Axes: B batch, *S one or two spatial axes (H, W), C channels, L focal levels, *k kernel sizes.
"""

from __future__ import annotations

from array import array

import torch
from torch import Tensor

from focalnets.ops.cpu_library import MAX_LEVELS

__all__ = ["DTYPES", "TRANSFORMED", "UNUSED_LEVELS", "check_status", "dtype_of_maps", "problem", "readable", "strides"]

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""Tensors that the kernels take."""

TRANSFORMED = (
    "The C++ kernels know no transforms of torch.func and no forward-mode derivatives; use backend=None or "
    "backend='reference'."
)
"""Why the kernels cannot be called while derivatives are taken in another way than by ``backward``."""

UNUSED_LEVELS = [[0] * (MAX_LEVELS - levels) for levels in range(MAX_LEVELS + 1)]
"""What fills the places of levels that a call does not have, by their number."""


def dtype_of_maps(context: Tensor) -> torch.dtype:
    """Tell what the kernels read and write maps in: bfloat16 as it is, everything else as float32."""
    return torch.bfloat16 if context.dtype == torch.bfloat16 else torch.float32


def readable(tensor: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Turn into a dtype with adjacent channels; returns the tensor itself wherever possible."""
    tensor = tensor if tensor.dtype == dtype else tensor.to(dtype)
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()


def strides(tensor: Tensor) -> tuple[int, ...]:
    """Give the strides of image, row and column; one spatial axis is a single row."""
    strides = tensor.stride()
    return strides[:3] if len(strides) == 4 else (strides[0], 0, strides[1])


def problem(
    context: Tensor,
    gates: Tensor,
    kernels: list[Tensor],
    mask: Tensor | None,
    normalize: bool,
    rows: tuple[int, int] | None = None,
) -> array[int]:
    """Fill ``Problem`` of csrc/problem.h; it holds addresses, so the tensors must outlive it."""
    shape = context.shape
    unused = UNUSED_LEVELS[len(kernels)]
    flat = len(shape) == 3
    return array(
        "q",
        [
            shape[0],
            1 if flat else shape[1],
            shape[-2],
            shape[-1],
            len(kernels),
            torch.get_num_threads(),
            normalize,
            *(rows or (0, 1 if flat else shape[1])),
            context.data_ptr(),
            *strides(context),
            gates.data_ptr(),
            *strides(gates),
            *((0, 0, 0, 0) if mask is None else (mask.data_ptr(), *strides(mask.unsqueeze(-1)))),
            *[kernel.data_ptr() for kernel in kernels],
            *unused,
            *[1 if flat else kernel.shape[1] for kernel in kernels],
            *unused,
            *[kernel.shape[-1] for kernel in kernels],
            *unused,
        ],
    )


def check_status(status: int) -> None:
    if status != 0:
        raise MemoryError("The C++ kernels could not allocate their scratch memory; use smaller images or batches.")
