"""What focal modulation of sequences is measured against: other mixers of tokens, written with PyTorch alone.

Each can stand where causal focal modulation stands in a block: tokens and the state before them in, as many tokens and
the state after them out. Chunks of any length give what the whole gives.

Axes: B batch, T positions, C channels, k taps of a short convolution, M modes of a long one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.models.plain import project
from focalnets.models.sequence_config import LanguageConfig

__all__ = [
    "ConvolutionState",
    "GatedRecurrence",
    "LongConvolution",
    "RecurrenceState",
    "ShortConvolution",
    "at_least_float32",
    "linear_recurrence",
]

_SHORTEST_SCALE, _LONGEST_SCALE = 4.0, 1024.0
"""Time scales that channels of a recurrence begin with [tokens]."""

_MODES, _SHORTEST_FILTER = 8, 16.0
"""Modes M of a long convolution, and the shortest time scale that its channels begin with [tokens]."""


class ShortConvolution(nn.Module):
    """A depthwise convolution over each position and the few before it.

    Args:
        channels: C.
        taps: k, the last one on the position itself.
    """

    def __init__(self, channels: int, taps: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(channels, taps))
        nn.init.uniform_(self.kernel, -1 / math.sqrt(taps), 1 / math.sqrt(taps))

    def forward(
        self, tokens: Tensor, window: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Convolve tokens.

        Args:
            tokens: (B, T, C).
            window: (B, k - 1, C), what stands before them; None for nothing.
            mask: Booleans (B, T); positions that do not count are as if they were zero.

        Returns:
            (B, T, C), and the window of what comes next.
        """
        batch, length, channels = tokens.shape
        kernel = self.kernel.to(tokens.dtype)
        past = kernel.shape[1] - 1
        if mask is not None:
            tokens = tokens.masked_fill(~mask.unsqueeze(-1), 0)
        if window is None:
            window = tokens.new_zeros(batch, past, channels)
        seen = torch.cat([window.to(tokens.dtype), tokens], 1)
        convolved = seen[:, :length] * kernel[:, 0]
        for tap in range(1, past + 1):
            convolved = torch.addcmul(convolved, seen[:, tap : tap + length], kernel[:, tap])
        return convolved, seen[:, length:].detach()

    def extra_repr(self) -> str:
        return f"channels={self.kernel.shape[0]}, taps={self.kernel.shape[1]}"


class RecurrenceState(NamedTuple):
    """What a gated recurrence carries on.

    Attributes:
        window: Of its short convolution (B, k - 1, C); None without one.
        running: (B, C).
    """

    window: Tensor | None
    running: Tensor


class GatedRecurrence(nn.Module):
    """A recurrence in each channel whose decay depends on the token, under a gate.

    ``s_t = a_t s_(t-1) + sqrt(1 - a_t^2) x_t``; the result is ``s_t`` times the GELU of a gate.

    Source: De et al., Griffin, arXiv 2402.19427 (the block of Hawk). Its second gate, on what is taken in, is left out
    and its gates are whole matrices, so that there are as many parameters as in attention.
    """

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        dim = config.dim
        self.input_projection = nn.Linear(dim, 2 * dim)
        self.convolution = ShortConvolution(dim, config.short_convolution) if config.short_convolution else None
        self.decay_projection = nn.Linear(dim, dim)
        self.rate = nn.Parameter(torch.empty(dim))
        self.output_projection = nn.Linear(dim, dim)
        for layer in (self.input_projection, self.decay_projection, self.output_projection):
            nn.init.normal_(layer.weight, std=1 / math.sqrt(dim))
            nn.init.zeros_(layer.bias)
        scales = torch.linspace(math.log(_SHORTEST_SCALE), math.log(_LONGEST_SCALE), dim).exp()
        with torch.no_grad():  # with a gate of one half, softplus(rate) / 2 is one over the time scale
            self.rate.copy_(torch.expm1(2 / scales).log())

    def forward(
        self, tokens: Tensor, state: RecurrenceState | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, RecurrenceState]:
        """Mix tokens (B, T, C) with those that came before; gives as many, and the state after the last."""
        taken, gate = project(self.input_projection, tokens).chunk(2, -1)
        window = running = None
        if state is not None:
            window, running = state
        if self.convolution is not None:
            taken, window = self.convolution(taken, window, mask)
        strength = torch.sigmoid(at_least_float32(project(self.decay_projection, taken)))
        logarithm = -F.softplus(self.rate) * strength
        decay, inflow = logarithm.exp(), (-torch.expm1(2 * logarithm)).clamp(min=1e-6).sqrt() * taken
        if mask is not None:
            left_out = ~mask.unsqueeze(-1)
            decay, inflow = decay.masked_fill(left_out, 1), inflow.masked_fill(left_out, 0)
        states = linear_recurrence(decay, inflow, running)
        mixed = states.to(gate.dtype) * F.gelu(gate)
        return project(self.output_projection, mixed), RecurrenceState(window, states[:, -1].detach())


def linear_recurrence(decay: Tensor, inflow: Tensor, initial: Tensor | None = None) -> Tensor:
    """Compute ``s_t = decay_t s_(t-1) + inflow_t`` at all positions: exact, linear in T, and parallel.

    Neighbours are put together until one step is left; then the states between follow from those found.

    Args:
        decay: (B, T, C).
        inflow: (B, T, C).
        initial: ``s`` before the first position (B, C); None for zero.

    Returns:
        (B, T, C).

    Source: Blelloch, Prefix sums and their applications, 1990; for recurrences Martin and Cundy, ICLR 2018.
    """
    if initial is not None:
        first = torch.addcmul(inflow[:, :1], decay[:, :1], initial.unsqueeze(1))
        inflow = torch.cat([first, inflow[:, 1:]], 1)
    length = inflow.shape[1]
    if length == 1:
        return inflow
    pairs = length // 2
    early_decay, late_decay = decay[:, : 2 * pairs].unflatten(1, (pairs, 2)).unbind(2)
    early, late = inflow[:, : 2 * pairs].unflatten(1, (pairs, 2)).unbind(2)
    odd = linear_recurrence(early_decay * late_decay, torch.addcmul(late, late_decay, early))
    further = torch.addcmul(inflow[:, 2::2], decay[:, 2::2], odd[:, : (length - 1) // 2])
    even = torch.cat([inflow[:, :1], further], 1)
    paired = torch.stack([even[:, :pairs], odd], 2).flatten(1, 2)
    return paired if length == 2 * pairs else torch.cat([paired, even[:, -1:]], 1)


class ConvolutionState(NamedTuple):
    """What a long convolution carries on; its size does not grow, whatever the length.

    Attributes:
        window: Of its short convolution (B, k - 1, 3 C); None without one.
        newest: What the last chunk gave to the filter (B, T, C).
        modes: What was before that chunk, (B, M, C), complex; None for nothing.
    """

    window: Tensor | None
    newest: Tensor
    modes: Tensor | None


class LongConvolution(nn.Module):
    """A convolution as long as the text, between two gates: ``query * (filter * (key value))``.

    The filter of each channel is a sum of damped oscillations. So it is applied to many positions at once by FFT, and
    goes on from a state of constant size.

    Source: Poli et al., Hyena, ICML 2023 (two gates, short convolution in front); Gu et al., S4D, NeurIPS 2022 (the
    filter).
    """

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        dim = config.dim
        self.input_projection = nn.Linear(dim, 3 * dim)
        self.convolution = ShortConvolution(3 * dim, config.short_convolution) if config.short_convolution else None
        # One axis each, so that they do not decay.
        self.rate, self.angle, self.real, self.imaginary = (nn.Parameter(torch.empty(_MODES * dim)) for _ in range(4))
        self.skip = nn.Parameter(torch.ones(dim))
        self.output_projection = nn.Linear(dim, dim)
        for layer in (self.input_projection, self.output_projection):
            nn.init.normal_(layer.weight, std=1 / math.sqrt(dim))
            nn.init.zeros_(layer.bias)
        scales = torch.linspace(math.log(_SHORTEST_FILTER), math.log(_LONGEST_SCALE), dim)
        with torch.no_grad():
            self.rate.copy_(-scales.repeat(_MODES))  # its exponential is one over the time scale
            self.angle.copy_(2 * math.pi * torch.arange(_MODES).repeat_interleave(dim))
        for part in (self.real, self.imaginary):
            nn.init.normal_(part, std=1 / math.sqrt(_MODES))

    def _modes(self) -> tuple[Tensor, Tensor]:
        """Compute the logarithm of what a mode becomes in one step, and its weight in the filter: (M, C), complex."""
        rate = self.rate.exp().view(_MODES, -1)
        exponent = torch.complex(-rate, rate * self.angle.view(_MODES, -1))
        # So that a filter begins with an energy of about 1 at any time scale.
        return exponent, torch.complex(self.real, self.imaginary).view(_MODES, -1) * (2 * rate).sqrt()

    def forward(
        self, tokens: Tensor, state: ConvolutionState | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, ConvolutionState]:
        """Mix tokens (B, T, C) with those that came before; gives as many, and the state after the last."""
        length, projected = tokens.shape[1], project(self.input_projection, tokens)
        window = None if state is None else state.window
        if self.convolution is not None:
            projected, window = self.convolution(projected, window, mask)
        query, key, value = projected.chunk(3, -1)
        entering = at_least_float32(key) * at_least_float32(value)
        if mask is not None:
            entering = entering.masked_fill(~mask.unsqueeze(-1), 0)
        exponent, weights = self._modes()
        steps = torch.arange(length, device=tokens.device).view(-1, 1, 1)
        weighted = weights * torch.exp(exponent * steps)
        mixed = _convolve(entering, weighted.real.sum(1)) + self.skip * entering
        modes = None
        if state is not None:
            modes = _fold(state, exponent.detach())
            mixed = mixed + torch.einsum("tmc,bmc->btc", weighted * exponent.exp(), modes).real
        result = project(self.output_projection, query * mixed.to(query.dtype))
        return result, ConvolutionState(window, entering.detach(), modes)


def _fold(state: ConvolutionState, exponent: Tensor) -> Tensor:
    """Bring everything of a state into its modes (B, M, C), as they are at its last position."""
    length = state.newest.shape[1]
    ages = torch.arange(length - 1, -1, -1, device=exponent.device).view(-1, 1, 1)
    modes = torch.einsum("btc,tmc->bmc", state.newest.to(exponent.dtype), torch.exp(exponent * ages))
    return modes if state.modes is None else modes + state.modes * torch.exp(exponent * length)


def _convolve(inputs: Tensor, filters: Tensor) -> Tensor:
    """Convolve inputs (B, T, C) with filters (T, C), so that no position sees a later one."""
    length = inputs.shape[1]
    padded = 1 << (2 * length - 1).bit_length()
    spectrum = torch.fft.rfft(inputs, padded, 1) * torch.fft.rfft(filters, padded, 0)
    return torch.fft.irfft(spectrum, padded, 1)[:, :length]


def at_least_float32(tensor: Tensor) -> Tensor:
    """Bring what runs over many positions to float32 at least."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
