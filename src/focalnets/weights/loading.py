"""Networks by name, and from weights in any layout."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from focalnets.class_names import as_class_names
from focalnets.errors import CheckpointError, ConfigError
from focalnets.models.focalnet import FocalNet
from focalnets.models.memory import check_parameters
from focalnets.models.variants import variant
from focalnets.weights.adaptation import (
    adapt_channels,
    adapt_focus,
    add_pyramid_norms,
    replace_classifier,
)
from focalnets.weights.assembly import assemble
from focalnets.weights.description import CLASSIFY
from focalnets.weights.key_maps import OWN_LAYOUT
from focalnets.weights.locating import locate
from focalnets.weights.mmdetection import open_detector
from focalnets.weights.mmsegmentation import open_segmenter
from focalnets.weights.opening import Opened, open_raw, open_weights
from focalnets.weights.readers import read_weights
from focalnets.weights.recognition import Recognition
from focalnets.weights.sources import fetch_variant

__all__ = [
    "Recognition",
    "build_classifier",
    "create_model",
    "inspect_checkpoint",
    "inspect_trained",
    "load_checkpoint",
    "load_model",
    "open_trained",
]

_logger = logging.getLogger("focalnets")

_WITH_PRETRAINED = (
    "drop_path",
    "dropout",
    "focal_levels",
    "focal_windows",
    "initialization",
    "normalize_modulator",
    "pyramid_norms",
    "stem_padding",
)


def create_model(
    name: str, num_classes: int | None = None, in_chans: int | None = None, pretrained: bool = False, **overrides: Any
) -> FocalNet:
    """Build a network by name, with random or published weights.

    Args:
        name: One of :func:`focalnets.list_models`.
        num_classes: Outputs; None keeps those of the variant. With ``pretrained`` another number puts a fresh
            classifier in place of the published one.
        in_chans: Channels of the images; None keeps 3. With ``pretrained`` the first convolution is adapted: summed
            over its channels for one channel, repeated in turn and rescaled for others.
        pretrained: Take the weights inside the package (focalnet_pico, which knows ten classes), or fetch the published
            ones, from the cache if they are there.
        **overrides: Other fields of :class:`focalnets.FocalNetConfig`. With ``pretrained`` only those that leave the
            published weights usable: drop_path, dropout, focal_levels, focal_windows, normalize_modulator,
            pyramid_norms and stem_padding.

    Returns:
        The network on the CPU in float32; in training mode with random weights, in evaluation mode with published ones.

    Raises:
        UnknownNameError: If there is no network of that name.
        ConfigError: If an override is unknown or out of range.
        CheckpointError: If no weights are published or they cannot be fetched.
    """
    row = variant(name)
    for key, value in (("num_classes", num_classes), ("in_chans", in_chans)):
        if value is not None:
            overrides[key] = value
    config = row.config.replace(**overrides)
    if not pretrained:
        check_parameters(config)
        return FocalNet(config, preprocessing=row.preprocessing.with_channels(config.in_chans))
    unusable = sorted(set(overrides) - {*_WITH_PRETRAINED, "num_classes", "in_chans"})
    if unusable:
        raise ConfigError(
            f"{', '.join(unusable)} cannot be changed with pretrained=True, which fixes the layers; can be changed: "
            f"{', '.join(_WITH_PRETRAINED)}."
        )
    if config.pyramid_norms and num_classes is not None:
        raise ConfigError(
            "num_classes cannot be chosen together with pyramid_norms=True, which leaves the classifier out."
        )
    opened = open_weights(fetch_variant(name), normalize_modulator=overrides.get("normalize_modulator"))
    if opened.recognition.variant != name:
        raise CheckpointError(f"The file fetched for {name} holds another network: {opened.recognition}.")
    held = opened.recognition.num_classes
    edits = _Edits(
        num_classes=num_classes if num_classes != held else None,
        in_chans=in_chans,
        pyramid_norms=config.pyramid_norms,
        focal_levels=overrides.get("focal_levels"),
        focal_windows=overrides.get("focal_windows"),
        fields={key: overrides[key] for key in ("drop_path", "dropout", "stem_padding") if key in overrides},
    )
    return _finish(opened, edits)


def load_model(
    source: str | os.PathLike[str],
    *,
    entry: str | None = None,
    num_classes: int | None = None,
    replace_head: bool = False,
    class_names: Sequence[str] | None = None,
    in_chans: int | None = None,
    pyramid_norms: bool | None = None,
    focal_levels: Sequence[int] | None = None,
    focal_windows: Sequence[int] | None = None,
    normalize_modulator: bool | None = None,
    post_norm: bool | None = None,
    drop_path: float | None = None,
) -> FocalNet:
    """Load a network from weights in any known layout; everything fits, or nothing is loaded.

    Layout and network are recognised from the tensors, and told through the logger ``focalnets`` and
    ``model.origin``; :func:`inspect_checkpoint` tells without loading. Only tensors are read from foreign files.

    Args:
        source: A file (.safetensors, .pth, .pt, .bin), a folder (of a run, or as the hub keeps it), a hub id such as
            ``timm/focalnet_tiny_srf.ms_in1k`` or ``microsoft/focalnet-tiny``, the name of a published network, or
            ``focalnet_pico.imagenette``, which comes inside the package.
        entry: Which network to take where a file holds several, e.g. ``teacher`` beside ``student``: the entry of what
            was saved (``name`` or ``name.name``), or what the names of its tensors begin with.
        num_classes: Outputs wanted; another number than the file's needs ``replace_head``.
        replace_head: Put a freshly drawn classifier in place of the file's.
        class_names: Names of the outputs, instead of those found.
        in_chans: Channels of the images; the first convolution is adapted as in :func:`create_model`.
        pyramid_norms: True turns a classifier into a backbone for dense tasks; its norms are fresh.
        focal_levels: More levels for each stage; the kernels of new ones are fresh, their gates are zero.
        focal_windows: Other kernel sizes for each stage; kernels are padded with zeros or cropped to their centres.
        normalize_modulator: Overrides what was recognised; the tensors do not show it.
        post_norm: Overrides what was recognised, in layouts whose names do not show it.
        drop_path: Probability of dropping a branch in training.

    Returns:
        The network on the CPU in float32, in evaluation mode.

    Raises:
        CheckpointError: If the source is missing, damaged, hostile or no FocalNet; with the lists of missing,
            unexpected and mis-shaped names if it does not fit.
        ConfigError: If an option is out of range.
    """
    opened = open_weights(
        source,
        entry=entry,
        normalize_modulator=normalize_modulator,
        post_norm=post_norm,
        allow_missing_pyramid_norms=bool(pyramid_norms),
    )
    _refuse_other_tasks(opened)
    recognition = opened.recognition
    held = recognition.num_classes
    if pyramid_norms is False and recognition.config.pyramid_norms:
        raise CheckpointError(
            f"{recognition.files[0]} is a dense backbone; it has no classifier to use instead of its norms."
        )
    if num_classes not in (None, held) and not replace_head:
        raise CheckpointError(
            f"{recognition.files[0]} has a classifier of {held} classes and {num_classes} were asked for; pass "
            "replace_head=True to put a fresh one in its place."
        )
    if pyramid_norms and (replace_head or num_classes is not None):
        raise ConfigError(
            "A classifier was asked for together with pyramid_norms=True, which leaves the classifier out."
        )
    edits = _Edits(
        num_classes=(held if num_classes is None else num_classes) if replace_head else None,
        class_names=None if class_names is None else as_class_names(class_names),
        in_chans=in_chans,
        pyramid_norms=bool(pyramid_norms),
        focal_levels=focal_levels,
        focal_windows=focal_windows,
        fields={} if drop_path is None else {"drop_path": drop_path},
    )
    return _finish(opened, edits)


def inspect_checkpoint(
    source: str | os.PathLike[str],
    *,
    entry: str | None = None,
    normalize_modulator: bool | None = None,
    post_norm: bool | None = None,
) -> Recognition:
    """Say what network a source holds, for which task, in which layout, and what was chosen unseen.

    The answer has task, config, head, input, labels, layout, variant and notes, also for networks of other tasks, which
    :func:`load_model` does not read.

    Raises:
        CheckpointError: As :func:`load_model`.
    """
    return open_weights(source, entry=entry, normalize_modulator=normalize_modulator, post_norm=post_norm).recognition


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Edits:
    """Changes asked for, on the way from a file to a network."""

    num_classes: int | None = None
    class_names: tuple[str, ...] | None = None
    in_chans: int | None = None
    pyramid_norms: bool = False
    focal_levels: Sequence[int] | None = None
    focal_windows: Sequence[int] | None = None
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)


def _finish(opened: Opened, edits: _Edits) -> FocalNet:
    recognition = opened.recognition
    config, class_names, notes = recognition.config, recognition.labels, list(recognition.notes)
    preprocessing = recognition.preprocessing
    tensors: dict[str, Tensor] = opened.tensors
    if edits.focal_levels is not None or edits.focal_windows is not None:
        tensors, config, notes_on_focus = adapt_focus(
            tensors, config, focal_levels=edits.focal_levels, focal_windows=edits.focal_windows
        )
        notes += notes_on_focus
    if edits.pyramid_norms:
        tensors, config, fresh = add_pyramid_norms(tensors, config)
        class_names = None
        if fresh:
            notes.append(f"The pyramid norms of stages {fresh} are new; final norm and classifier were left out.")
    if edits.num_classes is not None:
        tensors, config = replace_classifier(tensors, config, edits.num_classes)
        class_names = None
        notes.append(f"The classifier was replaced by a fresh one of {edits.num_classes} classes.")
    if edits.in_chans not in (None, config.in_chans):
        tensors, config, preprocessing = adapt_channels(tensors, config, preprocessing, edits.in_chans)
        notes.append(f"The first convolution was adapted to {edits.in_chans} channels.")
    if edits.class_names is not None:
        class_names = edits.class_names
    config = config.replace(**edits.fields)
    if class_names is not None and len(class_names) != config.num_classes:
        raise ConfigError(
            f"class_names must have one entry for each of the {config.num_classes} classes, got {len(class_names)}."
        )
    model = assemble(config, tensors, opened.place, preprocessing=preprocessing, class_names=class_names)
    model.origin = opened.origin
    if (edits.num_classes, edits.in_chans, edits.focal_levels, edits.focal_windows) == (None, None, None, None):
        model.threshold = None if edits.pyramid_norms else recognition.head.get("threshold")
    _logger.info("Loaded %s.", recognition)
    for note in notes:
        _logger.info("%s", note)
    return model


def load_checkpoint(path: str | os.PathLike[str]) -> FocalNet:
    """Read a network that :func:`save_checkpoint` wrote, in float32 on the CPU, in evaluation mode.

    Raises:
        CheckpointError: If the file is missing, damaged, of another kind, or does not fit what it says about itself.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    opened = open_weights(path)
    if opened.description is None or opened.recognition.layout != OWN_LAYOUT:
        raise CheckpointError(f"{path} is no checkpoint of this package; focalnets.load_model reads the other layouts.")
    return build_classifier(opened)


def open_trained(source: str | os.PathLike[str], *, entry: str | None = None) -> Opened:
    """Read the tensors of a trained network of any task, and what it is.

    A task builds its module from ``recognition`` (config, head, input, labels) and loads ``tensors`` into it with
    :func:`focalnets.weights.assembly.assemble_into`; a classifier is built by :func:`build_classifier`.

    Args:
        source: As for :func:`load_model`; of a run's folder best.safetensors is read, else last.safetensors.
        entry: Which of several networks in one file, see there.

    Raises:
        CheckpointError: As :func:`load_model`.
    """
    raw = read_weights(locate(source), entry)
    return open_detector(raw) or open_segmenter(raw) or open_raw(raw)


def inspect_trained(source: str | os.PathLike[str]) -> Recognition:
    """Say what :func:`open_trained` reads from a source; of a detector in another layout also its head.

    Raises:
        CheckpointError: As :func:`open_trained`.
    """
    return open_trained(source).recognition


def build_classifier(opened: Opened) -> FocalNet:
    """Build the FocalNet of an opened file, unchanged, in float32 on the CPU, in evaluation mode.

    Raises:
        CheckpointError: If the file is of another task, or its tensors do not fit.
    """
    _refuse_other_tasks(opened)
    return _finish(opened, _Edits())


def _refuse_other_tasks(opened: Opened) -> None:
    found = opened.recognition
    if found.task != CLASSIFY:
        raise CheckpointError(
            f"{opened.place} holds a network for the task {found.task!r} (head {found.head['kind']}, input "
            f"{found.input.kind}), no plain FocalNet; focalnets.load reads it."
        )
