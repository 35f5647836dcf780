"""Shards: plain tar files whose members are read where they lie, without unpacking anything.

A sample is the members that share a key, the name up to the first dot: ``00000012.jpg`` with its class in
``00000012.cls`` (a number or a name) or ``00000012.json``. Members of other kinds are never looked at, so nothing in a
shard can be executed or unpickled, and no file is ever written under a member's name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from focalnets.data.image_formats import IMAGE_EXTENSIONS
from focalnets.data.shards.cache import RemoteFile, open_cached, without_query
from focalnets.errors import DataError, ImageError
from focalnets.files import is_there, parse_json

__all__ = ["ScannedSample", "Shard", "ShardMember", "scan_shard"]

_MOST_LABEL_BYTES = 1 << 20
_MOST_CLASSES = 1_000_000
_MOST_DIGITS = 18
_JSON_LABEL_KEYS = ("label", "cls", "class", "class_name", "target")


@dataclasses.dataclass(frozen=True)
class Shard:
    """One tar file.

    Attributes:
        location: Its path or URL.
        size: Its size [bytes]; None if unknown, for files on a server only.
        sha256: Its hash; None if unknown.
        version: What the server tells its versions apart by; None if unknown, or if the hash does.
    """

    location: str
    size: int | None
    sha256: str | None = None
    version: str | None = None

    @property
    def name(self) -> str:
        """The file's name without its folder; of a URL nothing that follows the path, where tokens stand."""
        if self.is_remote:
            return PurePosixPath(urlsplit(self.location).path).name
        return Path(self.location).name

    @property
    def place(self) -> str:
        """The location as messages show it, of a URL without the query, which may hold a token."""
        return without_query(self.location) if self.is_remote else self.location

    @property
    def is_remote(self) -> bool:
        """Whether it has to be fetched from a server before it can be read."""
        return self.location.startswith(("http://", "https://"))

    def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset`` on; a shard on a server is fetched into the cache first.

        Raises:
            ImageError: If the file is gone or shorter than that.
        """
        try:
            with self._open() as file:
                file.seek(offset)
                data = file.read(size)
        except OSError as error:
            raise ImageError(f"the shard '{self.place}' cannot be read ({error.strerror}); restore it.") from error
        if len(data) != size:
            raise ImageError(f"the shard '{self.place}' ends before byte {offset + size:,}; write or fetch it again.")
        return data

    def _open(self) -> contextlib.AbstractContextManager[IO[bytes]]:
        if not self.is_remote:
            return Path(self.location).open("rb")
        return open_cached(RemoteFile(self.location, self.size, self.sha256, self.version))


@dataclasses.dataclass(frozen=True)
class ShardMember:
    """An image inside a shard.

    Attributes:
        shard: The tar file.
        name: The member's name, which may hold folders.
        offset, size: Where its bytes lie in the tar file [bytes].
    """

    __slots__ = ("name", "offset", "shard", "size")

    shard: Shard
    name: str
    offset: int
    size: int

    @property
    def name_in_shards(self) -> str:
        """Shard and member without the folder that the shards lie in."""
        return f"{self.shard.name}/{self.name}"

    def read_bytes(self) -> bytes:
        """The image file as it was stored."""
        return self.shard.read(self.offset, self.size)

    def __str__(self) -> str:
        return f"{self.shard.place}/{self.name}"

    # Frozen classes with slots cannot be pickled by default in Python 3.10.
    def __getstate__(self) -> tuple[Shard, str, int, int]:
        return self.shard, self.name, self.offset, self.size

    def __setstate__(self, state: tuple[Shard, str, int, int]) -> None:
        for name, value in zip(("shard", "name", "offset", "size"), state, strict=True):
            object.__setattr__(self, name, value)


@dataclasses.dataclass(frozen=True)
class ScannedSample:
    """An image found in a shard with its class as written there, a number or a name."""

    image: ShardMember
    label: int | str


def scan_shard(shard: Shard, stream: IO[bytes] | None = None) -> list[ScannedSample]:
    """Find the labelled images of a tar file from its headers.

    Args:
        shard: The tar file.
        stream: What to read it from, once and in order, if it is not on this disk.

    Raises:
        DataError: If the file is missing, no plain tar, truncated, names members outside itself, or holds an image
            without a class.
    """
    images: dict[str, ShardMember] = {}
    labels: dict[str, int | str] = {}
    try:
        with _open_tar(shard, stream) as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise DataError(
                        f"the shard '{shard.place}' holds the member '{member.name}', which points outside; "
                        "use shards from a source that you trust."
                    )
                if not member.isreg() or member.issparse() or not path.name:
                    continue
                stem, _, extension = path.name.partition(".")
                key, extension = str(path.with_name(stem or path.name)), extension.lower()
                if f".{extension}" in IMAGE_EXTENSIONS:
                    if key in images:
                        raise DataError(f"the shard '{shard.place}' holds two images with the key '{key}'.")
                    images[key] = ShardMember(shard, member.name, member.offset_data, member.size)
                # .cls decides where both are there.
                elif extension == "cls" or (extension == "json" and key not in labels):
                    label = _read_label(tar, member, shard)
                    if label is not None:
                        labels[key] = label
            end = tar.offset
    except (DataError, http.client.HTTPException):
        raise
    except OSError as error:
        raise DataError(f"the shard '{shard.place}' cannot be read ({error.strerror or error}).") from error
    except Exception as error:  # Damaged heads of members make the reader raise anything.
        raise DataError(
            f"'{shard.place}' is no plain tar file or is truncated ({str(error).rstrip('.') or type(error).__name__}); "
            "expected an uncompressed tar of images, write or fetch it again."
        ) from error
    last = max((image.offset + image.size for image in images.values()), default=0)
    # A whole tar file ends with empty blocks behind the last member.
    if shard.size is not None and (last > shard.size or end + tarfile.BLOCKSIZE > shard.size):
        raise DataError(f"the shard '{shard.place}' is truncated; write or fetch it again.")
    for key in images:
        if key not in labels:
            raise DataError(
                f"the shard '{shard.place}' holds no class for the image '{images[key].name}'; expected a member "
                f"'{key}.cls' or '{key}.json' with one of {', '.join(_JSON_LABEL_KEYS)}."
            )
    return [ScannedSample(image, labels[key]) for key, image in images.items()]


@contextlib.contextmanager
def _open_tar(shard: Shard, stream: IO[bytes] | None) -> Iterator[tarfile.TarFile]:
    if stream is not None:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            yield tar
        return
    path = Path(shard.location)
    if not is_there(path):
        raise DataError(f"there is no shard '{path}'; check the path.")
    if path.is_dir():
        raise DataError(f"expected a tar file, but '{path}' is a folder; name the tar file, or the folder of all.")
    if not path.is_file():
        raise DataError(f"expected a tar file, but '{path}' is no regular file.")
    with tarfile.open(path, mode="r:") as tar:
        yield tar


def _read_label(tar: tarfile.TarFile, member: tarfile.TarInfo, shard: Shard) -> int | str | None:
    """The class in a ``.cls`` or ``.json`` member; None if a JSON object says nothing about it."""
    where = f"'{member.name}' in the shard '{shard.place}'"
    if member.size > _MOST_LABEL_BYTES:
        raise DataError(f"{where} has {member.size:,} bytes; expected a class.")
    file = tar.extractfile(member)
    assert file is not None
    try:
        text = file.read().decode("utf-8").strip()
        label: Any = text
        if member.name.lower().endswith(".json"):
            content = parse_json(text)
            if not isinstance(content, dict):
                raise ValueError("expected an object")
            label = next((content[key] for key in _JSON_LABEL_KEYS if key in content), None)
            if label is None:
                return None
    except ValueError as error:
        raise DataError(f"{where} is no class that can be read ({error}).") from error
    if isinstance(label, str) and label.isdecimal():
        label = int(label) if len(label) <= _MOST_DIGITS else None
    if isinstance(label, bool) or not isinstance(label, int | str) or label == "":
        raise DataError(f"{where} must hold the number or the name of a class, got {text[:40]!r}.")
    if isinstance(label, int) and not 0 <= label < _MOST_CLASSES:
        raise DataError(f"{where} holds the class number {label}; expected 0 to {_MOST_CLASSES - 1:,}.")
    return label
