"""Everything that decides how a network is trained. Imports no torch, so that the command line can offer it at once."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from typing import Any, Literal

from focalnets.errors import ConfigError

__all__ = ["TrainingConfig", "field_descriptions"]

Optimizer = Literal["adamw", "muon"]
Augmentation = Literal["none", "light", "strong"]
Precision = Literal["float32", "bfloat16", "float16"]
Device = Literal["auto", "cpu", "cuda", "mps"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The complete description of one training; with the same data and software it repeats the run.

    Attributes:
        model: Name of the network, see `focalnets models`. Ignored with pretrained weights, which know theirs.
        model_overrides: Fields of the network's config to change, e.g. `--model_overrides.stem convolutional`.
        pretrained: Weights to start from: a file, a run's folder or the name of published weights. The classifier is
            replaced unless the classes are the same.
        image_size: Height and width of the images the network sees [px]; None takes the model's own.
        epochs: Passes over the training images.
        batch_size: Images per optimiser step and device, times accumulate.
        accumulate: Batches whose gradients are summed before a step.
        optimizer: adamw, or muon for the matrices of the blocks with adamw for everything else.
        learning_rate: Highest rate of the schedule, for the topmost layer.
        final_learning_rate: Rate at the end of the cosine, as a share of the highest.
        warmup_epochs: Epochs during which the rate rises linearly from near zero; may be a fraction.
        weight_decay: Decay of matrices and kernels; biases, norms and layer scales never decay.
        layer_decay: Factor from each layer to the one below on the learning rate; below 1 is for fine-tuning.
        beta2: Decay of AdamW's second moments.
        gradient_clip: Largest norm of all gradients together; 0 turns clipping off.
        label_smoothing: Share of the target spread over all classes.
        ema_decay: Decay of the moving average of the weights that is evaluated and saved; 0 turns it off. It starts
            lower and reaches this value after about ten times 1 / (1 - ema_decay) steps.
        augmentation: none, light (random crop and mirroring) or strong (also colours, geometry and erasing).
        min_crop_scale: Smallest share of an image's area that a random crop covers.
        horizontal_flip: Probability of mirroring; 0 where left and right matter, e.g. writing.
        mixup: Strength of blending pairs of images; 0 turns it off.
        cutmix: Strength of pasting part of one image into another; 0 turns it off.
        precision: Arithmetic of the network: float32, or bfloat16/float16 mixed with it.
        device: Where to train; auto takes the GPU if there is one.
        workers: Processes that read images; None chooses for this machine. The result does not depend on it.
        seed: Decides the initial weights, the order of images and every random change of them.
        val_fraction: Share of each class held out where the data has no val folder.
        skip_unreadable: Decode every image before training and leave out those that cannot be read.
        limit_train_batches: Stop each epoch after this many batches; None takes all.
        limit_val_batches: Validate on this many batches only; None takes all.
    """

    model: str = "focalnet_pico"
    model_overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    pretrained: str | None = None
    image_size: int | None = None
    epochs: int = 10
    batch_size: int = 64
    accumulate: int = 1
    optimizer: Optimizer = "adamw"
    learning_rate: float = 1e-3
    final_learning_rate: float = 0.01
    warmup_epochs: float = 0.5
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    beta2: float = 0.999
    gradient_clip: float = 5.0
    label_smoothing: float = 0.1
    ema_decay: float = 0.0
    augmentation: Augmentation = "light"
    min_crop_scale: float = 0.35
    horizontal_flip: float = 0.5
    mixup: float = 0.0
    cutmix: float = 0.0
    precision: Precision = "float32"
    device: Device = "auto"
    workers: int | None = None
    seed: int = 0
    val_fraction: float = 0.2
    skip_unreadable: bool = False
    limit_train_batches: int | None = None
    limit_val_batches: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "model_overrides", dict(self.model_overrides or {}))
        for name, smallest in (("epochs", 1), ("batch_size", 1), ("accumulate", 1), ("seed", 0)):
            self._require(name, isinstance(getattr(self, name), int) and getattr(self, name) >= smallest, smallest)
        for name, smallest in (
            ("image_size", 8), ("workers", 0), ("limit_train_batches", 1), ("limit_val_batches", 1)
        ):  # fmt: skip
            value = getattr(self, name)
            self._require(name, value is None or (isinstance(value, int) and value >= smallest), smallest)
        ranges = {
            "learning_rate": (0.0, float("inf"), "above 0"),
            "warmup_epochs": (0.0, float("inf"), "0 or more"),
            "weight_decay": (0.0, float("inf"), "0 or more"),
            "gradient_clip": (0.0, float("inf"), "0 or more"),
            "mixup": (0.0, float("inf"), "0 or more"),
            "cutmix": (0.0, float("inf"), "0 or more"),
            "final_learning_rate": (0.0, 1.0, "from 0 to 1"),
            "layer_decay": (0.0, 1.0, "above 0 and at most 1"),
            "beta2": (0.0, 1.0, "from 0 to below 1"),
            "label_smoothing": (0.0, 1.0, "from 0 to below 1"),
            "ema_decay": (0.0, 1.0, "from 0 to below 1"),
            "min_crop_scale": (0.0, 1.0, "above 0 and at most 1"),
            "horizontal_flip": (0.0, 1.0, "from 0 to 1"),
            "val_fraction": (0.0, 1.0, "above 0 and below 1"),
        }
        for name, (low, high, words) in ranges.items():
            value = getattr(self, name)
            fits = low <= value <= high and value != float("inf")
            fits = fits and not ("above 0" in words and value == 0) and not ("below 1" in words and value == 1)
            if not fits:
                raise ConfigError(f"{name} must be {words}, got {value!r}.")
        for name, choices in (
            ("optimizer", ("adamw", "muon")),
            ("augmentation", ("none", "light", "strong")),
            ("precision", ("float32", "bfloat16", "float16")),
            ("device", ("auto", "cpu", "cuda", "mps")),
        ):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}.")

    def _require(self, name: str, fits: bool, smallest: int) -> None:
        if not fits:
            raise ConfigError(f"{name} must be a whole number from {smallest} up, got {getattr(self, name)!r}.")

    def replace(self, **changes: Any) -> TrainingConfig:
        """The same config with some fields changed; unknown fields are errors."""
        return TrainingConfig.from_dict({**self.to_dict(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Plain values that survive YAML and JSON."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)} | {
            "model_overrides": dict(self.model_overrides)
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """Build from plain values.

        Raises:
            ConfigError: If a key is unknown or a value out of range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigError(
                f"a training config has no field {', '.join(map(repr, unknown))}; its fields are {', '.join(known)}."
            )
        return cls(**values)


def field_descriptions(config_class: type) -> dict[str, str]:
    """What the docstring of a dataclass says about each field, on one line."""
    text = (inspect.getdoc(config_class) or "").partition("Attributes:\n")[2]
    descriptions: dict[str, str] = {}
    for match in re.finditer(r"^    (\w+): (.*(?:\n     +.*)*)", text, re.MULTILINE):
        descriptions[match[1]] = re.sub(r"\s+", " ", match[2])
    return descriptions
