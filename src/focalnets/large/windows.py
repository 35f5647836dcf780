"""Windows of an image that overlap, and the part of the image that each answers for. No torch.

All corners lie on a grid, that of the coarsest map, so that windows of maps fit those of the image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

__all__ = ["Window", "cut_windows"]


@dataclasses.dataclass(frozen=True)
class Window:
    """A window [px], last row and column excluded.

    Attributes:
        number: Counted from 0, row by row.
        top, bottom, left, right: What is looked at.
        core: The part that this window answers for, as (top, bottom, left, right); the cores cover the image once.
    """

    number: int
    top: int
    bottom: int
    left: int
    right: int
    core: tuple[int, int, int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [px]."""
        return self.bottom - self.top, self.right - self.left


def cut_windows(height: int, width: int, size: int, overlap: int, grid: int) -> list[Window]:
    """Cut an image into windows of a size that overlap by at least so much [px].

    Args:
        height: Of the image [px].
        width: Of the image [px].
        size: Largest side of a window, a multiple of the grid.
        overlap: Smallest overlap of neighbours, a multiple of the grid.
        grid: What corners are multiples of.
    """
    rows, columns = list(_stretches(height, size, overlap, grid)), list(_stretches(width, size, overlap, grid))
    return [
        Window(number, top, bottom, left, right, (*rows_of_core, *columns_of_core))
        for number, ((top, bottom, rows_of_core), (left, right, columns_of_core)) in enumerate(
            (row, column) for row in rows for column in columns
        )
    ]


def _stretches(length: int, size: int, overlap: int, grid: int) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """First and last of each stretch, and of what it answers for: the overlap is shared half and half."""
    starts = [0]
    while starts[-1] + size < length:
        # The last one ends with the image and overlaps by more.
        last = -(-(length - size) // grid) * grid
        starts.append(min(starts[-1] + size - overlap, last))
    ends = [min(length, start + size) for start in starts]
    borders = [0, *((end + start) // 2 for end, start in zip(ends, starts[1:], strict=False)), length]
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        yield start, end, (borders[index], borders[index + 1])
