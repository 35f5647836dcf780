"""Segmenters written as mmsegmentation reads them: tensors under its names, and the settings of its model as text."""

from __future__ import annotations

import os
import pprint
from pathlib import Path
from typing import Any

from torch import nn

from focalnets.errors import CheckpointError
from focalnets.models.config import WholeImage
from focalnets.models.heads.semantic import SemanticNetwork
from focalnets.models.heads.uper import POOLED_SIZES
from focalnets.weights.checkpoint import stored_state
from focalnets.weights.conversion import why_inexpressible, write_pickle
from focalnets.weights.key_maps import to_rules
from focalnets.weights.mmsegmentation import MMSEGMENTATION, RULES

__all__ = ["save_for_mmsegmentation"]


def save_for_mmsegmentation(
    model: nn.Module, destination: str | os.PathLike[str], *, dtype: str | None = None
) -> list[Path]:
    """Write a UPerNet as a checkpoint of mmsegmentation, versions 0 and 1.

    Args:
        model: A :class:`focalnets.models.heads.semantic.SemanticNetwork` of kind ``uper``.
        destination: A file that ends in .pth or .pt.
        dtype: What the weights are kept as, see :func:`focalnets.weights.checkpoint.stored_state`.

    Returns:
        The file written. Under ``meta`` it holds the names of the classes, and under ``config`` and ``cfg`` the text of
        the model's settings, whose backbone is the authors' ``FocalNet``.

    Raises:
        CheckpointError: If mmsegmentation has no place for the network, or writing fails; then nothing was written.
    """
    path = Path(destination)
    reason = _why_inexpressible(model, path.suffix)
    if reason is not None:
        raise CheckpointError(f"This network cannot be written to {path} in the {MMSEGMENTATION} layout: {reason}")
    assert isinstance(model, SemanticNetwork)
    state = stored_state(model, dtype)
    unused = tuple(
        f"backbone.pyramid_norms.{stage}." for stage in range(len(model.config.depths)) if stage not in model.stages
    )
    state = {name: tensor for name, tensor in state.items() if not unused or not name.startswith(unused)}
    tensors = to_rules(RULES, state, post_norm=model.config.post_norm)
    assert len(tensors) == len(state), "a rule is missing for a segmenter that the layout can express"
    text, names = _settings_text(model), list(model.class_names)
    meta = {"CLASSES": tuple(names), "dataset_meta": {"classes": names}, "config": text, "cfg": text}
    write_pickle({"meta": meta, "state_dict": tensors}, path)
    return [path]


def _why_inexpressible(model: nn.Module, suffix: str) -> str | None:
    if not isinstance(model, SemanticNetwork) or model.kind != "uper":
        kind = getattr(model, "kind", None)
        return "it is no UPerNet." if kind is None else f"its head is {kind}, and only uper is written there."
    if suffix not in (".pth", ".pt"):
        return "it is one file; end the name in .pth."
    return why_inexpressible("official", model.config, suffix=suffix)


def _settings_text(model: SemanticNetwork) -> str:
    """Write the model's settings as Python that mmsegmentation reads."""
    config, images = model.config, model.preprocessing
    common = {"dropout_ratio": model.dropout, "num_classes": len(model.class_names), "align_corners": False}
    norm = {"type": "SyncBN", "requires_grad": True}
    settings: dict[str, Any] = {
        "type": "EncoderDecoder",
        "data_preprocessor": {
            "type": "SegDataPreProcessor", "mean": [255 * value for value in images.mean],
            "std": [255 * value for value in images.std], "bgr_to_rgb": True, "pad_val": 0, "seg_pad_val": 255,
        },
        "backbone": {
            "type": "FocalNet", "embed_dim": config.embed_dim, "depths": list(config.depths),
            "mlp_ratio": config.mlp_ratio, "drop_path_rate": config.drop_path, "out_indices": list(model.stages),
            "focal_levels": list(config.focal_levels), "focal_windows": list(config.focal_windows),
            "use_conv_embed": config.stem == "overlapped", "use_layerscale": config.layer_scale is not None,
        },
        "decode_head": {
            "type": "UPerHead", "in_channels": list(model.channels), "in_index": list(range(len(model.stages))),
            "pool_scales": list(POOLED_SIZES), "channels": model.hidden, "norm_cfg": norm, **common,
        },
        "train_cfg": {},
        "test_cfg": {"mode": "whole"},
    }  # fmt: skip
    if config.normalize_modulator:
        settings["backbone"]["scaling_modulator"] = True
    if model.auxiliary is not None:
        settings["auxiliary_head"] = {
            "type": "FCNHead", "in_channels": model.channels[-2], "in_index": len(model.stages) - 2,
            "channels": max(1, model.hidden // 2), "num_convs": 1, "concat_input": False, "norm_cfg": norm, **common,
        }  # fmt: skip
    text = f"model = {pprint.pformat(settings, width=110, sort_dicts=False)}\n"
    steps: list[dict[str, Any]] = [{"type": "LoadImageFromFile"}]
    if isinstance(images, WholeImage) and images.side == "shorter" and images.longest_px is not None:
        steps.append({"type": "Resize", "scale": (images.longest_px, images.input_size_px), "keep_ratio": True})
    steps.append({"type": "LoadAnnotations", "reduce_zero_label": model.reduce_zero_label})
    return text + f"test_pipeline = {pprint.pformat(steps, width=110, sort_dicts=False)}\n"
