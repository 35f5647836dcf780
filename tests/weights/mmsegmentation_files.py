"""Checkpoints as mmsegmentation writes them, with random numbers; names and shapes are written out here."""

from __future__ import annotations

import torch
from tests.weights.mmdetection_files import DIMS, backbone_shapes

HIDDEN, OUTPUTS = 12, 4

CONFIG = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='FocalNet', embed_dim=8, depths=[1, 1, 1, 1], focal_windows=[9, 9, 9, 9]),
    decode_head=dict(type='UPerHead', in_channels=[8, 16, 32, 64], in_index=[0, 1, 2, 3], pool_scales=(1, 2, 3, 6),
        channels=12, dropout_ratio=0.2, num_classes=4, norm_cfg=norm_cfg, align_corners=False),
    auxiliary_head=dict(type='FCNHead', in_channels=32, in_index=2, channels=6, num_convs=1, concat_input=False,
        dropout_ratio=0.1, num_classes=4, norm_cfg=norm_cfg, align_corners=False),
    test_cfg=dict(mode='whole'))
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_pipeline = [dict(type='LoadAnnotations', reduce_zero_label=True)]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(800, 320), flip=False, transforms=[
        dict(type='Resize', keep_ratio=True), dict(type='Normalize', **img_norm_cfg)])]
data = dict(train=dict(pipeline=[dict(type='LoadAnnotations', reduce_zero_label=True)]))
"""


def state_dict(auxiliary=True, outputs=OUTPUTS):
    """A UPerNet under the names of mmsegmentation."""
    generator = torch.Generator().manual_seed(5)
    shapes = {f"backbone.{name}": shape for name, shape in backbone_shapes().items()}
    head = "decode_head."
    convolutions = {
        f"{head}bottleneck": (HIDDEN, DIMS[-1] + 4 * HIDDEN, 3, 3),
        f"{head}fpn_bottleneck": (HIDDEN, 4 * HIDDEN, 3, 3),
        **{f"{head}psp_modules.{number}.1": (HIDDEN, DIMS[-1], 1, 1) for number in range(4)},
        **{f"{head}lateral_convs.{number}": (HIDDEN, DIMS[number], 1, 1) for number in range(3)},
        **{f"{head}fpn_convs.{number}": (HIDDEN, HIDDEN, 3, 3) for number in range(3)},
    }
    classifiers = {f"{head}conv_seg": HIDDEN}
    if auxiliary:
        convolutions["auxiliary_head.convs.0"] = (HIDDEN // 2, DIMS[2], 3, 3)
        classifiers["auxiliary_head.conv_seg"] = HIDDEN // 2
    for name, shape in convolutions.items():
        shapes[f"{name}.conv.weight"] = shape
        shapes |= {f"{name}.bn.{part}": shape[:1] for part in ("weight", "bias", "running_mean", "running_var")}
    for name, width in classifiers.items():
        shapes |= {f"{name}.weight": (outputs, width, 1, 1), f"{name}.bias": (outputs,)}
    tensors = {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    for name in tensors:
        if name.endswith("running_var"):
            tensors[name] = tensors[name].abs() + 0.5
        elif name.endswith(("bn.weight", "norm.weight", "norm1.weight", "norm2.weight")):
            tensors[name] = tensors[name] + 1
    tensors |= {f"{name}.bn.num_batches_tracked": torch.tensor(7) for name in convolutions}
    return tensors


def save(path, tensors, *, version=0, config=CONFIG, names=("sky", "road", "tree", "car")):
    """Write a checkpoint of a version, with the settings and names that it keeps."""
    meta = {} if config is None else {"config" if version == 0 else "cfg": config}
    if names is not None:
        meta |= {"CLASSES": names} if version == 0 else {"dataset_meta": {"classes": list(names), "palette": [[0] * 3]}}
    torch.save({"meta": meta, "state_dict": tensors}, path)
    return path
