"""Checks that configs of trainings and of tasks share, and what their docstrings say. Imports no torch."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from focalnets.errors import ConfigError, nearest

__all__ = ["NoSettings", "Range", "check_choices", "check_ranges", "check_whole_numbers", "field_descriptions"]

Range = tuple[float, "float | None", str]
"""Lowest and highest value, None for no limit, and words that say which of them are themselves allowed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoSettings:
    """The section of a task that has nothing to say."""


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
            raise ConfigError(f"{name} must be {words}, got {value!r}.")


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
            raise ConfigError(f"{name} must be a whole number from {least} up, got {value!r}.")


def check_choices(settings: Any, choices: Mapping[str, Sequence[str]]) -> None:
    """Refuse what is none of the choices.

    Raises:
        ConfigError: With the name of the field and its choices.
    """
    for name, allowed in choices.items():
        given = getattr(settings, name)
        if given not in allowed:
            raise ConfigError(f"{name} cannot be {given!r}; {nearest(str(given), allowed)}")


def field_descriptions(config_class: type) -> dict[str, str]:
    """Read what the docstring of a dataclass says about each field, on one line."""
    text = (inspect.getdoc(config_class) or "").partition("Attributes:\n")[2]
    descriptions: dict[str, str] = {}
    for match in re.finditer(r"^    (\w+): (.*(?:\n     +.*)*)", text, re.MULTILINE):
        descriptions[match[1]] = re.sub(r"\s+", " ", match[2])
    return descriptions
