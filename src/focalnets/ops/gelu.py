"""GELU by the error function, with the part of its backward pass that belongs to it, in one pass over memory.

For use inside derivatives written by hand: nothing here is recorded for automatic differentiation.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from focalnets.ops import cpu_library
from focalnets.ops.eager import plain_dtype_on_cpu

__all__ = ["gelu", "gelu_with_gradient"]


def gelu(inputs: Tensor, *, in_place: bool = False) -> Tensor:
    """Compute the GELU of a tensor of any shape on a CPU; with ``in_place`` it may overwrite the inputs."""
    library = _library(inputs)
    if library is None:
        return F.gelu(inputs)
    activated = inputs if in_place else torch.empty_like(inputs)
    _call(library, inputs, activated, None)
    return activated


def gelu_with_gradient(inputs: Tensor, gradient: Tensor) -> Tensor:
    """Compute the GELU; ``gradient`` of the same shape, that of the result, becomes that of the inputs."""
    library = _library(inputs, gradient)
    if library is None:
        gradient.copy_(torch.ops.aten.gelu_backward(gradient, inputs))
        return F.gelu(inputs)
    activated = torch.empty_like(inputs)
    _call(library, inputs, activated, gradient)
    return activated


def _call(library: cpu_library.Library, inputs: Tensor, activated: Tensor, gradient: Tensor | None) -> None:
    library.gelu(
        library.instruction_set,
        inputs.dtype == torch.bfloat16,
        inputs.numel(),
        torch.get_num_threads(),
        inputs.data_ptr(),
        activated.data_ptr(),
        None if gradient is None else gradient.data_ptr(),
    )


def _library(*tensors: Tensor) -> cpu_library.Library | None:
    """Give the C++ kernels, if they can take these tensors."""
    library = cpu_library.load()
    dtype = plain_dtype_on_cpu(*tensors)
    fits = all(tensor.dtype == dtype and tensor.is_contiguous() for tensor in tensors)
    return None if isinstance(library, str) or not fits else library
