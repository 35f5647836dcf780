"""Everything that decides how a network is trained. Imports no torch, so that the command line can offer it at once."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

from focalnets.errors import ConfigError, nearest

__all__ = ["TrainingConfig", "field_descriptions"]

Optimizer = Literal["adamw", "muon"]
Augmentation = Literal["none", "light", "strong"]
Precision = Literal["float32", "bfloat16", "float16"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Strategy = Literal["auto", "ddp", "fsdp"]
Recompute = Literal["none", "aggregation", "mlp", "block"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": get_args(Optimizer),
    "augmentation": get_args(Augmentation),
    "precision": get_args(Precision),
    "device": get_args(Device),
    "strategy": get_args(Strategy),
    "recompute": get_args(Recompute),
}

# Lowest and highest value; None is no limit. The words say which of them are themselves allowed.
_RANGES: dict[str, tuple[float, float | None, str]] = {
    "learning_rate": (0.0, None, "above 0"),
    "warmup_learning_rate": (0.0, None, "0 or more"),
    "minimum_learning_rate": (0.0, None, "0 or more"),
    "warmup_epochs": (0.0, None, "0 or more"),
    "weight_decay": (0.0, None, "0 or more"),
    "gradient_clip": (0.0, None, "0 or more"),
    "mixup": (0.0, None, "0 or more"),
    "cutmix": (0.0, None, "0 or more"),
    "randaugment_noise": (0.0, None, "0 or more"),
    "randaugment_magnitude": (0.0, 10.0, "from 0 to 10"),
    "mixup_switch": (0.0, 1.0, "from 0 to 1"),
    "colour_jitter": (0.0, 1.0, "from 0 to 1"),
    "erasing": (0.0, 1.0, "from 0 to 1"),
    "final_learning_rate": (0.0, 1.0, "from 0 to 1"),
    "layer_decay": (0.0, 1.0, "above 0 and at most 1"),
    "beta2": (0.0, 1.0, "from 0 to below 1"),
    "label_smoothing": (0.0, 1.0, "from 0 to below 1"),
    "ema_decay": (0.0, 1.0, "from 0 to below 1"),
    "min_crop_scale": (0.0, 1.0, "above 0 and at most 1"),
    "horizontal_flip": (0.0, 1.0, "from 0 to 1"),
    "class_balance": (0.0, 1.0, "from 0 to 1"),
    "val_fraction": (0.0, 1.0, "above 0 and below 1"),
}

# Smallest whole number; those of the second table may also be None.
_WHOLE_NUMBERS = {
    "epochs": 1,
    "batch_size": 1,
    "accumulate": 1,
    "seed": 0,
    "nodes": 1,
    "freeze_epochs": 0,
    "repeats": 1,
}
_OPTIONAL_WHOLE_NUMBERS = {
    "image_size": 8, "workers": 0, "limit_train_batches": 1, "limit_val_batches": 1, "reference_batch": 1,
    "patience": 1, "mixup_off_epoch": 0
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The complete description of one training; with the same data and software it repeats the run.

    Attributes:
        model: Name of the network, see `focalnets models`. Ignored with pretrained weights, which know theirs.
        model_overrides: Fields of the network's config to change, e.g. `--model_overrides.stem convolutional`.
        pretrained: Weights to start from: a file, a run's folder or the name of published weights. The classifier is
            replaced unless the classes are the same.
        image_size: Height and width of the images the network sees [px]; None takes the model's own.
        image_size_schedule: Sizes to train at [px] with the epoch each begins with, counted from 0, e.g.
            "64:0,96:30,128:50", or a mapping in YAML; validation stays at image_size. None trains at image_size.
        epochs: Passes over the training images.
        batch_size: Images in a batch of one device. An optimiser step takes batch_size x accumulate x devices x nodes.
        accumulate: Batches whose gradients are summed before a step.
        optimizer: adamw, or muon for the matrices of the blocks with adamw for everything else.
        learning_rate: Highest rate of the schedule, for the topmost layer.
        reference_batch: Images a step for which the rates are given; they are scaled in proportion to the images that a
            step really takes. None uses the rates as they are.
        final_learning_rate: Rate at the end of the cosine, as a share of the highest.
        minimum_learning_rate: Rate at the end of the cosine itself, in place of final_learning_rate.
        warmup_epochs: Epochs during which the rate rises linearly; may be a fraction.
        warmup_learning_rate: Rate of the first step of the warm-up; None begins near zero.
        weight_decay: Decay of matrices and kernels; biases, norms and layer scales never decay.
        layer_decay: Factor from each layer to the one below on the learning rate; below 1 is for fine-tuning.
        beta2: Decay of AdamW's second moments.
        freeze_epochs: Epochs at the beginning during which only the classifier learns.
        patience: End the training after this many epochs without a better top-1; None trains to the end.
        gradient_clip: Largest norm of all gradients together; 0 turns clipping off.
        label_smoothing: Share of the target spread over all classes.
        ema_decay: Decay of the moving average of the weights that is evaluated and saved; 0 turns it off. It starts
            lower and reaches this value after about ten times 1 / (1 - ema_decay) steps.
        augmentation: none, light (random crop and mirroring) or strong (also colours, geometry and erasing).
        randaugment_magnitude: Strength of the geometry and colour operations of strong augmentation, from 0 to 10.
        randaugment_noise: Standard deviation of that strength from one operation to the next.
        colour_jitter: Largest relative change of brightness, contrast and saturation in strong augmentation.
        erasing: Probability of overwriting a rectangle with noise in strong augmentation.
        min_crop_scale: Smallest share of an image's area that a random crop covers.
        horizontal_flip: Probability of mirroring; 0 where left and right matter, e.g. writing.
        mixup: Strength of blending pairs of images; 0 turns it off.
        cutmix: Strength of pasting part of one image into another; 0 turns it off.
        mixup_switch: Probability of cutmix for a batch where both are on; otherwise it is mixup.
        mixup_off_epoch: Epoch, counted from 0, from which on images are neither blended nor pasted into each other, so
            that the last epochs see them as they are; None goes on to the end.
        precision: Arithmetic of the network: float32, or bfloat16/float16 mixed with it.
        device: Where to train; auto takes the GPU if there is one.
        devices: GPUs (or processes, on CPU) to train on in each node; -1 takes all there are.
        nodes: Machines to train on.
        strategy: How devices share the work: ddp copies the network to each, fsdp divides it among them; auto takes ddp
            where there are several.
        recompute: What the backward pass computes again instead of keeping it: none, aggregation, mlp or block.
        compile: Let torch.compile translate the network first, which takes minutes and makes steps faster on a GPU.
        workers: Processes on each device that read images; None chooses for this machine. The result does not
            depend on it.
        seed: Decides the initial weights, the order of images and every random change of them.
        val_fraction: Share of each class held out where the data has no val folder.
        skip_unreadable: Decode every image before training and leave out those that cannot be read.
        repeats: How often each image comes in a batch, differently changed; an epoch is as many times longer.
        class_balance: How far rare classes are shown more often: 0 each image once an epoch, 1 all classes equally.
        limit_train_batches: Stop each epoch after this many batches; None takes all.
        limit_val_batches: Validate on this many batches only; None takes all.
    """

    model: str = "focalnet_pico"
    model_overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    pretrained: str | None = None
    image_size: int | None = None
    image_size_schedule: str | None = None
    epochs: int = 10
    batch_size: int = 64
    accumulate: int = 1
    optimizer: Optimizer = "adamw"
    learning_rate: float = 1e-3
    reference_batch: int | None = None
    final_learning_rate: float = 0.01
    minimum_learning_rate: float | None = None
    warmup_epochs: float = 0.5
    warmup_learning_rate: float | None = None
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    beta2: float = 0.999
    freeze_epochs: int = 0
    patience: int | None = None
    gradient_clip: float = 5.0
    label_smoothing: float = 0.1
    ema_decay: float = 0.0
    augmentation: Augmentation = "light"
    randaugment_magnitude: float = 9.0
    randaugment_noise: float = 0.5
    colour_jitter: float = 0.4
    erasing: float = 0.25
    min_crop_scale: float = 0.35
    horizontal_flip: float = 0.5
    mixup: float = 0.0
    cutmix: float = 0.0
    mixup_switch: float = 0.5
    mixup_off_epoch: int | None = None
    precision: Precision = "float32"
    device: Device = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: Strategy = "auto"
    recompute: Recompute = "none"
    compile: bool = False
    workers: int | None = None
    seed: int = 0
    val_fraction: float = 0.2
    skip_unreadable: bool = False
    repeats: int = 1
    class_balance: float = 0.0
    limit_train_batches: int | None = None
    limit_val_batches: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "model_overrides", dict(self.model_overrides or {}))
        object.__setattr__(self, "image_size_schedule", _canonical_schedule(self.image_size_schedule))
        for name, smallest in _WHOLE_NUMBERS.items():
            self._require_whole(name, getattr(self, name), smallest)
        for name, smallest in _OPTIONAL_WHOLE_NUMBERS.items():
            if getattr(self, name) is not None:
                self._require_whole(name, getattr(self, name), smallest)
        if type(self.devices) is not int or self.devices < -1 or self.devices == 0:
            raise ConfigError(f"devices must be a whole number from 1 up, or -1 for all, got {self.devices!r}.")
        for name, (low, high, words) in _RANGES.items():
            value = getattr(self, name)
            if value is None:
                continue
            fits = low <= value < float("inf") and (high is None or value <= high)
            fits = fits and not ("above 0" in words and value == 0) and not ("below 1" in words and value == 1)
            if not fits:
                raise ConfigError(f"{name} must be {words}, got {value!r}.")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                given = getattr(self, name)
                raise ConfigError(f"{name} cannot be {given!r}; {nearest(str(given), choices)}")
        off = self.mixup_off_epoch
        if off is not None and (off >= self.epochs or not (self.mixup or self.cutmix)):
            raise ConfigError(
                f"mixup_off_epoch {off} has no effect: it must be below epochs ({self.epochs}), and mixup or cutmix "
                "above 0."
            )
        if self.strategy == "fsdp" and (self.ema_decay or self.optimizer == "muon"):
            raise ConfigError(
                "strategy fsdp divides each matrix among the devices, which neither ema_decay nor optimizer muon can "
                "work with; use --strategy ddp, or --ema_decay 0 --optimizer adamw."
            )

    @staticmethod
    def _require_whole(name: str, value: Any, smallest: int) -> None:
        if type(value) is not int or value < smallest:
            raise ConfigError(f"{name} must be a whole number from {smallest} up, got {value!r}.")

    def training_sizes(self, default: int) -> dict[int, int]:
        """Sizes to train at [px] by the epoch, from 0, that each begins with; ``default`` if there is one only."""
        if self.image_size_schedule is None:
            return {0: default}
        pairs = (entry.split(":") for entry in self.image_size_schedule.split(","))
        return {int(epoch): int(size) for size, epoch in pairs}

    def images_a_step(self, processes: int = 1) -> int:
        """Images that one optimiser step takes on so many processes together."""
        return self.batch_size * self.accumulate * processes

    def learning_rate_scale(self, processes: int = 1) -> float:
        """Factor on all rates that ``reference_batch`` asks for."""
        return self.images_a_step(processes) / self.reference_batch if self.reference_batch else 1.0

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
                f"a training config has no field {', '.join(map(repr, unknown))}; {nearest(str(unknown[0]), known)}"
            )
        return cls(**values)


def _canonical_schedule(schedule: str | Mapping[Any, Any] | None) -> str | None:
    """The schedule as text in the order of its epochs; checked."""
    if schedule is None:
        return None
    expected = f"image_size_schedule must be sizes with their first epochs such as 64:0,96:30, got {schedule!r}"
    try:
        pairs = (
            list(schedule.items())
            if isinstance(schedule, Mapping)
            else [tuple(entry.split(":")) for entry in str(schedule).split(",")]
        )
        entries = sorted((int(epoch), int(size)) for size, epoch in pairs)
    except ValueError:
        raise ConfigError(f"{expected}.") from None
    epochs = [epoch for epoch, _ in entries]
    if epochs[:1] != [0] or len(set(epochs)) < len(epochs):
        raise ConfigError(f"{expected}; the first must begin at epoch 0, and each at another epoch.")
    if min(size for _, size in entries) < 8:
        raise ConfigError(f"{expected}; no size may be below 8.")
    return ",".join(f"{size}:{epoch}" for epoch, size in entries)


def field_descriptions(config_class: type) -> dict[str, str]:
    """What the docstring of a dataclass says about each field, on one line."""
    text = (inspect.getdoc(config_class) or "").partition("Attributes:\n")[2]
    descriptions: dict[str, str] = {}
    for match in re.finditer(r"^    (\w+): (.*(?:\n     +.*)*)", text, re.MULTILINE):
        descriptions[match[1]] = re.sub(r"\s+", " ", match[2])
    return descriptions
