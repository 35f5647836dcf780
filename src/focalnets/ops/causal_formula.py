"""Gradients of causal focal aggregation by the plain formula, for those that are differentiated again.

Axes: B batch, T positions, C channels, L focal levels, R running levels, H groups of channels with gates of their own,
k kernel sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from focalnets.ops.causal_reference import CausalState, causal_focal_aggregation_reference
from focalnets.ops.formula import gradients_by_formula

__all__ = ["causal_gradients_by_formula"]


def causal_gradients_by_formula(
    context: Tensor,
    gates: Tensor,
    decay: Tensor | None,
    kernels: Sequence[Tensor],
    dilations: Sequence[int],
    mask: Tensor | None,
    state: CausalState | None,
    wanted: Sequence[bool],
    upstream: Tensor,
) -> tuple[Tensor | None, ...]:
    """Compute the gradients of context, gates, decay and kernels in float32, to be differentiated again.

    Arguments are those of :func:`focalnets.ops.causal_reference.causal_focal_aggregation_reference`; ``wanted`` says
    whether context, gates, decay and each kernel need a gradient, ``upstream`` (B, T, C) is that of the result.
    """
    if state is not None:
        state = state._replace(windows=tuple(window.float() for window in state.windows))

    def formula(context: Tensor, gates: Tensor, decay: Tensor | None, *kernels: Tensor) -> Tensor:
        return causal_focal_aggregation_reference(
            context.float(), gates.float(), [kernel.float() for kernel in kernels], dilations=dilations,
            decay=None if decay is None else decay.float(), mask=mask, state=state,
        )[0].to(context.dtype)  # fmt: skip

    return gradients_by_formula(formula, (context, gates, decay, *kernels), wanted, upstream)
