"""Detectors written as mmdetection reads them: tensors under its names, and the settings of its model as text."""

from __future__ import annotations

import os
import pprint
from pathlib import Path
from typing import Any

from torch import nn

from focalnets.errors import CheckpointError
from focalnets.models.config import WholeImage
from focalnets.models.heads.detector import Detector
from focalnets.weights.checkpoint import stored_state
from focalnets.weights.conversion import why_inexpressible, write_pickle
from focalnets.weights.key_maps import to_rules
from focalnets.weights.mmdetection import MMDETECTION, RULES

__all__ = ["save_for_mmdetection"]


def save_for_mmdetection(
    model: nn.Module, destination: str | os.PathLike[str], *, dtype: str | None = None
) -> list[Path]:
    """Write a detector as a checkpoint of mmdetection, versions 2 and 3.

    Args:
        model: A :class:`focalnets.models.heads.detector.Detector`.
        destination: A file that ends in .pth or .pt.
        dtype: What the weights are kept as, see :func:`focalnets.weights.checkpoint.stored_state`.

    Returns:
        The file written. Under ``meta`` it holds the names of the classes, and under ``config`` and ``cfg`` the text of
        the model's settings, whose backbone is the authors' ``FocalNet``.

    Raises:
        CheckpointError: If mmdetection has no place for the network, or writing fails; then nothing was written.
    """
    path = Path(destination)
    reason = _why_inexpressible(model, path.suffix)
    if reason is not None:
        raise CheckpointError(f"This network cannot be written to {path} in the {MMDETECTION} layout: {reason}")
    assert isinstance(model, Detector)
    state = stored_state(model, dtype)
    unused = {f"backbone.pyramid_norms.{stage}." for stage in range(len(model.config.depths))}
    unused -= {f"backbone.pyramid_norms.{stage}." for stage in model.stages}
    state = {name: tensor for name, tensor in state.items() if not name.startswith(tuple(unused))}
    tensors = to_rules(RULES, state, post_norm=model.config.post_norm)
    assert len(tensors) == len(state), "a rule is missing for a detector that the layout can express"
    text = _settings_text(model)
    names = list(model.class_names)
    meta = {"CLASSES": tuple(names), "dataset_meta": {"classes": names}, "config": text, "cfg": text}
    write_pickle({"meta": meta, "state_dict": tensors}, path)
    return [path]


def _why_inexpressible(model: nn.Module, suffix: str) -> str | None:
    if not isinstance(model, Detector):
        kind = getattr(getattr(model, "head_config", model), "kind", None)
        return "it is no detector." if kind is None else f"its head is {kind}, and only rcnn is written there."
    if suffix not in (".pth", ".pt"):
        return "it is one file; end the name in .pth."
    if (reason := why_inexpressible("official", model.config, suffix=suffix)) is not None:
        return reason
    config = model.config
    if config.post_norm or config.modulation_norm or config.normalize_modulator:
        return "the authors' backbone for mmdetection has neither post_norm, modulation_norm nor normalize_modulator."
    if model.head_config.normalised:
        return "it has no place for norms over channels behind the convolutions of the head."
    sizes = model.head_config.anchor_sizes
    if any(abs(size / level[0] - first / sizes[0][0]) > 1e-6
           for level in sizes for size, first in zip(level, sizes[0], strict=True)):  # fmt: skip
        return "there the anchors of each map are the same multiples of its smallest, here they are not."
    return None


def _strides(model: Detector) -> list[int]:
    strides = [model.config.strides[stage] for stage in model.stages]
    return strides + [strides[-1] * 2 ** (step + 1) for step in range(model.head_config.coarser)]


def _anchor_sizes(model: Detector) -> dict[str, Any]:
    """Sizes as multiples of the strides, as published, or of sizes of their own where these are no such multiples."""
    sizes, strides = model.head_config.anchor_sizes, _strides(model)
    factors = {tuple(size / stride for size in level) for level, stride in zip(sizes, strides, strict=True)}
    if len(factors) == 1:
        return {"scales": list(factors.pop())}
    return {"scales": [size / sizes[0][0] for size in sizes[0]], "base_sizes": [level[0] for level in sizes]}


def _settings_text(model: Detector) -> str:
    """Write the model's settings as Python that mmdetection reads."""
    head, config, images = model.head_config, model.config, model.preprocessing
    strides = _strides(model)
    coder = {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4}
    channels = head.pyramid_channels

    def extractor(bins: int) -> dict[str, Any]:
        return {
            "type": "SingleRoIExtractor",
            "roi_layer": {"type": "RoIAlign", "output_size": bins, "sampling_ratio": 0},
            "out_channels": channels,
            "featmap_strides": strides[: len(model.stages)],
        }

    roi_head: dict[str, Any] = {
        "type": "StandardRoIHead",
        "bbox_roi_extractor": extractor(7),
        "bbox_head": {
            "type": "Shared2FCBBoxHead", "in_channels": channels, "fc_out_channels": head.box_channels,
            "roi_feat_size": 7, "num_classes": head.outputs, "reg_class_agnostic": False,
            "bbox_coder": {**coder, "target_stds": list(head.box_deviations)},
        },
    }  # fmt: skip
    rcnn: dict[str, Any] = {
        "score_thr": head.score_threshold,
        "nms": {"type": "nms", "iou_threshold": head.overlap},
        "max_per_img": head.detections,
    }
    if head.masks:
        rcnn["mask_thr_binary"] = 0.5
        roi_head |= {
            "mask_roi_extractor": extractor(14),
            "mask_head": {
                "type": "FCNMaskHead", "num_convs": head.mask_layers, "in_channels": channels,
                "conv_out_channels": head.mask_channels, "num_classes": head.outputs,
            },
        }  # fmt: skip
    (in_use, learning), (kept, kept_learning) = head.candidates, head.proposals
    nms = {"type": "nms", "iou_threshold": head.proposal_overlap}
    settings: dict[str, Any] = {
        "type": "MaskRCNN" if head.masks else "FasterRCNN",
        "data_preprocessor": {
            "type": "DetDataPreprocessor", "mean": [255 * value for value in images.mean],
            "std": [255 * value for value in images.std], "bgr_to_rgb": True, "pad_mask": head.masks,
            "pad_size_divisor": 32,
        },
        "backbone": {
            "type": "FocalNet", "embed_dim": config.embed_dim, "depths": list(config.depths),
            "mlp_ratio": config.mlp_ratio, "drop_path_rate": config.drop_path, "out_indices": list(model.stages),
            "focal_levels": list(config.focal_levels), "focal_windows": list(config.focal_windows),
            "use_conv_embed": config.stem == "overlapped", "use_layerscale": config.layer_scale is not None,
        },
        "neck": {
            "type": "FPN", "in_channels": list(model.channels), "out_channels": channels, "num_outs": len(strides),
        },
        "rpn_head": {
            "type": "RPNHead", "in_channels": channels, "feat_channels": channels,
            "anchor_generator": {
                "type": "AnchorGenerator", **_anchor_sizes(model),
                "ratios": list(head.anchor_ratios), "strides": strides,
            },
            "bbox_coder": {**coder, "target_stds": [1.0] * 4},
        },
        "roi_head": roi_head,
        "train_cfg": {"rpn_proposal": {"nms_pre": learning, "max_per_img": kept_learning, "nms": nms}},
        "test_cfg": {"rpn": {"nms_pre": in_use, "max_per_img": kept, "nms": nms, "min_bbox_size": 0}, "rcnn": rcnn},
    }  # fmt: skip
    text = f"model = {pprint.pformat(settings, width=110, sort_dicts=False)}\n"
    if isinstance(images, WholeImage) and images.side == "shorter" and images.longest_px is not None:
        scale = (images.longest_px, images.input_size_px)
        text += f"test_pipeline = [{{'type': 'Resize', 'scale': {scale}, 'keep_ratio': True}}]\n"
    return text
