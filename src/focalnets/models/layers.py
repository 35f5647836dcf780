"""Focal modulation as a layer, and the small parts around it.

Axes: B batch, *S spatial axes, H W height and width [tokens], C channels, L focal levels. Tokens are channels-last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from torch.utils.checkpoint import checkpoint

from focalnets.errors import ConfigError
from focalnets.models.drop_path import StochasticDepth
from focalnets.ops.aggregation import focal_aggregation
from focalnets.ops.linear import linear
from focalnets.ops.mlp import hidden_rows, mlp

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
        projected = _project(self.input_projection, tokens)
        if self.recompute and self.training and torch.is_grad_enabled():
            modulated = checkpoint(self._modulate, projected, mask, use_reentrant=False)
        else:
            modulated = self._modulate(projected, mask)
        return self._finish(modulated)

    def _context_and_gates(self, tokens: Tensor) -> Tensor:
        """The projection without its query: context and gates of any of the tokens (..., C), (..., C + L + 1)."""
        return linear(tokens, self.input_projection.weight[self.dim :], self.input_projection.bias[self.dim :])

    def _query(self, tokens: Tensor) -> Tensor:
        """The query alone, of any of the tokens: (..., C) to (..., C)."""
        return linear(tokens, self.input_projection.weight[: self.dim], self.input_projection.bias[: self.dim])

    def _aggregate(self, context_and_gates: Tensor, mask: Tensor | None) -> Tensor:
        """The only part in which tokens meet: aggregated context (B, *S, C) of all of them (B, *S, C + L + 1)."""
        context, gates = context_and_gates.split((self.dim, self.focal_levels + 1), -1)
        kernels = [kernel.to(context.dtype) for kernel in self.kernels]
        return focal_aggregation(
            context, gates, kernels, normalize=self.normalize_modulator, mask=mask, backend=self.backend
        )

    def _modulate_query(self, query: Tensor, aggregated: Tensor) -> Tensor:
        """What comes of any of the tokens: query and aggregated context (..., C) to the result of the layer."""
        return self._finish(query * _project(self.modulator_projection, aggregated))

    def _modulate(self, projected: Tensor, mask: Tensor | None) -> Tensor:
        query, others = projected.split((self.dim, self.dim + self.focal_levels + 1), -1)
        return query * _project(self.modulator_projection, self._aggregate(others, mask))

    def _finish(self, modulated: Tensor) -> Tensor:
        if self.norm is not None:
            modulated = self.norm(modulated)
        return self.dropout(_project(self.output_projection, modulated))

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
        if drops or not all(_is_plain_linear(layer) for layer in (self.fc1, self.fc2)):
            return self.dropout(self.fc2(self.dropout(F.gelu(self.fc1(tokens)))))
        return mlp(tokens, self.fc1.weight, self.fc1.bias, self.fc2.weight, self.fc2.bias)


def _project(layer: nn.Module, tokens: Tensor) -> Tensor:
    """What the layer makes of the tokens (..., C), by the fastest way."""
    return linear(tokens, layer.weight, layer.bias) if _is_plain_linear(layer) else layer(tokens)


def _is_plain_linear(layer: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether calling the layer does nothing but its product: no subclass, adapter, parametrisation or hook."""
    return _is_as_built(layer, nn.Linear)


def _is_as_built(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether calling the module does what its class says and nothing else, and nobody looks on."""
    return type(module) is kind and "forward" not in module.__dict__ and not _has_hooks(module)


def _has_hooks(module: nn.Module) -> bool:
    own = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    return bool(own) or _has_any_global_hook()


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
        recompute = self.recompute if self.training and torch.is_grad_enabled() else "none"
        if recompute == "block":
            return checkpoint(self._both_branches, tokens, mask, use_reentrant=False)
        if self._goes_by_rows(tokens):
            return self._by_rows(tokens, mask)
        tokens = self._modulation_branch(tokens, mask)
        if recompute == "mlp":
            return checkpoint(self._mlp_branch, tokens, use_reentrant=False)
        return self._mlp_branch(tokens)

    def _both_branches(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        return self._mlp_branch(self._modulation_branch(tokens, mask))

    def _modulation_branch(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        return self._add_modulation(tokens, self.modulation(self._before(tokens), mask))

    def _before(self, tokens: Tensor) -> Tensor:
        """What the modulation is given of the tokens."""
        return tokens if self.post_norm else self.norm1(tokens)

    def _add_modulation(self, tokens: Tensor, branch: Tensor) -> Tensor:
        return self._add(tokens, self.norm1(branch) if self.post_norm else branch, self.layer_scale1)

    def _mlp_branch(self, tokens: Tensor) -> Tensor:
        branch = self.mlp(tokens if self.post_norm else self.norm2(tokens))
        return self._add(tokens, self.norm2(branch) if self.post_norm else branch, self.layer_scale2)

    def _goes_by_rows(self, tokens: Tensor) -> bool:
        """Whether this is inference on a CPU with more tokens than the MLP widens at once, and all as it was built."""
        # Compilers and tracers come first: they would take a comparison of sizes for a condition of theirs.
        if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.is_grad_enabled() or self.training:
            return False
        return (
            tokens.device.type == "cpu"
            and not torch._C._are_functorch_transforms_active()
            and _is_as_built(self.norm2, nn.LayerNorm)
            and _is_as_built(self.mlp, Mlp)
            and _is_plain_linear(self.mlp.fc1)
            and _is_plain_linear(self.mlp.fc2)
            and not (self.mlp.dropout.training or self.drop_path.training)
            and not (_has_hooks(self.mlp.dropout) or _has_hooks(self.drop_path))
            and tokens[..., 0].numel() > hidden_rows(self.mlp.fc1.out_features)
        )

    def _modulation_goes_by_rows(self) -> bool:
        """The same of the modulation, whose parts are called one by one."""
        modulation = self.modulation
        return (
            not torch.is_autocast_enabled("cpu")
            and _is_as_built(self.norm1, nn.LayerNorm)
            and _is_as_built(modulation, FocalModulation)
            and _is_plain_linear(modulation.input_projection)
            and _is_plain_linear(modulation.modulator_projection)
            and _is_plain_linear(modulation.output_projection)
            and (modulation.norm is None or _is_as_built(modulation.norm, nn.LayerNorm))
            and not (modulation.dropout.training or _has_hooks(modulation.dropout))
            and type(modulation.input_projection.weight) is nn.Parameter
            and modulation.input_projection.bias is not None
        )

    def _by_rows(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """One group of tokens after another, whose maps then stay in cache; only the aggregation takes all at once."""
        modulation = self.modulation
        if not self._modulation_goes_by_rows():
            refined = self._modulation_branch(tokens, mask)
            result = torch.empty_like(refined, memory_format=torch.contiguous_format)
            for out, group in zip(self._groups(result), self._groups(refined), strict=True):
                out.copy_(self._mlp_branch(group))
            return result
        tokens = tokens.contiguous()
        others = tokens.new_empty(*tokens.shape[:-1], modulation.dim + modulation.focal_levels + 1)
        for out, group in zip(self._groups(others), self._groups(tokens), strict=True):
            out.copy_(modulation._context_and_gates(self._before(group)))
        result = modulation._aggregate(others, mask).contiguous()
        for out, group in zip(self._groups(result), self._groups(tokens), strict=True):
            branch = modulation._modulate_query(modulation._query(self._before(group)), out)
            out.copy_(self._mlp_branch(self._add_modulation(group, branch)))
        return result

    def _groups(self, tokens: Tensor) -> Sequence[Tensor]:
        count = tokens[..., 0].numel()
        groups = math.ceil(count / hidden_rows(self.mlp.fc1.out_features))
        return tokens.flatten(0, -2).split(math.ceil(count / groups))

    def _add(self, tokens: Tensor, branch: Tensor, layer_scale: Tensor | None) -> Tensor:
        drops = (self.training and self.drop_path.p > 0) or _has_hooks(self.drop_path)
        if layer_scale is None or drops:
            return tokens + self.drop_path(branch if layer_scale is None else branch * layer_scale)
        return torch.addcmul(tokens, branch, layer_scale)  # both in one pass


def drop_path_schedule(last: float, depths: Sequence[int]) -> list[list[float]]:
    """Drop probability of every block of every stage, growing linearly from 0 to ``last``."""
    total = sum(depths)
    rates = [last * index / max(1, total - 1) for index in range(total)]
    starts = [sum(depths[:stage]) for stage in range(len(depths))]
    return [rates[start : start + depth] for start, depth in zip(starts, depths, strict=True)]
