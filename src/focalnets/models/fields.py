"""Checks that the dataclasses which stand in checkpoints share. Imports no torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from focalnets.errors import ConfigError, abridged, kind_of_value

__all__ = [
    "PlainConfig",
    "check_types",
    "check_whole_number",
    "checked_keys",
    "is_finite",
    "is_number",
    "printable",
    "shortened",
]


Config = TypeVar("Config", bound="PlainConfig")


class PlainConfig:
    """A frozen dataclass that can be written as plain values and read again."""

    def replace(self: Config, **overrides: Any) -> Config:
        """Copy the config with some fields changed; unknown fields are errors."""
        return self.from_dict({**self.to_dict(), **overrides})

    def to_dict(self) -> dict[str, Any]:
        """Write plain values that survive JSON."""
        fields: Any = dataclasses.fields(self)  # type: ignore[arg-type]
        return {
            field.name: list(value) if isinstance(value := getattr(self, field.name), tuple) else value
            for field in fields
        }

    @classmethod
    def from_dict(cls: type[Config], values: Mapping[str, Any]) -> Config:
        """Build from plain values, e.g. read from JSON.

        Raises:
            ConfigError: If a key is unknown or a value out of range.
        """
        return cls(**checked_keys(cls, values))


def checked_keys(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values as arguments of a dataclass, without its ``kind``.

    Raises:
        ConfigError: If a key is no field of the class, or the kind another one.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{cls.__name__} is built from fields by name, but what was given is {kind_of_value(values)}."
        )
    fields = dict(values)
    kind = getattr(cls, "kind", None)
    if kind is not None and fields.pop("kind", kind) != kind:
        raise ConfigError(f"{cls.__name__} describes an input of kind {kind}, got {shortened(values['kind'])}.")
    known = [field.name for field in dataclasses.fields(cls)]
    unknown = sorted(map(str, set(fields) - set(known)))
    if unknown:
        raise ConfigError(f"{cls.__name__} has no field {shortened(*unknown)}; its fields are {', '.join(known)}.")
    return fields


def check_types(config: Any) -> None:
    """Refuse values of another type than the default of their field; a default of None stands for a number or None.

    Raises:
        ConfigError: With the name of the field.
    """
    for field in dataclasses.fields(config):
        value, default = getattr(config, field.name), field.default
        if default is None:
            fits = value is None or is_number(value)
        elif isinstance(default, tuple):
            of_texts = bool(default) and isinstance(default[0], str)
            right = (lambda entry: isinstance(entry, str)) if of_texts else is_number
            fits = isinstance(value, list | tuple) and all(map(right, value))
        elif isinstance(default, float):
            fits = is_number(value)
        else:
            fits = type(value) is type(default)
        if not fits:
            raise ConfigError(f"{field.name} has a value of the wrong type, {shortened(value)}.")


def check_whole_number(name: str, value: int, most: int) -> None:
    """Refuse a whole number below 1 or above ``most``.

    Raises:
        ConfigError: With the name of the field.
    """
    if not 1 <= value <= most:
        raise ConfigError(f"{name} must be a whole number from 1 to {most:,}, got {shortened(value)}.")


def is_number(value: Any) -> bool:
    """Whether this is a number, which True and False are not here."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(value: float) -> bool:
    """Whether a number, of any size, is neither infinite nor NaN."""
    return -math.inf < value < math.inf


def printable(name: str) -> str:
    """Write a name from a file so that a message with it stays one line."""
    return name if name.isprintable() else repr(name)


def shortened(*values: Any) -> str:
    """Write values as a message shows them, abridged."""
    text = ", ".join(map(abridged, values))
    return text if len(text) <= 80 else f"{text[:77]}..."
