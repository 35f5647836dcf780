"""Where results go is tried before the work: what would fail after an hour fails in the first second.

Nothing stays behind from trying. What can still fail at the end is a disk that has become full; then results have been
shown before, see :func:`focalnets.cli.output.deliver`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from focalnets.cli.output import STANDARD_OUTPUT
from focalnets.errors import ConfigError
from focalnets.files import file_in_the_way, is_there, try_file, try_folder, user_path

__all__ = ["check_destinations", "require_file", "require_folder"]

_DESTINATIONS = ("json", "csv", "plot", "output", "destination")
"""Arguments that name what is written; all others that name a file are read."""

_OTHER_KINDS = {
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".svg"), "a picture"),
    **dict.fromkeys((".mp4", ".avi", ".mov", ".mkv", ".webm"), "a video"),
    **dict.fromkeys((".safetensors", ".pth", ".pt", ".bin", ".ckpt"), "weights"),
    **dict.fromkeys((".tar", ".tgz", ".gz", ".zip", ".npz"), "an archive"),
    **dict.fromkeys((".yaml", ".yml"), "a config"),
}


def check_destinations(arguments: Any) -> None:
    """Refuse files for results that cannot be written or would replace something else.

    Raises:
        ConfigError: If both JSON and CSV would go to standard output, two results to one file, a result to a file that
            the command reads or that is named like something else, or a file cannot be written.
    """
    if getattr(arguments, "json", None) == getattr(arguments, "csv", None) == STANDARD_OUTPUT:
        raise ConfigError("--json and --csv cannot both go to standard output; name a file for one of them.")
    for name in _DESTINATIONS:
        if getattr(arguments, name, None) == "":
            raise ConfigError(f"--{name} is empty; name a place, or leave it out.")
    named = {
        name: user_path(given)
        for name in _DESTINATIONS
        if (given := getattr(arguments, name, None)) not in (None, STANDARD_OUTPUT)
    }
    _refuse_meeting(named)
    for name in ("json", "csv"):
        if name not in named:
            continue
        path = named[name]
        kind = _OTHER_KINDS.get(path.suffix.lower())
        if kind is not None:
            raise ConfigError(
                f"--{name} writes {name.upper()}, but '{path}' is the name of {kind}; name a file that ends in "
                f".{name}, or give --{name} last."
            )
        require_file(f"--{name}", path)
    for name in ("json", "csv", "plot"):
        if name in named:
            _refuse_replacing_inputs(name, named[name], arguments)


def require_file(option: str, path: str | os.PathLike[str]) -> Path:
    """Return the path of a file that can be written.

    Args:
        option: What names it, for messages.
        path: The file, which may be missing, with the folders above it.

    Raises:
        ConfigError: If it cannot be written.
    """
    path = user_path(path)
    try:
        try_file(path)
    except OSError as error:
        raise ConfigError(f"{option} cannot write '{path}'{_reason(path, error)}; name another file.") from error
    return path


def require_folder(path: str | os.PathLike[str], names: Iterable[str] = ()) -> Path:
    """Return the path of an output folder, which may be missing.

    Args:
        path: The folder.
        names: Of the files to be written there, as far as they are known.

    Raises:
        ConfigError: If it cannot be made, or nothing be written there, or a folder has the name of one of the files.
    """
    folder = user_path(path)
    try:
        try_folder(folder, names)
    except OSError as error:
        place = Path(error.filename) if error.errno == errno.EISDIR and error.filename else folder
        if place != folder:
            raise ConfigError(
                f"The output '{folder}' holds a folder '{place.name}', where a file of that name would be written; "
                "name another folder."
            ) from error
        raise ConfigError(f"The output '{folder}'{_reason(folder, error, is_folder=True)}; name another folder.") from (
            error
        )
    return folder


def _reason(path: Path, error: OSError, *, is_folder: bool = False) -> str:
    """Why nothing can be written to a place, behind its name."""
    file = file_in_the_way(path if is_folder else path.parent)
    if file == path:
        return " is a file"
    if file is not None:
        return f" would lie below '{file}', which is a file" if is_folder else f" below '{file}', which is a file"
    if error.errno == errno.EISDIR:
        return ", which is a folder"
    return f" cannot be written ({error.strerror})" if is_folder else f" ({error.strerror})"


def _refuse_meeting(named: dict[str, Path]) -> None:
    """Refuse two destinations of which one would replace the other, or lie below it as if it were a folder."""
    places = [(name, os.path.abspath(path)) for name, path in named.items()]  # noqa: PTH100 - names stay as given
    for index, (name, place) in enumerate(places):
        for other, other_place in places[index + 1 :]:
            if place == other_place:
                raise ConfigError(f"--{name} and --{other} both name '{named[name]}'; name a place for each.")
            if other_place.startswith(f"{place}{os.sep}"):
                raise ConfigError(f"--{other} names '{named[other]}', below the file that --{name} names.")


def _refuse_replacing_inputs(option: str, path: Path, arguments: Any) -> None:
    if not is_there(path) or not path.is_file():
        return
    for given in _values(arguments):
        other = user_path(given)
        if is_there(other) and other.samefile(path):
            raise ConfigError(
                f"--{option} would replace '{path}', which the command reads; name another file, or give --{option} "
                "last."
            )


def _values(arguments: Any) -> Iterator[str]:
    """All texts that were given, except destinations."""
    for name, value in vars(arguments).items():
        if name not in _DESTINATIONS:
            for each in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(each, str):
                    yield each
