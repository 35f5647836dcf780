"""Maps that are rewritten row by row while their old rows are still read, in memory or in a file.

Axes: h w height and width of a map [tokens], C channels.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from focalnets.errors import DataError

__all__ = ["STORED_DTYPES", "RowStore"]

STORED_DTYPES = {"float32": (torch.float32, np.float32), "float16": (torch.float16, np.float16)}
"""How maps may be kept, by name, for torch and NumPy."""


class RowStore:
    """One map in several versions, of which each is written from top to bottom while the one before it is read.

    The rows lie on a ring with ``slack`` rows more than the map, and each version begins ``slack`` rows before the one
    that it replaces: rows that are written never cover old rows that lie less than ``slack`` rows above them. So no
    second copy is needed, and rows that were only half written when the process ended can be computed again. Rows of
    the last version lie in order from the beginning.

    Args:
        height: Rows h.
        width: Tokens w of a row.
        channels: Numbers C of a token.
        slack: Most rows that are written at once.
        last_version: Number of the last version, counted from 0.
        dtype: ``float32`` or ``float16``; what is read is float32.
        path: The file, made if it is not there; None keeps the map in memory.

    Raises:
        DataError: If there is no room for the file.
    """

    def __init__(
        self,
        height: int,
        width: int,
        channels: int,
        *,
        slack: int,
        last_version: int,
        dtype: str = "float32",
        path: Path | None = None,
    ) -> None:
        self.height, self.width, self.channels = height, width, channels
        self.slack, self.last_version = slack, last_version
        self.rows = height + (slack if last_version > 0 else 0)
        self.dtype, self.array_dtype = STORED_DTYPES[dtype]
        self.path = path
        self._memory: Tensor | None = None
        self._file: int | None = None
        if path is None:
            self._memory = torch.empty(self.rows, width, channels, dtype=self.dtype)
        else:
            self._file = _open(path, self.nbytes)

    @property
    def nbytes(self) -> int:
        """Size of all rows [bytes]."""
        return self.rows * self.row_bytes

    @property
    def row_bytes(self) -> int:
        """Size of a row [bytes]."""
        return self.width * self.channels * self.dtype.itemsize

    def read(self, version: int, first: int, last: int) -> Tensor:
        """Read rows of a version: (rows, w, C) float32. They may be a view, not to be changed."""
        parts = [self._read(start, stop) for start, stop in self._places(version, first, last)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def write(self, version: int, first: int, rows: Tensor) -> None:
        """Write rows (rows, w, C) of a version from ``first`` on; at most ``slack`` at once."""
        done = 0
        for start, stop in self._places(version, first, first + len(rows)):
            self._write(start, rows[done : done + stop - start])
            done += stop - start

    def array(self) -> np.ndarray:
        """The last version (h, w, C), as it is kept: a view of the memory, or the file mapped for reading."""
        if self._memory is not None:
            return self._memory[: self.height].numpy()
        assert self.path is not None
        return np.memmap(self.path, dtype=self.array_dtype, mode="r", shape=(self.height, self.width, self.channels))

    def close(self, *, delete: bool = False) -> None:
        """Give the memory back, or close the file and perhaps delete it."""
        self._memory = None
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if delete and self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)

    def __del__(self) -> None:
        self.close()

    def _places(self, version: int, first: int, last: int) -> list[tuple[int, int]]:
        """Where rows lie on the ring: one stretch, or two where its end lies between them."""
        start = (first + (self.last_version - version) * self.slack) % self.rows
        stop = start + last - first
        return [(start, stop)] if stop <= self.rows else [(start, self.rows), (0, stop - self.rows)]

    def _read(self, start: int, stop: int) -> Tensor:
        if self._memory is not None:
            return self._memory[start:stop].float()
        assert self._file is not None
        rows = torch.empty(stop - start, self.width, self.channels, dtype=self.dtype)
        _transfer(self._file, start * self.row_bytes, rows, write=False)
        return rows.float()

    def _write(self, start: int, rows: Tensor) -> None:
        if self._memory is not None:
            self._memory[start : start + len(rows)] = rows
            return
        assert self._file is not None
        _transfer(self._file, start * self.row_bytes, rows.to(self.dtype).contiguous().cpu(), write=True)


def _open(path: Path, nbytes: int) -> int:
    """Open a file of that size for reading and writing, with room on the disk set aside for all of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
    try:
        if os.fstat(file).st_size != nbytes:
            os.ftruncate(file, nbytes)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, nbytes)
    except OSError as error:
        os.close(file)
        path.unlink(missing_ok=True)
        raise DataError(
            f"there is no room for a map of {nbytes / 1e9:.1f} GB in '{path.parent}' ({error.strerror}); make room, or "
            "name another folder."
        ) from error
    return file


def _transfer(file: int, offset: int, rows: Tensor, *, write: bool) -> None:
    """Move the bytes of contiguous rows between memory and a file: no mapping, whose pages would count as memory."""
    numbers: Any = rows.numpy().reshape(-1).view(np.uint8)
    view = memoryview(numbers)
    os.lseek(file, offset, os.SEEK_SET)
    while view:
        moved = os.write(file, view) if write else os.readv(file, [view]) if hasattr(os, "readv") else _read(file, view)
        if moved == 0:
            raise DataError("a file of intermediate maps is shorter than it was written; start the image again.")
        view = view[moved:]


def _read(file: int, view: memoryview) -> int:
    data = os.read(file, min(len(view), 1 << 24))
    view[: len(data)] = data
    return len(data)
