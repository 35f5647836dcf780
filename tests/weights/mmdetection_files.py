"""Checkpoints as mmdetection writes them, with random numbers; names and shapes are written out here."""

from __future__ import annotations

import torch

DIMS = (8, 16, 32, 64)
CHANNELS, WIDTH, OUTPUTS = 16, 24, 5

CONFIG_2 = """
model = dict(
    type='MaskRCNN',
    backbone=dict(type='FocalNet', embed_dim=8, depths=[1, 1, 1, 1], focal_windows=[9, 9, 9, 9]),
    neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=5),
    rpn_head=dict(
        type='RPNHead',
        anchor_generator=dict(
            type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder', target_means=[0.0, 0.0, 0.0, 0.0], target_stds=[1.0, 1.0, 1.0, 1.0])),
    roi_head=dict(
        bbox_roi_extractor=dict(roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0)),
        bbox_head=dict(bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2])),
        mask_roi_extractor=dict(roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0))),
    train_cfg=dict(rpn_proposal=dict(nms_pre=2000, max_per_img=1000)),
    test_cfg=dict(
        rpn=dict(nms_pre=200, max_per_img=60, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(score_thr=0.1, nms=dict(type='nms', iou_threshold=0.4), max_per_img=30, mask_thr_binary=0.5)))
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(640, 480), flip=False, transforms=[
        dict(type='Resize', keep_ratio=True), dict(type='Normalize', **img_norm_cfg)])]
optimizer = dict(type='AdamW', lr=1e-4 * 2)
"""


def backbone_shapes(levels=2, window=9):
    """Names and shapes of the authors' backbone for mmdetection."""
    shapes = {"patch_embed.proj.weight": (8, 3, 4, 4), "patch_embed.proj.bias": (8,)}
    norms = ["patch_embed.norm"]
    for stage, dim in enumerate(DIMS):
        block = f"layers.{stage}.blocks.0"
        shapes |= {
            f"{block}.modulation.f.weight": (2 * dim + levels + 1, dim),
            f"{block}.modulation.f.bias": (2 * dim + levels + 1,),
            f"{block}.modulation.h.weight": (dim, dim, 1, 1),
            f"{block}.modulation.h.bias": (dim,),
            f"{block}.modulation.proj.weight": (dim, dim),
            f"{block}.modulation.proj.bias": (dim,),
            f"{block}.mlp.fc1.weight": (4 * dim, dim),
            f"{block}.mlp.fc1.bias": (4 * dim,),
            f"{block}.mlp.fc2.weight": (dim, 4 * dim),
            f"{block}.mlp.fc2.bias": (dim,),
            **{
                f"{block}.modulation.focal_layers.{level}.0.weight": (dim, 1, window + 2 * level, window + 2 * level)
                for level in range(levels)
            },
        }
        if stage < 3:
            shapes |= {f"layers.{stage}.downsample.proj.weight": (2 * dim, dim, 2, 2),
                       f"layers.{stage}.downsample.proj.bias": (2 * dim,)}  # fmt: skip
        sizes = {f"{block}.norm1": dim, f"{block}.norm2": dim, f"norm{stage}": dim}
        if stage < 3:
            sizes[f"layers.{stage}.downsample.norm"] = 2 * dim
        for name, size in sizes.items():
            shapes |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    return shapes | {f"{name}.{part}": (8,) for name in norms for part in ("weight", "bias")}


def head_shapes(*, masks=True, anchors=3):
    """Names and weights of the head; biases have the length of the first axis, that of the upsampling the second."""
    weights = {
        **{f"neck.lateral_convs.{level}.conv": (CHANNELS, dim, 1, 1) for level, dim in enumerate(DIMS)},
        **{f"neck.fpn_convs.{level}.conv": (CHANNELS, CHANNELS, 3, 3) for level in range(4)},
        "rpn_head.rpn_conv": (CHANNELS, CHANNELS, 3, 3),
        "rpn_head.rpn_cls": (anchors, CHANNELS, 1, 1),
        "rpn_head.rpn_reg": (4 * anchors, CHANNELS, 1, 1),
        "roi_head.bbox_head.fc_cls": (OUTPUTS + 1, WIDTH),
        "roi_head.bbox_head.fc_reg": (4 * OUTPUTS, WIDTH),
        "roi_head.bbox_head.shared_fcs.0": (WIDTH, CHANNELS * 49),
        "roi_head.bbox_head.shared_fcs.1": (WIDTH, WIDTH),
    }
    if masks:
        weights |= {f"roi_head.mask_head.convs.{number}.conv": (CHANNELS, CHANNELS, 3, 3) for number in range(4)}
        weights |= {
            "roi_head.mask_head.upsample": (CHANNELS, CHANNELS, 2, 2),
            "roi_head.mask_head.conv_logits": (OUTPUTS, CHANNELS, 1, 1),
        }
    return {
        f"{name}.{part}": shape if part == "weight" else shape[:1]
        for name, shape in weights.items()
        for part in ("weight", "bias")
    }


def state_dict(seed=0, **options):
    """Random numbers at a scale at which classes are told apart and boxes move."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {f"backbone.{name}": shape for name, shape in backbone_shapes().items()} | head_shapes(**options)
    tensors = {}
    for name, shape in shapes.items():
        fan_in = max(1, torch.Size(shape[1:]).numel())
        tensors[name] = torch.randn(shape, generator=generator) * (0.1 if len(shape) == 1 else 1.5 / fan_in**0.5)
        if ".norm" in name and name.endswith("weight"):
            tensors[name] += 1
    tensors["roi_head.bbox_head.fc_cls.weight"] *= 3
    tensors["rpn_head.rpn_cls.weight"] *= 0.2  # far from 1, where many likelihoods would be the same number
    return tensors


def save(path, tensors, *, version=2, config=CONFIG_2, names=tuple("abcde"), **more):
    """Write a file of that version; without names and config it says neither."""
    if version == 2:
        meta = {"mmdet_version": "2.11.0", "epoch": 12, "iter": 100} | ({"CLASSES": names} if names else {})
        meta |= {"config": config} if config else {}
        torch.save({"meta": meta, "state_dict": tensors, **more}, path)
    else:
        meta = {"mmengine_version": "0.10.4", "epoch": 12} | ({"dataset_meta": {"classes": names}} if names else {})
        meta |= {"cfg": config} if config else {}
        torch.save({"meta": meta, "state_dict": tensors, "message_hub": {"log_scalars": {}}, **more}, path)
    return path
