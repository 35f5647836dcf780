"""Focal modulation as a layer, and the small parts around it.

The mathematics only: past what a layer may be bypassed stands in ``plain.py``, how a block goes by groups of tokens on
a CPU in ``rows.py``.

Axes: B batch, *S spatial axes, H W height and width [tokens], C channels, L focal levels. Tokens are channels-last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from focalnets.errors import ConfigError
from focalnets.models.drop_path import StochasticDepth
from focalnets.models.plain import add_branch, is_plain_linear, project, project_aligned
from focalnets.models.rows import goes_by_rows, refine_by_rows
from focalnets.ops.aggregation import focal_aggregation, takes_float32_kernels
from focalnets.ops.eager import is_transformed
from focalnets.ops.mlp import mlp

__all__ = [
    "NORM_EPSILON",
    "RECOMPUTE_LEVELS",
    "FocalBlock",
    "FocalModulation",
    "Mlp",
    "Recompute",
    "drop_path_schedule",
]

NORM_EPSILON = 1e-5

Recompute = Literal["none", "aggregation", "mlp", "block"]
"""What is computed again in the backward pass instead of being kept: nothing; the aggregation and the modulator made
from it; also the MLP with its norm; or whole blocks."""

RECOMPUTE_LEVELS: tuple[Recompute, ...] = ("none", "aggregation", "mlp", "block")


class FocalModulation(nn.Module):
    """Focal modulation of tokens in one, two or three spatial dimensions (equation 6 of the paper).

    One projection yields query, context and gates; the gated, aggregated context becomes the modulator, which
    multiplies the query.

    Args:
        dim: Channels C of the tokens.
        focal_levels: Levels L without the global one, 0 or more.
        focal_window: Kernel size of the first level [tokens], odd; each further level is larger by 2.
        spatial_dims: Number of spatial axes, 1 to 3.
        normalize_modulator: Divide the gated sum by L + 1.
        modulation_norm: LayerNorm on query times modulator.
        dropout: Dropout probability after the output projection.
        backend: Backend of the aggregation, see :func:`focalnets.focal_aggregation`.
    """

    def __init__(
        self,
        dim: int,
        focal_levels: int = 3,
        focal_window: int = 3,
        *,
        spatial_dims: int = 2,
        normalize_modulator: bool = False,
        modulation_norm: bool = False,
        dropout: float = 0.0,
        backend: str | None = None,
    ) -> None:
        super().__init__()
        if dim < 1 or focal_levels < 0 or focal_window % 2 == 0 or spatial_dims not in (1, 2, 3):
            raise ConfigError(
                "FocalModulation needs dim >= 1, focal_levels >= 0, an odd focal_window and 1 to 3 spatial_dims, got "
                f"{dim}, {focal_levels}, {focal_window} and {spatial_dims}."
            )
        self.dim = dim
        self.normalize_modulator = normalize_modulator
        self.backend = backend
        self.recompute = False
        self.input_projection = nn.Linear(dim, 2 * dim + focal_levels + 1)
        self.kernels = nn.ParameterList(
            nn.Parameter(torch.empty(dim, *[focal_window + 2 * level] * spatial_dims)) for level in range(focal_levels)
        )
        self.modulator_projection = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPSILON) if modulation_norm else None
        self.output_projection = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the depthwise kernels as PyTorch draws convolutions: uniform within 1 / sqrt(taps)."""
        for kernel in self.kernels:
            bound = 1 / math.sqrt(kernel[0].numel())
            nn.init.uniform_(kernel, -bound, bound)

    @property
    def focal_levels(self) -> int:
        """Number of focal levels L, without the global one."""
        return len(self.kernels)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Modulate every token by its surroundings.

        Args:
            tokens: (B, *S, C).
            mask: Booleans (B, *S), True for valid tokens; others neither give nor matter.

        Returns:
            (B, *S, C).
        """
        projected = project_aligned(self.input_projection, tokens)
        if self.recompute and _can_recompute(self):
            modulated = checkpoint(self._aggregate_and_modulate, projected, mask, use_reentrant=False)
        else:
            modulated = self._aggregate_and_modulate(projected, mask)
        return self.project_out(modulated)

    def _aggregate_and_modulate(self, projected: Tensor, mask: Tensor | None) -> Tensor:
        sizes = [self.dim, self.dim + self.focal_levels + 1]
        further = projected.shape[-1] - sum(sizes)
        query, context_and_gates, *_ = projected.split([*sizes, further] if further else sizes, -1)
        return query * project(self.modulator_projection, self.aggregate(context_and_gates, mask))

    def aggregate(self, context_and_gates: Tensor, mask: Tensor | None) -> Tensor:
        """Gather the context (B, *S, C) of all tokens (B, *S, C + L + 1); only here do tokens meet."""
        context, gates = context_and_gates.split((self.dim, self.focal_levels + 1), -1)
        kernels = [
            kernel if takes_float32_kernels(context, kernel) else kernel.to(context.dtype) for kernel in self.kernels
        ]
        return focal_aggregation(
            context, gates, kernels, normalize=self.normalize_modulator, mask=mask, backend=self.backend
        )

    def project_out(self, modulated: Tensor) -> Tensor:
        """Mix the channels of any of the modulated tokens: (..., C) to (..., C)."""
        if self.norm is not None:
            modulated = self.norm(modulated)
        return self.dropout(project(self.output_projection, modulated))

    def extra_repr(self) -> str:
        sizes = ", ".join("x".join(map(str, kernel.shape[1:])) for kernel in self.kernels)
        return f"dim={self.dim}, kernels=[{sizes}], normalize_modulator={self.normalize_modulator}"


class Mlp(nn.Module):
    """Two linear layers with a GELU between them, on the last axis."""

    def __init__(self, dim: int, hidden_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (..., C) to (..., C)."""
        drops = self.training and self.dropout.p > 0
        if not drops and is_plain_linear(self.fc1) and is_plain_linear(self.fc2):
            return mlp(tokens, self.fc1.weight, self.fc1.bias, self.fc2.weight, self.fc2.bias)
        return self.dropout(self.fc2(self.dropout(F.gelu(self.fc1(tokens)))))


class FocalBlock(nn.Module):
    """Focal modulation and an MLP, each in a residual branch with its own LayerNorm.

    The norm stands before the branch, or after it with ``post_norm``; ``layer_scale`` is the initial value of a learnt
    factor per channel on each branch, or None for no such factor.
    """

    def __init__(
        self,
        modulation: FocalModulation,
        *,
        mlp_ratio: float = 4.0,
        post_norm: bool = False,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        dim = modulation.dim
        self.post_norm = post_norm
        self.recompute: Recompute = "none"
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.modulation = modulation
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), dropout)
        self.layer_scale1 = None if layer_scale is None else nn.Parameter(torch.full((dim,), layer_scale))
        self.layer_scale2 = None if layer_scale is None else nn.Parameter(torch.full((dim,), layer_scale))
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Refine tokens (B, *S, C); ``mask`` (B, *S) marks the valid ones."""
        recompute = self.recompute if self.recompute != "none" and _can_recompute(self) else "none"
        if recompute == "block":
            return checkpoint(self._add_both, tokens, mask, use_reentrant=False)
        if goes_by_rows(self, tokens, Mlp):
            return refine_by_rows(self, tokens, mask, FocalModulation)
        tokens = self.add_modulation(tokens, mask)
        if recompute == "mlp":
            return checkpoint(self.add_mlp, tokens, use_reentrant=False)
        return self.add_mlp(tokens)

    def _add_both(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        return self.add_mlp(self.add_modulation(tokens, mask))

    def add_modulation(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Add the branch of the modulation to tokens (B, *S, C)."""
        return self.add_modulated(tokens, self.modulation(self.prepare_tokens(tokens), mask))

    def prepare_tokens(self, tokens: Tensor) -> Tensor:
        """Normalise any of the tokens (..., C) for the modulation, unless the norm comes after it."""
        return tokens if self.post_norm else self.norm1(tokens)

    def add_modulated(self, tokens: Tensor, modulated: Tensor) -> Tensor:
        """Add to any of the tokens (..., C) what the modulation returned for them."""
        branch = self.norm1(modulated) if self.post_norm else modulated
        return add_branch(tokens, branch, self.layer_scale1, self.drop_path)

    def add_mlp(self, tokens: Tensor) -> Tensor:
        """Add the branch of the MLP to any of the tokens (..., C)."""
        branch = self.mlp(tokens if self.post_norm else self.norm2(tokens))
        return add_branch(tokens, self.norm2(branch) if self.post_norm else branch, self.layer_scale2, self.drop_path)


def _can_recompute(module: nn.Module) -> bool:
    """Tell whether a backward pass may follow in which the module can be computed again, with the same weights.

    Transforms of ``torch.func`` know no such backward pass, and weights that ``functional_call`` lends a module are
    gone by then.
    """
    if not module.training or not torch.is_grad_enabled() or is_transformed():
        return False
    return all(isinstance(weight, nn.Parameter) for weight in module.parameters())


def drop_path_schedule(last: float, depths: Sequence[int]) -> list[list[float]]:
    """Give every block of every stage its drop probability, growing linearly from 0 to ``last``."""
    total = sum(depths)
    rates = [last * index / max(1, total - 1) for index in range(total)]
    starts = [sum(depths[:stage]) for stage in range(len(depths))]
    return [rates[start : start + depth] for start, depth in zip(starts, depths, strict=True)]
