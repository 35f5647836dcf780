"""What all tasks have in common that answer for places in an image: annotated data, whole images, padded batches.

Axes: B batch, H W height and width [px].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from focalnets.data.annotated.images import AnnotatedImage
from focalnets.data.annotated.training import (
    open_annotated_evaluation,
    open_annotated_training,
    reopen_annotated_training,
)
from focalnets.data.dense.batches import collate_padded
from focalnets.data.dense.mixing import MixedData
from focalnets.data.dense.transforms import DenseAugmentation, DenseTransform
from focalnets.data.labelled import LabelledData, TrainingData
from focalnets.errors import ConfigError
from focalnets.models.config import FocalNetConfig, Preprocessing, WholeImage
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.network import DenseNetwork, valid_sizes
from focalnets.models.heads.table import DENSE_NETWORKS
from focalnets.tasks.batch import Batch
from focalnets.tasks.dense.settings import DenseSettings
from focalnets.tasks.picture_transform import Alter
from focalnets.tasks.task import Task

__all__ = ["DenseInput", "DenseTask", "stacked"]

_COMPARED_PX = 256
_COMPARED_MULTIPLE = 32
_LOOKED_AT = 200

Kind = TypeVar("Kind", bound="DenseTask")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseTask(Task):
    """A task on annotated images, whose network is a :class:`focalnets.models.heads.network.DenseNetwork`.

    Subclasses make the network from :meth:`chosen` settings in :meth:`build_dense`.

    Attributes:
        settings: The task's section of a training config.
        model: Name of the network in a config, whose row of :data:`DENSE_NETWORKS` may choose the head.
        wants_masks, wants_semantic: Which annotations its transform gives.
        multiple: Heights and widths of batches are multiples of this [px].
    """

    on_pyramid: ClassVar[bool] = True
    usual_batch: ClassVar[int] = 4
    wants_masks: ClassVar[bool] = False
    wants_semantic: ClassVar[bool] = False
    multiple: ClassVar[int] = 1
    first_class_id: ClassVar[int] = 0
    largest_class_id: ClassVar[int] = 2**53 - 1

    settings: DenseSettings = dataclasses.field(default_factory=DenseSettings)
    model: str = ""

    # Data

    def open(self, place: str | Path, *, val_fraction: float, seed: int, skip_unreadable: bool = False) -> TrainingData:
        """Find annotated images, recognised by their format."""
        data = open_annotated_training(
            place, task=self.name, val_fraction=val_fraction, seed=seed, skip_unreadable=skip_unreadable,  # type: ignore[arg-type]
            **self.opening(),
        )  # fmt: skip
        if self.settings.copy_paste and not _has_masks(data.train):
            raise ConfigError(
                f"copy_paste lays objects with masks on other images, but '{place}' has none; leave it out."
            )
        return data

    def reopen(self, split: Path, *, root: str | Path | None = None, skip_unreadable: bool = False) -> TrainingData:
        """Find the images of a run again."""
        return reopen_annotated_training(split, root=root, skip_unreadable=skip_unreadable)

    def open_evaluation(
        self, place: str | Path, *, labels: Sequence[str] | None = None, split: Path | None = None
    ) -> tuple[tuple[str, ...], LabelledData]:
        """Find the images that a network is measured on; classes are matched by name."""
        return open_annotated_evaluation(
            place, task=self.name, labels=labels, split=split, **self.opening()  # type: ignore[arg-type]
        )  # fmt: skip

    def for_training(self, data: LabelledData, *, largest_size_px: int) -> LabelledData:
        """Mix images by chance where the settings ask for it."""
        settings = self.settings
        if not (settings.mosaic or settings.copy_paste):
            return data
        return MixedData(
            data, mosaic=settings.mosaic, copy_paste=settings.copy_paste, off_epoch=settings.mixing_off_epoch
        )

    def opening(self) -> dict[str, Any]:
        """Options for opening data that this task alone has."""
        return {}

    def augmentation(self, spec: WholeImage) -> DenseAugmentation:
        """Choose what is changed at random in training."""
        return DenseAugmentation(**self.settings.changes())

    def transform(
        self, spec: Preprocessing, *, train: bool, alter: Alter | None = None
    ) -> Callable[[tuple[Any, Any], int], tuple[Any, Any]]:
        """Resize and normalise whole images, and what is known of them with them; in training changed at random."""
        assert isinstance(spec, WholeImage), "networks of dense tasks see whole images"
        return DenseInput(
            spec,
            self.augmentation(spec) if train else None,
            masks=self.wants_masks,
            semantic=self.wants_semantic,
            alter=alter,
            antialias=spec.antialias,
        )

    def collate(self, items: Sequence[tuple[Any, Any]]) -> Batch:
        """Pad images to a common size, with a mask where they differ."""
        inputs, targets, mask = collate_padded(items, self.multiple)
        return Batch(inputs, targets, mask)

    def numbers_of_classes(self, data: TrainingData) -> dict[str, str]:
        """Choose numbers of classes as the data give them; nothing where these are the usual ones, or none."""
        numbers = [category.id for category in getattr(data.train, "categories", ())]
        if numbers and numbers[0] is None and 0 not in numbers:  # A background that was put in front.
            numbers[0] = 0
        usable = all(type(number) is int and 0 <= number <= self.largest_class_id for number in numbers)
        usual = list(range(self.first_class_id, self.first_class_id + len(numbers)))
        if self.settings.class_ids is not None or not usable or len(set(numbers)) < len(numbers) or numbers == usual:
            return {}
        return {"class_ids": ",".join(map(str, numbers))}

    def knowing(self: Kind, class_ids: Sequence[int] | None, **facts: Any) -> Kind:
        """The same task with what a network says of itself: the numbers of its classes and other settings."""
        ids = None if class_ids is None else ",".join(map(str, class_ids))
        return dataclasses.replace(self, settings=dataclasses.replace(self.settings, class_ids=ids, **facts))

    def for_comparison(self, data: TrainingData, *, image_size: int | None) -> dict[str, Any]:
        """Choose one head and one size for all images, so that no network sees padding, which not all take notice of.

        Photos are brought to a square and, in training, enlarged and cut to it.
        """
        settings = self.settings
        model = self.model if self.model in DENSE_NETWORKS else self._small_network()
        squared = dataclasses.replace(settings, side="both", longest_px=None, crop_px=None)
        task = dataclasses.replace(self, model=model, settings=squared)
        chosen = task.choose_settings(data, image_size=image_size)
        size = chosen.pop("image_size", None) or image_size or _COMPARED_PX
        if size % _COMPARED_MULTIPLE:
            raise ConfigError(
                f"Networks are compared at a multiple of {_COMPARED_MULTIPLE} px for which none needs padding, got "
                f"image_size {size}."
            )
        shared = {"crop_px": size, "scale_min": max(1.0, settings.scale_min), "scale_max": max(1.0, settings.scale_max)}
        return {"image_size": size, **task.chosen(), **chosen, **shared}

    def _small_network(self) -> str:
        """Name of the smallest network with the head that settings ask for; nothing where the table has none."""
        head = getattr(self.settings, "head", None)
        rows = [(name, row) for name, row in DENSE_NETWORKS.items() if row.task == self.name]
        fitting = [name for name, row in rows if head in (None, row.head.get("head", "rcnn"))]
        return next((name for name in fitting if DENSE_NETWORKS[name].backbone == "focalnet_pico"), "")

    def sample_batch(self, spec: Preprocessing, batch: int, labels: Sequence[str]) -> Batch:
        """Prepare generated scenes with what is known of them."""
        data = self.open(f"scenes:{2 * batch}", val_fraction=0.5, seed=0).train
        still = dataclasses.replace(
            self.settings, scale_min=1.0, scale_max=1.0, horizontal_flip=0.0, vertical_flip=0.0, colour_jitter=0.0
        )
        prepare = dataclasses.replace(self, settings=still).transform(spec, train=True)
        return self.collate([prepare(data[number % len(data)], number) for number in range(batch)])

    # The network

    def network_fields(self, labels: Sequence[str]) -> dict[str, Any]:
        """Ask for maps of all stages, and no classifier."""
        return {"pyramid_norms": True, "num_classes": 0}

    def build_dense(self, network: FocalNet, labels: Sequence[str], settings: Mapping[str, Any]) -> DenseNetwork:
        """Put the head on a backbone.

        Args:
            network: The backbone, with pyramid norms.
            labels: What answers are called.
            settings: Those of the task's section, with what the network's row of the table chooses.
        """
        raise NotImplementedError

    def build(self, network: FocalNet, labels: Sequence[str], *, pretrained: bool) -> nn.Module:
        """Put the head on a backbone, and say how whole images are prepared for it."""
        settings = self.chosen()
        module = self.build_dense(network, labels, settings)
        module.preprocessing = self.input_of(network.preprocessing, settings)
        return module

    def chosen(self) -> dict[str, Any]:
        """The settings, where they are left open those of the network's row in the table."""
        own = {field.name: getattr(self.settings, field.name) for field in dataclasses.fields(self.settings)}
        row = DENSE_NETWORKS.get(self.model)
        if row is None:
            return own
        if row.task != self.name:
            raise ConfigError(f"'{self.model}' is a network for the task {row.task}, not for {self.name}.")
        # What a row says of its head is nothing for another one.
        head = row.head if own.get("head") in (None, row.head.get("head", "rcnn")) else {}
        return {name: head.get(name) if value is None else value for name, value in own.items()}

    def input_of(self, spec: Preprocessing, settings: Mapping[str, Any]) -> WholeImage:
        """Say how whole images are prepared, with the statistics that a backbone was trained with."""
        row = DENSE_NETWORKS.get(self.model)
        size_px = spec.input_size_px if row is None else row.input.input_size_px
        longest_px = settings["longest_px"]
        if row is not None and longest_px is None and settings["side"] == row.input.side:
            longest_px = row.input.longest_px
        return WholeImage(
            input_size_px=size_px,
            interpolation="bilinear" if row is None else row.input.interpolation,
            mean=spec.mean,
            std=spec.std,
            side=settings["side"],
            longest_px=longest_px,
            antialias=settings["antialias"],
        )

    def adopt(self, module: nn.Module, labels: Sequence[str]) -> nn.Module:
        """Take a network that this task has trained before.

        With the same labels it goes on as it is; with others its head is drawn anew, and of it all tensors are kept
        that have the same names and shapes.
        """
        assert isinstance(module, DenseNetwork)
        if module.class_names == tuple(labels):
            return module
        head = {**module.describe_head(), **self.described_labels(labels)}
        fresh = self.rebuild_dense(module.backbone, labels, head)
        fresh.preprocessing, fresh.origin = module.preprocessing, module.origin
        new = fresh.state_dict()
        kept = {
            name: value for name, value in module.state_dict().items() if name in new and new[name].shape == value.shape
        }
        fresh.load_state_dict(kept, strict=False)
        return fresh

    def described_labels(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return how many classes there are and which numbers the data give them."""
        return {"outputs": len(labels), "class_ids": self.settings.ids()}

    def head(self, model: nn.Module) -> dict[str, Any]:
        """Describe the head for a checkpoint."""
        assert isinstance(model, DenseNetwork)
        return model.describe_head()

    def rebuild(
        self, config: FocalNetConfig, spec: Preprocessing, labels: Sequence[str], head: Mapping[str, Any]
    ) -> nn.Module:
        """Build the network that a file describes, on the device meta; see :meth:`Task.rebuild`."""
        if not isinstance(spec, WholeImage):
            raise ConfigError(f"networks of the task {self.name} see whole images, got an input of kind {spec.kind}.")
        with torch.device("meta"):
            module = self.rebuild_dense(FocalNet(config, preprocessing=spec), labels, head)
        module.preprocessing = spec
        return module

    def rebuild_dense(self, network: FocalNet, labels: Sequence[str], head: Mapping[str, Any]) -> DenseNetwork:
        """Put the head on a backbone that a file describes.

        Raises:
            ConfigError: If there is no such head.
        """
        raise NotImplementedError

    def can_answer(self, network: nn.Module, labels: Sequence[str]) -> bool:
        """Whether loaded weights were trained for exactly these labels."""
        return isinstance(network, DenseNetwork) and network.class_names == tuple(labels)

    def is_head(self, name: str) -> bool:
        """Count everything beside the backbone, and the norms of its maps, which classifiers lack."""
        return not name.startswith("backbone.") or name.startswith("backbone.pyramid_norms.")

    def labels(self, model: nn.Module) -> tuple[str, ...]:
        """Return the names of the classes."""
        if not isinstance(model, DenseNetwork):
            raise ConfigError(f"The network is not for the task {self.name}; load or train one that is.")
        return model.class_names

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Any]:
        """Compute the network's output, with ``input_sizes`` (B, 2): height and width of each image [px]."""
        output = super().forward(model, batch)
        return {**output, "input_sizes": valid_sizes(batch.inputs, batch.mask)}


class DenseInput:
    """A transform of annotated photos that also takes a photo of which nothing is known, as in predictions.

    Args:
        spec: How photos are prepared.
        augmentation: What is changed at random; None for evaluation.
        masks: Whether masks of objects are wanted.
        semantic: Whether the class of each pixel is wanted: in training as the network sees the photo, in evaluation
            as the data have it, under ``whole`` (H, W) int64.
        options: Further options of :class:`DenseTransform`.
    """

    def __init__(
        self, spec: WholeImage, augmentation: DenseAugmentation | None, *, masks: bool, semantic: bool, **options: Any
    ) -> None:
        self.whole = semantic and augmentation is None
        self.known = DenseTransform(
            spec, augmentation, masks=masks, semantic=semantic and augmentation is not None, **options
        )
        self.unknown = DenseTransform(spec, None, **options)

    def __call__(self, item: tuple[Any, Any], index: int) -> tuple[Tensor, dict[str, Any]]:
        """Prepare the item (photo, what is known of it) of a number."""
        photo, annotated = item
        if not isinstance(annotated, AnnotatedImage):
            return self.unknown((photo, AnnotatedImage("", photo)), index)
        picture, target = self.known((photo, annotated), index)
        if self.whole:
            assert annotated.semantic is not None, "data for semantic tasks knows the class of each pixel"
            target["whole"] = torch.from_numpy(annotated.semantic)
        return picture, target


def stacked(maps: Sequence[Tensor], size: tuple[int, int], fill: int) -> Tensor:
    """Put maps (h, w) of whole numbers into the upper left corners of a batch (B, H, W) that is else ``fill``."""
    batch = maps[0].new_full((len(maps), *size), fill)
    for number, values in enumerate(maps):
        batch[number, : values.shape[0], : values.shape[1]] = values
    return batch


def _has_masks(data: Any) -> bool:
    """Whether one of the first images has an object with a mask."""
    numbers = range(min(len(data), _LOOKED_AT))
    return any(thing.mask_data is not None for number in numbers for thing in data.annotation(number).objects)
