"""Exporting as users ask for it: a network by its name, and a folder of photos that shows the ranges for 8 bits."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from focalnets.data.finding import find_images
from focalnets.data.images import read_image
from focalnets.errors import CheckpointError, ConfigError, DataError, ImageError
from focalnets.exporting.formats import Format, Options, check_request, format_of, is_exported
from focalnets.exporting.writing import Exported, export_network
from focalnets.files import is_there, user_path
from focalnets.models.config import Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.tasks.running import spec_at
from focalnets.tasks.trained import TrainedNetwork
from focalnets.weights.shipped import DEFAULT

__all__ = ["MOST_CALIBRATION_IMAGES", "export"]

MOST_CALIBRATION_IMAGES = 300
"""Of a folder of photos so many show the ranges for 8 bits, evenly chosen."""


def export(
    model: str | os.PathLike[str] | TrainedNetwork | FocalNet | None,
    path: str | os.PathLike[str],
    *,
    half: bool = False,
    int8: bool = False,
    data: str | os.PathLike[str] | None = None,
    legacy: bool = False,
    aoti: bool = False,
    size_px: int | None = None,
    batch_size: int | None = None,
    without_masks: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> Exported:
    """Write a network as a file for other programs: ONNX, OpenVINO, torch.export or ExecuTorch.

    The file says which classes the network knows and how images are prepared for it. It is run and compared with
    PyTorch before it is put in place.

    Args:
        model: A run's folder, a weights file or the name of published weights; what :func:`focalnets.load` returns; or
            a FocalNet. None takes the small network inside the package.
        path: File to write or replace; its ending says the format: .onnx, .xml, .pt2 or .pte.
        half: Keep weights as float16 (.xml).
        int8: Compute products with 8 bits (.xml), which needs ``data``.
        data: Folder of photos, whose ranges int8 takes over.
        legacy: Use PyTorch's older exporter (.onnx).
        aoti: Compile for this machine, with the operator of this package (.pt2).
        size_px: Height and width of images, where a format fixes them (.pte); None takes the network's own [px].
        batch_size: Images at once, likewise; None takes one.
        without_masks: Of a Mask R-CNN export the boxes, for the task ``detect``.
        on_progress: Called with a sentence on what is done now.

    Returns:
        What was written, and how far it is from PyTorch.

    Raises:
        CheckpointError: If the network cannot be loaded, or is an exported file itself.
        ConfigError: If the ending is unknown, an option is for another format, the network cannot be exported to it, or
            the file answers otherwise than PyTorch.
        DataError: If there are no photos to read.
        MissingPackageError: If the format needs a package that is not installed.
        OSError: If the file cannot be written.
    """
    tell = on_progress or (lambda _sentence: None)
    row = format_of(user_path(path))
    options = Options(half=half, int8=int8, legacy=legacy, aoti=aoti, size_px=size_px, batch_size=batch_size)
    check_request(row, options, data=data is not None)
    _refuse_replacing_others(user_path(path), row)
    if isinstance(model, (str, os.PathLike)):
        _refuse_replacing(user_path(model), user_path(path), row)
    photos = [] if data is None else find_images([os.fspath(data)])
    trained = _trained(model)
    images = [] if data is None else _calibration(trained, photos, data, tell)
    tell(f"exporting to {row.name} and comparing with PyTorch; this takes from seconds to minutes")
    return export_network(trained.task, trained.network, path, options, calibration=images, without_masks=without_masks)


def _refuse_replacing_others(place: Path, row: Format) -> None:
    """Refuse a name beside which lies what an earlier export did not write, for that wrote both."""
    for beside in (place.with_suffix(ending) for ending in row.also):
        if is_there(beside) and not is_there(place):
            raise ConfigError(f"'{beside}' would be replaced, and no '{place.name}' it belongs to; name another file.")


def _refuse_replacing(source: Path, place: Path, row: Format) -> None:
    """Refuse a name whose file, or what lies beside it, would replace the weights."""
    for ending in (row.ending, *row.also):
        written = place.with_suffix(ending)
        if is_there(written) and is_there(source) and written.samefile(source):
            raise ConfigError(f"'{place}' would replace '{source}', which is read; name another file.")


def _trained(model: Any) -> TrainedNetwork:
    if model is None or isinstance(model, (str, os.PathLike)):
        if model is not None and is_exported(model):
            raise CheckpointError(f"{model} is an exported file already; give the weights that it was made from.")
        return TrainedNetwork.load(DEFAULT if model is None else model, device="cpu")
    trained = TrainedNetwork.of(model)
    if getattr(trained.network, "computed_by", None) is not None:
        raise CheckpointError(f"{trained.source} is an exported file already; give the weights that it was made from.")
    return trained


def _calibration(
    trained: TrainedNetwork, paths: Sequence[Path], data: str | os.PathLike[str], tell: Callable[[str], None]
) -> list[Tensor]:
    """Prepare photos of a folder as the network sees them in evaluation; those that cannot be read are left out."""
    if not isinstance(trained.network.preprocessing, Preprocessing):
        raise ConfigError(
            f"int8 takes its ranges from photos, and this network reads {trained.task.inputs}; leave int8 and data out."
        )
    chosen = paths[:: max(1, -(-len(paths) // MOST_CALIBRATION_IMAGES))]
    tell(f"reading {len(chosen):,} photos of {len(paths):,} for the ranges of 8 bits")
    transform = trained.task.transform(spec_at(trained.network, None), train=False)
    images: list[Tensor] = []
    for index, path in enumerate(chosen):
        try:
            images.append(transform((read_image(path), 0), index)[0])
        except ImageError:
            continue
    if not images:
        raise DataError(f"'{data}' holds no photo that can be read; expected at least one, some hundreds are better.")
    return images
