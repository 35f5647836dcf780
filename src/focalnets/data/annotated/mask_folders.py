"""Where images and masks lie: which folders, which parts of a data set, and which mask belongs to which image."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from focalnets.data.finding import find_images, is_folder, is_no_data_folder, list_folder
from focalnets.data.split_names import SplitRole, rank_of_name, role_of_name
from focalnets.errors import DataError

__all__ = ["MaskFolders", "find_mask_folders", "find_mask_parts", "masks_of_photos", "paired"]

_PAIRS = (
    ("PNGImages", "PedMasks"), ("images", "masks"), ("image", "mask"), ("imgs", "masks"), ("img_dir", "ann_dir"),
    ("images", "annotations"), ("images", "labels"),
)  # fmt: skip
_TAILS = ("", "_mask", "_masks", "_label", "_labels", "_seg", "_gt", "_L", "-mask", "-label", "_labelTrainIds")
_MASK_ENDINGS = (".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jpg", ".jpeg")


@dataclasses.dataclass(frozen=True)
class MaskFolders:
    """Where images and masks lie.

    Attributes:
        root: The folder in which names of classes may stand too.
        images: Folder of the images; their names count from it.
        masks: Folder of the masks.
        samples: Folders that each hold one image in ``images/`` and a mask for each object in ``masks/``; then the two
            above are the folder that holds these.
    """

    root: Path
    images: Path
    masks: Path
    samples: tuple[Path, ...] = ()


def find_mask_folders(root: Path) -> MaskFolders | None:
    """Find the folders of images and masks in ``root``, or in its ``val/`` or ``test/``, whatever these are called.

    Masks that repeat the folders of a COCO file, as generated scenes are written, have none of these layouts.
    """
    parts = [(role, entry.name) for entry in list_folder(root) if (role := role_of_name(entry.name)) in ("val", "test")]
    names = sorted(parts, key=lambda part: (part[0] == "test", rank_of_name(part[1])))
    for place in (root, *(root / name for _, name in names)):
        found = _pair_in(place, root)
        if found is not None:
            return found
    return None


def find_mask_parts(root: Path) -> dict[SplitRole | None, MaskFolders]:
    """Find the folders of images and masks of all parts; empty where there are none.

    Known are ``images/`` beside ``masks/`` in the folder itself, in ``train/`` and ``val/``, or with these inside both;
    and a folder for each image that holds ``images/`` with it and ``masks/`` with one mask for each object.
    """
    found: dict[SplitRole | None, MaskFolders] = {}
    roles = _roles(root)
    for role, folder in roles.items():
        pair = _pair_in(folder, root) or _samples_in(folder, root)
        if pair is not None:
            found[role] = pair
    if found:
        return found
    pair = _pair_in(root, root)
    if pair is None:
        pair = _samples_in(root, root)
        return {} if pair is None else {None: pair}
    images, masks = _roles(pair.images), _roles(pair.masks)
    both = [role for role in images if role in masks]
    if both:
        return {role: MaskFolders(root, images[role], masks[role]) for role in both}
    return {None: pair}


def masks_of_photos(photos: Sequence[Path], folders: MaskFolders) -> list[list[Path]]:
    """Find the mask files of each image: of its name, with ``_mask`` or the like behind it, or with a number behind it.

    A folder of its name may hold them, and folders in between are taken for names of classes.
    """
    if folders.samples:
        return [_masks_in(photo.parent.parent / "masks") for photo in photos]
    stored = _masks_in(folders.masks)
    by_name: dict[str, list[Path]] = collections.defaultdict(list)
    for mask in stored:
        by_name[mask.relative_to(folders.masks).with_suffix("").as_posix()].append(mask)
    names = {photo.relative_to(folders.images).with_suffix("").as_posix(): photo for photo in photos}
    masks: dict[str, list[Path]] = {}
    taken: set[Path] = set()
    for name in names:
        found = next((by_name[name + tail] for tail in _TAILS if by_name.get(name + tail)), [])
        masks[name] = list(found[:1])
        taken.update(masks[name])
    for mask in stored:  # What is left: one mask for each object.
        if mask in taken:
            continue
        owner = _owner(mask.relative_to(folders.masks), names)
        if owner is not None:
            masks[owner].append(mask)
    return [masks[name] for name in names]


def paired(masks: Sequence[list[Path]], photos: Sequence[Path], folders: MaskFolders) -> list[Path]:
    """Take the one mask of each image.

    Raises:
        DataError: If images have none.
    """
    missing = [photo for photo, found in zip(photos, masks, strict=True) if not found]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(photos)} images in '{folders.images}' have no mask of their name in "
            f"'{folders.masks}', the first is '{missing[0].name}'; add the masks, all black where nothing is to be "
            "found, or take the images away."
        )
    return [found[0] for found in masks]


def class_folder(mask: Path, folders: MaskFolders) -> str | None:
    """Name of the class that a mask's folder is called after; None where it lies in none."""
    if folders.samples:
        return None
    inner = mask.relative_to(folders.masks).parts[:-1]
    return inner[0] if inner and not (folders.images / inner[0]).is_dir() else None


def _owner(relative: Path, names: dict[str, Path]) -> str | None:
    """The image that a mask of one object belongs to."""
    stem = relative.with_suffix("").as_posix()
    candidates = [relative.parent.as_posix(), stem]
    if len(relative.parts) > 1:  # Below a folder of a class.
        candidates += [
            Path(*relative.parts[1:]).with_suffix("").as_posix(),
            Path(*relative.parts[1:]).parent.as_posix(),
        ]
    for candidate in candidates:
        if candidate in names:
            return candidate
        shorter = re.sub(r"[_-](?:mask|obj|object|instance|inst)?[_-]?\d+$", "", candidate)
        if shorter in names:
            return shorter
    return None


def _masks_in(folder: Path) -> list[Path]:
    try:
        return find_images([folder])
    except DataError:  # Empty: an image without objects.
        return []


def _roles(root: Path) -> dict[SplitRole, Path]:
    """Folders of parts, of several of one part the one that is meant."""
    found: dict[SplitRole, Path] = {}
    entries = [entry.name for entry in list_folder(root) if not is_no_data_folder(entry.name) and is_folder(entry)]
    for name in sorted(entries, key=rank_of_name):
        role = role_of_name(name)
        if role is not None:
            found.setdefault(role, root / name)
    return found


def _pair_in(place: Path, root: Path) -> MaskFolders | None:
    for images, masks in _PAIRS:
        if (place / images).is_dir() and (place / masks).is_dir() and _holds_image(place / masks):
            return MaskFolders(root, place / images, place / masks)
    return None


def _holds_image(folder: Path, depth: int = 2) -> bool:
    """Whether a folder holds a mask, which is no text or xml: in itself or not far below."""
    entries = list_folder(folder)
    if any(entry.name.lower().endswith(_MASK_ENDINGS) and not entry.name.startswith(".") for entry in entries):
        return True
    folders = [entry for entry in entries if depth and not is_no_data_folder(entry.name) and is_folder(entry)]
    return any(_holds_image(folder / entry.name, depth - 1) for entry in folders[:8])


def _samples_in(place: Path, root: Path) -> MaskFolders | None:
    """Folders that each hold an image and the masks of its objects; none unless all folders do."""
    entries = [entry for entry in list_folder(place) if not is_no_data_folder(entry.name) and is_folder(entry)]
    samples = []
    for entry in entries:
        folder = place / entry.name
        if not ((folder / "images").is_dir() and (folder / "masks").is_dir()):
            return None
        samples.append(folder)
    return (
        MaskFolders(root, place, place, tuple(samples)) if samples and role_of_name(entries[0].name) is None else None
    )
