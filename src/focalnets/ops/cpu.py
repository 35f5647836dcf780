"""Focal aggregation on CPUs by a C++ library without PyTorch headers, loaded by ctypes, as custom operators.

Axes: B batch, *S one or two spatial axes (H, W), C channels, L focal levels, *k kernel sizes.

The library streams rows of the context through all levels at once, so no level is ever stored as a whole. The backward
pass computes the levels again in the same way: only context, gates, kernels and the mean of the last level (B, C) are
saved. Tensors are read where they are, whatever their strides, as long as channels are adjacent. Arithmetic is float32;
float16 and bfloat16 tensors are converted on the way in and out. Results do not depend on the number of threads, which
is that of ``torch.get_num_threads()``.

Environment: ``FOCALNETS_CPU_ISA`` forces an instruction set (avx512, avx2 or baseline), ``FOCALNETS_CPU_LIBRARY`` names
another library file.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from focalnets.errors import BackendUnavailableError

__all__ = ["focal_aggregation_cpu", "instruction_set", "why_unavailable", "why_unsupported"]

_MAX_LEVELS = 16
_MAX_KERNEL_SIZE = 63
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


class _Strides(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("image", "row", "column")]


class _Problem(ctypes.Structure):
    """Mirrors ``Problem`` in csrc/problem.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("images", "height", "width", "channels", "levels", "threads")),
        ("context", ctypes.c_void_p),
        ("context_strides", _Strides),
        ("gates", ctypes.c_void_p),
        ("gates_strides", _Strides),
        ("mask", ctypes.c_void_p),
        ("mask_strides", _Strides),
        ("kernels", ctypes.c_void_p),
        ("kernel_heights", ctypes.c_void_p),
        ("kernel_widths", ctypes.c_void_p),
        ("scale", ctypes.c_float),
    ]


class _Gradients(ctypes.Structure):
    """Mirrors ``Gradients`` in csrc/problem.h."""

    _fields_ = [
        ("means", ctypes.c_void_p),
        ("upstream", ctypes.c_void_p),
        ("upstream_strides", _Strides),
        *((name, ctypes.c_void_p) for name in ("context", "gates", "kernels")),
    ]


_INTERFACE = 1_000_000 + 1000 * ctypes.sizeof(_Problem) + ctypes.sizeof(_Gradients)


class _Library:
    """The loaded library, for one instruction set.

    Raises:
        BackendUnavailableError: If it cannot be loaded or run here.
    """

    def __init__(self) -> None:
        named = os.environ.get("FOCALNETS_CPU_LIBRARY")
        folder = Path(__file__).parent
        candidates = [Path(named)] if named else [folder / f"_focal_cpu.{suffix}" for suffix in ("so", "dylib", "dll")]
        path = next((candidate for candidate in candidates if candidate.is_file()), None)
        if path is None:
            raise BackendUnavailableError(
                f"FOCALNETS_CPU_LIBRARY names {named}, which is no file; correct or unset it."
                if named
                else "The C++ kernels were not built when focalnets was installed, because no working CMake and C++ "
                "compiler (GCC or Clang) was found; install both and install focalnets again."
            )
        try:
            library = ctypes.CDLL(str(path))
            interface = library.focal_interface
            interface.restype = ctypes.c_int64
            self._name = library.focal_instruction_set
            self._name.restype = ctypes.c_char_p
            self.forward, self.backward = library.focal_forward, library.focal_backward
        except (OSError, AttributeError) as error:
            raise BackendUnavailableError(f"The kernels in {path} cannot be loaded ({error}); install again.") from None
        if interface() != _INTERFACE:
            raise BackendUnavailableError(f"{path} was built from another version of focalnets; build it again.")
        forced = os.environ.get("FOCALNETS_CPU_ISA") or None
        status = ctypes.c_int32()
        name = self._name(None if forced is None else forced.encode(), ctypes.byref(status))
        if status.value != 0:
            reason = "this processor does not have" if name else "is none of avx512, avx2 and baseline"
            raise BackendUnavailableError(f"FOCALNETS_CPU_ISA asks for {forced!r}, which {reason}; unset it.")
        self.instruction_set: bytes = name


@functools.cache
def _load() -> _Library | str:
    """The library, or why there is none."""
    try:
        return _Library()
    except BackendUnavailableError as error:
        return str(error)


def _library() -> _Library:
    library = _load()
    if isinstance(library, str):
        raise BackendUnavailableError(library)
    return library


@torch.compiler.assume_constant_result
def why_unavailable() -> str | None:
    """Why the C++ kernels cannot run on this machine, one sentence, or None if they can."""
    library = _load()
    return library if isinstance(library, str) else None


def why_unsupported(context: Tensor, gates: Tensor, kernels: Sequence[Tensor], mask: Tensor | None) -> str | None:
    """Why the C++ kernels cannot take these tensors, one sentence, or None if they can."""
    tensors = [context, gates, *kernels] if mask is None else [context, gates, *kernels, mask]
    elsewhere = next((tensor.device for tensor in tensors if tensor.device.type != "cpu"), None)
    if elsewhere is not None:
        return f"The C++ kernels work on CPU tensors, but one is on {elsewhere}; move it or use another backend."
    dtype = next((tensor.dtype for tensor in (context, gates, *kernels) if tensor.dtype not in _DTYPES), None)
    if dtype is not None:
        return f"The C++ kernels take float32, float16 and bfloat16, got {dtype}; use backend='reference'."
    if context.ndim not in (3, 4):
        return f"The C++ kernels take one or two spatial axes, got {context.ndim - 2}; use backend='reference'."
    if len(kernels) > _MAX_LEVELS:
        return f"The C++ kernels take up to {_MAX_LEVELS} focal levels, got {len(kernels)}; use backend='reference'."
    for kernel in kernels:
        if any(size % 2 == 0 or size > _MAX_KERNEL_SIZE for size in kernel.shape[1:]):
            return (
                f"The C++ kernels take odd kernel sizes up to {_MAX_KERNEL_SIZE}, got {tuple(kernel.shape[1:])}; "
                "use backend='reference'."
            )
    return None


def instruction_set() -> str:
    """The instruction set in use: ``"avx512"``, ``"avx2"`` or ``"baseline"`` (SSE2 on x86-64, NEON on ARM64).

    Raises:
        BackendUnavailableError: If the library cannot run here.
    """
    return _library().instruction_set.decode()


def focal_aggregation_cpu(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    *,
    normalize: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    """Focal aggregation by the C++ kernels; arguments and result as :func:`focalnets.focal_aggregation`.

    Args:
        context: (B, *S, C), float32, float16 or bfloat16, one or two spatial axes.
        gates: (B, *S, L + 1), one scalar per position and level, the global one last.
        kernels: L tensors (C, *k), odd sizes up to 63.
        normalize: Whether to divide the result by L + 1.
        mask: (B, *S) bool, True where a token is valid; None if all are.

    Returns:
        (B, *S, C), contiguous, of the context's dtype.

    Raises:
        BackendUnavailableError: If the library cannot run here.
    """
    return torch.ops.focalnets.focal_aggregation_cpu(context, gates, kernels, mask, normalize)[0]


def _readable(tensor: Tensor) -> Tensor:
    """Float32 with adjacent channels: the tensor itself wherever possible."""
    tensor = tensor if tensor.dtype == torch.float32 else tensor.float()
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()


def _strides(tensor: Tensor, spatial_axes: int) -> _Strides:
    strides = tensor.stride()
    return _Strides(strides[0], strides[1] if spatial_axes == 2 else 0, strides[spatial_axes])


class _Call:
    """A filled ``Problem`` and everything whose memory it points to."""

    def __init__(self, context: Tensor, gates: Tensor, kernels: Sequence[Tensor], mask: Tensor | None, normalize: bool):
        self.context, self.gates = _readable(context), _readable(gates)
        self.kernels = [kernel.float().contiguous() for kernel in kernels]
        self.mask = mask
        self.axes = context.ndim - 2
        levels = len(kernels)
        pointers = (ctypes.c_void_p * levels)(*[kernel.data_ptr() for kernel in self.kernels])
        heights = (ctypes.c_int64 * levels)(*[kernel.shape[1] if self.axes == 2 else 1 for kernel in self.kernels])
        widths = (ctypes.c_int64 * levels)(*[kernel.shape[-1] for kernel in self.kernels])
        self.arrays = pointers, heights, widths
        self.problem = _Problem(
            context.shape[0],
            context.shape[1] if self.axes == 2 else 1,
            context.shape[-2],
            context.shape[-1],
            levels,
            torch.get_num_threads(),
            self.context.data_ptr(),
            _strides(self.context, self.axes),
            self.gates.data_ptr(),
            _strides(self.gates, self.axes),
            None if mask is None else mask.data_ptr(),
            _Strides() if mask is None else _strides(mask, self.axes),
            ctypes.addressof(pointers),
            ctypes.addressof(heights),
            ctypes.addressof(widths),
            1 / (levels + 1) if normalize else 1.0,
        )


def _check(status: int) -> None:
    if status != 0:
        raise MemoryError("The C++ kernels could not allocate their scratch memory; use smaller images or batches.")


def _forward(
    context: Tensor, gates: Tensor, kernels: Sequence[Tensor], mask: Tensor | None, normalize: bool
) -> tuple[Tensor, Tensor]:
    library = _library()
    result = torch.empty(context.shape, dtype=torch.float32)
    means = torch.empty((context.shape[0], context.shape[-1]), dtype=torch.float32)
    if result.numel() > 0:
        call = _Call(context, gates, kernels, mask, normalize)
        pointers = ctypes.c_void_p(result.data_ptr()), ctypes.c_void_p(means.data_ptr())
        _check(library.forward(library.instruction_set, ctypes.byref(call.problem), *pointers))
    return result.to(context.dtype), means


def _backward(
    upstream: Tensor,
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    mask: Tensor | None,
    normalize: bool,
    means: Tensor,
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Gradients of context, gates and kernels; those not wanted are empty."""
    library = _library()
    shapes = _gradient_shapes(context, gates, kernels, wanted)
    create = torch.empty if context.numel() > 0 else torch.zeros
    context_gradient, gates_gradient, *kernel_gradients = (create(shape, dtype=torch.float32) for shape in shapes)
    if context.numel() > 0:
        call = _Call(context, gates, kernels, mask, normalize)
        upstream = _readable(upstream)
        pointers = (ctypes.c_void_p * len(kernels))(*[gradient.data_ptr() for gradient in kernel_gradients])
        gradients = _Gradients(
            means.data_ptr(),
            upstream.data_ptr(),
            _strides(upstream, call.axes),
            context_gradient.data_ptr() if wanted[0] else None,
            gates_gradient.data_ptr() if wanted[1] else None,
            ctypes.addressof(pointers) if wanted[2] and kernels else None,
        )
        _check(library.backward(library.instruction_set, ctypes.byref(call.problem), ctypes.byref(gradients)))
    return (
        context_gradient.to(context.dtype),
        gates_gradient.to(gates.dtype),
        [gradient.to(kernel.dtype) for gradient, kernel in zip(kernel_gradients, kernels, strict=True)],
    )


def _gradient_shapes(context: Tensor, gates: Tensor, kernels: Sequence[Tensor], wanted: Sequence[bool]) -> list[Any]:
    return [
        context.shape if wanted[0] else (0,),
        gates.shape if wanted[1] else (0,),
        *(kernel.shape if wanted[2] else (0,) for kernel in kernels),
    ]


def _forward_fake(
    context: Tensor, gates: Tensor, kernels: Sequence[Tensor], mask: Tensor | None, normalize: bool
) -> tuple[Tensor, Tensor]:
    means = context.new_empty((context.shape[0], context.shape[-1]), dtype=torch.float32)
    return context.new_empty(context.shape), means


def _backward_fake(
    upstream: Tensor,
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    mask: Tensor | None,
    normalize: bool,
    means: Tensor,
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor, list[Tensor]]:
    shapes = _gradient_shapes(context, gates, kernels, wanted)
    empty = [tensor.new_empty(shape) for tensor, shape in zip((context, gates, *kernels), shapes, strict=True)]
    return empty[0], empty[1], empty[2:]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    context, gates, kernels, mask, normalize = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(context, gates, mask, output[1], *kernels)
    ctx.normalize = normalize


def _differentiate(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Any, ...]:
    context, gates, mask, means, *kernels = ctx.saved_tensors
    wants_context, wants_gates, wants_kernels = ctx.needs_input_grad[:3]
    wanted = [wants_context, wants_gates, any(wants_kernels)]
    context_gradient, gates_gradient, kernel_gradients = torch.ops.focalnets.focal_aggregation_cpu_backward(
        upstream, context, gates, kernels, mask, ctx.normalize, means, wanted
    )
    return (
        context_gradient if wanted[0] else None,
        gates_gradient if wanted[1] else None,
        [gradient if wants else None for gradient, wants in zip(kernel_gradients, wants_kernels, strict=True)],
        None,
        None,
    )


_operators = torch.library.Library("focalnets", "FRAGMENT")
_operators.define(
    "focal_aggregation_cpu(Tensor context, Tensor gates, Tensor[] kernels, Tensor? mask, bool normalize) "
    "-> (Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_operators.define(
    "focal_aggregation_cpu_backward(Tensor upstream, Tensor context, Tensor gates, Tensor[] kernels, Tensor? mask, "
    "bool normalize, Tensor means, bool[3] wanted) -> (Tensor, Tensor, Tensor[])",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_operators.impl("focal_aggregation_cpu", _forward, "CPU")
_operators.impl("focal_aggregation_cpu_backward", _backward, "CPU")
torch.library.register_fake("focalnets::focal_aggregation_cpu", _forward_fake, lib=_operators)
torch.library.register_fake("focalnets::focal_aggregation_cpu_backward", _backward_fake, lib=_operators)
torch.library.register_autograd(
    "focalnets::focal_aggregation_cpu", _differentiate, setup_context=_setup_context, lib=_operators
)


def _convolution_flops(context: Sequence[int], kernels: Sequence[Sequence[int]]) -> int:
    positions = 1
    for size in context:
        positions *= size
    taps = 0
    for kernel in kernels:
        area = 1
        for size in kernel[1:]:
            area *= size
        taps += area
    return 2 * positions * taps


@register_flop_formula(torch.ops.focalnets.focal_aggregation_cpu)
def _forward_flops(context: Any, gates: Any, kernels: Any, *_: Any, **__: Any) -> int:
    """Two FLOPs a multiply-add of the depthwise convolutions, as PyTorch counts a convolution."""
    return _convolution_flops(context, kernels)


@register_flop_formula(torch.ops.focalnets.focal_aggregation_cpu_backward)
def _backward_flops(upstream: Any, context: Any, gates: Any, kernels: Any, *_: Any, **__: Any) -> int:
    """As a convolution's backward pass; computing the levels again is not counted."""
    return 2 * _convolution_flops(context, kernels)
