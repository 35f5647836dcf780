"""What is going on around a call: compilers, tracers, transforms, hooks. The one file that uses PyTorch's privates.

A short cut may stand in for PyTorch's own operators only where nobody watches, records or rewrites them. PyTorch has no
public way of asking for some of that; where one of its private names changes, this is the file to mend.
"""

from __future__ import annotations

import functools
import platform

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules.module import _has_any_global_hook
from torch.utils._python_dispatch import _get_current_dispatch_mode

__all__ = [
    "ONEDNN_IS_AT_HAND",
    "below_autograd",
    "compiler_takes_operators",
    "count_of_changes",
    "has_hooks",
    "is_batched_gradient",
    "is_exporting",
    "is_plain_float32_on_cpu",
    "is_rewritten",
    "is_traced_or_transformed",
    "is_transformed",
    "onednn_linear",
    "onednn_takes",
    "plain_dtype_on_cpu",
]

ONEDNN_IS_AT_HAND: bool = (
    platform.machine().lower() in ("x86_64", "amd64")
    and torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)
"""Whether this is an x86 CPU and this PyTorch was built with oneDNN. A constant, which the compiler can see through."""

below_autograd = torch._C._AutoDispatchBelowAutograd
"""Context in which operators are called without their derivatives being recorded once more."""


def is_transformed() -> bool:
    """Tell whether a transform of ``torch.func``, such as ``vmap``, or forward-mode differentiation is going on.

    Then tensors carry more than their values, and only the operators of PyTorch pass it on. The compiler sees through
    this answer and compiles again where it changes.
    """
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def is_batched_gradient(upstream: Tensor) -> bool:
    """Tell whether a gradient is a batch of them, as ``torch.autograd.grad`` makes by ``is_grads_batched``."""
    return torch._C._functorch.is_legacy_batchedtensor(upstream)


def count_of_changes(tensor: Tensor) -> int | None:
    """Count how often the tensor was changed in place; None if PyTorch does not count it."""
    return None if tensor.is_inference() else tensor._version


def is_traced_or_transformed() -> bool:
    """Tell whether the call is recorded by a tracer, or :func:`is_transformed`."""
    return torch.jit.is_tracing() or is_transformed()


def is_exporting() -> bool:
    """Tell whether a graph is being made for others to read, by ``torch.export`` or by the older exporter of ONNX."""
    return torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export()


def is_rewritten() -> bool:
    """Tell whether a compiler, a tracer, a transform of ``torch.func`` or forward mode makes something of the call."""
    # The compiler comes first: it can see through this answer and needs to look at nothing behind it.
    return torch.compiler.is_compiling() or is_traced_or_transformed()


def has_hooks(module: nn.Module) -> bool:
    """Tell whether somebody waits for what goes into the module or comes out of it, or for any module's."""
    own = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    return bool(own) or _has_any_global_hook()


def plain_dtype_on_cpu(*tensors: Tensor) -> torch.dtype | None:
    """Tell in what an ordinary eager call on a CPU multiplies these tensors: float32, bfloat16, or None for neither.

    It is bfloat16 if all are, or under such an autocast, where oneDNN can multiply in it. Whoever compiles, traces,
    transforms or watches what is computed expects the operators of PyTorch, and tensors of other classes (divided among
    processes, quantised, without memory) bring their own.
    """
    if torch.compiler.is_compiling():
        return None
    kinds = {tensor.dtype for tensor in tensors}
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        fits = dtype == torch.bfloat16 and kinds <= {torch.float32, torch.bfloat16}
    else:
        dtype = tensors[0].dtype
        fits = len(kinds) == 1 and dtype in (torch.float32, torch.bfloat16)
    if not fits or (dtype == torch.bfloat16 and not _onednn_multiplies_bfloat16()):
        return None
    ordinary = all(
        type(tensor) in (Tensor, nn.Parameter) and tensor.device.type == "cpu" and tensor.numel() > 0
        for tensor in tensors
    )
    watched = is_traced_or_transformed() or _get_current_dispatch_mode() is not None
    return dtype if ordinary and not watched else None


def is_plain_float32_on_cpu(*tensors: Tensor) -> bool:
    """Tell whether this is an ordinary eager call in float32 on a CPU, see :func:`plain_dtype_on_cpu`."""
    return plain_dtype_on_cpu(*tensors) == torch.float32


@functools.cache
def _onednn_multiplies_bfloat16() -> bool:
    known = ONEDNN_IS_AT_HAND and hasattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported")
    return known and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def onednn_takes(tokens: Tensor, weight: Tensor) -> torch.dtype | None:
    """Tell in what :func:`onednn_linear` can, and may, compute this product here; None if it cannot."""
    if not ONEDNN_IS_AT_HAND or not torch.backends.mkldnn.enabled:
        return None
    return plain_dtype_on_cpu(tokens, weight)


def onednn_linear(tokens: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Multiply tokens (..., C) by a weight (D, C) and add a bias (D,) through oneDNN; gives (..., D).

    All are float32, or all bfloat16. Not differentiable; needs :data:`ONEDNN_IS_AT_HAND`.
    """
    return torch.ops.mkldnn._linear_pointwise(tokens, weight, bias, "none", [], "none")


def compiler_takes_operators(tokens: Tensor, weight: Tensor) -> bool:
    """Tell whether this call is being compiled for float32 on a CPU, without transforms within what is compiled.

    Then oneDNN enters the graph as one operator, because the compiler itself would choose the BLAS. Graphs made for
    others to read hold the operators of PyTorch only.
    """
    return (
        torch.compiler.is_compiling()
        and not is_exporting()
        and tokens.device.type == weight.device.type == "cpu"
        and tokens.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not is_transformed()
        and ONEDNN_IS_AT_HAND
    )
