"""What one step of a network sees, and changing all tensors of nested values.

Axes: B batch, H W height and width [px].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = ["Batch", "apply", "select", "tensors_of"]

Tree = TypeVar("Tree")


@dataclasses.dataclass(eq=False)
class Batch:
    """What one step sees.

    Attributes:
        inputs: Of the network, e.g. images (B, 3, H, W) float32.
        targets: What its answers are held against: a tensor (B, ...), or a list of length B.
        mask: Booleans (B, H, W), True for pixels that belong to an image, where images were padded; else None.
        counted: Booleans (B,), False for what only fills up the batch; None counts everything.
    """

    inputs: Tensor
    targets: Any
    mask: Tensor | None = None
    counted: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Copy the batch to another device."""
        return self._apply(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Copy the batch into memory that copies to a GPU fast."""
        return self._apply(lambda tensor: tensor.pin_memory())

    def _apply(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(*(apply(getattr(self, field.name), change) for field in dataclasses.fields(self)))


def apply(tree: Tree, change: Callable[[Tensor], Tensor]) -> Tree:
    """Change every tensor in nested lists, tuples and dictionaries; everything else stays."""
    if isinstance(tree, Tensor):
        return change(tree)  # type: ignore[return-value]
    if isinstance(tree, Mapping):
        return type(tree)({key: apply(value, change) for key, value in tree.items()})  # type: ignore[call-arg]
    if isinstance(tree, list | tuple):
        return type(tree)(apply(value, change) for value in tree)  # type: ignore[call-arg]
    return tree


def tensors_of(tree: Any) -> Iterator[Tensor]:
    """Yield every tensor in nested lists, tuples and dictionaries."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping | list | tuple):
        for value in tree.values() if isinstance(tree, Mapping) else tree:
            yield from tensors_of(value)


def select(tree: Any, counted: Tensor) -> Any:
    """Keep the entries of a batch that count.

    Args:
        tree: A tensor (B, ...), a list of length B, or a dictionary or tuple of such; None stays.
        counted: Booleans (B,).
    """
    if isinstance(tree, Tensor):
        return tree[counted.to(tree.device)]
    if isinstance(tree, Mapping):
        return {key: select(value, counted) for key, value in tree.items()}
    if isinstance(tree, tuple):
        return tuple(select(value, counted) for value in tree)
    if isinstance(tree, list):
        return [value for value, counts in zip(tree, counted.tolist(), strict=True) if counts]
    return tree
