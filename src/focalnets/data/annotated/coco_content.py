"""What a COCO json file holds, checked before anything is made of it."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from focalnets.data.annotated.objects import Category
from focalnets.data.images import DEFAULT_MAX_PIXELS
from focalnets.errors import DataError, abridged

__all__ = ["CocoFile", "CocoImage", "read_coco"]

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
        names = ", ".join(abridged(category.name)[1:-1] for category in self.categories[:_MOST_NAMES])
        raise DataError(
            f"'{self.path}' has no category {name!r}; {f'choose from {names}' if names else 'it has none'}."
        )

    def with_objects(self) -> CocoFile:
        """Leave out images without annotations."""
        return dataclasses.replace(self, images=[image for image in self.images if image.annotations])


def read_coco(file: Path) -> CocoFile:
    """Read a COCO file for objects.

    Raises:
        DataError: If it cannot be read, or images, categories and annotations are not as COCO has them.
    """
    content = _read_json(file)
    categories = _read_categories(content, file)
    annotations = _read_annotations(content, categories, file)
    images = []
    known = set()
    for number, entry in enumerate(content["images"]):
        identity: Any = entry.get("id")
        name = entry.get("file_name")
        if not _is_id(identity) or not isinstance(name, str) or not name:
            raise DataError(
                f"An image in '{file}' has no file_name or no id; expected both, but number {number} lacks one."
            )
        if identity in known:
            raise DataError(f"Two images in '{file}' have the id {abridged(identity)}; expected another one for each.")
        known.add(identity)
        if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
            raise DataError(
                f"Image {abridged(identity)} in '{file}' has the file_name {abridged(name)}; expected a path below the "
                "folder of the images."
            )
        size = _read_size(entry, file)
        images.append(CocoImage(identity, name, size, annotations.pop(identity, ())))
    for left in annotations.values():
        raise _unlisted_image(left[0], "without id", file)
    return CocoFile(file, categories, images)


def _read_json(file: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"'{file}' cannot be read ({error}); expected a COCO json file.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"'{file}' is no json or incomplete ({error}); expected a COCO json file.") from error
    for key in ("images", "annotations"):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DataError(f"'{file}' holds no list '{key}'; expected a COCO json file for objects.")
    if not content["images"]:
        raise DataError(f"'{file}' lists no images.")
    return content


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _read_size(entry: dict[str, Any], file: Path) -> tuple[int, int] | None:
    """Width and height as stated; None where both are missing or 0."""
    sides: list[Any] = [entry.get("width"), entry.get("height")]
    if all(side in (None, 0) for side in sides):
        return None
    whole = all(type(side) in (int, float) and 1 <= side <= DEFAULT_MAX_PIXELS and side % 1 == 0 for side in sides)
    if not whole or sides[0] * sides[1] > DEFAULT_MAX_PIXELS:
        raise DataError(
            f"Image {abridged(entry.get('id'))} in '{file}' states a width of {abridged(sides[0])} and a height of "
            f"{abridged(sides[1])}; expected whole numbers from 1 up, of at most {DEFAULT_MAX_PIXELS / 1e6:.0f} "
            "megapixels, or neither."
        )
    return int(sides[0]), int(sides[1])


def _read_categories(content: dict[str, Any], file: Path) -> list[Category]:
    """Categories in the order of their ids; where none are listed, those that annotations name by a number."""
    listed = content.get("categories")
    if listed is None or listed == []:
        used = {each.get("category_id") for each in content["annotations"] if _is_id(each.get("category_id"))}
        categories = [Category(identity, str(identity)) for identity in used]
        if any(each.get("category_id") is None for each in content["annotations"]):
            categories.append(Category(None, _UNNAMED))
        return sorted(categories, key=_order)
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise DataError(f"'{file}' holds no list 'categories'; expected a COCO json file for objects.")
    found: dict[Any, Category] = {}
    for entry in listed:
        identity, name, above = entry.get("id"), entry.get("name"), entry.get("supercategory")
        if not _is_id(identity) or not _is_id(name):
            raise DataError(f"A category in '{file}' has no id or no name; expected both, got {abridged(entry)}.")
        if identity in found:
            raise DataError(
                f"Two categories in '{file}' have the id {abridged(identity)}; expected another one for each."
            )
        found[identity] = Category(identity, str(name), str(above) if _is_id(above) else None)
    return sorted(found.values(), key=_order)


def _order(category: Category) -> tuple[int, int, str]:
    """Numbers first, then texts, then what has no id."""
    identity = category.id
    if identity is None:
        return 2, 0, ""
    return (0, identity, "") if isinstance(identity, int) else (1, 0, identity)


def _read_annotations(
    content: dict[str, Any], categories: Sequence[Category], file: Path
) -> dict[int | str, list[dict[str, Any]]]:
    """Annotations by the id of their image; each of them belongs to a category."""
    known = {category.id for category in categories}
    by_image: dict[int | str, list[dict[str, Any]]] = collections.defaultdict(list)
    for number, annotation in enumerate(content["annotations"]):
        image, category = annotation.get("image_id"), annotation.get("category_id")
        if not _is_id(image):
            raise _unlisted_image(annotation, number, file)
        if (category is not None and not _is_id(category)) or category not in known:
            raise DataError(
                f"Annotation {abridged(annotation.get('id', number))} in '{file}' has the category_id "
                f"{abridged(category)}, which is not among the categories there."
            )
        by_image[image].append(annotation)
    return by_image


def _unlisted_image(annotation: dict[str, Any], otherwise: int | str, file: Path) -> DataError:
    identity = abridged(annotation.get("id", otherwise))
    return DataError(f"Annotation {identity} in '{file}' belongs to no image that is listed there.")
