"""Checks that configs of trainings and of tasks share, and what their docstrings say. Imports no torch."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from focalnets.errors import ConfigError, abridged, nearest

__all__ = [
    "NoSettings",
    "Range",
    "check_choices",
    "check_ranges",
    "check_types",
    "check_whole_numbers",
    "field_descriptions",
    "refuse_image_sizes",
]

Range = tuple[float, "float | None", str]
"""Lowest and highest value, None for no limit, and words that say which of them are themselves allowed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoSettings:
    """The section of a task that has nothing to say."""


def check_types(settings: Any) -> None:
    """Refuse values of another type than the fields of a dataclass declare.

    Whole numbers are taken for fractions, and so are texts such as ``1e-3``, which YAML 1.1 does not take for a number;
    ``yes`` and ``no``, which YAML 1.2 does not take for true and false, are.

    Raises:
        ConfigError: With the name of the field.
    """
    for name, hint in typing.get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        kinds = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
        if hint is Any or (value is None and type(None) in kinds):
            continue
        if float in kinds and isinstance(value, str) and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value):
            object.__setattr__(settings, name, float(value))
        elif bool in kinds and isinstance(value, str) and value.lower() in _FLAGS:
            object.__setattr__(settings, name, _FLAGS[value.lower()])
        elif not any(_is_of(value, kind) for kind in kinds):
            expected = " or ".join(_WORDS.get(typing.get_origin(kind) or kind, "a text") for kind in kinds)
            raise ConfigError(f"{name} must be {expected}, got {abridged(value)}.")


_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

_WORDS: dict[Any, str] = {
    bool: "true or false", int: "a whole number", float: "a number", type(None): "nothing", Mapping: "a section",
}  # fmt: skip


def _is_of(value: Any, kind: Any) -> bool:
    if typing.get_origin(kind) is typing.Literal:
        return isinstance(value, str)
    kind = typing.get_origin(kind) or kind
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


def check_ranges(settings: Any, ranges: Mapping[str, Range]) -> None:
    """Refuse numbers that are out of range; None is left alone.

    Raises:
        ConfigError: With the name of the field.
    """
    for name, (low, high, words) in ranges.items():
        value = getattr(settings, name)
        if value is None:
            continue
        fits = low <= value < float("inf") and (high is None or value <= high)
        fits = fits and not ("above 0" in words and value == 0) and not ("below 1" in words and value == 1)
        if not fits:
            raise ConfigError(f"{name} must be {words}, got {abridged(value)}.")


def check_whole_numbers(settings: Any, smallest: Mapping[str, int], *, optional: bool = False) -> None:
    """Refuse what is no whole number from the smallest one up; with ``optional`` None is left alone.

    Raises:
        ConfigError: With the name of the field.
    """
    for name, least in smallest.items():
        value = getattr(settings, name)
        if value is None and optional:
            continue
        if type(value) is not int or value < least:
            raise ConfigError(f"{name} must be a whole number from {least} up, got {abridged(value)}.")


def check_choices(settings: Any, choices: Mapping[str, Sequence[str]]) -> None:
    """Refuse what is none of the choices.

    Raises:
        ConfigError: With the name of the field and its choices.
    """
    for name, allowed in choices.items():
        given = getattr(settings, name)
        if given not in allowed:
            raise ConfigError(f"{name} cannot be {abridged(given)}; {nearest(abridged(given), allowed)}")


def refuse_image_sizes(config: Any, instead: str) -> None:
    """Refuse settings of a training that are about the size of images, where there are none.

    Raises:
        ConfigError: With the setting, and ``instead``, which says what to give in its place.
    """
    for name in ("image_size", "image_size_schedule"):
        if getattr(config, name) is not None:
            raise ConfigError(f"{name} is for images; {instead}.")


def field_descriptions(config_class: type) -> dict[str, str]:
    """Read what the docstrings of a dataclass and of those that it extends say about each field, on one line."""
    descriptions: dict[str, str] = {}
    for documented in reversed(config_class.__mro__):
        text = inspect.cleandoc(documented.__doc__ or "").partition("Attributes:\n")[2]
        for match in re.finditer(r"^    (\w+): (.*(?:\n     +.*)*)", text, re.MULTILINE):
            descriptions[match[1]] = re.sub(r"\s+", " ", match[2])
    return descriptions
