"""Finds image files in folders, by pattern and by name, and counts what is passed over."""

from __future__ import annotations

import collections
import dataclasses
import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from focalnets.data.image_formats import IMAGE_EXTENSIONS, PREFIX_BYTES, format_of_bytes
from focalnets.errors import DataError
from focalnets.files import is_there, user_path

__all__ = ["PassedOver", "find_images", "is_folder", "is_no_data_folder", "list_folder", "natural_key"]

_NO_DATA_FOLDERS = {
    "#recycle", "#snapshot", "$recycle.bin", ".@__thumb", ".thumbnails", "@eadir", "@recycle", "@recently-snapshot",
    "__macosx", "__pycache__", "lost+found", "system volume information",
}  # fmt: skip
"""Folders that computers and storage devices make for themselves: thumbnails, deleted files. In lower case."""

_MOST_NAMED = 8


@dataclasses.dataclass
class PassedOver:
    """What a search for images left aside.

    Attributes:
        endings: Number of files by their ending in lower case, "" for none.
        hidden: Number of hidden files.
        folders: Number of folders that hold no data, by name.
    """

    endings: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    hidden: int = 0
    folders: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def sentence(self) -> str | None:
        """All of it in one line; None if nothing was passed over."""
        parts = [f"{count:,} {ending or 'without ending'}" for ending, count in self.endings.most_common(_MOST_NAMED)]
        further = sum(self.endings.values()) - sum(count for _, count in self.endings.most_common(_MOST_NAMED))
        parts += [f"{further:,} with other endings"] if further else []
        parts += [f"{self.hidden:,} hidden"] if self.hidden else []
        sentences = [f"files passed over, not known as images: {', '.join(parts)}"] if parts else []
        if self.folders:
            names = [f"'{name}'" + (f" ({count:,} times)" if count > 1 else "") for name, count in self.folders.items()]
            more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            sentences.append(f"folders passed over: {', '.join(names[:_MOST_NAMED])}{more}")
        return "; ".join(sentences) or None


def find_images(
    inputs: str | Path | Sequence[str | Path],
    *,
    passed_over: PassedOver | None = None,
    unreadable: list[tuple[Path, str]] | None = None,
) -> list[Path]:
    """List the image files meant by files, folders and patterns, or by a single one.

    A file is taken whatever its extension. A folder is searched with everything below it for :data:`IMAGE_EXTENSIONS`
    and for files without an ending that begin like an image, links included. Hidden names and folders in which
    computers keep thumbnails and deleted files are left out. A pattern may contain ``*``, ``?``, ``[...]`` and ``**``;
    what it matches is treated like a folder's content. Files come in the order of ``inputs``, within one input in
    natural order (img2 before img10), each once.

    Args:
        inputs: What to look for.
        passed_over: Counts what folders hold besides.
        unreadable: Takes the folders that cannot be read, each with the reason; None refuses them.

    Raises:
        DataError: If there is no input or one of them leads to no image.
    """
    if isinstance(inputs, str | Path):
        inputs = [inputs]
    if isinstance(inputs, str | Path):
        inputs = [inputs]
    if not inputs:
        raise DataError("expected at least one image, folder or pattern, got none.")
    passed = PassedOver() if passed_over is None else passed_over
    found: dict[Path, None] = {}
    for given in inputs:
        path = user_path(given)
        there = is_there(path)
        failed = len(unreadable or ())
        if there and path.is_dir():
            files = _images_below(path, passed, unreadable)
            if not files and len(unreadable or ()) == failed:
                known = ", ".join(IMAGE_EXTENSIONS)
                raise DataError(f"the folder '{given}' holds no image; expected files ending in one of {known}.")
        elif there or not glob.has_magic(str(path)):
            if not there:
                raise DataError(f"there is no file or folder '{given}'; check the path.")
            files = [path]
        else:
            files = []
            try:
                # Path.glob takes no absolute pattern.
                matches = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207
            except (OSError, ValueError, re.error):
                matches = []
            for match in matches:
                if any(is_no_data_folder(part) and part not in path.parts for part in match.parts):
                    continue
                if match.is_dir():
                    files.extend(_images_below(match, passed, unreadable))
                elif _is_image_name(match):
                    files.append(match)
            if not files and len(unreadable or ()) == failed:
                raise DataError(f"the pattern '{given}' matches no image; check it and quote it in a shell.")
            files.sort(key=_path_key)
        found.update(dict.fromkeys(files))
    return list(found)


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort key that compares runs of digits as numbers and letters without regard to case."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def is_no_data_folder(name: str) -> bool:
    """Whether a folder of this name is hidden, or made by computers for themselves, such as ``@eaDir``."""
    return (name.startswith(".") and name not in (".", "..")) or name.casefold() in _NO_DATA_FOLDERS


def list_folder(folder: str | Path) -> list[os.DirEntry[str]]:
    """The entries of a folder in natural order.

    Raises:
        DataError: If it cannot be read, or is gone.
    """
    try:
        return sorted(os.scandir(folder), key=lambda entry: natural_key(entry.name))
    except PermissionError as error:
        raise DataError(f"the folder '{folder}' cannot be read: permission denied; change its rights.") from error
    except OSError as error:
        raise DataError(f"the folder '{folder}' cannot be read ({error.strerror or error}); try again.") from error


def _is_image_name(path: Path) -> bool:
    """Whether a file is taken for an image: by its ending or, where it has none, by its first bytes."""
    suffix = path.suffix.lower()
    if suffix:
        return suffix in IMAGE_EXTENSIONS
    try:
        if not path.is_file():  # Opening a pipe would wait for a writer.
            return False
        with path.open("rb") as file:
            return format_of_bytes(file.read(PREFIX_BYTES)) is not None
    except OSError:
        return False


def _path_key(path: Path) -> list[tuple[list[str | int], str]]:
    return [natural_key(part) for part in path.parts]


def _images_below(folder: Path, passed: PassedOver, unreadable: list[tuple[Path, str]] | None) -> list[Path]:
    # Following links can lead back to a folder above: each real folder is entered once along any one way down.
    files: list[Path] = []

    def visit(current: Path, above: frozenset[str]) -> None:
        real = os.path.realpath(current)
        if real in above:
            return
        try:
            entries = list_folder(current)
        except DataError as error:
            if unreadable is None:
                raise
            unreadable.append((current, str(error)))
            return
        for entry in entries:
            if is_folder(entry):
                if is_no_data_folder(entry.name):
                    passed.folders[entry.name] += 1
                else:
                    visit(current / entry.name, above | {real})
            elif entry.name.startswith("."):
                passed.hidden += 1
            elif _is_file(entry):
                if _is_image_name(current / entry.name):
                    files.append(current / entry.name)
                else:
                    passed.endings[Path(entry.name).suffix.lower()] += 1

    visit(folder, frozenset())
    return sorted(files, key=_path_key)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether what :func:`list_folder` lists is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # A link that leads back to itself, or a disk that fails.
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        # What is no image would be passed over in silence; reading it says what is wrong.
        return True
