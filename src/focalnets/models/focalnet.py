"""The focal modulation network: stem, stages, pyramid and classifier, in one file from pixels to logits.

Axes: B batch, H W height and width [px], h w [tokens], C channels. Images enter as (B, channels, H, W), tokens inside
are (B, h, w, C), feature maps leave as (B, C, h, w) views.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from focalnets.class_names import as_class_names
from focalnets.errors import ConfigError, ShapeError
from focalnets.models.config import FocalNetConfig, Preprocessing
from focalnets.models.embedding import ConvolutionalEmbedding, PatchEmbedding, channels_last, downsample_mask
from focalnets.models.layers import (
    NORM_EPSILON,
    RECOMPUTE_LEVELS,
    FocalBlock,
    FocalModulation,
    Recompute,
    drop_path_schedule,
)
from focalnets.models.size import refuse_absurd_size

__all__ = ["FocalNet", "FocalStage"]

_NAMES_OF_HEAD = "named_classes"
"""Attribute of a classifier: the names that were set while it was the network's; copied and moved along with it."""


class FocalStage(nn.Module):
    """Blocks at one resolution, behind the embedding that halves the resolution of the stage before."""

    def __init__(
        self, downsample: PatchEmbedding | ConvolutionalEmbedding | None, blocks: Sequence[FocalBlock]
    ) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.ModuleList(blocks)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Process tokens (B, h, w, C); returns the stage's tokens and the mask (B, h', w') at their resolution."""
        if self.downsample is not None:
            tokens = self.downsample(tokens.permute(0, 3, 1, 2), mask)
            mask = None if mask is None else downsample_mask(mask, 2)
        for block in self.blocks:
            tokens = block(tokens, mask)
        return tokens, mask


class FocalNet(nn.Module):
    """A focal modulation network for images of any size and aspect.

    Args:
        config: What the network is made of.
        preprocessing: How images must be prepared for it; None takes the usual way for its channels.
        class_names: One name an output, or None where unknown.

    Raises:
        ConfigError: If no machine, or not this one, can hold such a network.

    Attributes:
        config, preprocessing, class_names: As given; written into every checkpoint. Names belong to the classifier that
            is there when they are set, see :meth:`names_fit_head`.
        origin: Where the weights came from, in words.
        threshold: Confidence from 0 to 1 below which an image seems to show none of the classes; None where that was
            not measured. Written into every checkpoint; a new classifier has none.

    Source: Yang et al., Focal Modulation Networks, NeurIPS 2022, section 4, and the settings of the official
    repository. Deliberate deviations: sizes that the stride does not divide are completed with zeros instead of being
    refused or cut; a mask keeps batch padding out of every valid token; no intermediate result stays on a module.
    """

    def __init__(
        self,
        config: FocalNetConfig,
        *,
        preprocessing: Preprocessing | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        refuse_absurd_size(config)
        names = self._checked_names(class_names, config.num_classes)
        self.config = config
        self.preprocessing = preprocessing or Preprocessing().with_channels(config.in_chans)
        self.origin = "random weights"
        self.threshold: float | None = None

        stages = []
        rates = drop_path_schedule(config.drop_path, config.depths)
        for stage, dim in enumerate(config.dims):
            downsample = self._downsample(config.dims[stage - 1], dim) if stage > 0 else None
            stages.append(FocalStage(downsample, [self._block(stage, rate) for rate in rates[stage]]))
        self.stem = self._stem()
        self.stages = nn.ModuleList(stages)
        self.norm: nn.LayerNorm | None = None
        self.head: nn.Module | None = None
        self.pyramid_norms: nn.ModuleList | None = None
        if config.pyramid_norms:
            self.pyramid_norms = nn.ModuleList(nn.LayerNorm(dim, eps=NORM_EPSILON) for dim in config.dims)
        else:
            self.norm = nn.LayerNorm(config.dims[-1], eps=NORM_EPSILON)
            self.head = self._classifier()
        self.class_names = names
        self.reset_parameters()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; with ``class_names`` mark the classifier that they are the names of."""
        super().__setattr__(name, value)
        if name == "class_names" and (head := getattr(self, "head", None)) is not None:
            setattr(head, _NAMES_OF_HEAD, None if value is None else tuple(value))

    def names_fit_head(self) -> bool:
        """Tell whether ``class_names`` were set for the classifier that is there now, or are None.

        False once another module was assigned to ``head``: what its outputs stand for is not known.
        """
        if self.class_names is None or self.head is None:
            return True
        return getattr(self.head, _NAMES_OF_HEAD, None) == tuple(self.class_names)

    def _downsample(self, before: int, dim: int) -> PatchEmbedding | ConvolutionalEmbedding:
        if self.config.downsampling == "double":
            return ConvolutionalEmbedding((before, dim, dim), (2, 1), norm=False)
        if self.config.stem == "patch":
            return PatchEmbedding(before, dim, 2, 2)
        return PatchEmbedding(before, dim, 3, 2, 1)

    def _stem(self) -> PatchEmbedding | ConvolutionalEmbedding:
        config = self.config
        if config.stem == "convolutional":
            middle = max(1, config.embed_dim // 2)
            widths = (config.in_chans, middle, middle, config.embed_dim)
            return ConvolutionalEmbedding(widths, (2, 1, 2), norm=True)
        if config.stem == "overlapped":
            return PatchEmbedding(config.in_chans, config.embed_dim, 7, 4, config.stem_padding)
        return PatchEmbedding(config.in_chans, config.embed_dim, config.patch_size, config.patch_size)

    def _block(self, stage: int, drop_path: float) -> FocalBlock:
        config = self.config
        modulation = FocalModulation(
            config.dims[stage],
            config.focal_levels[stage],
            config.focal_windows[stage],
            normalize_modulator=config.normalize_modulator,
            modulation_norm=config.modulation_norm,
            dropout=config.dropout,
        )
        return FocalBlock(
            modulation,
            mlp_ratio=config.mlp_ratio,
            post_norm=config.post_norm,
            layer_scale=config.layer_scale,
            drop_path=drop_path,
            dropout=config.dropout,
        )

    def _classifier(self) -> nn.Module:
        classes = self.config.num_classes
        return nn.Linear(self.config.dims[-1], classes) if classes else nn.Identity()

    def reset_parameters(self) -> None:
        """Draw the linear layers as ``config.initialization`` says; convolutions keep PyTorch's initialisation.

        The modulator's projection is a 1x1 convolution in the official code and is drawn like the convolutions there.
        """
        official = self.config.initialization == "official"
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear) and not (official and name.endswith("modulator_projection")):
                nn.init.trunc_normal_(module.weight, std=0.02 if official else 1 / math.sqrt(module.in_features))
                nn.init.zeros_(module.bias)
                if self.config.initialization == "identity" and name.endswith((".output_projection", ".mlp.fc2")):
                    nn.init.zeros_(module.weight)

    def forward(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """Classify images.

        Args:
            images: (B, in_chans, H, W), prepared as ``preprocessing`` says; H and W from 1 up.
            mask: Booleans (B, H, W), True for pixels that belong to the image. Give it when images of different sizes
                are padded into one batch: each then gets the result that it gets alone.

        Returns:
            Logits (B, num_classes), or pooled features (B, C) where num_classes is 0.

        Raises:
            ShapeError: If the images or the mask have another shape.
            ConfigError: If the network was built with pyramid norms and so has no classifier.
        """
        if self.norm is None:
            raise ConfigError("A network built with pyramid_norms=True has no classifier; use forward_pyramid.")
        tokens, mask = self._embed_and_refine(images, mask)[-1]
        return self._pool_and_classify(self.norm(tokens), mask)

    def forward_features(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the normalised map before pooling: (B, C, h, w) with h = ceil(H / stride of the last stage)."""
        if self.norm is None:
            raise ConfigError("This network was built with pyramid_norms=True; use forward_pyramid.")
        tokens, _ = self._embed_and_refine(images, mask)[-1]
        return self.norm(tokens).permute(0, 3, 1, 2)

    def forward_pyramid(self, images: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """Compute one map a stage, finest first, taken before the next stage's downsampling.

        Returns:
            Maps (B, C_i, ceil(H / stride_i), ceil(W / stride_i)); each through its own LayerNorm if the network was
            built with ``pyramid_norms=True``.
        """
        maps = [tokens for tokens, _ in self._embed_and_refine(images, mask)]
        if self.pyramid_norms is not None:
            maps = [norm(tokens) for norm, tokens in zip(self.pyramid_norms, maps, strict=True)]
        return [tokens.permute(0, 3, 1, 2) for tokens in maps]

    def _embed_and_refine(self, images: Tensor, mask: Tensor | None) -> list[tuple[Tensor, Tensor | None]]:
        if images.ndim != 4 or images.shape[1] != self.config.in_chans or 0 in images.shape[1:]:
            raise ShapeError(
                f"images must be (B, {self.config.in_chans}, H, W) with H and W from 1 up, got {tuple(images.shape)}."
            )
        if mask is not None and (mask.dtype != torch.bool or mask.shape != (images.shape[0], *images.shape[2:])):
            raise ShapeError(
                f"mask must be boolean of shape {(images.shape[0], *images.shape[2:])}, "
                f"got {mask.dtype} {tuple(mask.shape)}."
            )
        if mask is not None:
            images = torch.where(mask.unsqueeze(1), images, 0)  # Whatever lies there.
        tokens = self.stem(channels_last(images), mask)
        mask = None if mask is None else downsample_mask(mask, self.config.patch_size)
        maps = []
        for stage in self.stages:
            tokens, mask = stage(tokens, mask)
            maps.append((tokens, mask))
        return maps

    def _pool_and_classify(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        assert self.head is not None
        if mask is None:
            return self.head(tokens.mean((1, 2)))
        valid = mask.unsqueeze(-1)
        return self.head(torch.where(valid, tokens, 0).sum((1, 2)) / valid.sum((1, 2)).clamp(min=1))

    def reset_classifier(self, num_classes: int, class_names: Sequence[str] | None = None) -> None:
        """Replace the classifier by a freshly drawn one; 0 classes leave pooled features.

        Raises:
            ConfigError: If there is no classifier, or names and classes differ in number.
        """
        if self.norm is None:
            raise ConfigError("This network was built with pyramid_norms=True and has no classifier to reset.")
        names = self._checked_names(class_names, num_classes)
        self.config = self.config.replace(num_classes=num_classes)
        head = self._classifier()
        if isinstance(head, nn.Linear):
            nn.init.trunc_normal_(head.weight, std=0.02)
            nn.init.zeros_(head.bias)
        self.head = head.to(self.norm.weight.device, self.norm.weight.dtype)
        self.class_names = names
        self.threshold = None

    def set_recompute(self, level: Recompute) -> None:
        """Choose what training computes twice to save memory, see :data:`focalnets.models.layers.Recompute`."""
        if level not in RECOMPUTE_LEVELS:
            raise ConfigError(f"recompute must be one of {', '.join(RECOMPUTE_LEVELS)}, got {level!r}.")
        for module in self.modules():
            if isinstance(module, FocalBlock):
                module.recompute = level
            elif isinstance(module, FocalModulation):
                module.recompute = level in ("aggregation", "mlp")

    @staticmethod
    def _checked_names(class_names: Sequence[str] | None, num_classes: int) -> tuple[str, ...] | None:
        if class_names is None:
            return None
        names = as_class_names(class_names)
        if len(names) != num_classes:
            raise ConfigError(
                f"class_names must have one entry for each of the {num_classes} classes, got {len(names)}."
            )
        return names

    def extra_repr(self) -> str:
        described: dict[str, Any] = {**self.config.to_dict()}
        return ", ".join(f"{key}={value}" for key, value in described.items() if key in ("embed_dim", "depths", "stem"))
