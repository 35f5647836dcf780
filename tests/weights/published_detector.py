"""Mask R-CNN as papers and published settings describe it, straight from the formulas: slow, and sharing nothing.

It works on tensors by mmdetection's names and on the maps of a backbone.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

STRIDES = (4, 8, 16, 32, 64)


def detect(tensors, maps, size, *, before=1000, proposals=1000, most=100, least_score=0.05, nms=0.5, proposal_nms=0.7):
    """Boxes (N, 4), scores, labels and masks (N, 28, 28) of one image of height and width ``size``."""
    levels = pyramid(tensors, maps)
    boxes = propose(tensors, levels, size, before, proposals, proposal_nms)
    regions = np.stack([align(levels[:4], box, 7) for box in boxes])
    hidden = torch.from_numpy(regions).flatten(1)
    for name in ("shared_fcs.0", "shared_fcs.1"):
        hidden = F.relu(linear(tensors, f"roi_head.bbox_head.{name}", hidden))
    scores = linear(tensors, "roi_head.bbox_head.fc_cls", hidden).softmax(1).numpy()
    moves = linear(tensors, "roi_head.bbox_head.fc_reg", hidden).numpy()
    found = []
    for number, box in enumerate(boxes):
        for label in range(scores.shape[1] - 1):  # background stands last
            if scores[number, label] > least_score:
                move = moves[number, 4 * label : 4 * label + 4] * np.array([0.1, 0.1, 0.2, 0.2], dtype=np.float32)
                found.append((scores[number, label], label, moved(box, move, size)))
    found.sort(key=lambda entry: -entry[0])
    kept = []
    for score, label, box in found:
        if all(label != other or overlap(box, chosen) <= nms for _, other, chosen in kept):
            kept.append((score, label, box))
    kept = kept[:most]
    masks = [draw(tensors, align(levels[:4], box, 14), label) for _, label, box in kept]
    return (
        np.array([box for _, _, box in kept]),
        np.array([score for score, _, _ in kept]),
        np.array([label for _, label, _ in kept]),
        np.array(masks),
    )


def linear(tensors, name, values):
    return values @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def convolve(tensors, name, values, padding=0):
    return F.conv2d(values, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=padding)


def pyramid(tensors, maps):
    inner = [convolve(tensors, f"neck.lateral_convs.{level}.conv", values) for level, values in enumerate(maps)]
    for level in (2, 1, 0):
        coarse = inner[level + 1].repeat_interleave(2, 2).repeat_interleave(2, 3)
        inner[level] = inner[level] + coarse[..., : inner[level].shape[2], : inner[level].shape[3]]
    levels = [convolve(tensors, f"neck.fpn_convs.{level}.conv", values, 1) for level, values in enumerate(inner)]
    return [*levels, levels[-1][:, :, ::2, ::2]]


def propose(tensors, levels, size, before, most, nms):
    chosen = []
    for level, values in enumerate(levels):
        hidden = F.relu(convolve(tensors, "rpn_head.rpn_conv", values, 1))
        scores = convolve(tensors, "rpn_head.rpn_cls", hidden).sigmoid()[0].numpy()
        moves = convolve(tensors, "rpn_head.rpn_reg", hidden)[0].numpy()
        entries = []
        for row in range(values.shape[2]):
            for column in range(values.shape[3]):
                for number, ratio in enumerate((0.5, 1.0, 2.0)):
                    width = 8 * STRIDES[level] / math.sqrt(ratio)
                    height = 8 * STRIDES[level] * math.sqrt(ratio)
                    x, y = column * STRIDES[level], row * STRIDES[level]
                    anchor = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
                    entries.append(
                        (scores[number, row, column], anchor, moves[4 * number : 4 * number + 4, row, column])
                    )
        entries.sort(key=lambda entry: -entry[0])
        boxes = [(score, moved(anchor, move, size)) for score, anchor, move in entries[:before]]
        kept = []
        for score, box in boxes:
            if box[2] > box[0] and box[3] > box[1] and all(overlap(box, other) <= nms for _, other in kept):
                kept.append((score, box))
        chosen += kept
    chosen.sort(key=lambda entry: -entry[0])
    return [box for _, box in chosen[:most]]


def moved(box, move, size):
    width, height = box[2] - box[0], box[3] - box[1]
    limit = abs(math.log(16 / 1000))
    x, y = box[0] + width / 2 + move[0] * width, box[1] + height / 2 + move[1] * height
    width = width * math.exp(min(max(move[2], -limit), limit))
    height = height * math.exp(min(max(move[3], -limit), limit))
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return np.array([min(max(corner, 0), size[1 - axis % 2]) for axis, corner in enumerate(corners)])


def overlap(first, second):
    sides = [min(first[2 + axis], second[2 + axis]) - max(first[axis], second[axis]) for axis in (0, 1)]
    if min(sides) <= 0:
        return 0.0
    shared = sides[0] * sides[1]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def align(levels, box, bins):
    """Values (C, bins, bins) of the map that belongs to a box."""
    size = math.sqrt((box[2] - box[0]) * (box[3] - box[1]))
    level = min(max(math.floor(math.log2(size / 56 + 1e-6)), 0), 3) if size else 0
    values, scale = levels[level][0].numpy(), 1 / STRIDES[level]
    left, top, right, bottom = (corner * scale - 0.5 for corner in box)
    width, height = (right - left) / bins, (bottom - top) / bins
    across, down = max(math.ceil(width), 0), max(math.ceil(height), 0)
    result = np.zeros((values.shape[0], bins, bins), dtype=np.float32)
    if not across or not down:
        return result
    columns = left + (np.arange(bins * across) + 0.5) * width / across
    rows = top + (np.arange(bins * down) + 0.5) * height / down
    by_row, by_column = interpolation(rows, values.shape[1]), interpolation(columns, values.shape[2])
    samples = np.einsum("rh,chw,kw->crk", by_row, values, by_column)
    return samples.reshape(values.shape[0], bins, down, bins, across).mean((2, 4)).astype(np.float32)


def interpolation(places, length):
    """Weights (places, length) of linear interpolation; beyond the first and last value there is one more of each."""
    weights = np.zeros((len(places), length))
    for number, place in enumerate(places):
        if place < -1 or place > length:
            continue
        place = min(max(place, 0), length - 1)
        below = min(int(place), length - 1)
        weights[number, below] += 1 - (place - below)
        if place > below:
            weights[number, below + 1] += place - below
    return weights


def draw(tensors, region, label):
    hidden = torch.from_numpy(region)[None]
    number = 0
    while f"roi_head.mask_head.convs.{number}.conv.weight" in tensors:
        hidden = F.relu(convolve(tensors, f"roi_head.mask_head.convs.{number}.conv", hidden, 1))
        number += 1
    name = "roi_head.mask_head.upsample"
    hidden = F.relu(F.conv_transpose2d(hidden, tensors[f"{name}.weight"], tensors[f"{name}.bias"], stride=2))
    return convolve(tensors, "roi_head.mask_head.conv_logits", hidden)[0, label].sigmoid().numpy()


def paste(masks, boxes, size):
    """Masks (N, 28, 28) on the whole image: booleans (N, H, W)."""
    height, width = size
    result = np.zeros((len(masks), height, width), dtype=bool)
    for number, (mask, (left, top, right, bottom)) in enumerate(zip(masks, boxes, strict=True)):
        x = (torch.arange(width) + 0.5 - left) / (right - left) * 2 - 1
        y = (torch.arange(height) + 0.5 - top) / (bottom - top) * 2 - 1
        grid = torch.stack([x[None].expand(height, width), y[:, None].expand(height, width)], -1)[None].float()
        drawn = F.grid_sample(torch.from_numpy(mask)[None, None], grid, align_corners=False)
        result[number] = drawn[0, 0].numpy() >= 0.5
    return result
