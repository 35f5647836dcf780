"""Which networks can be taken apart: FocalNets as they were built, in evaluation mode, with nobody looking on."""

from __future__ import annotations

import torch
from torch import nn

from focalnets.errors import ConfigError
from focalnets.large.embedding import convolutions
from focalnets.large.streaming import blocks_of
from focalnets.models.embedding import ConvolutionalEmbedding, PatchEmbedding
from focalnets.models.focalnet import FocalNet, FocalStage
from focalnets.models.layers import FocalBlock, FocalModulation, Mlp
from focalnets.models.plain import is_as_built
from focalnets.ops.eager import has_hooks

__all__ = ["require_streamable"]

_INSTEAD = "look at the image whole, or by tiles that stand alone"


def require_streamable(network: nn.Module) -> FocalNet:
    """Return a network whose blocks can be computed by bands of rows.

    Linear layers may be anything that takes its tokens one by one, such as quantised ones or ones with adapters.

    Raises:
        ConfigError: If it is no FocalNet, a part of it was replaced or somebody waits for whole maps; it says which.
    """
    if type(network) is not FocalNet:
        raise ConfigError(
            f"an image can be streamed through a FocalNet, not through {type(network).__name__}; {_INSTEAD}."
        )
    if network.training:
        raise ConfigError("an image is streamed through a network in evaluation mode; call its eval() first.")
    hooked = next((name for name, module in network.named_modules() if has_hooks(module)), None)
    if hooked is not None:
        raise ConfigError(
            f"a hook waits for whole maps at '{hooked or 'the network'}', and a streamed image has none; remove the "
            f"hook, or {_INSTEAD}."
        )
    for name, module, kinds in _parts(network):
        if not any(is_as_built(module, kind) for kind in kinds):
            raise ConfigError(
                f"'{name}' is a {type(module).__name__} that does not work as {kinds[0].__name__} was built; "
                f"{_INSTEAD}."
            )
    if len({weight.device for weight in network.parameters()}) != 1:
        raise ConfigError(f"the network lies on several devices; move it to one, or {_INSTEAD}.")
    if any(weight.dtype != torch.float32 for weight in network.parameters() if weight.is_floating_point()):
        raise ConfigError(f"an image is streamed in float32; turn the network back with float(), or {_INSTEAD}.")
    return network


def _parts(network: FocalNet) -> list[tuple[str, nn.Module, tuple[type[nn.Module], ...]]]:
    """Name the parts that are not called but taken apart, with what they must be."""
    embeddings = (PatchEmbedding, ConvolutionalEmbedding)
    parts: list[tuple[str, nn.Module, tuple[type[nn.Module], ...]]] = [("stem", network.stem, embeddings)]
    for index, stage in enumerate(network.stages):
        parts.append((f"stages.{index}", stage, (FocalStage,)))
        if stage.downsample is not None:
            parts.append((f"stages.{index}.downsample", stage.downsample, embeddings))  # type: ignore[arg-type]
        for number, block in enumerate(blocks_of(stage)):
            name = f"stages.{index}.blocks.{number}"
            parts += [(name, block, (FocalBlock,)), (f"{name}.modulation", block.modulation, (FocalModulation,))]
            parts.append((f"{name}.mlp", block.mlp, (Mlp,)))
    for name, embedding, _ in [part for part in parts if part[2] is embeddings]:
        if type(embedding) in embeddings:
            parts += [(f"{name}'s convolution", convolution, (nn.Conv2d,)) for convolution in convolutions(embedding)]
    return parts
