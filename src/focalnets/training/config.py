"""Everything that decides how a network is trained. Imports no torch, so that the command line can offer it at once."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from focalnets.errors import ConfigError, abridged, nearest, quoted_list
from focalnets.tasks.settings import Range, check_choices, check_ranges, check_types, check_whole_numbers
from focalnets.tasks.table import TASKS, build_task, settings_of, task_class

if TYPE_CHECKING:
    from focalnets.tasks.task import Task

__all__ = ["Schedule", "TrainingConfig"]

Optimizer = Literal["adamw", "muon"]
Precision = Literal["float32", "bfloat16", "float16", "auto"]
Strategy = Literal["auto", "ddp", "fsdp"]
Schedule = Literal["cosine", "linear", "steps"]
Recompute = Literal["none", "aggregation", "mlp", "block"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": get_args(Optimizer),
    "precision": get_args(Precision),
    "strategy": get_args(Strategy),
    "recompute": get_args(Recompute),
    "schedule": get_args(Schedule),
}

_RANGES: dict[str, Range] = {
    "learning_rate": (0.0, None, "above 0"),
    "warmup_learning_rate": (0.0, None, "0 or more"),
    "minimum_learning_rate": (0.0, None, "0 or more"),
    "warmup_epochs": (0.0, None, "0 or more"),
    "weight_decay": (0.0, None, "0 or more"),
    "gradient_clip": (0.0, None, "0 or more"),
    "checkpoint_minutes": (0.0, None, "0 or more"),
    "final_learning_rate": (0.0, 1.0, "from 0 to 1"),
    "layer_decay": (0.0, 1.0, "above 0 and at most 1"),
    "beta2": (0.0, 1.0, "from 0 to below 1"),
    "ema_decay": (0.0, 1.0, "from 0 to below 1"),
    "class_balance": (0.0, 1.0, "from 0 to 1"),
    "val_fraction": (0.0, 1.0, "above 0 and below 1"),
}

# Smallest whole number; those of the second table may also be None.
_WHOLE_NUMBERS = {
    "epochs": 1, "batch_size": 1, "accumulate": 1, "seed": 0, "nodes": 1, "freeze_epochs": 0, "repeats": 1,
    "least_train_batches": 1,
}  # fmt: skip
_MOST = {
    "epochs": 10**7,
    **dict.fromkeys(("batch_size", "accumulate"), 2**20),
    "repeats": 1000,
    "least_train_batches": 10**6,
    **dict.fromkeys(("nodes", "devices", "workers"), 2**16),
    **dict.fromkeys(("warmup_epochs", "checkpoint_minutes"), 10**7),
}
_OPTIONAL_WHOLE_NUMBERS = {
    "image_size": 8, "workers": 0, "limit_train_batches": 1, "limit_val_batches": 1, "reference_batch": 1, "patience": 1
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The complete description of one training; with the same data and software it repeats the run.

    Attributes:
        task: What the network is trained for: classify, detect, instance, semantic, panoptic, language, text or series.
        model: Name of the network, see `focalnets models`. Pretrained weights know theirs; of the name only the head
            counts then, where it has one.
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
        schedule: How the rate falls after the warm-up: cosine, linear, or steps, to a tenth at each of step_epochs.
        step_epochs: Epochs, counted from 0, with which the rate falls to a tenth in schedule steps, e.g. "8,11".
        final_learning_rate: Rate at the end of the cosine or line, as a fraction of the highest.
        minimum_learning_rate: Rate at the end of the cosine or line itself, in place of final_learning_rate.
        warmup_epochs: Epochs during which the rate rises linearly; may be a fraction.
        warmup_learning_rate: Rate of the first step of the warm-up; None begins near zero.
        weight_decay: Decay of matrices and kernels; biases, norms and layer scales never decay.
        layer_decay: Factor from each layer to the one below on the learning rate; below 1 is for fine-tuning.
        beta2: Decay of AdamW's second moments.
        freeze_epochs: Epochs at the beginning during which only the head learns.
        freeze_norms: Keep means and variances of the batch norms below the head as they came with pretrained weights;
            for batches of a few images.
        patience: End the training after this many epochs without a better top-1; None trains to the end.
        gradient_clip: Largest norm of all gradients together; 0 turns clipping off.
        ema_decay: Decay of the moving average of the weights that is evaluated and saved; 0 turns it off. It starts
            lower and reaches this value after about ten times 1 / (1 - ema_decay) steps.
        precision: float32, or bfloat16/float16 mixed with it; auto takes bfloat16 if a trial finds it faster here.
        device: Where to train: auto, cpu, cuda, cuda:N for one GPU of several, or mps; auto takes the GPU if there is
            one.
        devices: GPUs (or processes, on CPU) to train on in each node; -1 takes all there are.
        nodes: Machines to train on.
        strategy: How devices divide the work: ddp copies the network to each, fsdp splits it among them; auto takes
            ddp where there are several.
        recompute: What the backward pass computes again instead of keeping it: none, aggregation, mlp or block.
        compile: Let torch.compile translate the network first, which takes minutes; for GPUs, on CPUs it is no faster.
        workers: Processes on each device that read images; None chooses for this machine. The result does not
            depend on it.
        seed: Decides the initial weights, the order of images and every random change of them.
        val_fraction: Fraction of each class held out where the data has no val folder.
        skip_unreadable: Decode every image before training and leave out those that cannot be read.
        repeats: How often each image comes in a batch, differently changed; an epoch is as many times longer.
        class_balance: How far rare classes are shown more often: 0 each image once an epoch, 1 all classes equally.
        least_train_batches: An epoch passes over few data as many whole times as give so many batches; 1 passes once.
        limit_train_batches: Stop each epoch after this many batches; None takes all.
        limit_val_batches: Validate on this many batches only; None takes all.
        checkpoint_minutes: Time after which a running epoch is saved too, so that a killed training loses no more than
            that; 0 saves at the end of epochs only.
        settings: What belongs to the task alone; in files a section that is called like the task.
    """

    task: str = "classify"
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
    schedule: Schedule = "cosine"
    step_epochs: str | None = None
    final_learning_rate: float = 0.01
    minimum_learning_rate: float | None = None
    warmup_epochs: float = 0.5
    warmup_learning_rate: float | None = None
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    beta2: float = 0.999
    freeze_epochs: int = 0
    freeze_norms: bool = False
    patience: int | None = None
    gradient_clip: float = 5.0
    ema_decay: float = 0.0
    precision: Precision = "float32"
    device: str = "auto"
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
    least_train_batches: int = 1
    limit_train_batches: int | None = None
    limit_val_batches: int | None = None
    checkpoint_minutes: float = 10.0
    settings: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.task, str) or self.task not in TASKS:
            raise ConfigError(f"task cannot be {abridged(self.task)}; {nearest(abridged(self.task), TASKS)}")
        section = settings_of(self.task)
        if not isinstance(self.settings, section):
            values = {} if self.settings is None else self.settings
            if not isinstance(values, Mapping):
                raise ConfigError(f"{self.task} must be a section of settings, got {abridged(values)}.")
            object.__setattr__(self, "settings", _section(self.task, values))
        if not isinstance(self.model_overrides, Mapping | None):
            raise ConfigError(
                f"model_overrides must be a section such as 'stem: patch', got {abridged(self.model_overrides)}."
            )
        odd = [name for name in self.model_overrides or () if not isinstance(name, str)]
        if odd:
            raise ConfigError(f"model_overrides must hold names with values, got {abridged(odd[0])} as a name.")
        object.__setattr__(self, "model_overrides", dict(self.model_overrides or {}))
        object.__setattr__(self, "image_size_schedule", _canonical_schedule(self.image_size_schedule))
        object.__setattr__(self, "step_epochs", _canonical_step_epochs(self.step_epochs))
        check_types(self)
        check_whole_numbers(self, _WHOLE_NUMBERS)
        if self.seed >= 2**32:
            raise ConfigError(f"seed must be below 2^32, got {abridged(self.seed)}.")
        check_whole_numbers(self, _OPTIONAL_WHOLE_NUMBERS, optional=True)
        if type(self.devices) is not int or self.devices < -1 or self.devices == 0:
            raise ConfigError(f"devices must be a whole number from 1 up, or -1 for all, got {abridged(self.devices)}.")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", str(self.device)):
            raise ConfigError(f"device must be auto, cpu, cuda, cuda:N or mps, got {abridged(self.device)}.")
        if str(self.device).startswith("cuda:") and (self.devices != 1 or self.nodes != 1):
            raise ConfigError(
                f"device {self.device} is one GPU, but devices is {self.devices} and nodes {self.nodes}; give device "
                "cuda."
            )
        check_ranges(self, _RANGES)
        check_choices(self, _CHOICES)
        if (self.schedule == "steps") != (self.step_epochs is not None):
            raise ConfigError(
                f"schedule steps and step_epochs belong together, got {self.schedule} and {self.step_epochs}; give "
                "e.g. --schedule steps --step_epochs 8,11."
            )
        if self.freeze_norms and self.pretrained is None:
            raise ConfigError("freeze_norms keeps what pretrained weights bring; give pretrained, or leave it out.")
        for name, most in _MOST.items():
            if (value := getattr(self, name)) is not None and value > most:
                raise ConfigError(f"{name} may be at most {most:,}, got {value!r:.40}.")
        if hasattr(self.settings, "check_with"):
            self.settings.check_with(self)
        if self.strategy == "fsdp" and (self.ema_decay or self.optimizer == "muon"):
            raise ConfigError(
                "strategy fsdp divides each matrix among the devices, which neither ema_decay nor optimizer muon can "
                "work with; use --strategy ddp, or --ema_decay 0 --optimizer adamw."
            )

    def build_task(self) -> Task:
        """Make the task with its settings."""
        known = sorted({"model", "pretrained"} & set(_field_names(task_class(self.task))))
        return build_task(self.task, settings=self.settings, **{name: getattr(self, name) or "" for name in known})

    def training_sizes(self, default: int) -> dict[int, int]:
        """List sizes to train at [px] by the epoch, from 0, that each begins with; ``default`` if there is one only."""
        if self.image_size_schedule is None:
            return {0: default}
        pairs = (entry.split(":") for entry in self.image_size_schedule.split(","))
        return {int(epoch): int(size) for size, epoch in pairs}

    def drops(self, steps_an_epoch: int) -> tuple[int, ...]:
        """List the steps at which the rate falls to a tenth."""
        return tuple(int(epoch) * steps_an_epoch for epoch in (self.step_epochs or "").split(",") if epoch)

    def images_a_step(self, processes: int = 1) -> int:
        """Count the images that one optimiser step takes on so many processes together."""
        return self.batch_size * self.accumulate * processes

    def learning_rate_scale(self, processes: int = 1) -> float:
        """Return the factor on all rates that ``reference_batch`` asks for."""
        return self.images_a_step(processes) / self.reference_batch if self.reference_batch else 1.0

    def replace(self, **changes: Any) -> TrainingConfig:
        """Build the same config with some fields changed, also those of the task; unknown fields are errors."""
        values = self.to_dict()
        own = {name: changes.pop(name) for name in list(changes) if name in _field_names(type(self.settings))}
        task = changes.get("task", self.task)
        if task != self.task:
            del values[self.task]
        elif own:
            values[self.task] = {**values[self.task], **own}
        if "settings" in changes:
            settings = changes.pop("settings")
            if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
                settings = dataclasses.asdict(settings)
            if not isinstance(settings, Mapping):
                raise ConfigError(f"{task} must be a section of settings, got {abridged(settings)}.")
            values[task] = settings
        return TrainingConfig.from_dict({**values, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that survive YAML and JSON; what belongs to the task stands in a section of its name."""
        values = {name: getattr(self, name) for name in _field_names(type(self)) if name != "settings"}
        return values | {"model_overrides": dict(self.model_overrides), self.task: dataclasses.asdict(self.settings)}

    def to_flat_dict(self) -> dict[str, Any]:
        """Return plain values with the fields of the task beside all others; :meth:`from_dict` reads them too."""
        values = self.to_dict()
        return values | values.pop(self.task)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """Build from plain values; fields of the task stand in its section or, as in older files, beside all others.

        Raises:
            ConfigError: If a key is unknown, stands in both places, or has a value out of range.
        """
        values = dict(values)
        task = values.get("task", "classify")
        if not isinstance(task, str) or task not in TASKS:
            raise ConfigError(f"task cannot be {abridged(task)}; {nearest(abridged(task), TASKS)}")
        general, own = [name for name in _field_names(cls) if name != "settings"], _field_names(settings_of(task))
        section = values.pop(task, None)
        if section is None:
            section = {}
        if not isinstance(section, Mapping):
            raise ConfigError(f"{task} must be a section of settings, got {abridged(section)}.")
        flat = {name: values.pop(name) for name in own if name in values and name not in general}
        double = sorted(set(flat) & set(section))
        if double:
            raise ConfigError(f"{', '.join(double)} stands in the section {task} and outside of it; give it once.")
        unknown = sorted(map(str, set(values) - set(general)))
        if unknown:
            raise ConfigError(
                f"a training config has no field {quoted_list(unknown)}; {nearest(unknown[0], [*general, *own])}"
            )
        return cls(**values, settings=_section(task, {**section, **flat}))


def _section(task: str, values: Mapping[str, Any]) -> Any:
    section = settings_of(task)
    known = _field_names(section)
    unknown = sorted(map(str, set(values) - set(known)))
    if unknown:
        raise ConfigError(f"the section {task} has no field {quoted_list(unknown)}; {nearest(unknown[0], known)}")
    return section(**values)


def _field_names(config_class: type) -> list[str]:
    return [field.name for field in dataclasses.fields(config_class)]


def _canonical_step_epochs(epochs: Any) -> str | None:
    """Check the epochs of a schedule in steps and write them as text in their order."""
    if epochs is None:
        return None
    given = epochs if isinstance(epochs, (list, tuple)) else str(epochs).split(",")
    numbers = [str(epoch).strip() for epoch in given]
    if not all(number.isascii() and number.isdecimal() and int(number) > 0 for number in numbers):
        raise ConfigError(f"step_epochs must be epochs from 1 up such as 8,11, got {epochs!r:.80}.")
    return ",".join(map(str, sorted(set(map(int, numbers)))))


def _canonical_schedule(schedule: str | Mapping[Any, Any] | None) -> str | None:
    """Check the schedule and write it as text in the order of its epochs."""
    if schedule is None:
        return None
    expected = f"image_size_schedule must be sizes with their first epochs such as 64:0,96:30, got {abridged(schedule)}"
    try:
        pairs = (
            list(schedule.items())
            if isinstance(schedule, Mapping)
            else [tuple(entry.split(":")) for entry in schedule.split(",")]
        )
        entries = sorted((int(epoch), int(size)) for size, epoch in pairs)
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise ConfigError(f"{expected}.") from None
    epochs = [epoch for epoch, _ in entries]
    if epochs[:1] != [0] or len(set(epochs)) < len(epochs):
        raise ConfigError(f"{expected}; the first must begin at epoch 0, and each at another epoch.")
    if min(size for _, size in entries) < 8:
        raise ConfigError(f"{expected}; no size may be below 8.")
    return ",".join(f"{size}:{epoch}" for epoch, size in entries)
