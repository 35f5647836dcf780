"""Complete settings for common situations, as functions. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from focalnets.models.heads.table import DENSE_NETWORKS
from focalnets.tasks.classify.settings import ClassifySettings
from focalnets.training.config import TrainingConfig
from focalnets.training.dense_recipes import coco_1x, coco_3x, detect, instance, panoptic, segment, upernet_160k
from focalnets.training.language_recipes import language, language_base
from focalnets.training.text_recipes import series, text

__all__ = [
    "RECIPES",
    "coco_1x",
    "coco_3x",
    "detect",
    "finetune",
    "imagenet",
    "imagenet22k_finetune",
    "in_miniature",
    "instance",
    "language",
    "language_base",
    "miniature",
    "panoptic",
    "segment",
    "series",
    "small",
    "text",
    "upernet_160k",
]


def small() -> TrainingConfig:
    """Set up a small network from scratch on hundreds to some ten thousand images, on a laptop.

    Few steps are taken, so the rate is high, the warm-up short and the images are changed only lightly. Beyond some
    thirty passes over the images, mix them too. Arithmetic is bfloat16 where a short trial finds it faster.

    Command: ``focalnets train imagenette --image_size 112 --epochs 4 --precision float32``. Hardware: two cores of an
    AMD EPYC (Zen 4), which trained another network beside it, one thread for each. Duration: 12 minutes. Score: 70.1 %
    top-1 on Imagenette's 3,925 validation images, from random weights.

    Command: this recipe, in bfloat16, in three parts with growing sizes, a moving average and, in the last two, mixup
    and cutmix; they stand in the card of ``focalnet_pico.imagenette``. Hardware: both cores. Duration: 166 minutes.
    Score: 89.0 % at 128 px.
    """
    return TrainingConfig(precision="auto")


def finetune() -> TrainingConfig:
    """Set up fine-tuning on other images: low rate, lower still for lower layers; needs ``pretrained``.

    ``freeze_epochs`` lets only the new classifier learn at first, which helps where images are very few.

    Command: ``focalnets train objects --recipe finetune --pretrained focalnet_pico.imagenette --image_size 128 --epochs
    20 --batch_size 16 --ema_decay 0.98 --precision float32``, with ``objects`` as ``docs/training.md`` makes it: 260
    crops of COCO photos to train, six classes. Hardware: two cores of an AMD EPYC (Zen 4). Duration: 2.2 minutes.
    Score: 48.7 and 51.8 % top-1 (two seeds) on 199 images, beside 33.2 % twice from random weights.
    """
    return TrainingConfig(
        epochs=10,
        batch_size=32,
        learning_rate=3e-4,
        warmup_epochs=1.0,
        weight_decay=0.05,
        layer_decay=0.85,
        beta2=0.999,
        ema_decay=0.999,
        precision="auto",
        settings=ClassifySettings(min_crop_scale=0.5),
    )


def imagenet() -> TrainingConfig:
    """Set up the published training on ImageNet-1K: 300 epochs at 1024 images a step, whatever the devices.

    The rates hold for 1024 images a step and are scaled if a step takes another number. Drop path is that of the
    variant. Evaluation is bicubic: shorter side 256/224 of the crop, centre crop.

    Command, on 8 GPUs: ``focalnets train imagenet --recipe imagenet --devices 8 --accumulate 1``; on one GPU without
    ``--devices 8 --accumulate 1``. Hardware: meant for 8 GPUs. Duration and score: not run here; published is 82.1 %
    top-1 for ``focalnet_tiny_srf`` at 224 px.

    Source: section 4 of the paper and the official settings. Deviations: RandAugment is torchvision's with timm's scale
    of magnitudes, so single operations differ in detail; the decay acts on matrices and kernels, whereas the official
    code by mistake decays nothing; arithmetic is bfloat16 instead of float16. timm, which the official code uses,
    leaves colour jitter out beside RandAugment although the settings name it; here it is applied
    (``--colour_jitter 0`` leaves it out).
    """
    return TrainingConfig(
        model="focalnet_tiny_srf",
        image_size=224,
        epochs=300,
        batch_size=128,
        accumulate=8,
        learning_rate=1e-3,
        reference_batch=1024,
        minimum_learning_rate=1e-5,
        warmup_epochs=20.0,
        warmup_learning_rate=1e-6,
        weight_decay=0.05,
        beta2=0.999,
        gradient_clip=5.0,
        ema_decay=0.0,
        precision="bfloat16",
        settings=ClassifySettings(
            label_smoothing=0.1,
            augmentation="strong",
            randaugment_magnitude=9.0,
            randaugment_noise=0.5,
            colour_jitter=0.4,
            erasing=0.25,
            min_crop_scale=0.08,
            mixup=0.8,
            cutmix=1.0,
            mixup_switch=0.5,
        ),
    )


def imagenet22k_finetune() -> TrainingConfig:
    """Set up fine-tuning on ImageNet-1K of weights from ImageNet-22K; needs ``pretrained``.

    30 epochs at a low rate with nearly no decay, more drop path, and neither mixup nor cutmix.

    Command, on 8 GPUs: ``focalnets train imagenet --recipe imagenet22k_finetune --pretrained WEIGHTS --devices 8
    --accumulate 1 --output runs/finetuned``. Hardware: 8 GPUs for the large variants. Duration and score: not run here.

    Source: epochs, rate, decay and drop path are the published ones, and mixup and cutmix are off; the warm-up and the
    last rate were chosen here, everything else is as in :func:`imagenet`.
    """
    return imagenet().replace(
        epochs=30,
        image_size=None,
        learning_rate=3e-5,
        warmup_epochs=5.0,
        warmup_learning_rate=3e-8,
        minimum_learning_rate=3e-7,
        weight_decay=1e-8,
        mixup=0.0,
        cutmix=0.0,
        model_overrides={"drop_path": 0.3},
    )


def miniature() -> TrainingConfig:
    """Set up a toy network for two epochs.

    Command: ``focalnets train photos --recipe miniature``. Hardware: any CPU. Duration: seconds. Score: of no meaning;
    it checks an installation or a folder of images.
    """
    return in_miniature(small())


def in_miniature(config: TrainingConfig) -> TrainingConfig:
    """Put a toy network, small images and batches and two epochs into a recipe, so that it is tried in seconds.

    Pretrained weights are kept where ``pretrained`` names them.
    """
    shared: dict[str, Any] = {
        "epochs": 2,
        "accumulate": min(config.accumulate, 2),
        "least_train_batches": 1,
        "warmup_epochs": min(config.warmup_epochs, 0.5),
        "workers": 0,
    }
    own = getattr(config.settings, "miniature", None)
    if own is not None:
        return config.replace(**shared, **own(config.model), batch_size=min(config.batch_size, 8))
    toy = {"embed_dim": 8, "depths": [1, 1, 1, 1], "focal_levels": [2, 2, 2, 2]}
    # A dozen steps are too few for the running means of many batch norms, and for branches that begin at zero.
    toy |= {"downsampling": "single", "initialization": "fan_in"}
    mixing = {"mixup_off_epoch": None} if config.task == "classify" else {}
    return config.replace(
        **mixing,
        model=config.model if config.model in DENSE_NETWORKS else "focalnet_pico",
        model_overrides=config.model_overrides if config.pretrained else {**config.model_overrides, **toy},
        image_size=32,
        batch_size=16,
        # The trial would take longer than an epoch.
        precision="float32" if config.precision == "auto" else config.precision,
        **shared,
    )


RECIPES: dict[str, Callable[[], TrainingConfig]] = {
    "small": small,
    "language": language,
    "language_base": language_base,
    "text": text,
    "series": series,
    "finetune": finetune,
    "imagenet": imagenet,
    "imagenet22k_finetune": imagenet22k_finetune,
    "miniature": miniature,
    "panoptic": panoptic,
    "segment": segment,
    "detect": detect,
    "instance": instance,
    "coco_1x": coco_1x,
    "coco_3x": coco_3x,
    "upernet_160k": upernet_160k,
}
"""The recipes by name."""
