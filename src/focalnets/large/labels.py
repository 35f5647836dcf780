"""The class of each pixel of a large image: by bands from the pyramid of the whole, or window by window.

Axes: H W height and width of the image [px], h w of a map [tokens], C channels, D hidden channels, K classes, n rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from focalnets.files import replacing
from focalnets.large.journal import Journal
from focalnets.large.pyramid import Pyramid
from focalnets.large.windows import Window
from focalnets.models.heads.semantic import MlpHead
from focalnets.models.layers import project

__all__ = ["ClassMap", "ReadTokens", "label_by_rows", "label_by_windows", "logit_rows", "resized_rows"]

_BAND_BYTES = 48 * 2**20
_ROWS_TOGETHER = 64

ReadTokens = Callable[[int, int], Tensor]
"""Takes the first row and the last, which is excluded, and returns these rows of a map: (n, w, C)."""


class ClassMap:
    """The number of the class of each pixel, in a NumPy file that is written piece by piece.

    Attributes:
        labels: (H, W) uint8, or uint16 from 257 classes on.
        sureness: Probability of that class, in 255ths (H, W) uint8; None where nobody asked for it.

    Args:
        path: The file, made if it is not there; None keeps the numbers in memory.
        height: H [px].
        width: W [px].
        classes: K.
        sureness: Whether the probabilities of the classes are kept too.
    """

    def __init__(self, path: Path | None, height: int, width: int, classes: int, *, sureness: bool = False) -> None:
        self.height, self.width, self.classes = height, width, classes
        self.labels = _numbers(path, (height, width), np.uint8 if classes <= 256 else np.uint16)
        self.sureness: np.ndarray | None = None
        if sureness:
            beside = None if path is None else path.with_name(f"{path.stem}_sureness.npy")
            self.sureness = _numbers(beside, (height, width), np.uint8)

    def put(self, rows: slice, columns: slice, logits: Tensor) -> None:
        """Name the likeliest class of the pixels of a part, from its logits (n, m, K)."""
        likeliest = logits.max(-1)
        self.labels[rows, columns] = likeliest.indices.cpu().numpy()
        if self.sureness is not None:
            probability = (likeliest.values - logits.logsumexp(-1)).exp()
            self.sureness[rows, columns] = (255 * probability + 0.5).to(torch.uint8).cpu().numpy()

    @property
    def pixels(self) -> list[int]:
        """Count the pixels of each class."""
        counts = np.zeros(self.classes, np.int64)
        for first in range(0, self.height, 1024):
            counts += np.bincount(np.ravel(self.labels[first : first + 1024]), minlength=self.classes)
        return counts.tolist()


def _numbers(path: Path | None, shape: tuple[int, int], dtype: Any) -> np.ndarray:
    """Zeros in memory, or what a file holds that is made if it is not there."""
    if path is None:
        return np.zeros(shape, dtype)
    if not path.is_file():
        with replacing(path) as temporary:
            np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape).flush()
    return np.lib.format.open_memmap(path, mode="r+")


def resized_rows(read: ReadTokens, size: tuple[int, int], wanted: tuple[int, int], first: int, last: int) -> Tensor:
    """Enlarge a map bilinearly, for some rows of the result, as :func:`torch.nn.functional.interpolate` does.

    Args:
        read: Reads rows of the map.
        size: Its height and width.
        wanted: Those of the result.
        first: First row of the result.
        last: Its last row, excluded.

    Returns:
        (n, W, C), those of ``align_corners=False``.
    """
    scale = np.float32(size[0]) / np.float32(wanted[0])
    places = ((torch.arange(first, last, dtype=torch.float32) + 0.5) * float(scale) - 0.5).clamp(min=0)
    upper = places.long().clamp(max=size[0] - 1)
    lower = (upper + 1).clamp(max=size[0] - 1)
    fraction = (places - upper)[:, None, None]
    start = int(upper[0])
    rows = read(start, int(lower[-1]) + 1)
    fraction = fraction.to(rows.device)
    mixed = torch.lerp(rows[upper - start], rows[lower - start], fraction)
    if size[1] == wanted[1]:
        return mixed
    columns = mixed.permute(2, 0, 1)[None]
    enlarged = F.interpolate(columns, size=(last - first, wanted[1]), mode="bilinear", align_corners=False)
    return enlarged[0].permute(1, 2, 0)


def logit_rows(head: MlpHead, pyramid: Pyramid, stages: Sequence[int], first: int, last: int) -> Tensor:
    """Compute rows of what the light head says of the finest map: (n, w, K)."""
    device = head.mix.weight.device

    def total(number: int, top: int, bottom: int) -> Tensor:
        stage = stages[number]
        rows = project(head.projections[number], pyramid.rows(stage, top, bottom).to(device))
        if number == len(stages) - 1:
            return rows
        coarser = pyramid.size(stages[number + 1])
        size = pyramid.size(stage)
        return rows + resized_rows(lambda a, b: total(number + 1, a, b), coarser, size, top, bottom)

    tokens = F.gelu(head.norm(total(0, first, last)))
    return project(head.classifier, F.gelu(project(head.mix, tokens)))


@torch.inference_mode()
def label_by_rows(
    head: MlpHead,
    pyramid: Pyramid,
    stages: Sequence[int],
    classes: ClassMap,
    *,
    journal: Journal | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> None:
    """Write the class of each pixel by bands: the logits of the whole image are never there at once.

    Args:
        head: In evaluation mode.
        pyramid: Of the whole image.
        stages: Which of its maps the head reads, finest first.
        classes: Where the numbers go.
        journal: Where it is recorded how far the work is.
        on_progress: Called with the fraction that is done.
    """
    height, width = classes.height, classes.width
    finest = pyramid.size(stages[0])
    band = max(1, min(_ROWS_TOGETHER, _BAND_BYTES // (width * classes.classes * 4)))
    begun = 0 if journal is None else int(journal.get("labelled") or 0)
    for first in range(begun, height, band):
        last = min(height, first + band)
        # Rows of logits that neighbouring bands share are computed twice: one or two of the finest map.
        logits = resized_rows(
            lambda top, bottom: logit_rows(head, pyramid, stages, top, bottom), finest, (height, width), first, last
        )
        classes.put(slice(first, last), slice(None), logits)
        if journal is not None:
            journal.put("labelled", last)
        if on_progress is not None:
            on_progress(last / height)


@torch.inference_mode()
def label_by_windows(
    answer: Callable[[list[Tensor]], Tensor],
    look: Callable[[Window], list[Tensor]],
    windows: Sequence[Window],
    classes: ClassMap,
    *,
    journal: Journal | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> None:
    """Write the class of each pixel window by window; each pixel is that of the window whose core it lies in.

    Args:
        answer: Takes the maps of a window and returns logits (1, K, h, w).
        look: Takes a window and returns its maps.
        windows: Whose cores cover the image.
        classes: Where the numbers go.
        journal: Where it is recorded which windows are done.
        on_progress: Called with the fraction that is done.
    """
    done = set() if journal is None else set(journal.done("windows"))
    for count, window in enumerate(windows, 1):
        if window.number not in done:
            logits = answer(look(window))
            top, bottom, left, right = window.core
            rows = slice(top - window.top, bottom - window.top)
            columns = slice(left - window.left, right - window.left)
            enlarged = F.interpolate(logits.float(), size=window.size, mode="bilinear", align_corners=False)[0]
            classes.put(slice(top, bottom), slice(left, right), enlarged[:, rows, columns].permute(1, 2, 0))
            if journal is not None:
                journal.add("windows", window.number)
        if on_progress is not None:
            on_progress(count / len(windows))
