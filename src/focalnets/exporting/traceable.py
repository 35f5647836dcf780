"""Heads of transformers, traced for maps of any size: what turns a size into a number of Python is put otherwise.

Only while a graph is made, and only on the network that it is made of; values are those of transformers.

Axes: B batch, h w [tokens], D channels, L levels, N tokens of all levels.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from focalnets.ops.eager import is_exporting

__all__ = ["traceable"]

_NO_CHECKS = {"TRANSFORMERS_DISABLE_TORCH_CHECK": "1"}
"""Checks of values would become part of the graph, and few runtimes know them."""


@contextlib.contextmanager
def traceable(network: nn.Module) -> Iterator[None]:
    """Let the heads of transformers in a network be traced within the block; without a tracer nothing is changed."""
    if not is_exporting():
        yield
        return
    changed = [
        (module, name, functools.partial(function, module))
        for module in network.modules()
        for name, function in _REPLACED.get(type(module).__name__, {}).items()
    ]
    try:
        for module, name, function in changed:
            setattr(module, name, function)
        with mock.patch.dict(os.environ, _NO_CHECKS), _UnknownSizes():
            yield
    finally:
        for module, name, _ in changed:
            delattr(module, name)


class _UnknownSizes(TorchFunctionMode):
    """Keep sizes that are not known yet where PyTorch would fix them.

    ``torch.as_tensor`` does what ``torch.tensor`` does. ``len`` can give nothing but a number: RT-DETR and D-FINE ask
    for that of a batch and leave it unused, and a use would show when the file is compared at other numbers of images.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is Tensor.__len__ and isinstance(count := args[0].shape[0], torch.SymInt):
            return count.node.hint
        if function is torch.as_tensor and not isinstance(args[0], Tensor):
            function = torch.tensor
        return function(*args, **(kwargs or {}))


def _sine_positions(module: Any, width: int, height: int, device: Any, dtype: torch.dtype) -> Tensor:
    """Make the positions of RT-DETR's and D-FINE's encoder, (1, h w, D)."""
    quarter = module.embed_dim // 4
    waves = torch.tensor([module.temperature ** -(step / quarter) for step in range(quarter)], device=device)
    row, column = (torch.arange(side, dtype=waves.dtype, device=device)[:, None] * waves for side in (height, width))
    by_row = torch.cat([row.sin(), row.cos()], 1)[:, None].expand(height, width, 2 * quarter)
    by_column = torch.cat([column.sin(), column.cos()], 1)[None].expand(height, width, 2 * quarter)
    return torch.cat([by_row, by_column], 2).flatten(0, 1)[None].to(dtype)


def _reference_points(_module: Any, sizes: Sequence[tuple[int, int]], valid_ratios: Tensor, device: Any) -> Tensor:
    """Make the middles of all tokens in fractions of their map, (B, N, L, 2): x and y for each level."""
    points = []
    for height, width in sizes:
        y, x = (_middles(side, valid_ratios) for side in (height, width))
        grid = torch.stack([x[None, :].expand(height, width), y[:, None].expand(height, width)], 2)
        points.append(grid.flatten(0, 1))
    return torch.cat(points)[None, :, None] * valid_ratios[:, None]


def _middles(side: int, like: Tensor) -> Tensor:
    ends = torch.arange(1, side + 1, dtype=like.dtype, device=like.device)
    return (ends - 0.5) / ends[-1:]


_REPLACED: dict[str, dict[str, Callable[..., Tensor]]] = {
    "RTDetrV2SinePositionEmbedding": {"forward": _sine_positions},
    "DFineSinePositionEmbedding": {"forward": _sine_positions},
    "Mask2FormerPixelDecoderEncoderOnly": {"get_reference_points": _reference_points},
}
"""By class of transformers: the methods that need known sizes."""
