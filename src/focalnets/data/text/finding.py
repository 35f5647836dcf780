"""Which files of a place hold texts, and which of them are held out."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

from focalnets.data.finding import list_folder
from focalnets.data.split_names import SplitRole, rank_of_name, role_of_name
from focalnets.errors import DataError
from focalnets.files import is_there, user_path

__all__ = ["TEXT_ENDINGS", "TOKEN_ENDINGS", "TextFiles", "find_texts", "recognise_texts"]

TEXT_ENDINGS = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz")
"""Endings of files that hold texts."""

TOKEN_ENDINGS = (".bin", ".npy")
"""Endings of files that hold tokens, which are mapped into memory."""


@dataclasses.dataclass(frozen=True)
class TextFiles:
    """The files of a place.

    Attributes:
        place: The file or folder.
        train: What is learnt from.
        val: What is held out; empty where the place says nothing about it.
    """

    place: Path
    train: tuple[Path, ...]
    val: tuple[Path, ...] = ()

    @property
    def hold_tokens(self) -> bool:
        """Whether the files hold tokens in place of texts."""
        return self.train[0].name.lower().endswith(TOKEN_ENDINGS)

    @property
    def fingerprint(self) -> str:
        """Names and sizes of all files in short."""
        digest = hashlib.sha256()
        for file in (*self.train, *self.val):
            name = file.relative_to(self.place) if file != self.place else Path(file.name)
            digest.update(f"{os.fspath(name)}\0{file.stat().st_size}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def find_texts(place: str | Path) -> TextFiles:
    """Find the texts of a file or folder.

    A folder holds files with :data:`TEXT_ENDINGS` or :data:`TOKEN_ENDINGS`, also in folders below it. Files or folders
    of it that are called like parts of a data set, e.g. ``train.txt`` and ``val.txt``, say what is held out.

    Raises:
        DataError: If there is no such place, no text in it, or both texts and tokens.
    """
    path = user_path(place)
    if not is_there(path):
        raise DataError(f"there is no file or folder '{place}'; name a text, e.g. corpus.txt.")
    if path.is_file():
        return TextFiles(path, (path,))
    if not path.is_dir():
        raise DataError(f"'{place}' is neither a file nor a folder; name one of these.")
    parts: dict[SplitRole | None, dict[str, list[Path]]] = {}
    for entry in list_folder(path):
        files = _texts_below(Path(entry.path))
        if files:
            name = entry.name if entry.is_dir() else entry.name.partition(".")[0]
            parts.setdefault(role_of_name(name), {}).setdefault(name, []).extend(files)
    if not parts:
        raise DataError(
            f"the folder '{place}' holds no text; expected files with one of the endings "
            f"{', '.join((*TEXT_ENDINGS, *TOKEN_ENDINGS))}."
        )
    held_out = parts.get("val") or parts.get("test")
    if "train" in parts and held_out:
        train, val = _first(parts["train"]), _first(held_out)
    else:
        train, val = tuple(file for part in parts.values() for files in part.values() for file in files), ()
    found = TextFiles(path, train, val)
    if len({file.name.lower().endswith(TOKEN_ENDINGS) for file in (*train, *val)}) > 1:
        raise DataError(
            f"the folder '{place}' holds texts as well as files of tokens ({', '.join(TOKEN_ENDINGS)}); leave one kind."
        )
    return found


def recognise_texts(place: str | Path) -> str:
    """Say in words which texts a place holds; empty if it holds none, or anything else besides."""
    path = user_path(place)
    if "://" in str(place) or not is_there(path):
        return ""
    endings = (*TEXT_ENDINGS, *TOKEN_ENDINGS)
    if path.is_file():
        return _in_words([path]) if path.name.lower().endswith(endings) else ""
    if not path.is_dir():
        return ""
    entries = [Path(entry.path) for entry in list_folder(path)]
    parts = [entry for entry in entries if entry.is_dir() and role_of_name(entry.name)]
    files = [entry for entry in entries if entry not in parts]
    files += [Path(entry.path) for folder in parts for entry in list_folder(folder)]
    files = [file for file in files if not _is_beside_data(file)]
    return _in_words(files) if files and all(file.is_file() and _is_text(file) for file in files) else ""


def _texts_below(path: Path) -> list[Path]:
    if path.name.startswith("."):
        return []
    if path.is_dir():
        return [file for entry in list_folder(path) for file in _texts_below(Path(entry.path))]
    return [path] if path.is_file() and _is_text(path) else []


def _is_text(file: Path) -> bool:
    return file.name.lower().endswith((*TEXT_ENDINGS, *TOKEN_ENDINGS)) and not _is_beside_data(file)


def _is_beside_data(file: Path) -> bool:
    return file.name.lower().startswith((".", "readme", "license"))


def _first(named: dict[str, list[Path]]) -> tuple[Path, ...]:
    return tuple(named[min(named, key=rank_of_name)])


def _in_words(files: list[Path]) -> str:
    size = sum(file.stat().st_size for file in files)
    kind = "tokens" if files[0].name.lower().endswith(TOKEN_ENDINGS) else "text"
    count = "a file" if len(files) == 1 else f"{len(files):,} files"
    return f"{count} of {kind} with {size / 1e6:,.2f} MB"
