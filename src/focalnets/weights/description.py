"""What the metadata of a checkpoint say it is, read and checked without its tensors."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from focalnets.errors import CheckpointError, ConfigError
from focalnets.models.config import FocalNetConfig, Preprocessing

__all__ = ["Description", "read_description"]


FORMAT_VERSION = 1


MAX_METADATA_CHARACTERS = 16 * 2**20


PREFIX = "focalnets."


_DESCENT = ", descended from "


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """What the metadata of a checkpoint say.

    Attributes:
        config: The network.
        preprocessing: How images must be prepared.
        class_names: One name an output, or None.
        notes: Free texts by name, e.g. epoch and score.
        origin: Where the weights came from, in words.
    """

    config: FocalNetConfig
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    notes: dict[str, str]
    origin: str

    def origin_after(self, path: Path) -> str:
        """Where weights of this description came from, once read from ``path``; names the first origin only."""
        first = self.origin.rpartition(_DESCENT)[2]
        return f"{path}{_DESCENT}{first}" if first else str(path)


def read_description(metadata: Mapping[str, str], file: str) -> Description | None:
    """What metadata say, checked; None if they are not from this package.

    Raises:
        CheckpointError: If they are oversized, malformed, of a newer format, name settings that do not exist, or say
            that the network is no FocalNet.
    """
    if "network" in metadata and "class_names" in metadata:  # as focalnets.training.foreign writes them
        raise CheckpointError(
            f"{file} holds {metadata['network'][:60]!r}, trained by `focalnets compare`, which is no FocalNet; it "
            "serves that comparison only."
        )
    version = metadata.get(f"{PREFIX}format_version")
    if version is None:
        return None
    if not version.isascii() or not version.isdigit() or not 1 <= int(version[:9]) <= FORMAT_VERSION:
        raise CheckpointError(
            f"{file} is of format {version[:20]!r}; this version reads up to {FORMAT_VERSION}: update focalnets."
        )
    if sum(len(key) + len(value) for key, value in metadata.items()) > MAX_METADATA_CHARACTERS:
        raise CheckpointError(
            f"{file} carries metadata of more than {MAX_METADATA_CHARACTERS >> 20} Mi characters; it is refused."
        )
    config = _read_json(metadata, "config", dict, file)
    preprocessing = _read_json(metadata, "preprocessing", dict, file)
    class_names = _read_json(metadata, "class_names", (list, type(None)), file, absent=None)
    notes = _read_json(metadata, "notes", dict, file, absent={})
    origin = _read_json(metadata, "origin", str, file, absent="")
    if not all(isinstance(text, str) for text in (*(class_names or ()), *notes.values())):
        raise CheckpointError(f"{file} is damaged: class names and notes in its metadata must be texts.")
    try:
        _check_types(FocalNetConfig, config)
        _check_types(Preprocessing, preprocessing)
        description = Description(
            config=FocalNetConfig.from_dict(config),
            preprocessing=Preprocessing.from_dict(preprocessing),
            class_names=None if class_names is None else tuple(class_names),
            notes=notes,
            origin=origin,
        )
    except ConfigError as error:
        raise CheckpointError(f"{file} describes a network that this version cannot build: {error}") from error
    outputs = 0 if description.config.pyramid_norms else description.config.num_classes
    if description.class_names is not None and outputs and len(description.class_names) != outputs:
        raise CheckpointError(
            f"{file} names {len(description.class_names)} classes for {outputs} outputs; it is damaged."
        )
    return description


def _read_json(metadata: Mapping[str, str], key: str, kinds: Any, file: str, **default: Any) -> Any:
    text = metadata.get(PREFIX + key)
    if text is None:
        if "absent" in default:
            return default["absent"]
        raise CheckpointError(f"{file} is damaged: its metadata lack {PREFIX}{key}.")
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is damaged: {PREFIX}{key} in its metadata is no valid JSON.") from error
    if not isinstance(value, kinds):
        raise CheckpointError(f"{file} is damaged: {PREFIX}{key} in its metadata is a {type(value).__name__}.")
    return value


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _check_types(cls: type, values: Mapping[str, Any]) -> None:
    for field in dataclasses.fields(cls):
        if field.name not in values:
            continue
        value, model = values[field.name], field.default
        if model is None:
            fits = value is None or _is_number(value)
        elif isinstance(model, tuple):
            fits = isinstance(value, list) and all(map(_is_number, value))
        elif isinstance(model, float):
            fits = _is_number(value)
        else:
            fits = type(value) is type(model)
        if not fits:
            raise ConfigError(f"{field.name} has a value of the wrong type, {str(value)[:60]}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
