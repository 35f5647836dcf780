"""Which backends of focal aggregation can run here and, in one sentence each, why one cannot.

A backend is a module function with the signature of
:func:`focalnets.ops.reference.focal_aggregation_reference` and two questions beside it: can it run on this machine
at all, and does it support these tensors. Heavy or optional packages are only imported when a question is asked.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from focalnets.errors import BackendUnavailableError, UnknownNameError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BACKENDS", "Backend", "backend_names", "select_backend"]


@dataclasses.dataclass(frozen=True)
class Backend:
    """One implementation of focal aggregation.

    Attributes:
        name: What users write for ``backend=``.
        summary: What it is, for ``focalnets doctor``.
        module: Where it lives. The module offers ``focal_aggregation_<name>``, ``why_unavailable()`` and
            ``why_unsupported(context, gates, kernels, mask)``; the last two return None or a sentence.
    """

    name: str
    summary: str
    module: str

    def why_unavailable(self) -> str | None:
        """Why this backend cannot run on this machine, or None if it can."""
        return importlib.import_module(self.module).why_unavailable()

    def why_unsupported(
        self, context: Tensor, gates: Tensor, kernels: Sequence[Tensor], mask: Tensor | None
    ) -> str | None:
        """Why this backend cannot take these tensors, or None if it can."""
        module = importlib.import_module(self.module)
        return module.why_unavailable() or module.why_unsupported(context, gates, kernels, mask)

    @property
    def function(self) -> Callable[..., Tensor]:
        """The implementation."""
        return getattr(importlib.import_module(self.module), f"focal_aggregation_{self.name}")


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("triton", "fused Triton kernels for GPUs", "focalnets.ops.triton_backend"),
        Backend("cpu", "fused C++ kernels for CPUs", "focalnets.ops.cpu"),
        Backend("reference", "plain PyTorch, any device", "focalnets.ops.reference"),
    )
}
"""All backends, best first."""


def backend_names() -> list[str]:
    """Names accepted by ``backend=``, best first."""
    return list(BACKENDS)


def select_backend(
    context: Tensor, gates: Tensor, kernels: Sequence[Tensor], mask: Tensor | None, name: str | None = None
) -> Backend:
    """The backend asked for, or the best one that can take these tensors.

    Raises:
        UnknownNameError: If no backend has that name.
        BackendUnavailableError: If the backend asked for by name cannot run here or on these tensors; it is never
            replaced silently.
    """
    if name is None:
        return next(b for b in BACKENDS.values() if b.why_unsupported(context, gates, kernels, mask) is None)
    if name not in BACKENDS:
        raise UnknownNameError(f"No backend is called {name!r}; choose one of {', '.join(BACKENDS)}, or None.")
    reason = BACKENDS[name].why_unsupported(context, gates, kernels, mask)
    if reason is not None:
        raise BackendUnavailableError(f"Backend {name!r} was asked for but cannot be used: {reason}")
    return BACKENDS[name]
