"""What the metadata of a checkpoint say it is, read and checked without its tensors.

Format 2, which is written, keeps as JSON texts the task, the config of the backbone, the head, the input, the labels,
notes, the origin and the dtype of the weights. Format 1 knew classifiers of images only; it is read as such.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from focalnets.errors import CheckpointError, ConfigError, kind_of_value
from focalnets.files import parse_json
from focalnets.models.config import (
    FocalNetConfig,
    InputSpec,
    Preprocessing,
    SeriesInput,
    TextInput,
    check_channels,
    read_input_spec,
)
from focalnets.models.fields import shortened
from focalnets.models.network_configs import config_from_dict, config_to_dict

__all__ = [
    "CLASSIFY",
    "FORMAT_VERSION",
    "PREFIX",
    "STORED_DTYPE_NAMES",
    "Description",
    "Interface",
    "classifier_head",
    "image_preparation",
    "read_description",
]

FORMAT_VERSION = 2

PREFIX = "focalnets."

CLASSIFY = "classify"
"""The task of a FocalNet with its own classifier, and of every file of format 1."""

STORED_DTYPE_NAMES = ("float32", "float16", "bfloat16")

MAX_METADATA_CHARACTERS = 16 * 2**20

_MAX_HEAD_CHARACTERS = 2**16
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_DESCENT = ", descended from "


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interface:
    """What goes into a network, and what comes out.

    Attributes:
        config: The FocalNet, or that of the backbone where the task has put another head on it; or a network of
            one-dimensional data, see :mod:`focalnets.models.network_configs`.
        head: What stands on the backbone, as plain JSON values; ``kind`` names it, ``outputs`` counts what it tells
            apart, the rest is for the task to read.
        input: How images, clips or texts must be prepared.
        labels: One name for each of the head's outputs, or None where unknown.
    """

    config: Any
    head: dict[str, Any]
    input: InputSpec
    labels: tuple[str, ...] | None

    @property
    def num_classes(self) -> int:
        """Outputs of the head; 0 where there is none, or where it does not say."""
        return int(self.head.get("outputs", 0))

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The labels, under the name that a FocalNet has for them."""
        return self.labels

    @property
    def preprocessing(self) -> Preprocessing:
        """How images, or the frames of a clip, must be prepared.

        Raises:
            ConfigError: If the input is a text.
        """
        return image_preparation(self.input)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description(Interface):
    """What a checkpoint is.

    Attributes:
        task: What the network does, e.g. ``classify``; small letters, digits and underscores.
        notes: Free texts by name, e.g. epoch and score.
        origin: Where the weights came from, in words.
        stored_dtype: What the weights were kept as, or None where the file does not tell.
        version: Of focalnets when it was written; empty where the file does not tell.

    Raises:
        ConfigError: If a value is of another type or out of range, or if they contradict each other.
    """

    task: str
    notes: dict[str, str] = dataclasses.field(default_factory=dict)
    origin: str = ""
    stored_dtype: str | None = None
    version: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.task, str) or not _NAME.fullmatch(self.task):
            raise ConfigError(
                f"a task is named by up to 40 small letters, digits and underscores, got {shortened(self.task)}."
            )
        _check_head(self.head)
        texts = (*(self.labels or ()), *self.notes, *self.notes.values(), self.origin, self.version)
        if not all(isinstance(text, str) for text in texts):
            raise ConfigError("class names and notes must be texts.")
        if self.stored_dtype is not None and self.stored_dtype not in STORED_DTYPE_NAMES:
            raise ConfigError(
                f"weights are kept as {', '.join(STORED_DTYPE_NAMES)}, got {shortened(self.stored_dtype)}."
            )
        if isinstance(self.config, FocalNetConfig):
            check_channels(self.config, self.input)
        elif self.input.kind not in (TextInput.kind, SeriesInput.kind):
            raise ConfigError(f"its network takes texts or series, got an input of kind {self.input.kind}.")
        outputs = self.head.get("outputs")
        if self.labels is not None and outputs is not None and len(self.labels) != outputs:
            raise ConfigError(f"it names {len(self.labels)} classes for {outputs} outputs.")
        if self.task == CLASSIFY:
            self._check_classifier()

    @property
    def threshold(self) -> float | None:
        """Confidence below which a classifier names no class, or None."""
        return self.head.get("threshold") if self.task == CLASSIFY else None

    def _check_classifier(self) -> None:
        if self.input.kind != Preprocessing.kind or not isinstance(self.config, FocalNetConfig):
            raise ConfigError(f"a network for {CLASSIFY} takes images, got an input of kind {self.input.kind}.")
        expected = classifier_head(self.config, self.threshold)
        if self.head != expected:
            raise ConfigError(
                f"its head, {shortened(self.head)}, contradicts its config, by which a network for {CLASSIFY} has "
                f"{expected}."
            )

    def origin_after(self, path: Path) -> str:
        """Say where weights of this description came from, once read from ``path``; names the first origin only."""
        first = self.origin.rpartition(_DESCENT)[2]
        return f"{path}{_DESCENT}{first}" if first else str(path)

    def to_metadata(self) -> dict[str, str]:
        """Write the metadata of a file of format 2.

        Raises:
            ConfigError: If they are longer than what is read again.
        """
        texts: dict[str, Any] = {
            "task": self.task,
            "config": config_to_dict(self.config),
            "head": self.head,
            "input": self.input.to_dict(),
            "labels": None if self.labels is None else list(self.labels),
            "notes": self.notes,
            "origin": self.origin,
        }
        if self.stored_dtype is not None:
            texts["stored_dtype"] = self.stored_dtype
        metadata = {
            "format": "pt",  # transformers refuses safetensors files without it
            f"{PREFIX}format_version": str(FORMAT_VERSION),
            f"{PREFIX}version": self.version,
            **{PREFIX + key: json_metadata(value) for key, value in texts.items()},
        }
        if _characters(metadata) > MAX_METADATA_CHARACTERS:
            raise ConfigError(
                f"labels and notes have more than {MAX_METADATA_CHARACTERS >> 20} Mi characters together; shorten them."
            )
        return metadata


def classifier_head(config: FocalNetConfig, threshold: float | None = None) -> dict[str, Any]:
    """Describe the head of a plain FocalNet: a linear classifier; none in dense backbones and for pooled features.

    Args:
        config: The network.
        threshold: Confidence below which it names no class, from 0 to 1; None where it has none.

    Raises:
        ConfigError: If the threshold is no number from 0 to 1.
    """
    if config.pyramid_norms or not config.num_classes:
        return {"kind": "none"}
    head: dict[str, Any] = {"kind": "linear", "outputs": config.num_classes}
    if threshold is None:
        return head
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0.0 <= threshold <= 1.0:
        raise ConfigError(
            f"the threshold of a classifier is a confidence, a number from 0 to 1, got {shortened(threshold)}."
        )
    return {**head, "threshold": threshold}


def image_preparation(spec: InputSpec) -> Preprocessing:
    """Return an input as one of images.

    Raises:
        ConfigError: If it is a text.
    """
    if not isinstance(spec, Preprocessing):
        raise ConfigError(f"an input of kind {spec.kind} is not prepared as images are.")
    return spec


def json_metadata(value: Any) -> str:
    """Write a value as JSON that a file can keep, also where a text holds bytes that are not UTF-8."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, ensure_ascii=True, allow_nan=False)
    return text


def read_description(metadata: Mapping[str, str], file: str) -> Description | None:
    """Read and check what metadata say; None if they are not from this package.

    Raises:
        CheckpointError: If they are oversized, malformed, of a newer format, name settings that do not exist,
            contradict each other, or say that the network is no FocalNet.
    """
    if "network" in metadata and "class_names" in metadata:  # as weights.checkpoint.describe_foreign writes them
        raise CheckpointError(
            f"{file} holds {metadata['network'][:60]!r}, trained by `focalnets compare`, which is no FocalNet; it "
            "serves that comparison only."
        )
    version = metadata.get(f"{PREFIX}format_version")
    if version is None:
        return None
    if (
        not version.isascii()
        or not version.isdigit()
        or not 1 <= int(version[-9:]) <= FORMAT_VERSION
        or len(version) > 9
    ):
        raise CheckpointError(
            f"{file} is of format {version[:20]!r}; this version reads up to {FORMAT_VERSION}: update focalnets."
        )
    if _characters(metadata) > MAX_METADATA_CHARACTERS:
        raise CheckpointError(
            f"{file} carries metadata of more than {MAX_METADATA_CHARACTERS >> 20} Mi characters; it is refused."
        )
    config = _read_json(metadata, "config", dict, file)
    notes = _read_json(metadata, "notes", dict, file, absent={})
    origin = _read_json(metadata, "origin", str, file, absent="")
    dtype = _read_json(metadata, "stored_dtype", str, file, absent=None)
    newest = int(version) > 1
    labels = _read_json(metadata, "labels" if newest else "class_names", (list, type(None)), file, absent=None)
    spec = _read_json(metadata, "input" if newest else "preprocessing", dict, file)
    task = _read_json(metadata, "task", str, file) if newest else CLASSIFY
    head = _read_json(metadata, "head", dict, file) if newest else None
    try:
        network: Any = config_from_dict(config) if newest else FocalNetConfig.from_dict(config)
        return Description(
            task=task,
            config=network,
            head=classifier_head(network) if head is None else head,
            input=read_input_spec(spec) if newest else _fitted_default(Preprocessing.from_dict(spec), network),
            labels=None if labels is None else tuple(labels),
            notes=notes,
            origin=origin,
            stored_dtype=dtype,
            version=metadata.get(f"{PREFIX}version", ""),
        )
    except ConfigError as error:
        raise CheckpointError(f"{file} describes a network that this version cannot build: {error}") from error


def _fitted_default(spec: Preprocessing, config: FocalNetConfig) -> Preprocessing:
    """Repeat the usual statistics, which format 1 kept for three channels whatever the network took."""
    usual = Preprocessing()
    return spec.with_channels(config.in_chans) if (spec.mean, spec.std) == (usual.mean, usual.std) else spec


def _check_head(head: Any) -> None:
    if not isinstance(head, dict) or not isinstance(head.get("kind"), str) or not _NAME.fullmatch(head["kind"]):
        raise ConfigError(
            "a head is described by a JSON object whose kind is named by up to 40 small letters, digits and "
            f"underscores, got {shortened(head)}."
        )
    try:
        text = json.dumps(head, allow_nan=False)
        plain = json.loads(text) == head
    except (TypeError, ValueError, RecursionError):
        text, plain = "", False
    if not plain:
        raise ConfigError(f"a head is described by plain JSON values, got {shortened(head)}.")
    if len(text) > _MAX_HEAD_CHARACTERS:
        raise ConfigError(f"a head is described by at most {_MAX_HEAD_CHARACTERS:,} characters, got {len(text):,}.")
    outputs = head.get("outputs", 1)
    if type(outputs) is not int or outputs < 1:
        raise ConfigError(f"the outputs of a head are a whole number from 1 up, got {shortened(outputs)}.")


def _characters(metadata: Mapping[str, str]) -> int:
    return sum(len(key) + len(value) for key, value in metadata.items())


def _read_json(metadata: Mapping[str, str], key: str, kinds: Any, file: str, **default: Any) -> Any:
    text = metadata.get(PREFIX + key)
    if text is None:
        if "absent" in default:
            return default["absent"]
        raise CheckpointError(f"{file} is damaged: its metadata lack {PREFIX}{key}.")
    try:
        value = parse_json(text)
    except ValueError as error:
        raise CheckpointError(f"{file} is damaged: {PREFIX}{key} in its metadata is no valid JSON.") from error
    if not isinstance(value, kinds):
        raise CheckpointError(f"{file} is damaged: {PREFIX}{key} in its metadata is {kind_of_value(value)}.")
    return value
