"""Recipes for tasks that answer for places in images. Imports no torch."""

from __future__ import annotations

from focalnets.tasks.panoptic.settings import PanopticSettings
from focalnets.tasks.semantic.settings import SemanticSettings
from focalnets.training.config import TrainingConfig
from focalnets.weights.shipped import DEFAULT

__all__ = ["coco_1x", "coco_3x", "detect", "instance", "panoptic", "segment", "upernet_160k"]


def segment() -> TrainingConfig:
    """Set up naming the class of each pixel from the small network in the package, on a laptop.

    The light head learns at the full rate, the backbone slower towards its first layers, and the batch norms below the
    head keep what they know, because batches are small. Rare classes weigh more.

    Command: ``focalnets train camvid``. Hardware: two cores of an AMD EPYC (Zen 4). Duration: 7.1 minutes. Score:
    55.0 % mIoU on CamVid's 101 validation images, 11 classes (one seed).
    """
    return TrainingConfig(
        task="semantic",
        pretrained=DEFAULT,
        image_size=192,
        epochs=8,
        batch_size=4,
        learning_rate=1e-3,
        warmup_epochs=1.0,
        weight_decay=0.05,
        layer_decay=0.9,
        ema_decay=0.99,
        freeze_norms=True,
        precision="auto",
        settings=SemanticSettings(class_weights="balanced"),
    )


def detect() -> TrainingConfig:
    """Set up finding objects with the small network in the package, on a laptop.

    Size of images and anchors are chosen for the data. The head learns at the full rate, the backbone slower towards
    its first layers, and its batch norms keep what they know, because batches are small.

    Command: ``focalnets train bccd``. Hardware: two cores of an AMD EPYC (Zen 4). Duration: 7.8 minutes (660
    processor-seconds). Score: 48.3 % AP, 88.1 % AP50 on BCCD's 87 validation images (one seed); 12 epochs in 10.1
    minutes gave 52.9 % and 89.4 %.
    """
    return TrainingConfig(
        task="detect",
        model="fasterrcnn_focalnet_pico",
        pretrained=DEFAULT,
        epochs=10,
        batch_size=4,
        learning_rate=1e-3,
        warmup_epochs=0.5,
        weight_decay=0.05,
        layer_decay=0.95,
        ema_decay=0.99,
        freeze_norms=True,
        precision="auto",
    )


def instance() -> TrainingConfig:
    """Set up finding objects and their pixels with the small network in the package, on a laptop.

    As :func:`detect`, with masks and two epochs more.

    Command: ``focalnets train penn_fudan --task instance``. Hardware: two cores of an AMD EPYC (Zen 4). Duration: 8.5
    minutes (680 processor-seconds). Score: 93.9 % box AP50 and 89.0 % mask AP50 on 34 images held out (one seed).
    """
    return detect().replace(task="instance", model="maskrcnn_focalnet_pico", epochs=12)


def coco_1x() -> TrainingConfig:
    """Set up the published training of Mask R-CNN on COCO, schedule 1x: 12 epochs at 16 images a step.

    The rate is 1e-4 after 500 steps of warm-up and falls to a tenth after 9 and after 11 epochs; shorter sides are
    chosen from 480 to 800 px. ``pretrained`` names the weights of the classifier; the kernels grow to windows of 9.

    Command, on 8 GPUs: ``focalnets train coco --recipe coco_1x --pretrained focalnet_tiny_lrf --devices 8 --batch_size
    2``. Hardware: meant for 8 GPUs. Duration and score: not run here; published are 46.1 box AP and 41.5 mask AP for
    ``maskrcnn_focalnet_tiny_lrf``.

    Source: the official settings for detection. Deviations: sizes are drawn evenly from 480 to 800 px, without the
    crops that half of the images get there; arithmetic is bfloat16 in place of float16; batches are padded with a mask.
    """
    return TrainingConfig(
        task="instance",
        model="maskrcnn_focalnet_tiny_lrf",
        model_overrides={"focal_windows": [9, 9, 9, 9], "drop_path": 0.1},
        image_size=800,
        epochs=12,
        batch_size=16,
        learning_rate=1e-4,
        reference_batch=16,
        schedule="steps",
        step_epochs="9,11",
        warmup_epochs=0.07,
        warmup_learning_rate=1e-7,
        weight_decay=0.05,
        gradient_clip=0.0,
        precision="bfloat16",
        settings={"scale_min": 0.6, "scale_max": 1.0, "longest_px": 1333, "colour_jitter": 0.0},
    )


def coco_3x() -> TrainingConfig:
    """Set up the published training of Mask R-CNN on COCO, schedule 3x: 36 epochs, the rate falls after 27 and 33.

    As :func:`coco_1x`. Command, on 8 GPUs: ``focalnets train coco --recipe coco_3x --pretrained focalnet_tiny_lrf
    --devices 8 --batch_size 2``. Hardware: meant for 8 GPUs. Duration and score: not run here; published are 48.0 box
    AP and 42.9 mask AP for ``maskrcnn_focalnet_tiny_lrf``.
    """
    return coco_1x().replace(epochs=36, step_epochs="27,33")


def upernet_160k() -> TrainingConfig:
    """Set up the published training of UPerNet on ADE20K: 160,000 steps of 16 images, cut to 512 px.

    Command, on 8 GPUs: ``focalnets train ade20k --recipe upernet_160k --pretrained focalnet_tiny_lrf --devices 8``.
    Hardware: meant for 8 GPUs with two images each. Duration and score: not run here; published is 46.8 mIoU for
    ``focalnet_tiny_lrf``, tested at one size.

    Source: what is published with the paper: AdamW, rate 6e-5 with 1,500 steps of warm-up and then in a line to 0,
    decay 0.01, 512 px, a second head that counts 0.4; scaling by 0.5 to 2, cuts and the ignored class 0 are those that
    mmsegmentation has for ADE20K. Deviations: an epoch has 1,263 steps, so that 127 epochs are 160,401; drop path is
    that of the variant; colours change in brightness, contrast and saturation by one factor each; arithmetic is
    bfloat16 instead of float32.
    """
    return TrainingConfig(
        task="semantic",
        model="upernet_focalnet_tiny_lrf",
        image_size=512,
        epochs=127,
        batch_size=2,
        learning_rate=6e-5,
        schedule="linear",
        minimum_learning_rate=0.0,
        warmup_epochs=1.19,
        warmup_learning_rate=6e-11,
        weight_decay=0.01,
        gradient_clip=0.0,
        precision="bfloat16",
        settings=SemanticSettings(
            longest_px=2048,
            antialias=False,
            scale_min=0.5,
            scale_max=2.0,
            crop_px=512,
            colour_jitter=0.5,
            auxiliary_weight=0.4,
            reduce_zero_label=True,
        ),
    )


def panoptic() -> TrainingConfig:
    """Set up finding every object and every kind of ground, by Mask2Former's head on the small network in the package.

    The head has a quarter of the published channels and half of its layers and queries, for a few thousand images.

    Command: ``focalnets train scenes:600 --task panoptic``. Hardware: a GPU, or a CPU and patience.
    """
    return segment().replace(
        task="panoptic",
        epochs=50,
        batch_size=8,
        learning_rate=3e-4,
        gradient_clip=1.0,
        precision="float32",
        settings=PanopticSettings(channels=64, queries=50, decoder_layers=5),
    )
