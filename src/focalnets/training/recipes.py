"""Complete settings for common situations, as functions. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable

from focalnets.training.config import TrainingConfig

__all__ = ["RECIPES", "finetune", "imagenet", "miniature", "small"]


def small() -> TrainingConfig:
    """A small network from scratch on hundreds to some ten thousand images, on a laptop.

    Few steps are taken, so the rate is high, the warm-up short and the images are changed only lightly.
    """
    return TrainingConfig()


def finetune() -> TrainingConfig:
    """Pretrained weights on another set of images: low rate, lower still for lower layers; needs ``pretrained``."""
    return TrainingConfig(
        epochs=10,
        batch_size=32,
        learning_rate=3e-4,
        warmup_epochs=1.0,
        weight_decay=0.05,
        layer_decay=0.85,
        beta2=0.999,
        ema_decay=0.999,
        min_crop_scale=0.5,
    )


def imagenet() -> TrainingConfig:
    """The published training on ImageNet-1K, at batch size 1024 on all devices together.

    300 epochs, 20 of warm-up, strong augmentation, mixup 0.8, cutmix 1.0, clipping at 5. Published: 82.1 % top-1 for
    ``focalnet_tiny_srf`` at 224 px. Not repeated here.

    Source: section 4 of the paper and the official settings. Deviations: RandAugment and colour jitter are those of
    torchvision; the decay acts on matrices and kernels, whereas the official code by mistake decays nothing.
    """
    return TrainingConfig(
        model="focalnet_tiny_srf",
        epochs=300,
        batch_size=128,
        accumulate=8,
        learning_rate=1e-3,
        final_learning_rate=0.01,
        warmup_epochs=20.0,
        weight_decay=0.05,
        beta2=0.999,
        gradient_clip=5.0,
        augmentation="strong",
        min_crop_scale=0.08,
        mixup=0.8,
        cutmix=1.0,
        precision="bfloat16",
    )


def miniature() -> TrainingConfig:
    """A toy network for two epochs: checks an installation or a data folder in seconds."""
    return TrainingConfig(
        model_overrides={"embed_dim": 8, "depths": [1, 1, 1, 1], "focal_levels": [2, 2, 2, 2]},
        image_size=32,
        epochs=2,
        batch_size=16,
        workers=0,
    )


RECIPES: dict[str, Callable[[], TrainingConfig]] = {
    "small": small,
    "finetune": finetune,
    "imagenet": imagenet,
    "miniature": miniature,
}
"""The recipes by name."""
