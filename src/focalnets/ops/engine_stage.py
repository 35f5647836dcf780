"""A stage of a network by the C++ engine, as one custom operator that compilers put into their graphs.

Axes: B batch, H W height and width of the features, h w [tokens], C channels of the features, D of the tokens.
"""

from __future__ import annotations

from array import array

import torch
from torch import Tensor

from focalnets.errors import BackendUnavailableError
from focalnets.ops import cpu_library
from focalnets.ops.cpu_library import Engine, Library

__all__ = ["engine_named", "engine_stage"]


def engine_named(name: str) -> tuple[Library, Engine]:
    """Find an engine by the name that stands in a graph.

    Raises:
        BackendUnavailableError: If this machine does not have it.
    """
    library = cpu_library.load()
    if isinstance(library, str):
        raise BackendUnavailableError(library)
    engine = next((engine for engine in library.engines if engine.name == name and engine.missing is None), None)
    if engine is None:
        raise BackendUnavailableError(
            f"These weights are packed for the engine {name}, which cannot run here; accelerate the network again."
        )
    return library, engine


def engine_stage(
    features: Tensor,
    mask: Tensor | None,
    token_mask: Tensor | None,
    packed: Tensor,
    layout: Tensor,
    stride: int,
    channels: int,
    engine: str,
) -> Tensor:
    """Embed features and refine the tokens by the blocks of a stage.

    Args:
        features: (B, C, H, W), float32, of any strides; with stride 0 tokens (B, h, w, D), which are not changed.
        mask: (B, H, W) bool, True where a position is valid; None if all are.
        token_mask: The same of the tokens, (B, h, w).
        packed: Weights, uint8, as ``focalnets.engine.packing`` packs them.
        layout: What lies where in them, int64.
        stride: Of the patches, which do not overlap; 0 if there is no embedding.
        channels: D.
        engine: Name of the engine that they are packed for.

    Returns:
        Tokens (B, h, w, D), float32, contiguous; with a stride h = ceil(H / stride) and w = ceil(W / stride).

    Raises:
        BackendUnavailableError: If this machine does not have the engine.
        MemoryError: If there is no room for the maps of the stage.
    """
    return _operator(features, mask, token_mask, packed, layout, stride, channels, engine)


def _run(
    features: Tensor,
    mask: Tensor | None,
    token_mask: Tensor | None,
    packed: Tensor,
    layout: Tensor,
    stride: int,
    channels: int,
    engine: str,
) -> Tensor:
    library, found = engine_named(engine)
    if stride > 0:
        sizes = features.shape
        tokens = torch.empty(sizes[0], -(-sizes[2] // stride), -(-sizes[3] // stride), channels)
        image_stride, channel_stride, row_stride, column_stride = features.stride()
        described = [sizes[0], sizes[2], sizes[3], sizes[1], image_stride, row_stride, column_stride, channel_stride]
        described.append(features.data_ptr())
    else:
        tokens = features.clone(memory_format=torch.contiguous_format)
        described = [*tokens.shape, 0, 0, 0, 0, 0]
    masks = [each if each is None else each.contiguous() for each in (mask, token_mask)]
    packed = packed if packed.data_ptr() % 64 == 0 else packed.clone()  # Vectors are loaded from whole cache lines.
    words = array(
        "q",
        [
            *described,
            *(0 if each is None else each.data_ptr() for each in masks),
            *(packed.data_ptr(), layout.data_ptr(), torch.get_num_threads(), tokens.data_ptr()),
        ],
    )
    status = library.engine_stage(found.index, library.instruction_set, words.buffer_info()[0])
    if status == 1:
        raise MemoryError("The engine could not allocate its maps; use smaller images or batches.")
    if status:
        raise RuntimeError(f"The engine cannot run on this processor (status {status}).")
    return tokens


def _fake(
    features: Tensor,
    mask: Tensor | None,
    token_mask: Tensor | None,
    packed: Tensor,
    layout: Tensor,
    stride: int,
    channels: int,
    engine: str,
) -> Tensor:
    if stride == 0:
        return features.new_empty(features.shape)
    batch, _, height, width = features.shape
    return features.new_empty((batch, -(-height // stride), -(-width // stride), channels))


_operators = torch.library.Library("focalnets", "FRAGMENT")
_operators.define(
    "engine_stage(Tensor features, Tensor? mask, Tensor? token_mask, Tensor packed, Tensor layout, int stride, "
    "int channels, str engine) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_operators.impl("engine_stage", _run, "CPU")
torch.library.register_fake("focalnets::engine_stage", _fake, lib=_operators)
_operator = torch.ops.focalnets.engine_stage.default
