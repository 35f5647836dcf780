"""Objects in an image of any size: window by window in its maps, then put together at the seams.

Axes: N objects, C channels, h w height and width of a map [tokens] or of a mask [px].
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from focalnets.errors import ConfigError
from focalnets.files import write_json
from focalnets.large.looking import OnProgress, look_at
from focalnets.large.merging import PartMask, WindowObject, merge_objects
from focalnets.large.plan import Plan
from focalnets.large.sources import Source
from focalnets.large.windows import Window
from focalnets.models.config import Preprocessing
from focalnets.models.focalnet import FocalNet

__all__ = ["FindInMaps", "find_objects"]

FindInMaps = Callable[[list[Tensor], Window], list[WindowObject]]
"""Takes the maps of a window (1, C, h, w) and the window, and returns its objects in pixels of the image."""


def find_objects(
    backbone: FocalNet,
    head: nn.Module,
    find: FindInMaps,
    source: Source,
    plan: Plan,
    preprocessing: Preprocessing,
    *,
    stages: Sequence[int],
    folder: Path | None = None,
    on_progress: OnProgress | None = None,
) -> list[WindowObject]:
    """Find objects in an image of any size.

    The head sees one window after the other; what its maps know of the rest of the image is chosen by the plan's
    context. Objects that several windows show come once, and whole if the overlap is larger than they are.

    Args:
        backbone: In evaluation mode.
        head: What ``find`` uses besides, for the record of the work.
        find: See :data:`FindInMaps`.
        source: The image.
        plan: Of :func:`focalnets.large.looking.plan_look`; its tiles are the windows.
        preprocessing: How the image is prepared.
        stages: Which maps the head reads.
        folder: Where files lie meanwhile.
        on_progress: See :data:`focalnets.large.looking.OnProgress`.

    Returns:
        The objects, the surest first.

    Raises:
        ConfigError: If windows do not overlap.
    """
    if plan.overlap_px == 0:
        raise ConfigError("windows in which objects are found must overlap, else objects are cut; got an overlap of 0.")
    objects: list[WindowObject] = []
    with look_at(
        backbone, source, plan, preprocessing, head=head, stages=stages, folder=folder, on_progress=on_progress
    ) as look:
        for count, window in enumerate(look.windows, 1):
            path = None if folder is None else folder / f"window{window.number}.json"
            if path is None or look.journal is None or window.number not in look.journal.done("windows"):
                found = find(look.maps(window), window)
                if path is not None and look.journal is not None:
                    write_json(path, [_plain(each) for each in found])
                    look.journal.add("windows", window.number)
            else:
                found = [_read(entry, window) for entry in json.loads(path.read_text(encoding="utf-8"))]
            objects += found
            if on_progress is not None:
                on_progress(look.share + (1 - look.share) * count / len(look.windows))
    return merge_objects(objects, (source.height, source.width))


def _plain(each: WindowObject) -> dict[str, Any]:
    plain: dict[str, Any] = {"label": each.label, "score": each.score, "box": list(each.box)}
    if each.mask is not None:
        bits = base64.b64encode(np.packbits(each.mask.pixels).tobytes()).decode()
        plain["mask"] = {"left": each.mask.left, "top": each.mask.top, "shape": each.mask.pixels.shape, "bits": bits}
    return plain


def _read(entry: dict[str, Any], window: Window) -> WindowObject:
    mask = None
    if "mask" in entry:
        height, width = entry["mask"]["shape"]
        bits = np.frombuffer(base64.b64decode(entry["mask"]["bits"]), np.uint8)
        pixels = np.unpackbits(bits, count=height * width).astype(bool).reshape(height, width)
        mask = PartMask(entry["mask"]["left"], entry["mask"]["top"], pixels)
    return WindowObject(window, entry["label"], entry["score"], tuple(entry["box"]), mask)
