"""Shards on a server: fetched whole when first needed, kept in a folder of limited size, the oldest removed first."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from filelock import FileLock

from focalnets.errors import DataError, ImageError
from focalnets.files import replacing, user_path

__all__ = [
    "RemoteFile",
    "cache_folder",
    "length_of",
    "open_cached",
    "reason_of",
    "request",
    "version_of",
    "without_query",
]

_TIMEOUT_S = 60.0
_ATTEMPTS = 3
_MOST_SHARD_BYTES = 64 << 30
"""Of a shard whose size neither the index nor the server says."""


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A tar file on a server.

    Attributes:
        location: Its URL.
        size: Its size [bytes]; None if unknown.
        sha256: Its hash; None if unknown.
        version: What the server tells its versions apart by; None if unknown, or if the hash does.
    """

    location: str
    size: int | None
    sha256: str | None = None
    version: str | None = None


@contextlib.contextmanager
def open_cached(shard: RemoteFile) -> Iterator[IO[bytes]]:
    """A shard on a server as an open file, from the cache if it is there.

    Raises:
        ImageError: If it cannot be fetched or is not what the index says.
    """
    folder = cache_folder()
    # Without an index no hash tells whether the server has another file by now.
    identity = shard.sha256 or f"{shard.size} {shard.version}"
    path = folder / f"{hashlib.sha256(f'{shard.location} {identity}'.encode()).hexdigest()[:32]}.tar"
    file = _open_whole(path, shard)
    if file is None:
        folder.mkdir(parents=True, exist_ok=True)
        # Of several processes that need it, one fetches it and the others wait.
        with FileLock(f"{path}.lock"):
            # Opened before the lock is given back: removed by another process, an open file stays readable.
            file = _open_whole(path, shard)
            if file is None:
                _make_room(folder, shard.size or 0)
                _fetch(shard, path)
                file = path.open("rb")
    with file:
        with contextlib.suppress(OSError):
            os.utime(path)
        yield file


def cache_folder() -> Path:
    """Where shards are kept: ``FOCALNETS_CACHE``, or ``focalnets/shards`` in the user's cache folder."""
    chosen = os.environ.get("FOCALNETS_CACHE")
    if chosen:
        return user_path(chosen) / "shards"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "focalnets" / "shards"


def _open_whole(path: Path, shard: RemoteFile) -> IO[bytes] | None:
    """The cached file, opened; None if it is not there or has another size than the shard."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    if shard.size is not None and os.fstat(file.fileno()).st_size != shard.size:
        file.close()
        return None
    return file


def _fetch(shard: RemoteFile, path: Path) -> None:
    reason = ""
    for _ in range(_ATTEMPTS):
        digest, size = hashlib.sha256(), 0
        try:
            with replacing(path, durable=True) as temporary:
                with request(shard.location) as answer, temporary.open("wb") as file:
                    expected = shard.size if shard.size is not None else length_of(answer)
                    most = _MOST_SHARD_BYTES if expected is None else expected
                    while block := answer.read(1 << 20):
                        size += len(block)
                        if size > most:
                            raise DataError(f"the server sends more than the {most:,} bytes expected")
                        file.write(block)
                        digest.update(block)
                wrong_hash = shard.sha256 is not None and digest.hexdigest() != shard.sha256
                if wrong_hash or (shard.size is not None and size != shard.size):
                    raise DataError(f"got {size:,} bytes, which are not what the index says")
            return
        except (OSError, http.client.HTTPException, DataError) as error:
            reason = reason_of(error).rstrip(".")
    raise ImageError(
        f"the shard '{without_query(shard.location)}' cannot be fetched ({reason}); try again later with --resume."
    )


def _make_room(folder: Path, size: int) -> None:
    """Remove the shards that were used longest ago until ``size`` more bytes fit."""
    limit = float(os.environ.get("FOCALNETS_SHARD_CACHE_GB") or 20.0) * 1e9
    files = []
    for file in folder.glob("*.tar"):
        with contextlib.suppress(OSError):
            status = file.stat()
            files.append((status.st_mtime, status.st_size, file))
    kept = sum(entry[1] for entry in files)
    for _, bytes_, file in sorted(files):
        if kept + size <= limit:
            break
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
        kept -= bytes_


def request(url: str) -> IO[bytes]:
    try:
        return urllib.request.urlopen(
            urllib.request.Request(url, headers={"User-Agent": "focalnets"}), timeout=_TIMEOUT_S
        )
    except urllib.error.HTTPError as error:
        error.close()
        raise DataError(
            f"the server answers {error.code} ({error.reason}) for '{without_query(url)}'; check the address."
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DataError(f"'{without_query(url)}' cannot be fetched ({reason_of(error)}); check the address.") from error


def without_query(url: str) -> str:
    """An address as messages and records show it: a query may hold a token."""
    return urlsplit(url)._replace(query="", fragment="").geturl()


def reason_of(error: Exception) -> str:
    return str(getattr(error, "reason", error)) or type(error).__name__


def version_of(answer: IO[bytes]) -> str | None:
    headers = getattr(answer, "headers", {})
    return headers.get("ETag") or headers.get("Last-Modified")


def length_of(answer: IO[bytes]) -> int | None:
    length = getattr(answer, "headers", {}).get("Content-Length")
    return int(length) if length and length.isdecimal() else None
