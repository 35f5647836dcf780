"""What a format finds in a place: parts of a data set, their classes brought together, and what can be trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import get_args

from focalnets.data.annotated.images import AnnotatedImages, DenseTask
from focalnets.data.annotated.objects import Category
from focalnets.data.annotated.problems import Problems
from focalnets.data.split_names import SplitRole
from focalnets.errors import DataError

__all__ = ["DENSE_TASKS", "Parts", "Recognised", "common_categories", "sorted_by_fitness"]

DENSE_TASKS: tuple[DenseTask, ...] = get_args(DenseTask)

Parts = Mapping[SplitRole | None, AnnotatedImages]
"""Images by the part that the data put them in; None where they say nothing about it."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Recognised:
    """Annotations of one format in a place.

    Attributes:
        format: For people, e.g. ``COCO json``.
        place: Folder or file.
        tasks: What they can train.
        open: Opens them for one of these; takes what is to be done with mistakes.
        maps: Whether they give the class of each pixel themselves.
    """

    format: str
    place: Path | str
    tasks: frozenset[DenseTask]
    open: Callable[[DenseTask, Problems], Parts]
    maps: bool = False


def sorted_by_fitness(found: Sequence[Recognised], task: DenseTask) -> list[Recognised]:
    """List the formats that can train a task, the one to take first.

    Of pixels, what gives the class of each goes before what has to be painted.
    """
    fitting = [each for each in found if task in each.tasks]
    return sorted(fitting, key=lambda each: not each.maps) if task == "semantic" else fitting


def common_categories(parts: Parts, place: Path | str) -> Parts:
    """Make all parts count their classes alike: those of all parts, in the order of their ids, then of their names.

    Raises:
        DataError: If parts give one id to different classes.
    """
    found: dict[object, Category] = {}
    for images in parts.values():
        for category in images.categories:
            key = ("name", category.name) if category.id is None else ("id", category.id)
            known = found.setdefault(key, category)
            if known.name != category.name:
                raise DataError(
                    f"The parts of '{place}' call class {category.id!r} both '{known.name}' and '{category.name}'; "
                    "give each class one id and one name everywhere."
                )
    categories = sorted(found.values(), key=category_order) if _differ(parts) else list(found.values())
    place_of = {category: label for label, category in enumerate(categories)}
    by_key = {(category.id, category.name): label for category, label in place_of.items()}
    return {
        part: images.relabelled(categories, [by_key[each.id, each.name] for each in images.categories])
        for part, images in parts.items()
    }


def category_order(category: Category) -> tuple[int, int, str]:
    """Sort by numbers first, then texts, then the names of what has no id."""
    identity = category.id
    if identity is None:
        return 2, 0, category.name
    return (0, identity, "") if isinstance(identity, int) else (1, 0, identity)


def _differ(parts: Parts) -> bool:
    lists: Sequence[Sequence[Category]] = [images.categories for images in parts.values()]
    return any(list(each) != list(lists[0]) for each in lists)
