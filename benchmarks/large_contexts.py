"""Which context names the pixels of large scenes best after training on crops: ``python -m benchmarks.large_contexts``.

A semantic network on the backbone in the package learns on random crops of generated scenes, and is measured on other
scenes at their full size: as a whole, by tiles of the size of the crops and larger, and by tiles with shared means.

Axes: B batch, S side of a crop, K classes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.machine import machine_fields, source_fields, version_fields
from focalnets.data.scenes.generator import Scene, SceneGenerator
from focalnets.data.scenes.landscapes import LAND
from focalnets.files import write_json
from focalnets.large.looking import LargeOptions, plan_look, segment_large
from focalnets.large.pyramid import pixels_to_input
from focalnets.large.sources import open_source
from focalnets.models.heads.semantic import SemanticNetwork
from focalnets.weights.loading import load_model
from focalnets.weights.shipped import DEFAULT

_FIRST_VALIDATION = 1_000_000
_LEARNING_RATES = {"backbone": 5e-4, "head": 1e-3}


def labels_of(scene: Scene) -> np.ndarray:
    """Number the pixels (H, W) by land, and things by one class more."""
    labels = scene.land.astype(np.int64)
    for thing in scene.objects:
        labels[thing.mask] = len(LAND)
    return labels


def train(scenes: SceneGenerator, crop_px: int, steps: int, batch: int, pool: int, seed: int) -> SemanticNetwork:
    """Train on random crops of ``pool`` scenes, half of them mirrored."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    network = SemanticNetwork(load_model(DEFAULT, pyramid_norms=True), (*LAND, "thing"), channels=64).train()
    prepare = pixels_to_input(network.preprocessing)
    pictures = [scenes.scene(index) for index in range(pool)]
    known = [(scene.image, labels_of(scene)) for scene in pictures]
    head = [weight for name, weight in network.named_parameters() if not name.startswith("backbone.")]
    groups = [
        {"params": [*network.backbone.parameters()], "lr": _LEARNING_RATES["backbone"]},
        {"params": head, "lr": _LEARNING_RATES["head"]},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in groups], total_steps=steps, pct_start=0.1
    )
    for _ in range(steps):
        images, truths = [], []
        for _ in range(batch):
            picture, labels = known[random.integers(pool)]
            top, left = random.integers(0, picture.shape[0] - crop_px + 1, 2)
            step = -1 if random.random() < 0.5 else 1
            window = (slice(top, top + crop_px), slice(left, left + crop_px))
            images.append(prepare(picture[window][:, ::step]))
            truths.append(torch.from_numpy(labels[window][:, ::step].copy()))
        logits = network(torch.cat(images))["logits"]
        enlarged = F.interpolate(logits, size=(crop_px, crop_px), mode="bilinear", align_corners=False)
        loss = F.cross_entropy(enlarged, torch.stack(truths))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    return network.eval()


def measure(network: SemanticNetwork, scenes: SceneGenerator, count: int, options: LargeOptions) -> dict[str, Any]:
    """Measure on scenes at their full size: mean IoU over the classes, and the fraction of pixels that are right."""
    classes = len(network.class_names)
    confusion = np.zeros((classes, classes), np.int64)
    started = time.process_time()
    for index in range(_FIRST_VALIDATION, _FIRST_VALIDATION + count):
        scene = scenes.scene(index)
        with open_source(scene.image) as source:
            found = segment_large(network, source, plan_look(network.backbone, source, options)).labels
        pairs = labels_of(scene) * classes + found
        confusion += np.bincount(pairs.ravel(), minlength=classes**2).reshape(classes, classes)
    right = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - right
    return {
        "context": options.context,
        "tile_px": None if options.context == "image" else options.tile_px,
        "overlap_px": None if options.context == "image" else options.overlap_px,
        "miou": float((right[union > 0] / union[union > 0]).mean()),
        "pixel_accuracy": float(right.sum() / confusion.sum()),
        "cpu_seconds": time.process_time() - started,
    }


def run() -> int:
    """Train, measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_contexts", description=__doc__)
    parser.add_argument("--scene_px", type=int, default=1024)
    parser.add_argument("--crop_px", type=int, default=192)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pool", type=int, default=60)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    scenes = SceneGenerator(image_size_px=options.scene_px)
    settings = {name: value for name, value in vars(options).items() if name != "output"}
    results: dict[str, Any] = {**machine_fields(), "versions": version_fields(), **source_fields(), **settings}
    results["rows"] = []
    for seed in range(options.seeds):
        started = time.process_time()
        network = train(scenes, options.crop_px, options.steps, options.batch, options.pool, seed)
        print(f"seed {seed}: trained in {time.process_time() - started:.0f} processor seconds", flush=True)
        for context in ("image", "tile", "shared"):
            tiles = (options.crop_px,) if context == "image" else (options.crop_px, 2 * options.crop_px)
            for tile in tiles:
                look = LargeOptions(context=context, tile_px=tile, overlap_px=64)
                row = {"seed": seed, **measure(network, scenes, options.count, look)}
                results["rows"].append(row)
                print(row, flush=True)
    if options.output is not None:
        write_json(options.output, results)
    return 0


if __name__ == "__main__":
    sys.exit(run())
