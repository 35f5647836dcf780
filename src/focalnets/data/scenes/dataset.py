"""Generated scenes as a data set that draws them when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

from focalnets.data.scenes.generator import SceneGenerator

__all__ = ["SceneDataset"]


class SceneDataset(Dataset):
    """Scenes with their class.

    Args:
        generator: Draws the scenes.
        indices: Which scenes, e.g. ``range(2000)``.
        transform: Called with the picture as a PIL image in mode RGB; what it returns is the item. None returns the
            picture.
        cache: Keep pictures once drawn, S x S x 3 bytes each, in the process that drew them. Drawing takes several
            milliseconds a picture, so from the second pass on this is faster.
    """

    def __init__(
        self,
        generator: SceneGenerator,
        indices: Sequence[int],
        transform: Callable[[Any], Any] | None = None,
        *,
        cache: bool = False,
    ) -> None:
        self.generator = generator
        self.indices = indices
        self.transform = transform
        self.classes = generator.classes
        self._cache: dict[int, Image.Image] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[Any, int]:
        """One transformed picture and its label."""
        index = self.indices[position]
        image = None if self._cache is None else self._cache.get(index)
        if image is None:
            image = Image.fromarray(self.generator.scene(index).image)
            if self._cache is not None:
                self._cache[index] = image
        return (image if self.transform is None else self.transform(image)), self.generator.label(index)
