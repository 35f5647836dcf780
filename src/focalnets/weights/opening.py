"""From a source to tensors under our names and a settled config: what is read, recognised, compared and chosen."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from focalnets.class_names import names_for_outputs
from focalnets.errors import CheckpointError, ConfigError
from focalnets.models.config import FocalNetConfig, Preprocessing, check_channels
from focalnets.models.fields import printable
from focalnets.models.variants import VARIANTS
from focalnets.weights.assembly import check_dense, check_fit, refuse_fewer_numbers
from focalnets.weights.companions import Companion, read_companion
from focalnets.weights.description import CLASSIFY, Description, classifier_head, read_description
from focalnets.weights.key_maps import LAYOUTS, OWN_LAYOUT, expected_shapes, find_networks, from_layout, to_layout
from focalnets.weights.locating import locate
from focalnets.weights.readers import RawWeights, read_weights
from focalnets.weights.recognition import Recognition, contradictions, matching_variants, variant_of, visible_settings

__all__ = ["Opened", "open_raw", "open_weights"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opened:
    """Tensors under our names, not yet checked for their numbers, and what was recognised.

    Attributes:
        tensors: By the names that a FocalNet has for them; for another task than ``classify`` by those in the file.
        recognition: The network, its task, head, input and labels.
        description: What our own metadata say, or None for other files.
    """

    tensors: dict[str, Tensor]
    recognition: Recognition
    description: Description | None

    @property
    def place(self) -> str:
        """The file, for messages."""
        return self.recognition.files[0]

    @property
    def origin(self) -> str:
        """Where the weights came from, in words, for the network that gets them."""
        if self.description is None:
            return str(self.recognition)
        return self.description.origin_after(Path(self.place))


def open_weights(
    source: str | os.PathLike[str],
    *,
    entry: str | None = None,
    normalize_modulator: bool | None = None,
    post_norm: bool | None = None,
    allow_missing_pyramid_norms: bool = False,
) -> Opened:
    """Read weights, recognise layout and network, and check that every tensor has its place.

    Args:
        source: As for :func:`focalnets.load_model`.
        entry: Which of several networks in one file, see there.
        normalize_modulator: Overrides what was recognised.
        post_norm: Overrides what was recognised, where the tensors do not show it.
        allow_missing_pyramid_norms: Accept a dense backbone without the norms of some stages.

    Raises:
        CheckpointError: If the file cannot be read, is no FocalNet, or does not fit.
    """
    return open_raw(
        read_weights(locate(source), entry), normalize_modulator=normalize_modulator, post_norm=post_norm,
        allow_missing_pyramid_norms=allow_missing_pyramid_norms,
    )  # fmt: skip


def open_raw(
    raw: RawWeights,
    *,
    normalize_modulator: bool | None = None,
    post_norm: bool | None = None,
    allow_missing_pyramid_norms: bool = False,
) -> Opened:
    """Recognise what was read; see :func:`open_weights`."""
    description = read_description(raw.metadata, file := raw.place)
    if description is not None and description.task != CLASSIFY:
        return _opened_as_described(raw, description, file)
    layout, tensors, notes = _detect_layout(raw, file)
    check_dense(tensors, file)
    ours, _, post_norms = from_layout(layout, tensors)
    visible = visible_settings({name: tuple(tensor.shape) for name, tensor in ours.items()}, file)
    if len(post_norms) == 1:
        visible["post_norm"] = next(iter(post_norms))
    companion = None if description is not None or layout == OWN_LAYOUT else read_companion(raw.folder)
    overrides = {"normalize_modulator": normalize_modulator, "post_norm": post_norm}
    if post_norm is not None and visible.get("post_norm", post_norm) != post_norm:
        raise CheckpointError(
            f"{file} shows by its names that post_norm is {not post_norm}; it cannot be chosen otherwise."
        )
    variant = next(iter(matching_variants(visible)), None)
    if description is not None:
        config = _described_config(description, visible, overrides, file)
        spec, labels = description.input, description.labels
    else:
        config, notes_on_settings = _settled_config(visible, variant, companion, overrides, file)
        spec = _settled_preprocessing(variant, config, companion, file)
        labels, notes_on_labels = _settled_labels(config, companion)
        notes += notes_on_settings + notes_on_labels
    _check_names(layout, config, tensors, file, allow_missing_pyramid_norms)
    kinds = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values() if tensor.is_floating_point()}
    if halves := sorted(kinds - {"float32"}):
        notes += (f"Weights kept as {', '.join(halves)} were converted to float32.",)
    recognition = Recognition(
        layout=layout,
        config=config,
        head=classifier_head(config, None if description is None else description.threshold),
        variant=variant,
        input=spec,
        labels=labels,
        notes=notes,
        files=tuple(map(str, raw.files)),
    )
    return Opened(tensors=ours, recognition=recognition, description=description)


def _opened_as_described(raw: RawWeights, description: Description, file: str) -> Opened:
    """Take the word of our metadata for a network of another task; its tensors are checked when it is built."""
    refuse_fewer_numbers(description.config, description.input, raw.tensors, file)
    recognition = Recognition(
        layout=OWN_LAYOUT,
        task=description.task,
        config=description.config,
        head=description.head,
        variant=variant_of(description.config),
        input=description.input,
        labels=description.labels,
        notes=raw.notes,
        files=tuple(map(str, raw.files)),
    )
    return Opened(tensors=raw.tensors, recognition=recognition, description=description)


def _detect_layout(raw: RawWeights, file: str) -> tuple[str, dict[str, Tensor], tuple[str, ...]]:
    """Find the layout, the tensors without the prefix of wrappers around the network, and notes."""
    found = find_networks(raw.tensors)
    if not found:
        shown = ", ".join(map(printable, list(raw.tensors)[:3]))
        raise CheckpointError(
            f"{file} is no FocalNet in the layouts {OWN_LAYOUT}, {', '.join(LAYOUTS)}, or its stem is missing; its "
            f"tensors are called {shown}{' and so on' if len(raw.tensors) > 3 else ''}."
        )
    if len(found) > 1:
        prefixes = ", ".join(sorted(repr(prefix) for _, prefix in found))
        raise CheckpointError(
            f"{file} holds more than one FocalNet, under {prefixes}; name the one that you mean, without the last dot, "
            "as entry= for focalnets.load_model or --entry for `focalnets convert`."
        )
    layout, prefix = next(iter(found))
    bare = layout == "transformers" and not (prefix == "focalnet." or prefix.endswith(".focalnet."))
    if layout == "transformers" and not bare:
        prefix = prefix.removesuffix("focalnet.")
    tensors = {name.removeprefix(prefix): tensor for name, tensor in raw.tensors.items() if name.startswith(prefix)}
    if bare:
        tensors = {f"focalnet.{name}": tensor for name, tensor in tensors.items()}
    notes = raw.notes
    if left := len(raw.tensors) - len(tensors):
        notes += (f"{left} tensors outside {prefix!r} are not part of the network and were left out.",)
    return layout, tensors, notes


def _described_config(
    description: Description, visible: Mapping[str, Any], overrides: Mapping[str, bool | None], file: str
) -> FocalNetConfig:
    # Compared before anything is built: a description with a million layers must not be tried out.
    different = contradictions(description.config, visible)
    if different:
        raise CheckpointError(f"{file} says of itself what its tensors contradict: {'; '.join(different)}.")
    return description.config.replace(**{key: value for key, value in overrides.items() if value is not None})


def _settled_config(
    visible: dict[str, Any],
    variant: str | None,
    companion: Companion | None,
    overrides: Mapping[str, bool | None],
    file: str,
) -> tuple[FocalNetConfig, tuple[str, ...]]:
    settings = dict(visible)
    settings["focal_windows"] = tuple(3 if window is None else window for window in visible["focal_windows"])
    dense = visible["pyramid_norms"]
    likely = VARIANTS[variant].config if variant is not None else None
    claimed = companion.settings if companion is not None else {}
    scale = claimed.get("layer_scale") or (likely.layer_scale if likely is not None else None) or 1e-4
    settings["layer_scale"] = scale if visible["layer_scale"] else None
    if likely is not None:
        settings["mlp_ratio"], settings["drop_path"] = likely.mlp_ratio, likely.drop_path
    if dense:
        settings["num_classes"] = 0
        settings["stem_padding"] = 3 if visible["stem"] == "overlapped" else 2
    try:
        if companion is not None:
            _check_companion(companion, FocalNetConfig.from_dict(settings), visible, file)
        notes: tuple[str, ...] = ()
        for field in ("post_norm", "normalize_modulator"):
            if field not in visible:
                settings[field], note = _invisible(field, visible, variant, claimed, overrides[field])
                notes += note
        return FocalNetConfig.from_dict(settings), notes
    except ConfigError as error:
        raise CheckpointError(f"{file} is no network that can be built here: {error}") from error


def _invisible(
    field: str, visible: Mapping[str, Any], variant: str | None, claimed: Mapping[str, Any], override: bool | None
) -> tuple[bool, tuple[str, ...]]:
    """Choose a flag that the tensors do not show, and say why where there is doubt."""
    if override is not None:
        return override, ()
    if variant is not None:
        published = bool(getattr(VARIANTS[variant].config, field))
        if variant == "focalnet_xlarge_fl4" and field == "normalize_modulator" and not claimed.get(field):
            return published, (
                "Whether focalnet_xlarge_fl4 was trained with normalize_modulator is not known: its settings file says "
                "False, the authors' detector says True; False is taken, normalize_modulator=True selects the other.",
            )
        if claimed.get(field) and not published:
            return True, (f"config.json says {field}, {variant} was published without; config.json is followed.",)
        if published and claimed.get(field) is False:
            note = f"config.json lacks {field}, which {variant} was published with and conversions forget; it is set."
            return True, (note,)
        return published, ()
    if field in claimed:
        return bool(claimed[field]), ()
    for ignore in ({"focal_windows"}, {"focal_windows", "focal_levels"}):
        related = matching_variants(visible, ignore=frozenset(ignore))
        values = {bool(getattr(VARIANTS[name].config, field)) for name in related}
        if len(values) == 1:
            value = values.pop()
            return value, (f"{field}={value} was taken from {related[0]}, which differs only in its focal levels.",)
    return False, (f"The tensors do not show {field}; False is taken, {field}=True selects the other.",)


def _check_companion(companion: Companion, base: FocalNetConfig, visible: Mapping[str, Any], file: str) -> None:
    try:
        claimed = base.replace(**companion.settings)
    except ConfigError as error:
        raise CheckpointError(f"{companion.file} describes no network that fits {file}: {error}") from error
    different = contradictions(claimed, {key: value for key, value in visible.items() if key != "num_classes"})
    classes = visible["num_classes"]
    if classes and companion.num_classes not in (None, classes):
        different.append(f"num_classes: {companion.num_classes} against {classes}")
    if different:
        raise CheckpointError(f"{companion.file} contradicts the tensors of {file}: {'; '.join(different)}.")


def _settled_preprocessing(
    variant: str | None, config: FocalNetConfig, companion: Companion | None, file: str
) -> Preprocessing:
    """Keep the published preparation of published networks: descriptions of converted ones say bilinear for bicubic."""
    described = companion.preprocessing if companion is not None else None
    if companion is not None and described is not None:
        try:
            check_channels(config, described)
        except ConfigError as error:
            raise CheckpointError(
                f"What lies beside {file}, {companion.file.name} or preprocessor_config.json, describes images that do "
                f"not fit it: {error}"
            ) from error
    if variant is None:
        return described or Preprocessing().with_channels(config.in_chans)
    row = VARIANTS[variant]
    published = config.num_classes in (0, row.config.num_classes)
    trusted = companion is not None and companion.trusted_preprocessing
    if described is not None and (trusted or not published):
        return described
    return row.preprocessing.with_channels(config.in_chans)


def _settled_labels(
    config: FocalNetConfig, companion: Companion | None
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Find names of the outputs, and notes on where they are from."""
    if config.pyramid_norms or not config.num_classes:
        return None, ()
    if companion is not None and companion.class_names is not None:
        if len(companion.class_names) == config.num_classes:
            return companion.class_names, ()
        raise CheckpointError(
            f"{companion.file} names {len(companion.class_names)} classes for {config.num_classes} outputs."
        )
    known = names_for_outputs(config.num_classes)
    return (known[0], (known[1],)) if known is not None else (None, ())


def _check_names(
    layout: str, config: FocalNetConfig, tensors: Mapping[str, Tensor], file: str, allow_missing_pyramid_norms: bool
) -> None:
    try:
        expected = expected_shapes(layout, config)
        places = _places_of_pyramid_norms(layout, config) if allow_missing_pyramid_norms else set()
    except (RuntimeError, OverflowError) as error:  # sizes beyond what a tensor can have
        raise CheckpointError(f"{file} has tensors of sizes that no network can have: {error}") from error
    check_fit({name: shape for name, shape in expected.items() if name in tensors or name not in places}, tensors, file)


def _places_of_pyramid_norms(layout: str, config: FocalNetConfig) -> set[str]:
    names = {f"pyramid_norms.{stage}.{part}" for stage in range(len(config.depths)) for part in ("weight", "bias")}
    return set(to_layout(layout, {name: torch.empty(0) for name in names}, post_norm=config.post_norm))
