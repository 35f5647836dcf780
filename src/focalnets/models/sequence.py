"""Networks of one-dimensional data: one that continues sequences, one that classifies them.

Axes: B batch, T positions, C channels, V tokens of the vocabulary, K classes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.errors import ShapeError
from focalnets.models.heads.language import LanguageHead, TextClassifierHead
from focalnets.models.input_specs import TextInput
from focalnets.models.layers import FocalBlock, FocalModulation, drop_path_schedule
from focalnets.models.plain import project
from focalnets.models.sequence_attention import AttentionBlock, SequenceAttention
from focalnets.models.sequence_config import LanguageConfig as LanguageConfig
from focalnets.models.sequence_config import TextClassifierConfig as TextClassifierConfig
from focalnets.models.sequence_config import language_variant
from focalnets.models.sequence_generation import (
    check_drawing,
    continue_tokens,
    draw_tokens,
    padded_prompts,
    step_by_calls,
)
from focalnets.models.sequence_layers import BlockState, CausalBlock
from focalnets.models.sequence_step import FusedStep, can_fuse

__all__ = [
    "FocalLanguageModel",
    "FocalTextClassifier",
    "LanguageConfig",
    "LanguageState",
    "TextClassifierConfig",
    "create_language_model",
]

LanguageState = tuple[BlockState, ...]
"""What a sequence leaves behind for its next token: an entry a block."""


class FocalLanguageModel(nn.Module):
    """Tokens in, logits of the next token out; the embedding serves at both ends.

    With another ``mixer`` in its config it is what ours is compared with: the same skeleton around another layer.

    Args:
        config: What it is made of.
        backend: Backend of the aggregation, see :func:`focalnets.ops.causal.causal_focal_aggregation`.

    Attributes:
        config: As given.
        preprocessing: How a text becomes tokens.
        origin: Where the weights came from, in words.
    """

    def __init__(self, config: LanguageConfig, *, backend: str | None = None) -> None:
        super().__init__()
        self.config = config
        self.preprocessing = TextInput(vocabulary_size=config.vocabulary_size)
        self.origin = "random weights"
        self.embedding = nn.Embedding(config.vocabulary_size, config.dim)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.blocks = nn.ModuleList(CausalBlock(config, index, backend) for index in range(config.depth))
        self.head = LanguageHead(config.dim)

    def forward(
        self, tokens: Tensor, state: LanguageState | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, LanguageState]:
        """Read tokens.

        Args:
            tokens: (B, T), whole numbers from 0 to below V.
            state: What the tokens before left behind; None at the beginning. Chunks of any length give what the whole
                gives.
            mask: Booleans (B, T), True for tokens that count. Padding belongs on the left.

        Returns:
            Logits (B, T, V) of the token that follows each, and the state after the last.

        Raises:
            ShapeError: If tokens are not (B, T), or the state has not one entry a block.
        """
        if tokens.ndim != 2 or tokens.shape[1] < 1:
            raise ShapeError(f"tokens must be (B, T) with at least one position, got shape {tuple(tokens.shape)}.")
        if state is not None and len(state) != len(self.blocks):
            raise ShapeError(f"state must have one entry for each of the {len(self.blocks)} blocks, got {len(state)}.")
        features = self.embedding(tokens)
        after = []
        for index, block in enumerate(self.blocks):
            features, left_behind = block(features, None if state is None else state[index], mask)
            after.append(left_behind)
        return self.head(features, self.embedding.weight), tuple(after)

    def generate(
        self,
        prompt: Tensor | Sequence[int] | Sequence[Sequence[int]],
        length: int | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> Iterator[Tensor]:
        """Continue prompts, one token after the other; memory stays constant unless a block attends.

        Args:
            prompt: Tokens of one prompt (T,), of several (B, T), or a list of lists of any lengths.
            length: Tokens to draw for each; None goes on until the caller stops.
            temperature: What logits are divided by; 0 always takes the most probable token.
            top_p: Only the most probable tokens that together reach this probability are drawn.
            seed: Makes the same tokens come again; None for others each time.

        Yields:
            The next token of each prompt (B,), int64, on the device of the network.

        Raises:
            ShapeError: If a prompt is empty or a token outside the vocabulary.
            ConfigError: If length, temperature, top_p or seed is out of range.
        """
        check_drawing(length, temperature, top_p, seed)
        tokens, mask = padded_prompts(prompt, self.config.vocabulary_size)
        device = self.embedding.weight.device
        generator = torch.Generator(device)
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        return continue_tokens(
            self, tokens.to(device), None if mask is None else mask.to(device), length,
            lambda logits: draw_tokens(logits, temperature, top_p, generator), functools.partial(begin_steps, self),
        )  # fmt: skip


def begin_steps(network: FocalLanguageModel, state: LanguageState) -> Callable[[Tensor], Tensor]:
    """Make what reads one token (B,) after the other and gives logits (B, V): the fused step where it can.

    Args:
        network: To be stepped through.
        state: After the tokens before.
    """
    if type(network) is FocalLanguageModel and can_fuse(
        network, network.blocks, network.embedding, network.head, state
    ):
        known: Any = state
        return FusedStep(network.config, network.blocks, network.embedding, network.head, known)
    return step_by_calls(network, state)


class FocalTextClassifier(nn.Module):
    """Whole sequences in, logits of their classes out; every position sees both ways.

    Args:
        config: What it is made of. Without a vocabulary the input is a series of numbers.
        backend: Backend of the aggregation, see :func:`focalnets.focal_aggregation`.

    Attributes:
        config: As given.
        preprocessing: How a text becomes tokens, or a series numbers; None where that is not known.
        class_names: What the classes are called; empty until set.
        origin: Where the weights came from, in words.
    """

    def __init__(self, config: TextClassifierConfig, *, backend: str | None = None) -> None:
        super().__init__()
        self.config = config
        self.preprocessing: Any = TextInput(vocabulary_size=config.vocabulary_size) if config.vocabulary_size else None
        self.class_names: tuple[str, ...] = ()
        self.origin = "random weights"
        self.embedding: nn.Embedding | nn.Linear = (
            nn.Embedding(config.vocabulary_size, config.dim)
            if config.vocabulary_size
            else nn.Linear(config.channels * (config.patch_window or config.patch), config.dim)
        )
        rates = drop_path_schedule(config.drop_path, [config.depth])[0]
        self.blocks = nn.ModuleList(_build_block(config, rate, backend) for rate in rates)
        self.dropout = nn.Dropout(config.dropout)
        self.head = TextClassifierHead(config.dim, config.num_classes, config.dropout)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=1 / math.sqrt(module.in_features))
                nn.init.zeros_(module.bias)
        if isinstance(self.embedding, nn.Embedding):
            nn.init.normal_(self.embedding.weight, std=0.02)
        with torch.no_grad():  # so that the sum of all branches has the same size at any depth
            block: Any
            for block in self.blocks:
                mixer = block.attention if self.config.mixer == "attention" else block.modulation
                for layer in (mixer.output_projection, block.mlp.fc2):
                    layer.weight /= math.sqrt(2 * len(self.blocks))

    def reset_classifier(self, num_classes: int) -> None:
        """Draw the classifier anew, for so many classes."""
        self.config = self.config.replace(num_classes=num_classes)
        fresh = TextClassifierHead(self.config.dim, num_classes, self.config.dropout).to(self.head.classifier.weight)
        fresh.norm.load_state_dict(self.head.norm.state_dict())
        self.head = fresh

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Classify sequences.

        Args:
            inputs: Tokens (B, T), whole numbers; for series (B, T, channels), floating point.
            mask: Booleans (B, T), True for positions that count, wherever they lie; each sequence of a padded batch
                gets what it gets alone.

        Returns:
            Logits (B, K).

        Raises:
            ShapeError: If inputs have another number of axes or channels.
        """
        wanted = 2 if self.config.vocabulary_size else 3
        if inputs.ndim != wanted or (wanted == 3 and inputs.shape[2] != self.config.channels) or inputs.shape[1] < 1:
            shape = "(B, T)" if wanted == 2 else f"(B, T, {self.config.channels})"
            raise ShapeError(f"inputs must be {shape} with at least one position, got shape {tuple(inputs.shape)}.")
        if wanted == 2:
            features = self.embedding(inputs)
        else:
            patches, mask = _cut_patches(inputs, mask, self.config.patch, self.config.patch_window)
            features = project(self.embedding, patches)
        features = self.dropout(features)
        for block in self.blocks:
            features = block(features, mask)
        return self.head(features, mask)


def _build_block(config: TextClassifierConfig, drop_path: float, backend: str | None) -> nn.Module:
    shared: dict[str, Any] = {"mlp_ratio": config.mlp_ratio, "dropout": config.dropout, "drop_path": drop_path}
    if config.mixer == "attention":
        attention = SequenceAttention(config.dim, config.attention_heads, config.dropout)
        return AttentionBlock(attention, config.dim, **shared)
    modulation = FocalModulation(
        config.dim, config.focal_levels, config.focal_window, spatial_dims=1, dropout=config.dropout, backend=backend
    )
    return FocalBlock(modulation, **shared)


def _cut_patches(series: Tensor, mask: Tensor | None, size: int, window: int) -> tuple[Tensor, Tensor | None]:
    """Put so many positions of a series (B, T, channels) into one, with zeros where none count or none are left.

    With a window as many as that, of which the patch is the middle.
    """
    if mask is not None:
        series = series.masked_fill(~mask.unsqueeze(-1), 0)
    missing = -series.shape[1] % size
    if window > size:
        before = (window - size) // 2
        padded = F.pad(series, (0, 0, before, missing + window - size - before))
        patches = padded.unfold(1, window, size).transpose(2, 3).flatten(2)
    elif size > 1:
        patches = F.pad(series, (0, 0, 0, missing)).unflatten(1, (-1, size)).flatten(2)
    else:
        return series, mask
    return patches, None if mask is None else F.pad(mask, (0, missing)).unflatten(1, (-1, size)).any(-1)


def create_language_model(name: str = "focal_language_small_ema", **overrides: Any) -> FocalLanguageModel:
    """Build a causal network of the table with random weights.

    Args:
        name: A row of :data:`focalnets.models.sequence_config.LANGUAGE_VARIANTS`.
        **overrides: Fields of its config that shall differ, e.g. ``vocabulary_size``.

    Raises:
        UnknownNameError: If there is no network of that name.
        ConfigError: If a field is unknown or out of range.
    """
    return FocalLanguageModel(language_variant(name).config.replace(**overrides))
