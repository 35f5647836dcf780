"""How pages call files: by their names, not by where they lie on the machine that wrote the page."""

from __future__ import annotations

import collections
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

__all__ = ["list_some", "shown_command", "unique_names", "without_folders"]

_MOST_NAME_BYTES = 255

_START = r"(?:~[\w.-]*|[A-Za-z]:|file://|\\)?[\\/]"
_QUOTED = re.compile(rf"(?P<quote>['\"`])(?P<place>{_START}[^'\"`\n]*)(?P=quote)")
_LEADING = re.compile(rf"(?P<before>^|\bdescended from )(?P<place>{_START}[^,;:(<>|'\"`\n]*)")
# After a word, a dot or a colon a slash is no beginning: and/or, ../images, https://host/file.
_INSIDE = re.compile(rf"(?<![\w./\\:<>~*-])(?P<place>{_START}[^\s,;()\[\]<>|'\"`]*)")


def without_folders(text: str) -> str:
    """Put the name of a file in the place of every absolute path in a text; relative paths and addresses stay.

    A path that begins the text or stands in quotes may hold spaces; one elsewhere ends at the first.
    """
    text = _QUOTED.sub(lambda found: found["quote"] + _last_part(found["place"]) + found["quote"], text)
    text = _LEADING.sub(lambda found: found["before"] + _last_part(found["place"]), text)
    return _INSIDE.sub(lambda found: _last_part(found["place"]), text)


def shown_command(command: str) -> str:
    """Put names in the place of the absolute paths in a command line."""
    try:
        words = shlex.split(command)
    except ValueError:
        return without_folders(command)
    options = (word.partition("=") for word in words)
    return shlex.join(without_folders(name) + sign + without_folders(value) for name, sign, value in options)


def list_some(names: Sequence[str], most: int = 5) -> str:
    """Write down the first of many names, and how many more there are."""
    listed = ", ".join(names[:most])
    return listed if len(names) <= most else f"{listed} and {len(names) - most:,} more"


def unique_names(files: Sequence[Path], ending: str) -> list[str]:
    """Name a file for each of some files: ``NAME`` and the ending, with folders in front where names meet.

    Args:
        files: What they are about.
        ending: What all names end in, e.g. ``_explained.png``.
    """
    names = [_name_within(file.stem, ending) for file in files]
    for level in (1, 2):
        folded = [name.casefold() for name in names]
        meeting = {name for name, count in collections.Counter(folded).items() if count > 1}
        names = [
            _name_within("-".join([*file.absolute().parts[-1 - level : -1], file.stem]), ending)
            if name.casefold() in meeting
            else name
            for file, name in zip(files, names, strict=True)
        ]
    used: set[str] = set()
    for index, (file, name) in enumerate(zip(files, names, strict=True)):
        number = 1
        while name.casefold() in used:
            number += 1
            name = _name_within(file.stem, f"-{number}{ending}")
        used.add(name.casefold())
        names[index] = name
    return names


def _name_within(stem: str, ending: str) -> str:
    """Join both, with the stem cut where a name would be longer than systems allow, also with a longer extension."""
    room = _MOST_NAME_BYTES - len(os.fsencode(ending)) - len(".html")
    while len(os.fsencode(stem)) > room:
        stem = stem[:-1]
    return f"{stem}{ending}"


def _last_part(path: str) -> str:
    """Return the last part of a path, with the spaces around it."""
    bare = path.rstrip()
    parts = [part for part in re.split(r"[\\/]+", bare) if part]
    # The root of a disk has no name, and a lone slash is no path.
    return (parts[-1] if parts else bare) + path[len(bare) :]
