"""Detectors from mmdetection: Faster and Mask R-CNN on a FocalNet, read from its checkpoints as they are.

Versions 2 and 3 name the tensors alike; what their settings were stands as Python text in the checkpoint or in a file
beside it. Settings that are nowhere are those of the published configs.

Axes: C channels, K classes, A anchors at a place.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from focalnets.errors import CheckpointError, ConfigError
from focalnets.models.config import FocalNetConfig, Preprocessing, WholeImage
from focalnets.models.fields import printable
from focalnets.models.heads.detector_config import DetectorConfig
from focalnets.weights.key_maps import LAYOUTS, Rule, find_networks, from_rules
from focalnets.weights.opening import Opened, open_raw
from focalnets.weights.readers import RawWeights
from focalnets.weights.recognition import Recognition
from focalnets.weights.script_settings import find_entries, read_assignments, setting

__all__ = [
    "MMDETECTION",
    "RULES",
    "input_of_settings",
    "labels_of_training",
    "open_detector",
    "prefix_of_backbone",
    "settings_of",
]

MMDETECTION = "mmdetection"
"""What users write for the layout."""

_HEAD = "roi_head."

RULES: tuple[Rule, ...] = (
    *(
        dataclasses.replace(rule, ours=f"backbone.{rule.ours}", theirs=f"backbone.{rule.theirs}")
        for rule in LAYOUTS["official"].rules
    ),
    Rule("head.pyramid.laterals.{level}.{part}", "neck.lateral_convs.{level}.conv.{part}"),
    Rule("head.pyramid.outputs.{level}.{part}", "neck.fpn_convs.{level}.conv.{part}"),
    Rule("head.proposals.convolution.{part}", "rpn_head.rpn_conv.{part}"),
    Rule("head.proposals.objectness.{part}", "rpn_head.rpn_cls.{part}"),
    Rule("head.proposals.differences.{part}", "rpn_head.rpn_reg.{part}"),
    Rule("head.regions.box.first.{part}", _HEAD + "bbox_head.shared_fcs.0.{part}", "regions"),
    Rule("head.regions.box.second.{part}", _HEAD + "bbox_head.shared_fcs.1.{part}"),
    Rule("head.regions.box.classes.{part}", _HEAD + "bbox_head.fc_cls.{part}"),
    Rule("head.regions.box.differences.{part}", _HEAD + "bbox_head.fc_reg.{part}"),
    Rule("head.regions.mask.convolutions.{level}.{part}", _HEAD + "mask_head.convs.{level}.conv.{part}"),
    Rule("head.regions.mask.larger.{part}", _HEAD + "mask_head.upsample.{part}"),
    Rule("head.regions.mask.classes.{part}", _HEAD + "mask_head.conv_logits.{part}"),
)
"""Names there and here; of a detector's tensors each has one."""

_OTHERS: tuple[tuple[str, str], ...] = (
    ("Sparse R-CNN", r"rpn_head\.init_proposal_(bboxes|features)\..*"),
    ("Cascade R-CNN", r"roi_head\.bbox_head\.\d+\..*"),
    ("ATSS", r"bbox_head\.atss_.*"),
    ("DINO", r"(transformer\.|label_enc\.|dn_query_generator\.|bbox_head\.cls_branches\.|class_embed\.).*"),
)
"""Published detectors on FocalNets that are not built here, and a name that gives each away."""

_PUBLISHED_STRIDES = (4, 8, 16, 32, 64)


def open_detector(raw: RawWeights) -> Opened | None:
    """Recognise a detector of mmdetection; None where it is none.

    Raises:
        CheckpointError: If it is of a kind that is not built here, does not fit together, or its settings are needed
            and nowhere.
    """
    prefix = prefix_of_backbone(raw)
    if prefix is None:
        return None
    tensors = {name.removeprefix(prefix): tensor for name, tensor in raw.tensors.items() if name.startswith(prefix)}
    # Version 1 of mmcv keeps the raw weights under such names, beside the averaged ones.
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("ema_")}
    for kind, pattern in _OTHERS:
        if any(re.fullmatch(pattern, name) for name in tensors):
            raise CheckpointError(
                f"{raw.place} holds a {kind} of mmdetection or its kin, whose head is not built here; Faster and Mask "
                "R-CNN are, and focalnets.load_model reads the backbone alone."
            )
    if "rpn_head.rpn_cls.weight" not in tensors or _HEAD + "bbox_head.fc_cls.weight" not in tensors:
        return None
    inner = {name.removeprefix("backbone."): value for name, value in tensors.items() if name.startswith("backbone.")}
    settings, place = settings_of(raw, "roi_head")
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
            f"{raw.place} does not fit the detector that it is made for, so nothing was loaded: {len(unknown)} "
            f"unexpected: {shown}{' and others' if len(unknown) > 8 else ''}."
        )
    for stage, dim in enumerate(backbone.config.dims):  # norms of maps that no head reads
        ours.setdefault(f"backbone.pyramid_norms.{stage}.weight", torch.ones(dim))
        ours.setdefault(f"backbone.pyramid_norms.{stage}.bias", torch.zeros(dim))
    notes = list(raw.notes + backbone.notes)
    try:
        head = _head_config(tensors, backbone.config, settings, place, raw.place)
    except ConfigError as error:
        raise CheckpointError(f"{raw.place} describes a detector that cannot be built here: {error}") from error
    notes.append(
        f"Its settings were read from {place}."
        if settings
        else "The file does not say its settings; those of the published configs were taken, such as anchors of 8 "
        "times the stride and images of 800 px."
    )
    labels, note = labels_of_training(raw.about, head.outputs, raw.place)
    recognition = Recognition(
        layout=MMDETECTION,
        task="instance" if head.masks else "detect",
        config=backbone.config,
        head=head.to_dict(),
        variant=backbone.variant,
        input=input_of_settings(settings, shorter=800, longer=1333),
        labels=labels,
        notes=tuple(notes + note),
        files=tuple(map(str, raw.files)),
    )
    return Opened(tensors=ours, recognition=recognition, description=None)


def prefix_of_backbone(raw: RawWeights) -> str | None:
    """Find what stands before the names of a network on a backbone, e.g. ``module.``; None where there is none."""
    found = find_networks(raw.tensors)
    if len(found) != 1:
        return None
    layout, prefix = next(iter(found))
    match = re.fullmatch(r"(.*?)backbone\.(0\.)?", prefix)
    return match[1] if layout == "official" and match is not None else None


def settings_of(raw: RawWeights, head: str) -> tuple[dict[str, Any], str]:
    """Read the settings that the file, or a script beside it with such a head, holds, and say where."""
    for key in ("config", "cfg"):  # of versions 2 and 3
        text = raw.about.get(key)
        if isinstance(text, str) and "model" in (read := read_assignments(text)):
            return read, "the checkpoint"
    scripts = sorted(raw.folder.glob("*.py"))
    if len(scripts) == 1:
        read = read_assignments(_text_of(scripts[0]))
        if setting(read, "model", head) is not None:
            return read, scripts[0].name
    return {}, ""


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _head_config(
    tensors: Mapping[str, Tensor], backbone: FocalNetConfig, settings: Mapping[str, Any], place: str, file: str
) -> DetectorConfig:
    def shape(name: str, axes: int = 4) -> tuple[int, ...]:
        found = tuple(tensors[name].shape) if name in tensors else ()
        if len(found) != axes:
            got = f"of shape {found}" if name in tensors else "missing"
            raise CheckpointError(f"{file} holds no complete detector: {name} is {got}.")
        return found

    outputs = shape(_HEAD + "bbox_head.fc_cls.weight", 2)[0] - 1
    if shape(_HEAD + "bbox_head.fc_reg.weight", 2)[0] != 4 * outputs:
        raise ConfigError("its boxes are the same for all classes (reg_class_agnostic), and here each has its own.")
    laterals = [shape(f"neck.lateral_convs.{level}.conv.weight")[1] for level in range(_count(tensors, "lateral"))]
    stages = tuple(backbone.dims.index(width) for width in laterals if width in backbone.dims)
    if len(stages) != len(laterals) or _count(tensors, "fpn") != len(laterals):
        raise ConfigError("its pyramid is not made of one convolution on each map and one behind it.")
    masks = _HEAD + "mask_head.conv_logits.weight" in tensors
    layers = len({name for name in tensors if re.fullmatch(r"roi_head\.mask_head\.convs\.\d+\.conv\.weight", name)})
    _refuse_deviations(settings)
    strides = [backbone.strides[stage] for stage in stages]
    sizes, ratios = _anchors(settings, strides, shape("rpn_head.rpn_cls.weight")[0], place, file)
    test, train = _section(settings, "model", "test_cfg"), _section(settings, "model", "train_cfg")
    in_use, learning, rcnn = _section(test, "rpn"), _section(train, "rpn_proposal"), _section(test, "rcnn")
    usual = DetectorConfig(outputs=1)
    most = [each.get("max_per_img", each.get("nms_post")) for each in (in_use, learning)]
    chosen = {
        "candidates": tuple(_or(each.get("nms_pre"), number)
                            for each, number in zip((in_use, learning), usual.candidates, strict=True)),
        "proposals": tuple(_or(given, number) for given, number in zip(most, usual.proposals, strict=True)),
        "proposal_overlap": _or(setting(in_use, "nms", "iou_threshold"), in_use.get("nms_thr"), usual.proposal_overlap),
        "score_threshold": _or(rcnn.get("score_thr"), usual.score_threshold),
        "overlap": _or(setting(rcnn, "nms", "iou_threshold"), usual.overlap),
        "detections": _or(rcnn.get("max_per_img"), usual.detections),
        "box_deviations": _or(setting(settings, "model", "roi_head", "bbox_head", "bbox_coder", "target_stds"),
                              usual.box_deviations),
    }  # fmt: skip
    return DetectorConfig(
        outputs=outputs,
        stages=stages,
        pyramid_channels=shape("neck.fpn_convs.0.conv.weight")[0],
        anchor_sizes=sizes,
        anchor_ratios=ratios,
        box_channels=shape(_HEAD + "bbox_head.shared_fcs.0.weight", 2)[0],
        masks=masks,
        mask_channels=shape(_HEAD + "mask_head.convs.0.conv.weight")[0] if layers else usual.mask_channels,
        mask_layers=layers or usual.mask_layers,
        padding_masked=False,
        **chosen,
    )


def _count(tensors: Mapping[str, Tensor], kind: str) -> int:
    return sum(re.fullmatch(rf"neck\.{kind}_convs\.\d+\.conv\.weight", name) is not None for name in tensors)


def _section(settings: Any, *path: str) -> Mapping[str, Any]:
    """What stands at a path of names if it has names itself, else nothing."""
    found = setting(settings, *path)
    return found if isinstance(found, Mapping) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _or(*values: Any) -> Any:
    """The first value that is not None."""
    return next(value for value in values if value is not None)


def _anchors(
    settings: Mapping[str, Any], strides: Sequence[int], rows: int, place: str, file: str
) -> tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]:
    """Sizes of the anchors of each map, and their ratios."""
    generator = _section(settings, "model", "rpn_head", "anchor_generator")
    usual = {"scales": [8], "ratios": [0.5, 1.0, 2.0], "strides": [*strides, 2 * strides[-1]]}
    scales, ratios, all_strides = (generator.get(name, value) for name, value in usual.items())
    bases = _or(generator.get("base_sizes"), all_strides)
    lists = all(isinstance(each, list) for each in (scales, ratios, all_strides, bases))
    if not lists or not all(map(_is_number, (*scales, *ratios, *all_strides, *bases))):
        raise ConfigError(f"its anchors, as {place} has them, are not the same along both axes.")
    if len(scales) * len(ratios) != rows:
        if generator:
            raise ConfigError(
                f"its tensors are for {rows} anchors at a place, its settings in {place} for "
                f"{len(scales) * len(ratios)}."
            )
        raise CheckpointError(
            f"{file} has {rows} anchors at a place, but does not say of which sizes; put the settings file of its "
            "training, which ends in .py, alone into its folder."
        )
    if list(all_strides[: len(strides)]) != list(strides):
        raise ConfigError(f"its anchors stand {all_strides} px apart, its maps {list(strides)}.")
    if len(bases) != len(all_strides):
        raise ConfigError(f"its anchors have {len(bases)} base_sizes for {len(all_strides)} maps.")
    return tuple(tuple(base * scale for scale in scales) for base in bases), tuple(ratios)


def _refuse_deviations(settings: Mapping[str, Any]) -> None:
    """Refuse settings that no tensor shows and that are done in one way here."""
    model = _section(settings, "model")
    fixed = [
        ("loss_cls.use_sigmoid", setting(model, "rpn_head", "loss_cls", "use_sigmoid"), True),
        ("rpn_head.bbox_coder.target_stds", setting(model, "rpn_head", "bbox_coder", "target_stds"), [1.0] * 4),
        ("bbox_head.bbox_coder.target_means",
         setting(model, "roi_head", "bbox_head", "bbox_coder", "target_means"), [0.0] * 4),
        ("mask_thr_binary", setting(model, "test_cfg", "rcnn", "mask_thr_binary"), 0.5),
    ]  # fmt: skip
    for name, bins in (("bbox_roi_extractor", 7), ("mask_roi_extractor", 14)):
        layer = _section(model, "roi_head", name, "roi_layer")
        fixed += [(f"{name}.{key}", layer.get(key), value)
                  for key, value in (("type", "RoIAlign"), ("output_size", bins), ("sampling_ratio", 0))]  # fmt: skip
    for name, value, expected in fixed:
        if value is not None and value != expected:
            raise ConfigError(f"{name} must be {expected}, got {value!r:.60}.")


def input_of_settings(settings: Mapping[str, Any], *, shorter: int, longer: int) -> WholeImage:
    """Read how images are prepared: the last size that the settings name is that of testing.

    Args:
        settings: Of the training.
        shorter: Shorter side that is taken where the settings say nothing [px].
        longer: Longer side likewise [px].

    Raises:
        CheckpointError: If they are prepared as it cannot be done here.
    """
    usual = Preprocessing()
    for entry in (*find_entries(settings.get("test_pipeline"), "MultiScaleFlipAug"),
                  *find_entries(settings.get("test_pipeline"), "Resize")):  # fmt: skip
        scale = _or(entry.get("img_scale"), entry.get("scale"), ())
        if isinstance(scale, list) and len(scale) == 2 and all(type(side) is int for side in scale):
            shorter, longer = min(scale), max(scale)
    given = _section(settings, "model", "data_preprocessor") or next(
        find_entries(settings.get("test_pipeline"), "Normalize"), _section(settings, "img_norm_cfg")
    )
    mean, std = (
        tuple(value / 255 for value in numbers)
        if isinstance(numbers := setting(given, name), list) and len(numbers) == 3 and all(map(_is_number, numbers))
        else standard
        for name, standard in (("mean", usual.mean), ("std", usual.std))
    )
    try:
        return WholeImage(input_size_px=shorter, longest_px=longer, antialias=False, mean=mean, std=std)
    except ConfigError as error:
        raise CheckpointError(f"The settings prepare images as it cannot be done here: {error}") from error


def labels_of_training(about: Mapping[str, Any], outputs: int, file: str) -> tuple[tuple[str, ...], list[str]]:
    """Find names of the classes, and notes on where they are from."""
    kept = about.get("dataset_meta")
    given = _or(
        about.get("CLASSES"), *([kept.get("classes"), kept.get("CLASSES")] if isinstance(kept, Mapping) else []), ()
    )
    if isinstance(given, str):
        given = (given,)
    if isinstance(given, list | tuple) and given and all(isinstance(name, str) for name in given):
        if len(given) != outputs:
            raise CheckpointError(f"{file} names {len(given)} classes for {outputs} outputs.")
        return tuple(given), []
    if outputs == 80:
        from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

        names = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
        known = tuple(name for name in names if name not in ("__background__", "N/A"))
        return known, ["80 outputs are taken for the classes of COCO."]
    return tuple(f"class {index}" for index in range(outputs)), ["The file does not name its classes."]
