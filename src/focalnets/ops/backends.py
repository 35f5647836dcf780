"""Which backends of focal aggregation can run here and, in one sentence each, why one cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from torch import Tensor

from focalnets.errors import BackendUnavailableError, UnknownNameError, nearest
from focalnets.ops import cpu, reference, triton_backend
from focalnets.ops.eager import is_exporting

__all__ = ["BACKENDS", "Backend", "select_backend"]


@dataclasses.dataclass(frozen=True)
class Backend:
    """One implementation of focal aggregation.

    Attributes:
        name: What users write for ``backend=``.
        summary: What it is, for ``focalnets doctor``.
        function: The implementation; arguments and result as :func:`focalnets.focal_aggregation` without ``backend``.
        local_function: The same for :func:`focalnets.ops.aggregation.local_aggregation`; None where it has no such way.
        why_unavailable: Why it cannot run on this machine, one sentence, or None if it can.
        why_unsupported: Why it cannot take these tensors although it is available, one sentence, or None if it can.
    """

    name: str
    summary: str
    function: Callable[..., Tensor]
    local_function: Callable[..., tuple[Tensor, Tensor]] | None
    why_unavailable: Callable[[], str | None]
    why_unsupported: Callable[[Tensor, Tensor, Sequence[Tensor], Tensor | None], str | None]

    def why_not(self, context: Tensor, gates: Tensor, kernels: Sequence[Tensor], mask: Tensor | None) -> str | None:
        """Say why this backend cannot be used here for these tensors; None if it can."""
        return self.why_unavailable() or self.why_unsupported(context, gates, kernels, mask)


BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend(
            "triton",
            "fused Triton kernels for GPUs",
            triton_backend.focal_aggregation_triton,
            None,
            triton_backend.why_unavailable,
            triton_backend.why_unsupported,
        ),
        Backend(
            "cpu",
            "fused C++ kernels for CPUs",
            cpu.focal_aggregation_cpu,
            cpu.local_aggregation_cpu,
            cpu.why_unavailable,
            cpu.why_unsupported,
        ),
        Backend(
            "reference",
            "plain PyTorch, any device",
            reference.focal_aggregation_reference,
            reference.local_aggregation_reference,
            reference.why_unavailable,
            reference.why_unsupported,
        ),
    )
}
"""All backends by the name that users give, best first; the last one takes everything."""


def select_backend(
    context: Tensor, gates: Tensor, kernels: Sequence[Tensor], mask: Tensor | None, name: str | None = None
) -> Backend:
    """Choose the backend asked for, or the best one that can take these tensors.

    While a graph is made for others to read, the best one is the reference, of which they know every operator.

    Raises:
        UnknownNameError: If no backend has that name.
        BackendUnavailableError: If the backend asked for by name cannot run here or on these tensors; it is never
            replaced silently.
    """
    if name is None and is_exporting():
        return BACKENDS["reference"]
    if name is None:
        for backend in BACKENDS.values():
            if backend.why_not(context, gates, kernels, mask) is None:
                return backend
    if name not in BACKENDS:
        raise UnknownNameError(f"No backend is called {name!r}; {nearest(str(name), BACKENDS)} None takes the best.")
    reason = BACKENDS[name].why_not(context, gates, kernels, mask)
    if reason is not None:
        raise BackendUnavailableError(f"Backend {name!r} was asked for but cannot be used: {reason}")
    return BACKENDS[name]
