"""A built network made ready for inference on this machine's CPU.

Axes: B batch, H W height and width [px], h w [tokens], C channels, K classes.
"""

from __future__ import annotations

import copy
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from focalnets.engine.blocks import PackedStage
from focalnets.errors import BackendUnavailableError, ConfigError, ShapeError, UnknownNameError, nearest
from focalnets.models.embedding import PatchEmbedding, channels_last, downsample_mask
from focalnets.models.focalnet import FocalNet
from focalnets.models.layers import FocalBlock, FocalModulation, Mlp
from focalnets.models.plain import is_as_built, is_plain_linear
from focalnets.ops import cpu_library
from focalnets.ops.cpu_library import MAX_LEVELS, Engine, Library
from focalnets.ops.eager import has_hooks, is_transformed

__all__ = ["PRECISIONS", "AcceleratedNetwork", "Precision", "accelerate", "describe_engine", "why_unavailable"]

Precision = Literal["auto", "float32", "bfloat16", "int8"]
"""Of the products between tokens and weights: ``float32``; ``bfloat16``; ``int8`` with a scale for each token and each
output, which needs no data; or ``auto``, which is exact: float32."""

_Module = TypeVar("_Module", bound=nn.Module)

PRECISIONS: tuple[str, ...] = get_args(Precision)


def accelerate(model: FocalNet, precision: Precision = "auto") -> AcceleratedNetwork:
    """Pack a network for fast inference on this machine's CPU.

    Between two aggregations of context tokens go by groups through everything else while they are in cache, with
    weights laid out for it beforehand and norms and layer scale folded into them.

    Args:
        model: A built or loaded network, as it was built: no adapters and no hooks. It is not changed, and later
            changes of its weights are not seen.
        precision: Of the products, see :data:`Precision`; everything else is computed in float32.

    Returns:
        A network with the same ``forward``, ``forward_features`` and ``forward_pyramid``, for inference only.

    Raises:
        UnknownNameError: If there is no such precision.
        BackendUnavailableError: If this machine has no engine for it, with the reason.
        ConfigError: If the network is not as it was built.
    """
    if precision not in PRECISIONS:
        raise UnknownNameError(f"There is no precision {precision!r}; {nearest(str(precision), PRECISIONS)}")
    library, engine = _choose("float32" if precision == "auto" else precision)
    return AcceleratedNetwork(model, library, engine)


def why_unavailable(precision: str) -> str | None:
    """Say in one sentence why this machine cannot accelerate in a precision; None if it can."""
    try:
        _choose(precision)
    except BackendUnavailableError as error:
        return str(error)
    return None


def describe_engine(precision: str) -> str | None:
    """Say what of the processor a precision uses, and why nothing faster; None if it cannot be had here."""
    try:
        library, chosen = _choose(precision)
    except BackendUnavailableError:
        return None
    passed = [engine for engine in library.engines[: chosen.index] if engine.precision == precision]
    return "; ".join(
        [f"by {chosen.instruction_set}", *(f"not by {each.instruction_set}: {each.missing}" for each in passed)]
    )


def _choose(precision: str) -> tuple[Library, Engine]:
    library = cpu_library.load()
    if isinstance(library, str):
        raise BackendUnavailableError(library)
    engines = [engine for engine in library.engines if engine.precision == precision]
    usable = next((engine for engine in engines if engine.missing is None), None)
    if usable is not None:
        return library, usable
    needed = {"bfloat16": "AMX or AVX-512 with BF16", "int8": "AVX-512 with VNNI"}.get(precision, precision)
    raise BackendUnavailableError(
        f"The engine computes in {precision} on processors with {needed} only; use precision 'float32'."
    )


class AcceleratedNetwork(nn.Module):
    """A network in the engine's memory, see :func:`accelerate`. Safe to be called from several threads at once.

    Attributes:
        config, preprocessing, class_names, origin: Of the network.
        precision: Of the products.
        instruction_set: What of the processor is used.
    """

    def __init__(self, model: FocalNet, library: Library, engine: Engine) -> None:
        super().__init__()
        _check_as_built(model)
        self.config, self.preprocessing = model.config, model.preprocessing
        self.class_names, self.origin = model.class_names, model.origin
        self.precision, self.instruction_set = engine.precision, engine.instruction_set
        stages: list[Any] = list(model.stages)
        embeddings: list[nn.Module] = [model.stem, *(stage.downsample for stage in stages[1:])]
        # What is not packed stays a module of PyTorch, with weights of its own.
        self.embeddings, self.stages = nn.ModuleList(), nn.ModuleList()
        for embedding, stage in zip(embeddings, stages, strict=True):
            packed = embedding if isinstance(embedding, PatchEmbedding) and _has_no_overlap(embedding) else None
            self.embeddings.append(nn.Identity() if packed is not None else _frozen_copy(embedding))
            self.stages.append(PackedStage(library, engine, packed, stage.blocks))
        self.norm = None if model.norm is None else _frozen_copy(model.norm)
        self.head = None if model.head is None else _frozen_copy(model.head)
        self.pyramid_norms = None if model.pyramid_norms is None else _frozen_copy(model.pyramid_norms)
        super().train(False)

    def train(self, mode: bool = True) -> AcceleratedNetwork:
        """Stay in inference mode.

        Raises:
            ConfigError: If asked to train.
        """
        if mode:
            raise ConfigError("An accelerated network is for inference only; train the network that it was made from.")
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """Classify images (B, C, H, W), float32: logits (B, K); see :meth:`focalnets.FocalNet.forward`."""
        if self.norm is None or self.head is None:
            raise ConfigError("A network built with pyramid_norms=True has no classifier; use forward_pyramid.")
        tokens, mask = self._maps(images, mask)[-1]
        tokens = self.norm(tokens)
        if mask is None:
            return self.head(tokens.mean((1, 2)))
        valid = mask.unsqueeze(-1)
        return self.head(torch.where(valid, tokens, 0).sum((1, 2)) / valid.sum((1, 2)).clamp(min=1))

    @torch.no_grad()
    def forward_features(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the normalised map before pooling (B, C, h, w)."""
        if self.norm is None:
            raise ConfigError("This network was built with pyramid_norms=True; use forward_pyramid.")
        return self.norm(self._maps(images, mask)[-1][0]).permute(0, 3, 1, 2)

    @torch.no_grad()
    def forward_pyramid(self, images: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """Compute one map a stage, finest first; see :meth:`focalnets.FocalNet.forward_pyramid`."""
        maps = [tokens for tokens, _ in self._maps(images, mask)]
        if self.pyramid_norms is not None:
            maps = [norm(tokens) for norm, tokens in zip(self.pyramid_norms, maps, strict=True)]
        return [tokens.permute(0, 3, 1, 2) for tokens in maps]

    def _maps(self, images: Tensor, mask: Tensor | None) -> list[tuple[Tensor, Tensor | None]]:
        self._check_images(images, mask)
        features = images.float()
        maps: list[tuple[Tensor, Tensor | None]] = []
        for number, (embedding, stage) in enumerate(zip(self.embeddings, self.stages, strict=True)):
            token_mask = mask
            if mask is not None:
                token_mask = downsample_mask(mask, self.config.patch_size if number == 0 else 2)
            if not isinstance(embedding, nn.Identity):
                features = embedding(channels_last(features) if number == 0 else features, mask)
            tokens = stage(features, mask, token_mask)
            maps.append((tokens, token_mask))
            features, mask = tokens.permute(0, 3, 1, 2), token_mask
        return maps

    def _check_images(self, images: Tensor, mask: Tensor | None) -> None:
        if images.ndim != 4 or images.shape[1] != self.config.in_chans or 0 in images.shape:
            raise ShapeError(
                f"images must be (B, {self.config.in_chans}, H, W) with B, H and W from 1 up, got "
                f"{tuple(images.shape)}."
            )
        if images.device.type != "cpu" or is_transformed() or not images.is_floating_point():
            raise ShapeError(
                f"An accelerated network takes floating-point images on the CPU, outside of transforms; got "
                f"{images.dtype} on {images.device}."
            )
        if mask is not None and (mask.dtype != torch.bool or mask.shape != (images.shape[0], *images.shape[2:])):
            raise ShapeError(
                f"mask must be boolean of shape {(images.shape[0], *images.shape[2:])}, "
                f"got {mask.dtype} {tuple(mask.shape)}."
            )

    def extra_repr(self) -> str:
        return f"precision={self.precision}, instruction_set={self.instruction_set}"


def _has_no_overlap(embedding: PatchEmbedding) -> bool:
    convolution = embedding.projection
    return convolution.kernel_size == convolution.stride and convolution.padding == (0, 0)


def _frozen_copy(module: _Module) -> _Module:
    return copy.deepcopy(module).requires_grad_(False).eval().float()


def _check_as_built(model: FocalNet) -> None:
    """Refuse networks whose parts do more than their classes say; their weights alone would not tell it."""
    if type(model) is not FocalNet:
        raise ConfigError(f"Only a FocalNet can be accelerated, got {type(model).__name__}.")
    for name, module in model.named_modules():
        if name and has_hooks(module):
            raise ConfigError(f"{name} has hooks, which an accelerated network would not call; remove them first.")
    for name, module in model.named_modules():
        if isinstance(module, FocalBlock):
            _check_block(name, module)


def _check_block(name: str, block: FocalBlock) -> None:
    focal, mlp = block.modulation, block.mlp
    layers = (
        [focal.input_projection, focal.modulator_projection, focal.output_projection, mlp.fc1, mlp.fc2]
        if is_as_built(focal, FocalModulation) and is_as_built(mlp, Mlp)
        else [None]
    )
    norms = [block.norm1, block.norm2, *([] if focal.norm is None else [focal.norm])] if layers[0] is not None else []
    if not all(layer is not None and is_plain_linear(layer) for layer in layers) or not all(
        is_as_built(norm, nn.LayerNorm) for norm in norms
    ):
        raise ConfigError(f"{name} is not as it was built (another mixer or an adapter); it cannot be accelerated.")
    if focal.focal_levels > MAX_LEVELS or any(size > 63 for kernel in focal.kernels for size in kernel.shape[1:]):
        raise ConfigError(f"{name} has more levels or larger kernels than the C++ kernels take.")
