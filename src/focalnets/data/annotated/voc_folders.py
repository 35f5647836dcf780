"""Where the images, xml files, masks and lists of a data set in VOC's layout lie."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from focalnets.data.annotated.class_table import read_text
from focalnets.data.annotated.xml_files import root_name
from focalnets.data.finding import find_images, list_folder, natural_key
from focalnets.data.image_formats import IMAGE_EXTENSIONS
from focalnets.data.split_names import SplitRole, role_of_name
from focalnets.errors import DataError

__all__ = ["VocFolders", "find_voc"]

_ANNOTATIONS = ("Annotations", "annotations", "annots", "xmls", "labels", "xml")
_IMAGES = ("JPEGImages", "images", "Images", "imgs", "image")
_LISTS: tuple[tuple[str, SplitRole], ...] = (("train", "train"), ("val", "val"), ("test", "test"))


@dataclasses.dataclass(frozen=True, eq=False)
class VocFolders:
    """What a place holds.

    Attributes:
        root: The place.
        images: Folders of the images.
        photos: Images by their name without ending.
        pairs: The xml files, each with its image; None where there is none.
        parts: The xml files by part.
        segmented: Names of images without ending by part, for masks.
        objects: Folder of masks that number objects; None for none.
        classes: Folder of masks of classes; None for none.
    """

    root: Path
    images: Sequence[Path]
    photos: Mapping[str, Path]
    pairs: Mapping[Path, Path | None]
    parts: Mapping[SplitRole | None, Sequence[Path]]
    segmented: Mapping[SplitRole | None, Sequence[str]]
    objects: Path | None = None
    classes: Path | None = None

    def photo_of(self, file: Path) -> Path:
        """The image of an xml file that has one."""
        photo = self.pairs[file]
        assert photo is not None
        return photo

    def name_of(self, file: Path) -> str:
        """The name of the image of an xml file."""
        photo = self.photo_of(file)
        return photo.relative_to(self.root).as_posix() if photo.is_relative_to(self.root) else photo.name


def find_voc(root: Path) -> VocFolders | None:
    """Find a data set in VOC's layout; None where there is no xml file of it."""
    # An archive is often unpacked as VOCdevkit/VOC2012 or the like.
    inner = [root / entry.name for entry in list_folder(root) if re.fullmatch(r"VOC(devkit|\d{4})", entry.name)]
    if len(inner) == 1 and inner[0].is_dir():
        return find_voc(inner[0])
    folder = next((root / name for name in _ANNOTATIONS if _first_xml(root / name)), None)
    if folder is not None or _first_xml(root):
        return _one_folder(root, folder or root)
    roles: dict[SplitRole | None, tuple[Path, Path]] = {}
    for entry in list_folder(root):
        role, place = role_of_name(entry.name), root / entry.name
        if role is not None and place.is_dir():
            annotations = next((place / name for name in _ANNOTATIONS if _first_xml(place / name)), place)
            if _first_xml(annotations):
                roles.setdefault(role, (place, annotations))
    if not roles and (root / "annotations").is_dir():  # annotations/train/*.xml beside images/train/.
        for entry in list_folder(root / "annotations"):
            role, place = role_of_name(entry.name), root / "annotations" / entry.name
            if role is not None and _first_xml(place):
                roles.setdefault(role, (root / "images" / entry.name, place))
    if not roles:
        return None
    pairs: dict[Path, Path | None] = {}
    parts: dict[SplitRole | None, Sequence[Path]] = {}
    photos: dict[str, Path] = {}
    for role, (place, annotations) in roles.items():
        own = _photos([place, *(place / name for name in _IMAGES)])
        files = _xml_files(annotations)
        pairs |= {file: own.get(file.stem) for file in files}
        parts[role] = files
        photos |= own
    places = [place for place, _ in roles.values()]
    return VocFolders(root, places, photos, pairs, parts, {})


def _one_folder(root: Path, annotations: Path) -> VocFolders:
    places = [root / name for name in _IMAGES if (root / name).is_dir()] or [annotations]
    photos = _photos([*places, annotations] if annotations not in places else places)
    files = _xml_files(annotations)
    by_stem = {file.stem: file for file in files}
    lists = _lists(root / "ImageSets" / "Main")
    parts: dict[SplitRole | None, Sequence[Path]] = {None: files}
    if lists:
        parts = {role: [by_stem[name] for name in names if name in by_stem] for role, names in lists.items()}
        parts = {role: chosen for role, chosen in parts.items() if chosen} or {None: files}
    objects, classes = root / "SegmentationObject", root / "SegmentationClass"
    segmented: dict[SplitRole | None, Sequence[str]] = {}
    segmented.update(_lists(root / "ImageSets" / "Segmentation").items())
    return VocFolders(
        root,
        places,
        photos,
        {file: photos.get(file.stem) for file in files},
        parts,
        segmented or {None: sorted(photos, key=natural_key)},
        objects if objects.is_dir() else None,
        classes if classes.is_dir() else None,
    )


def _photos(places: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for place in places:
        for entry in list_folder(place) if place.is_dir() else []:
            path = place / entry.name
            if path.suffix.lower() in IMAGE_EXTENSIONS:
                found.setdefault(path.stem, path)
    if not found:  # In folders below.
        for place in places:
            try:
                found |= {path.stem: path for path in find_images([place])}
            except DataError:
                continue
    return found


def _xml_files(folder: Path) -> list[Path]:
    return [
        folder / entry.name
        for entry in list_folder(folder)
        if entry.name.lower().endswith(".xml") and not entry.name.startswith(".")
    ]


def _first_xml(folder: Path) -> bool:
    """Whether a folder holds an xml file of VOC among its first ones."""
    if not folder.is_dir():
        return False
    return any(root_name(file) == "annotation" for file in _xml_files(folder)[:20])


def _lists(folder: Path) -> dict[SplitRole, list[str]]:
    """Names of the images of each part; those of single classes, such as ``cat_train.txt``, are left aside."""
    found: dict[SplitRole, list[str]] = {}
    for name, role in _LISTS:
        file = folder / f"{name}.txt"
        if file.is_file():
            lines = read_text(file, most_bytes=50_000_000).splitlines()
            names = [line.split()[0].removesuffix(".jpg") for line in lines if line.strip()]
            if names:
                found[role] = names
    if "train" not in found and (folder / "trainval.txt").is_file():
        lines = read_text(folder / "trainval.txt", most_bytes=50_000_000).splitlines()
        found["train"] = [line.split()[0] for line in lines if line.strip()]
    return found
