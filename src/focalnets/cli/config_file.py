"""YAML files with options, read with the types that the options have on the command line."""

from __future__ import annotations

import argparse
import dataclasses
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from focalnets.errors import ConfigError, abridged, nearest
from focalnets.yaml_files import read_yaml

__all__ = ["Declared", "read_settings"]

_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")


@dataclasses.dataclass(frozen=True)
class Declared:
    """How an option was declared.

    Attributes:
        type: Of one value; None is a text.
        nargs: How many values, as argparse has it.
        choices: The only values there are; None allows all of the type.
        const: The value of the option without a value.
    """

    type: Any = None
    nargs: int | str | None = None
    choices: tuple[Any, ...] | None = None
    const: Any = None

    @property
    def is_flag(self) -> bool:
        """Whether it is either true or false."""
        return _without_none(self.type) is bool

    @property
    def takes_many(self) -> bool:
        """Whether it takes a list of values."""
        return self.nargs in ("+", "*")

    @property
    def names(self) -> tuple[Any, ...] | None:
        """The only values there are, also where the type says so."""
        if self.choices is not None:
            return self.choices
        kind = _without_none(self.type)
        return get_args(kind) if get_origin(kind) is Literal else None

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        return _in_words(self.type)

    def read(self, value: Any) -> Any:
        """Return a value of a file as the command line would give it.

        Raises:
            ValueError: If it has another type; the message says what it must be and what it is.
        """
        if self.const is not None and value is True:
            return self.const
        if self.is_flag:
            return _read_flag(value)
        if self.takes_many:
            alone = dataclasses.replace(self, nargs=None)
            return [alone.read(each) for each in (value if isinstance(value, list) else [value])]
        if self.names is not None and value not in self.names:
            raise ValueError(f"cannot be {abridged(value)}; {nearest(abridged(value), map(str, self.names))}")
        return self._typed(value)

    def _typed(self, value: Any) -> Any:
        from jsonargparse import ArgumentParser

        probe = ArgumentParser(exit_on_error=False)
        probe.add_argument("--value", type=str if self.type is None else self.type)
        try:
            if isinstance(value, bool) and self.type is not Any:
                raise ValueError
            return probe.parse_object({"value": value}, defaults=False).value
        except (argparse.ArgumentError, TypeError, ValueError, KeyError, RecursionError):
            advice = "; put it in quotes" if self.type in (None, str) and not isinstance(value, (list, dict)) else ""
            raise ValueError(f"must be {self.expected}, got {abridged(value)}{advice}.") from None


def read_settings(path: str | Path, declared: Mapping[str, Declared], listing: str) -> dict[str, Any]:
    """Read the settings in a YAML file.

    Args:
        path: The file.
        declared: What it may hold, by name; hyphens in the file count as underscores.
        listing: A sentence about where all names are listed.

    Returns:
        The values by name; those that are null are left out.

    Raises:
        ConfigError: If the file cannot be read, a setting is unknown or has another type.
    """
    settings = {}
    for given, value in read_yaml(path).items():
        name = str(given).replace("-", "_")
        if name not in declared:
            hint = nearest(name, declared, listing)
            raise ConfigError(f"The config '{path}' holds {abridged(str(given))}, which is unknown; {hint}")
        if value is None:
            continue
        try:
            settings[name] = declared[name].read(value)
        except ValueError as error:
            raise ConfigError(f"In the config '{path}' {given} {error}") from None
    return settings


def _read_flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else None
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError(f"must be true or false, got {abridged(value)}.")


def _without_none(kind: Any) -> Any:
    """The type itself of ``type | None``."""
    if get_origin(kind) not in (Union, types.UnionType):
        return kind
    others = [each for each in get_args(kind) if each is not type(None)]
    return others[0] if len(others) == 1 else kind


def _in_words(kind: Any) -> str:
    simple = {int: "a whole number", float: "a number", bool: "true or false", None: "a text", str: "a text"}
    if kind in simple:
        return simple[kind]
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(_in_words(each) for each in get_args(kind) if each is not type(None))
    if origin is list:
        return f"a list of {_in_words(get_args(kind)[0])}"
    if origin is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if kind is dict or origin is dict:
        return "names with values"
    return str(kind)
