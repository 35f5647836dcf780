"""Causal focal modulation and causal attention as layers, and the block around these and other mixers.

Axes: B batch, T positions, C channels, L focal levels, R running levels, H groups of channels with gates of their own,
N attention heads, D channels of one, P positions that went before, k taps of a short convolution.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.models.layers import NORM_EPSILON, Mlp
from focalnets.models.plain import project
from focalnets.models.sequence_config import LanguageConfig
from focalnets.models.sequence_memory import AssociativeMemory, MemoryState
from focalnets.models.sequence_peers import (
    ConvolutionState,
    GatedRecurrence,
    LongConvolution,
    RecurrenceState,
    ShortConvolution,
)
from focalnets.ops.causal import CausalState, causal_focal_aggregation

__all__ = [
    "AttentionState",
    "BlockState",
    "CausalAttention",
    "CausalBlock",
    "CausalFocalModulation",
    "RememberingState",
    "turn_by_position",
]

SHORTEST_SCALE, LONGEST_SCALE = 4.0, 1024.0
"""Time scales that running levels begin with [tokens]."""


class AttentionState(NamedTuple):
    """What attention must keep: all that went before.

    Attributes:
        keys: (B, N, P, D), turned by their positions.
        values: (B, N, P, D).
        valid: Booleans (B, P).
        window: Of its short convolution (B, k - 1, C); None without one.
    """

    keys: Tensor
    values: Tensor
    valid: Tensor
    window: Tensor | None = None


class RememberingState(NamedTuple):
    """What focal modulation with an associative memory carries on.

    Attributes:
        levels: Of the levels.
        memory: Of the memory.
    """

    levels: CausalState
    memory: MemoryState


BlockState = CausalState | RememberingState | AttentionState | RecurrenceState | ConvolutionState


class CausalFocalModulation(nn.Module):
    """Focal modulation of which no position sees a later one.

    One projection yields query, context and gates; what :func:`focalnets.ops.causal.causal_focal_aggregation` gathers
    becomes the modulator, which multiplies the query. An associative memory is one more level, under gates of its own.

    Args:
        config: Of the network.
        backend: Backend of the aggregation.
    """

    def __init__(self, config: LanguageConfig, backend: str | None = None) -> None:
        super().__init__()
        dim = config.dim
        self.dim, self.gate_heads, self.running, self.backend = dim, config.gate_heads, config.running, backend
        self.dilations = config.steps
        self.levels = len(config.kernel_sizes) + (config.scales if config.running == "ema" else 1)
        self.memory = AssociativeMemory(dim, config.memory_keys, self.gate_heads) if config.memory_keys else None
        self.input_projection = nn.Linear(dim, 2 * dim + self.gated_levels * config.gate_heads)
        self.kernels = nn.ParameterList(nn.Parameter(torch.empty(dim, size)) for size in config.kernel_sizes)
        self.rate = nn.Parameter(torch.empty(config.scales, dim)) if config.running == "ema" else None
        self.decay_projection = nn.Linear(dim, dim) if config.running == "gated" else None
        self.modulator_projection = nn.Linear(dim, dim)
        self.output_projection = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw kernels within 1 / sqrt(taps) and linear layers at 1 / sqrt(inputs); spread the time scales evenly.

        With one time scale the channels differ in it, with several the levels do.
        """
        for layer in (self.input_projection, self.modulator_projection, self.output_projection):
            nn.init.normal_(layer.weight, std=1 / math.sqrt(self.dim))
            nn.init.zeros_(layer.bias)
        for kernel in self.kernels:
            bound = 1 / math.sqrt(kernel.shape[1])
            nn.init.uniform_(kernel, -bound, bound)
        ends = math.log(SHORTEST_SCALE), math.log(LONGEST_SCALE)
        with torch.no_grad():
            if self.rate is not None:
                scales = len(self.rate)
                spread = torch.linspace(*ends, self.dim if scales == 1 else scales).exp()
                # softplus(rate) is one over the time scale.
                self.rate.copy_(torch.expm1(1 / spread).log().view(1, -1) if scales == 1 else
                                torch.expm1(1 / spread).log().view(-1, 1).expand(-1, self.dim))  # fmt: skip
            if self.decay_projection is not None:
                nn.init.normal_(self.decay_projection.weight, std=0.02)
                self.decay_projection.bias.copy_((torch.linspace(*ends, self.dim).exp() - 1).log())

    @property
    def gated_levels(self) -> int:
        """Levels that have gates: those of the aggregation, and the memory behind them if there is one."""
        return self.levels + (self.memory is not None)

    def decay(self, tokens: Tensor, dtype: torch.dtype) -> Tensor | None:
        """Compute what the running levels keep at each position: None for a mean, (S, C), or (B, T, C)."""
        if self.rate is not None:
            return torch.exp(-F.softplus(self.rate)).to(dtype)
        if self.decay_projection is not None:
            return torch.sigmoid(project(self.decay_projection, tokens)).to(dtype)
        return None

    def forward(
        self, tokens: Tensor, state: CausalState | RememberingState | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, CausalState | RememberingState]:
        """Modulate tokens (B, T, C) by what came before; gives as many, and the state after the last."""
        query, context, gates = project(self.input_projection, tokens).split(
            (self.dim, self.dim, self.gated_levels * self.gate_heads), -1
        )
        gates = gates.unflatten(-1, (self.gated_levels, self.gate_heads))
        before = state.levels if isinstance(state, RememberingState) else state
        gathered, after = causal_focal_aggregation(
            context,
            gates[:, :, : self.levels],
            [kernel.to(context.dtype) for kernel in self.kernels],
            dilations=self.dilations,
            decay=self.decay(tokens, context.dtype),
            mask=mask,
            state=before,
            backend=self.backend,
        )
        kept: CausalState | RememberingState = after
        if self.memory is not None:
            remembered = state.memory if isinstance(state, RememberingState) else None
            read, remembered = self.memory(tokens, context, remembered, mask)
            gathered = gathered + (read.unflatten(-1, (self.gate_heads, -1)) * gates[:, :, -1, :, None]).flatten(2)
            kept = RememberingState(after, remembered)
        return project(self.output_projection, query * project(self.modulator_projection, gathered)), kept

    def extra_repr(self) -> str:
        sizes = ", ".join(str(kernel.shape[1]) for kernel in self.kernels)
        return f"dim={self.dim}, kernels=[{sizes}], running={self.running}, gate_heads={self.gate_heads}"


class CausalAttention(nn.Module):
    """Attention to all that came before, with rotary positions, and with a short convolution in front if there is one.

    Source: Su et al., RoFormer, arXiv 2104.09864; Arora et al., Zoology, ICLR 2024 (the convolution).
    """

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.heads = config.attention_heads
        taps = config.short_convolution
        self.convolution = ShortConvolution(config.dim, taps) if taps else None
        self.input_projection = nn.Linear(config.dim, 3 * config.dim)
        self.output_projection = nn.Linear(config.dim, config.dim)
        for layer in (self.input_projection, self.output_projection):
            nn.init.normal_(layer.weight, std=1 / math.sqrt(config.dim))
            nn.init.zeros_(layer.bias)

    def forward(
        self, tokens: Tensor, state: AttentionState | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, AttentionState]:
        """Mix tokens (B, T, C) with those that came before; gives as many, and the state after the last."""
        batch, length, _ = tokens.shape
        window = None if state is None else state.window
        if self.convolution is not None:
            convolved, window = self.convolution(tokens, window, mask)
            tokens = tokens + convolved
        query, key, value = (
            project(self.input_projection, tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )
        valid = torch.ones(batch, length, dtype=torch.bool, device=tokens.device) if mask is None else mask
        positions = valid.cumsum(1) - 1
        if state is not None:
            positions = positions + state.valid.sum(1, keepdim=True)
        query, key = turn_by_position(query, positions), turn_by_position(key, positions)
        before = 0
        if state is not None:
            before = state.keys.shape[2]
            key, value = torch.cat([state.keys, key], 2), torch.cat([state.values, value], 2)
            valid = torch.cat([state.valid, valid], 1)
        if mask is None and state is None:
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            seen = torch.ones(length, before + length, dtype=torch.bool, device=tokens.device).tril(before)
            itself = torch.eye(length, before + length, dtype=torch.bool, device=tokens.device).roll(before, 1)
            # Padding sees itself, so that no row of weights is empty.
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=(seen & valid[:, None, None]) | itself)
        if mask is not None:
            mixed = torch.where(mask[:, None, :, None], mixed, 0)
        kept = AttentionState(key.detach(), value.detach(), valid, window)
        return project(self.output_projection, mixed.transpose(1, 2).flatten(2)), kept


def turn_by_position(heads: Tensor, positions: Tensor) -> Tensor:
    """Turn pairs of channels (B, N, T, D) by angles that grow with the positions (B, T)."""
    half = heads.shape[-1] // 2
    speeds = 10000.0 ** (-torch.arange(half, device=heads.device) / half)
    angles = positions[:, None, :, None] * speeds
    cosine, sine = angles.cos().to(heads.dtype), angles.sin().to(heads.dtype)
    first, second = heads[..., ::2], heads[..., 1::2]
    return torch.stack([first * cosine - second * sine, first * sine + second * cosine], -1).flatten(-2)


_PEERS: dict[str, type[CausalAttention] | type[GatedRecurrence] | type[LongConvolution]] = {
    "attention": CausalAttention,
    "recurrence": GatedRecurrence,
    "long_convolution": LongConvolution,
}


class CausalBlock(nn.Module):
    """Focal modulation or another mixer, and an MLP, each in a residual branch behind its own LayerNorm."""

    def __init__(self, config: LanguageConfig, index: int, backend: str | None = None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.dim, eps=NORM_EPSILON)
        mixer = config.mixer_of(index)
        self.mixer: CausalFocalModulation | CausalAttention | GatedRecurrence | LongConvolution = (
            CausalFocalModulation(config, backend) if mixer == "focal" else _PEERS[mixer](config)
        )
        self.norm2 = nn.LayerNorm(config.dim, eps=NORM_EPSILON)
        self.mlp = Mlp(config.dim, int(config.dim * config.mlp_ratio))
        self.dropout = nn.Dropout(config.dropout)
        for layer in (self.mlp.fc1, self.mlp.fc2):
            nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)
        with torch.no_grad():  # so that the sum of all branches has the same size at any depth
            for layer in (self.mixer.output_projection, self.mlp.fc2):
                layer.weight /= math.sqrt(2 * config.depth)

    def forward(
        self, tokens: Tensor, state: BlockState | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, BlockState]:
        """Refine tokens (B, T, C); gives as many, and the state after the last."""
        mixed, state = self.mixer(self.norm1(tokens), state, mask)
        tokens = tokens + self.dropout(mixed)
        return tokens + self.dropout(self.mlp(self.norm2(tokens))), state
