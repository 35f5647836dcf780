"""Segmenters from mmsegmentation: UPerNet on a FocalNet, read from its checkpoints as they are, and written for it.

Versions 0 and 1 name the tensors alike; what their settings were stands as Python text in the checkpoint or in a file
beside it. Settings that are nowhere are those of the published configs.

Axes: K classes, D hidden channels.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from focalnets.errors import CheckpointError, ConfigError
from focalnets.models.config import FocalNetConfig
from focalnets.models.fields import printable
from focalnets.weights.key_maps import LAYOUTS, Rule, from_rules
from focalnets.weights.mmdetection import input_of_settings, labels_of_training, prefix_of_backbone, settings_of
from focalnets.weights.opening import Opened, open_raw
from focalnets.weights.readers import RawWeights
from focalnets.weights.recognition import Recognition
from focalnets.weights.script_settings import find_entries, setting

__all__ = ["MMSEGMENTATION", "RULES", "open_segmenter"]

MMSEGMENTATION = "mmsegmentation"
"""What users write for the layout."""

_ADE20K_CLASSES = 150
_NORM_PARTS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def _convolution_rules(ours: str, theirs: str) -> tuple[Rule, ...]:
    norms = (Rule(f"{ours}.norm.{part}", f"{theirs}.bn.{part}") for part in _NORM_PARTS)
    return (Rule(f"{ours}.convolution.weight", f"{theirs}.conv.weight"), *norms)


RULES: tuple[Rule, ...] = (
    *(
        dataclasses.replace(rule, ours=f"backbone.{rule.ours}", theirs=f"backbone.{rule.theirs}")
        for rule in LAYOUTS["official"].rules
    ),
    *_convolution_rules("head.pooled.{level}", "decode_head.psp_modules.{level}.1"),
    *_convolution_rules("head.pooled_fusion", "decode_head.bottleneck"),
    *_convolution_rules("head.laterals.{level}", "decode_head.lateral_convs.{level}"),
    *_convolution_rules("head.smoothing.{level}", "decode_head.fpn_convs.{level}"),
    *_convolution_rules("head.fusion", "decode_head.fpn_bottleneck"),
    Rule("head.classifier.{part}", "decode_head.conv_seg.{part}"),
    *_convolution_rules("auxiliary.convolution", "auxiliary_head.convs.0"),
    Rule("auxiliary.classifier.{part}", "auxiliary_head.conv_seg.{part}"),
)
"""Names there and here; of a segmenter's tensors each has one."""


def open_segmenter(raw: RawWeights) -> Opened | None:
    """Recognise a segmenter of mmsegmentation; None where it is none.

    Raises:
        CheckpointError: If its head is not built here, or it does not fit together.
    """
    prefix = prefix_of_backbone(raw)
    if prefix is None or f"{prefix}decode_head.conv_seg.weight" not in raw.tensors:
        return None
    tensors = {name.removeprefix(prefix): tensor for name, tensor in raw.tensors.items() if name.startswith(prefix)}
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("ema_")}
    if not {"decode_head.psp_modules.0.1.conv.weight", "decode_head.fpn_bottleneck.conv.weight"} <= set(tensors):
        raise CheckpointError(
            f"{raw.place} holds a segmenter of mmsegmentation whose head is not built here; UPerNet is, and "
            "focalnets.load_model reads the backbone alone."
        )
    inner = {name.removeprefix("backbone."): value for name, value in tensors.items() if name.startswith("backbone.")}
    settings, place = settings_of(raw, "decode_head")
    scaling = setting(settings, "model", "backbone", "scaling_modulator")
    backbone = open_raw(
        dataclasses.replace(raw, tensors=inner, notes=()),
        normalize_modulator=scaling if isinstance(scaling, bool) else None,
        allow_missing_pyramid_norms=True,
    ).recognition
    ours, unknown, _ = from_rules(RULES, tensors)
    if unknown:
        shown = ", ".join(map(printable, unknown[:8]))
        raise CheckpointError(
            f"{raw.place} does not fit the UPerNet that it is made for, so nothing was loaded: {len(unknown)} "
            f"unexpected: {shown}{' and others' if len(unknown) > 8 else ''}."
        )
    for stage, dim in enumerate(backbone.config.dims):  # norms of maps that no head reads
        ours.setdefault(f"backbone.pyramid_norms.{stage}.weight", torch.ones(dim))
        ours.setdefault(f"backbone.pyramid_norms.{stage}.bias", torch.zeros(dim))
    notes = list(raw.notes + backbone.notes)
    try:
        _refuse_deviations(settings)
        head = _head(tensors, backbone.config, settings, raw.place)
    except ConfigError as error:
        raise CheckpointError(f"{raw.place} describes a segmenter that cannot be built here: {error}") from error
    notes.append(
        f"Its settings were read from {place}."
        if settings
        else "The file does not say its settings; those of the published configs were taken: images of 512 px."
    )
    if not settings and head["reduce_zero_label"]:
        notes.append("150 outputs are taken for the classes of ADE20K, in whose maps 0 is no class.")
    labels, note = labels_of_training(raw.about, head["outputs"], raw.place)
    recognition = Recognition(
        layout=MMSEGMENTATION,
        task="semantic",
        config=backbone.config,
        head=head,
        variant=backbone.variant,
        input=input_of_settings(settings, shorter=512, longer=2048),
        labels=labels,
        notes=tuple(notes + note),
        files=tuple(map(str, raw.files)),
    )
    return Opened(tensors=ours, recognition=recognition, description=None)


def _head(
    tensors: Mapping[str, Tensor], backbone: FocalNetConfig, settings: Mapping[str, Any], file: str
) -> dict[str, Any]:
    """Describe the head as :class:`focalnets.models.heads.semantic.SemanticNetwork` does."""
    weight = tensors["decode_head.conv_seg.weight"]
    fusion = tensors["decode_head.fpn_bottleneck.conv.weight"]
    if weight.ndim != 4 or fusion.ndim != 4:
        raise CheckpointError(f"{file} holds no complete UPerNet: its last layers are no convolutions.")
    pattern = re.compile(r"decode_head\.lateral_convs\.\d+\.conv\.weight")
    widths = [tensors[name].shape[1] for name in sorted(name for name in tensors if pattern.fullmatch(name))]
    widths.append(tensors["decode_head.psp_modules.0.1.conv.weight"].shape[1])
    if any(width not in backbone.dims for width in widths):
        raise ConfigError(f"its head reads maps of {widths} channels, the backbone has {list(backbone.dims)}.")
    stages = [backbone.dims.index(width) for width in widths]
    auxiliary = "auxiliary_head.conv_seg.weight" in tensors
    hidden, outputs = fusion.shape[0], weight.shape[0]
    if auxiliary and tensors["auxiliary_head.conv_seg.weight"].shape[1] != max(1, hidden // 2):
        raise ConfigError(f"its second head must have {hidden // 2} channels, half those of the first.")
    reduced = [entry.get("reduce_zero_label") for entry in find_entries(settings, "LoadAnnotations")]
    dropout = setting(settings, "model", "decode_head", "dropout_ratio")
    return {
        "kind": "uper",
        "outputs": outputs,
        "stages": stages,
        "channels": hidden,
        "dropout": float(dropout) if isinstance(dropout, int | float) else 0.1,
        "auxiliary": auxiliary,
        "reduce_zero_label": True in reduced if settings else outputs == _ADE20K_CLASSES,
    }


def _refuse_deviations(settings: Mapping[str, Any]) -> None:
    """Refuse settings that no tensor shows and that are done in one way here."""
    fixed: list[tuple[str, Any, Any]] = []
    for head in ("decode_head", "auxiliary_head"):
        found = setting(settings, "model", head)
        if isinstance(found, Mapping):
            fixed += [(f"{head}.align_corners", found.get("align_corners"), False)]
    fixed.append(("pool_scales", setting(settings, "model", "decode_head", "pool_scales"), [1, 2, 3, 6]))
    fixed.append(("concat_input", setting(settings, "model", "auxiliary_head", "concat_input"), False))
    for name, value, expected in fixed:
        if value is not None and value != expected:
            raise ConfigError(f"{name} must be {expected}, got {value!r:.60}.")
