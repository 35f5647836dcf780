"""How a large image is looked at: the plan, the maps that its context asks for, and where the work is recorded.

Axes: H W height and width of the image [px], C channels, h w of a map [tokens], K classes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from focalnets.errors import ConfigError, nearest
from focalnets.large.journal import Journal
from focalnets.large.labels import ClassMap, label_by_rows, label_by_windows
from focalnets.large.network import require_streamable
from focalnets.large.plan import CONTEXTS, Context, Plan, default_memory, plan_streaming, plan_tiles
from focalnets.large.pyramid import Pyramid, classify_streamed, stream_pyramid
from focalnets.large.sources import Source
from focalnets.large.tiles import look_at_tile, mean_of_tiles
from focalnets.large.windows import Window, cut_windows
from focalnets.models.config import Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.semantic import MlpHead, SemanticNetwork
from focalnets.models.plain import is_as_built

__all__ = [
    "LargeOptions",
    "Look",
    "OnProgress",
    "classify_large",
    "finish_work",
    "look_at",
    "plan_look",
    "segment_large",
]

OnProgress = Callable[[float], None]
"""Called with the fraction that is done."""

_SHARE_OF_MAPS = 0.9
"""Part of the time that the maps of a whole image take, the rest being that of the head."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LargeOptions:
    """How to look at large images.

    Attributes:
        context: What the network sees around a pixel, see :data:`focalnets.large.plan.Context`.
        tile_px: Side of tiles, and of the windows in which heads look for objects.
        overlap_px: By how much they overlap at least.
        memory_bytes: Most memory to add; None takes three fifths of what is there.
        dtype: How maps of a whole image are kept: ``float32``, or ``float16``, which takes half and is no longer exact.
        always_files: Keep the maps of a whole image in files even where memory would do, so that an interrupted image
            goes on where it was.
    """

    context: Context = "image"
    tile_px: int = 1024
    overlap_px: int = 256
    memory_bytes: int | None = None
    dtype: str = "float32"
    always_files: bool = False

    def __post_init__(self) -> None:
        if self.context not in CONTEXTS:
            raise ConfigError(f"There is no context {self.context!r}; {nearest(str(self.context), CONTEXTS)}")
        if self.dtype not in ("float32", "float16"):
            raise ConfigError(f"maps are kept as float32 or float16, got {self.dtype!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Write what the result depends on, as plain values."""
        tiles = {} if self.context == "image" else {"tile_px": self.tile_px, "overlap_px": self.overlap_px}
        return {"context": self.context, **tiles, "dtype": self.dtype}


@dataclasses.dataclass(frozen=True)
class Look:
    """What a head needs of an image.

    Attributes:
        windows: Windows whose cores cover the image.
        maps: Takes a window and returns its maps (1, C, h, w), those of the stages that are wanted, finest first.
        pyramid: The maps of the whole image; None by tiles.
        journal: Where the work is recorded; None where it is not.
        share: Which part of the work is done by now.
    """

    windows: Sequence[Window]
    maps: Callable[[Window], list[Tensor]]
    pyramid: Pyramid | None
    journal: Journal | None
    share: float


def plan_look(
    backbone: FocalNet,
    source: Source,
    options: LargeOptions,
    *,
    folder: Path | None = None,
    output_bytes: int = 0,
    stages: Sequence[int] | None = None,
) -> Plan:
    """Choose how to look at an image within the memory there is, and state what it takes.

    Args:
        backbone: What looks at it.
        source: The image.
        options: How to.
        folder: Where files may lie meanwhile; None allows memory only.
        output_bytes: What results take in memory.
        stages: Whose maps are wanted; None keeps all.

    Raises:
        ConfigError: If it does not fit, or the network cannot be looked into.
    """
    memory = default_memory() if options.memory_bytes is None else options.memory_bytes
    grid, size = backbone.config.strides[-1], (source.height, source.width)
    tile, overlap = _on_grid(options.tile_px, grid), _on_grid(options.overlap_px, grid)
    if options.context != "tile":
        require_streamable(backbone)
    if options.context == "image":
        plan = plan_streaming(
            backbone,
            *size,
            memory_bytes=memory,
            folder=None if folder is None else folder / "maps",
            held_bytes=source.held_bytes,
            output_bytes=output_bytes,
            dtype=options.dtype,
            keep=None if stages is None else tuple(stages),
            always_files=options.always_files,
        )
        return dataclasses.replace(plan, tile_px=tile, overlap_px=overlap)
    return plan_tiles(
        backbone,
        options.context,
        *size,
        tile_px=tile,
        overlap_px=overlap,
        memory_bytes=memory,
        held_bytes=source.held_bytes,
        output_bytes=output_bytes,
    )


@contextlib.contextmanager
def look_at(
    backbone: FocalNet,
    source: Source,
    plan: Plan,
    preprocessing: Preprocessing,
    *,
    head: nn.Module | None = None,
    stages: Sequence[int] | None = None,
    folder: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Iterator[Look]:
    """Look at an image as planned; files are deleted once the block ends well, and else kept to go on from.

    Args:
        backbone: In evaluation mode.
        source: The image.
        plan: Of :func:`plan_look`.
        preprocessing: How the image is prepared, but for its size, which stays.
        head: What else the result depends on, for the record of the work.
        stages: Which maps are wanted; None takes all.
        folder: Where files lie, and the record of the work; None records nothing.
        on_progress: See :data:`OnProgress`.
    """
    wanted = range(len(backbone.config.depths)) if stages is None else stages
    grid, size = backbone.config.strides[-1], (source.height, source.width)
    windows = cut_windows(*size, plan.tile_px, plan.overlap_px, grid)
    journal = None
    if folder is not None:
        network = [_checksum(part) for part in (backbone, head) if part is not None]
        how = {name: value for name, value in plan.to_dict().items() if name not in ("seconds", "memory_bytes")}
        journal = Journal(folder / "progress.json", {"image": source.fingerprint, "network": network, "how": how})
    pyramid, share = None, 0.0
    if plan.context == "image":
        share = _SHARE_OF_MAPS
        pyramid = stream_pyramid(
            backbone,
            source,
            plan.settings,
            preprocessing=preprocessing,
            journal=journal if plan.settings.folder is not None else None,
            on_progress=_part(on_progress, 0.0, share),
        )
        whole = pyramid

        def maps(window: Window) -> list[Tensor]:
            found = whole.pixels(window.top, window.bottom, window.left, window.right)
            kept = [stage for stage, stored in enumerate(whole.maps) if stored is not None]
            return [found[kept.index(stage)] for stage in wanted]

    else:
        means = None
        if plan.context == "shared":
            share = 0.5
            means = mean_of_tiles(
                backbone, source, preprocessing, windows, journal=journal, on_progress=_part(on_progress, 0.0, share)
            )
        look = look_at_tile(backbone, source, preprocessing, means)

        def maps(window: Window) -> list[Tensor]:
            found = look(window)
            return [found[stage] for stage in wanted]

    yield Look(windows, maps, pyramid, journal, share)
    if pyramid is not None:
        pyramid.close(delete=True)


def finish_work(folder: Path | None) -> None:
    """Delete the record of the work and its files once results are written."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


@torch.inference_mode()
def classify_large(
    network: FocalNet,
    source: Source,
    plan: Plan,
    *,
    folder: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Tensor:
    """Classify an image of any size: probabilities (K,).

    As a whole they are those of the network on the whole image; by tiles the mean of those of the tiles, each counted
    by the pixels that it answers for.

    Args:
        network: A classifier in evaluation mode.
        source: The image.
        plan: Of :func:`plan_look`.
        folder: Where files lie meanwhile.
        on_progress: See :data:`OnProgress`.
    """
    assert network.norm is not None
    assert network.head is not None
    with look_at(network, source, plan, network.preprocessing, folder=folder, on_progress=on_progress) as look:
        if look.pyramid is not None:
            return classify_streamed(network, look.pyramid)[0].softmax(0)
        total = torch.zeros(network.config.num_classes, dtype=torch.float64)
        device = next(network.parameters()).device
        for count, window in enumerate(look.windows, 1):
            tokens = look.maps(window)[-1].to(device).permute(0, 2, 3, 1)
            logits = network.head(network.norm(tokens).mean((1, 2)))
            top, bottom, left, right = window.core
            total += logits[0].softmax(0).double().cpu() * ((bottom - top) * (right - left))
            if on_progress is not None:
                on_progress(look.share + (1 - look.share) * count / len(look.windows))
    return (total / total.sum()).float()


def segment_large(
    network: SemanticNetwork,
    source: Source,
    plan: Plan,
    *,
    folder: Path | None = None,
    sureness: bool = False,
    on_progress: OnProgress | None = None,
) -> ClassMap:
    """Name the class of each pixel of an image of any size.

    With the context ``image`` and the light head the result is that of the network on the whole image. Heads that look
    further than a pixel of their maps see windows of these exact maps.

    Args:
        network: In evaluation mode.
        source: The image.
        plan: Of :func:`plan_look`.
        folder: Where files lie meanwhile, and the result ``classes.npy``; None keeps it in memory.
        sureness: Whether the probability of each pixel's class is kept too.
        on_progress: See :data:`OnProgress`.
    """
    path = None if folder is None else folder / "classes.npy"
    classes = ClassMap(path, source.height, source.width, len(network.class_names), sureness=sureness)
    device = next(network.parameters()).device
    preprocessing = network.preprocessing
    with look_at(
        network.backbone,
        source,
        plan,
        preprocessing,
        head=network.head,
        stages=network.stages,
        folder=folder,
        on_progress=on_progress,
    ) as look:
        rest = _part(on_progress, look.share, 1.0)
        if look.pyramid is not None and is_as_built(network.head, MlpHead):
            label_by_rows(
                network.head,  # type: ignore[arg-type]
                look.pyramid,
                network.stages,
                classes,
                journal=look.journal,
                on_progress=rest,
            )
        else:
            label_by_windows(
                lambda maps: network.logits([features.to(device) for features in maps]),
                look.maps,
                look.windows,
                classes,
                journal=look.journal,
                on_progress=rest,
            )
    return classes


def _part(on_progress: OnProgress | None, start: float, end: float) -> OnProgress | None:
    return None if on_progress is None else lambda done: on_progress(start + (end - start) * done)


def _on_grid(pixels: int, grid: int) -> int:
    return -(-pixels // grid) * grid


def _checksum(network: nn.Module) -> int:
    """A number that changes with any weight."""
    check = 0
    for name, tensor in network.state_dict().items():
        values: Any = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8) if tensor.numel() else tensor
        check = zlib.crc32(values.numpy().tobytes(), zlib.crc32(name.encode(), check))
    return check
