"""What a COCO json file holds, checked before anything is made of it."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from focalnets.data.annotated.objects import Category
from focalnets.data.annotated.problems import Problems, abridge
from focalnets.data.images import DEFAULT_MAX_PIXELS
from focalnets.errors import DataError

__all__ = [
    "CocoFile",
    "CocoImage",
    "is_id",
    "is_inside",
    "read_categories",
    "read_coco",
    "read_images",
    "read_json",
]

_UNNAMED = "object"
_MOST_NAMES = 100


@dataclasses.dataclass(frozen=True, eq=False)
class CocoImage:
    """One entry of ``images``, with its annotations.

    Attributes:
        id: As written.
        file_name: Path below the folder of the images.
        size: Width and height [px] as stated, of the pixels in the file or of the upright photo; None where not stated.
        annotations: As written. Each belongs to a category of the file; what else they hold is not checked yet.
    """

    id: int | str
    file_name: str
    size: tuple[int, int] | None
    annotations: Sequence[dict[str, Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class CocoFile:
    """A COCO file, or a part of its images and annotations.

    Attributes:
        path: The json file.
        categories: Of the whole file, in the order of their ids, which may leave gaps. The place in it is the label.
        images: In the order of the file, those without annotations too.
    """

    path: Path
    categories: Sequence[Category]
    images: Sequence[CocoImage]

    def of_category(self, name: str) -> tuple[CocoFile, str]:
        """Leave out annotations that are not of a category, or of a ``supercategory``, of this name.

        Returns:
            What is left, with all images, and the name as the file writes it.

        Raises:
            DataError: If there is no such category.
        """
        meant = name.casefold()
        for attribute in ("name", "supercategory"):
            chosen = [each for each in self.categories if str(getattr(each, attribute)).casefold() == meant]
            if chosen:
                wanted = {each.id for each in chosen}
                images = [
                    dataclasses.replace(
                        image, annotations=[each for each in image.annotations if each.get("category_id") in wanted]
                    )
                    for image in self.images
                ]
                return dataclasses.replace(self, images=images), str(getattr(chosen[0], attribute))
        names = ", ".join(abridge(category.name)[1:-1] for category in self.categories[:_MOST_NAMES])
        raise DataError(
            f"'{self.path}' has no category {name!r}; {f'choose from {names}' if names else 'it has none'}."
        )

    def with_objects(self) -> CocoFile:
        """Leave out images without annotations."""
        return dataclasses.replace(self, images=[image for image in self.images if image.annotations])


def read_coco(file: Path, problems: Problems | None = None) -> CocoFile:
    """Read a COCO file for objects.

    Args:
        file: The json file.
        problems: Takes annotations of unknown categories or images, which are then left out; None raises the first.

    Raises:
        DataError: If it cannot be read, or images, categories and annotations are not as COCO has them.
    """
    problems = Problems() if problems is None else problems
    content = read_json(file)
    categories = read_categories(content, file)
    annotations = _read_annotations(content, categories, file, problems)
    images = [
        dataclasses.replace(image, annotations=annotations.pop(image.id, ())) for image in read_images(content, file)
    ]
    for left in annotations.values():
        problems.add(
            "annotation-without-image", abridge(left[0].get("image_id")), unlisted_image(left[0], "without id", file)
        )
    return CocoFile(file, categories, images)


def read_images(content: dict[str, Any], file: Path) -> list[CocoImage]:
    """Check the entries of ``images``.

    Raises:
        DataError: If one lacks an id or a name, or has an id or a size that cannot be.
    """
    images = []
    known = set()
    for number, entry in enumerate(content["images"]):
        identity: Any = entry.get("id")
        name = entry.get("file_name")
        if not is_id(identity) or not isinstance(name, str) or not name:
            raise DataError(
                f"An image in '{file}' has no file_name or no id; expected both, but number {number} lacks one."
            )
        if identity in known:
            raise DataError(f"Two images in '{file}' have the id {abridge(identity)}; expected another one for each.")
        known.add(identity)
        if not is_inside(name):
            raise DataError(
                f"Image {abridge(identity)} in '{file}' has the file_name {abridge(name)}; expected a path below the "
                "folder of the images."
            )
        images.append(CocoImage(identity, name, _read_size(entry, file), ()))
    return images


def is_inside(name: str) -> bool:
    """Whether a name of a file lies below the folder that it counts from."""
    return not (Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name)


def read_json(file: Path, *, keys: Sequence[str] = ("images", "annotations")) -> dict[str, Any]:
    """Read a json file that holds a list of objects under each of some keys, and images.

    Raises:
        DataError: If it does not.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"'{file}' cannot be read ({error}); expected a COCO json file.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"'{file}' is no json or incomplete ({error}); expected a COCO json file.") from error
    for key in keys:
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DataError(f"'{file}' holds no list '{key}'; expected a COCO json file for objects.")
    if not content["images"]:
        raise DataError(f"'{file}' lists no images.")
    return content


def is_id(value: Any) -> bool:
    """Whether a value can be an id: a whole number or a text."""
    return isinstance(value, int | str) and not isinstance(value, bool)


def _read_size(entry: dict[str, Any], file: Path) -> tuple[int, int] | None:
    """Width and height as stated; None where both are missing or 0."""
    sides: list[Any] = [entry.get("width"), entry.get("height")]
    if all(side in (None, 0) for side in sides):
        return None
    whole = all(type(side) in (int, float) and 1 <= side <= DEFAULT_MAX_PIXELS and side % 1 == 0 for side in sides)
    if not whole or sides[0] * sides[1] > DEFAULT_MAX_PIXELS:
        raise DataError(
            f"Image {abridge(entry.get('id'))} in '{file}' states a width of {abridge(sides[0])} and a height of "
            f"{abridge(sides[1])}; expected whole numbers from 1 up, of at most {DEFAULT_MAX_PIXELS / 1e6:.0f} "
            "megapixels, or neither."
        )
    return int(sides[0]), int(sides[1])


def read_categories(content: dict[str, Any], file: Path) -> list[Category]:
    """Read the categories in the order of their ids; where none are listed, those that annotations name by a number.

    Raises:
        DataError: If one has no id or no name, or two have the same id.
    """
    listed = content.get("categories")
    if listed is None or listed == []:
        used = {each.get("category_id") for each in content["annotations"] if is_id(each.get("category_id"))}
        categories = [Category(identity, str(identity)) for identity in used]
        if any(each.get("category_id") is None for each in content["annotations"]):
            categories.append(Category(None, _UNNAMED))
        return sorted(categories, key=_order)
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise DataError(f"'{file}' holds no list 'categories'; expected a COCO json file for objects.")
    found: dict[Any, Category] = {}
    for entry in listed:
        identity, name, above = entry.get("id"), entry.get("name"), entry.get("supercategory")
        if not is_id(identity) or not is_id(name):
            raise DataError(f"A category in '{file}' has no id or no name; expected both, got {abridge(entry)}.")
        if identity in found:
            raise DataError(
                f"Two categories in '{file}' have the id {abridge(identity)}; expected another one for each."
            )
        thing = entry.get("isthing") not in (0, False)
        found[identity] = Category(identity, str(name), str(above) if is_id(above) else None, thing)
    return sorted(found.values(), key=_order)


def _order(category: Category) -> tuple[int, int, str]:
    """Numbers first, then texts, then what has no id."""
    identity = category.id
    if identity is None:
        return 2, 0, ""
    return (0, identity, "") if isinstance(identity, int) else (1, 0, identity)


def _read_annotations(
    content: dict[str, Any], categories: Sequence[Category], file: Path, problems: Problems
) -> dict[int | str, list[dict[str, Any]]]:
    """Annotations by the id of their image; each of them belongs to a category."""
    known = {category.id for category in categories}
    by_image: dict[int | str, list[dict[str, Any]]] = collections.defaultdict(list)
    for number, annotation in enumerate(content["annotations"]):
        image, category = annotation.get("image_id"), annotation.get("category_id")
        if not is_id(image):
            problems.add("annotation-without-image", abridge(image), unlisted_image(annotation, number, file))
        elif (category is not None and not is_id(category)) or category not in known:
            problems.add(
                "unknown-category",
                abridge(category),
                f"Annotation {abridge(annotation.get('id', number))} in '{file}' has the category_id "
                f"{abridge(category)}, which is not among the categories there.",
            )
        else:
            by_image[image].append(annotation)
    return by_image


def unlisted_image(annotation: dict[str, Any], otherwise: int | str, file: Path) -> str:
    """Say that an annotation belongs to no image."""
    identity = abridge(annotation.get("id", otherwise))
    return f"Annotation {identity} in '{file}' belongs to no image that is listed there."
