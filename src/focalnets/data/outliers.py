"""Pictures of none of the classes, which teach a classifier to be unsure (outlier exposure).

Generated ones depend on a seed and their number alone. They cost a few milliseconds each.

Axes: S side of a picture [px].
Source: Hendrycks, Mazeika and Dietterich, Deep Anomaly Detection with Outlier Exposure, ICLR 2019.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from focalnets.data.images import read_image
from focalnets.data.outlier_patterns import PATTERNS
from focalnets.data.scenes.generator import SceneGenerator

__all__ = ["NO_CLASS", "GeneratedOutliers", "MixedOutliers", "OutlierPictures", "Outliers", "WithOutliers"]

NO_CLASS = -1
"""The label of a picture of none of the classes."""

_SCENE_SEED = 7_654_321
"""Another world than those of the demonstration and of the tests."""

_SMALLEST_PX = 32

_GRIDS = (2, 3, 4, 5, 6, 8)


class Outliers(Protocol):
    """Pictures of none of the classes by number, from 0 up without end."""

    def __getitem__(self, number: int, /) -> Image.Image: ...


class GeneratedOutliers:
    """Noise, plain colours, gradients, stripes, fractals, shapes, strokes, scenes, and shuffled parts of photos.

    Args:
        side_px: Side of the pictures; some are drawn smaller and some larger, none below 32 px.
        seed: Chooses other pictures.
        photos: Photos whose tiles are shuffled, e.g. those that the classes are learnt from; None leaves that out.
    """

    def __init__(self, *, side_px: int, seed: int = 0, photos: Sequence[Any] | None = None) -> None:
        self.side_px, self.seed = side_px, seed
        self.photos = photos if photos is not None and len(photos) else None
        self.kinds: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {**PATTERNS, "scene": self._scene}
        if self.photos is not None:
            self.kinds |= {"shuffled": self._shuffled, "collage": self._collage, "out of focus": self._blurred}

    def __getitem__(self, number: int) -> Image.Image:
        """Draw picture ``number``; every kind comes once in a row of as many."""
        name = list(self.kinds)[number % len(self.kinds)]
        rng = np.random.default_rng([self.seed, number, 2])
        side = max(_SMALLEST_PX, int(self.side_px * rng.choice([0.75, 1.0, 1.0, 1.25])))
        return Image.fromarray(np.ascontiguousarray(self.kinds[name](rng, side)))

    def _scene(self, rng: np.random.Generator, side: int) -> np.ndarray:
        low = rng.uniform(0.05, 0.3)
        generator = SceneGenerator(
            image_size_px=side,
            seed=_SCENE_SEED + self.seed,
            target_size=(low, rng.uniform(low, 0.45)),
            clutter=float(rng.choice([0.0, 0.5, 1.0, 1.0, 2.0])),
        )
        return generator.scene(int(rng.integers(2**31))).image

    def _photo(self, rng: np.random.Generator, side: int) -> Image.Image:
        assert self.photos is not None
        image = self.photos[int(rng.integers(len(self.photos)))][0]
        return image.resize((side, side), Image.Resampling.BILINEAR)

    def _shuffled(self, rng: np.random.Generator, side: int) -> np.ndarray:
        """Shuffle the tiles of a photo and turn some of them."""
        grid = int(rng.choice(_GRIDS[1:]))
        tile = side // grid
        pixels = np.asarray(self._photo(rng, tile * grid))
        tiles = pixels.reshape(grid, tile, grid, tile, 3).swapaxes(1, 2).reshape(grid * grid, tile, tile, 3)
        return _lay_out(rng, list(tiles[rng.permutation(len(tiles))]), grid)

    def _collage(self, rng: np.random.Generator, side: int) -> np.ndarray:
        """Lay out tiles of several photos."""
        grid = int(rng.choice(_GRIDS))
        tile = side // grid
        photos = [np.asarray(self._photo(rng, tile * 3)) for _ in range(4)]
        tiles = []
        for place in range(grid * grid):
            top, left = rng.integers(0, 2 * tile + 1, 2)
            tiles.append(photos[place % 4][top : top + tile, left : left + tile])
        return _lay_out(rng, tiles, grid)

    def _blurred(self, rng: np.random.Generator, side: int) -> np.ndarray:
        """Keep of a photo a few patches of colour: what is left of it at 3 to 7 pixels."""
        few = int(rng.integers(3, 8))
        resampling = Image.Resampling.BICUBIC if rng.random() < 0.7 else Image.Resampling.NEAREST
        return np.asarray(self._photo(rng, few).resize((side, side), resampling))


def _lay_out(rng: np.random.Generator, tiles: Sequence[np.ndarray], grid: int) -> np.ndarray:
    turned = [np.rot90(tile, int(rng.integers(4))) if rng.random() < 0.5 else tile for tile in tiles]
    return np.concatenate([np.concatenate(turned[row * grid : (row + 1) * grid], 1) for row in range(grid)])


class OutlierPictures:
    """The pictures of a folder and the folders in it, in a shuffled order.

    Args:
        files: The pictures.
        smallest_side_px: Lets JPEGs be decoded at a fraction of their size, see
            :func:`focalnets.data.images.read_image`.
    """

    def __init__(self, files: Sequence[Path], *, smallest_side_px: int | None = None) -> None:
        self.files, self.smallest_side_px = tuple(files), smallest_side_px

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> Image.Image:
        """Read picture ``number``, counted again from the beginning after the last; each turn has its own order."""
        turn, place = divmod(number, len(self.files))
        return read_image(self.files[_order(len(self.files), turn)[place]], smallest_side_px=self.smallest_side_px)


@functools.lru_cache(maxsize=8)
def _order(count: int, turn: int) -> np.ndarray:
    return np.random.default_rng([count, turn, 3]).permutation(count)


class MixedOutliers:
    """Pictures of several sources in turn.

    Args:
        sources: At least one.
    """

    def __init__(self, sources: Sequence[Outliers]) -> None:
        assert sources, "no source of outliers"
        self.sources = tuple(sources)

    def __getitem__(self, number: int) -> Image.Image:
        """Take picture ``number``."""
        turn, source = divmod(number, len(self.sources))
        return self.sources[source][turn]


class WithOutliers(Dataset):
    """Labelled pictures, and outliers beside them.

    Its length is that of the labelled pictures; numbers from there on are those of the outliers, without end.

    Args:
        data: Pictures with the index of their class.
        outliers: Pictures of none of the classes.
        fraction: How many outliers go with a labelled picture.
    """

    def __init__(self, data: Any, outliers: Outliers, fraction: float) -> None:
        self.data, self.outliers, self.fraction = data, outliers, fraction

    @property
    def class_of(self) -> list[int] | None:
        """Index of the class of each labelled picture, where it is known."""
        return getattr(self.data, "class_of", None)

    @property
    def shard_of(self) -> list[int] | None:
        """Number of the shard of each labelled picture, where these lie on a server."""
        return getattr(self.data, "shard_of", None)

    def __len__(self) -> int:
        return len(self.data)

    def beside(self, batch_size: int) -> int:
        """How many outliers go with a batch of labelled pictures."""
        return max(1, round(self.fraction * batch_size))

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """One picture with its label, or an outlier with :data:`NO_CLASS`."""
        if index < len(self.data):
            return self.data[index]
        return self.outliers[index - len(self.data)], NO_CLASS
