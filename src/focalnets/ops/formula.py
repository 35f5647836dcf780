"""Gradients by the rules of PyTorch's own operators, for derivatives written by hand that are differentiated again.

A derivative written by hand computes numbers only. Where its result is to be differentiated itself (second order), or
to carry what a transform of ``torch.func`` or forward mode attached to its arguments, the plain formula is computed
once more and PyTorch differentiates it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from focalnets.ops.eager import is_batched_gradient, is_transformed
from focalnets.ops.reference import focal_aggregation_reference

__all__ = ["aggregation_gradients_by_formula", "gradients_by_formula", "needs_formula"]


def needs_formula(upstream: Tensor) -> bool:
    """Tell, within a backward pass, whether numbers alone would not do as gradients."""
    return torch.is_grad_enabled() or is_transformed() or is_batched_gradient(upstream)


def gradients_by_formula(
    formula: Callable[..., Tensor], inputs: Sequence[Tensor | None], wanted: Sequence[bool], upstream: Tensor
) -> tuple[Tensor | None, ...]:
    """Compute the gradients of ``formula(*inputs)`` so that they can be differentiated again.

    Args:
        formula: What the forward pass computed, in operators of PyTorch; gives one tensor.
        inputs: Its arguments, as the forward pass received them.
        wanted: Which of them need a gradient.
        upstream: The gradient of the result.

    Returns:
        One gradient an input, None where it is not wanted.
    """
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad(), torch.autocast(upstream.device.type, enabled=False):
        # One input may depend on another, or be the same tensor: each gets a name of its own, at which its gradient
        # ends.
        own = [None if tensor is None else tensor.view_as(tensor) for tensor in inputs]
        leaves = [tensor for tensor, wants in zip(own, wanted, strict=True) if wants and tensor is not None]
        found = iter(torch.autograd.grad(formula(*own), leaves, upstream, create_graph=differentiable))
    return tuple(next(found) if wants else None for wants in wanted)


def aggregation_gradients_by_formula(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    mask: Tensor | None,
    normalize: bool,
    wanted: Sequence[bool],
    upstream: Tensor,
) -> tuple[Tensor | None, ...]:
    """Compute the gradients of focal aggregation in float32, in the dtypes of the arguments.

    Args:
        context: Tokens (B, *S, C).
        gates: (B, *S, L + 1).
        kernels: L tensors (C, *k).
        mask: Booleans (B, *S), or None.
        normalize: Whether the result was divided by L + 1.
        wanted: Whether context, gates and each kernel need a gradient.
        upstream: The gradient of the result (B, *S, C).

    Returns:
        The gradients of context, gates and each kernel, None where not wanted.
    """

    def formula(context: Tensor, gates: Tensor, *kernels: Tensor) -> Tensor:
        filters = [kernel.float() for kernel in kernels]
        result = focal_aggregation_reference(context.float(), gates.float(), filters, normalize=normalize, mask=mask)
        return result.to(context.dtype)

    return gradients_by_formula(formula, (context, gates, *kernels), wanted, upstream)
