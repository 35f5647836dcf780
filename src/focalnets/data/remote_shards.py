"""Shards on a server: fetched whole when first needed, kept in a folder of limited size, the oldest removed first."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from filelock import FileLock

from focalnets.data.shard_files import Shard, scan_shard
from focalnets.data.shards import INDEX_NAME, ShardedImages, assemble, expand, read_index
from focalnets.errors import DataError, ImageError
from focalnets.files import replacing

__all__ = ["cache_folder", "open_cached", "open_remote"]

_TIMEOUT_S = 60.0
_ATTEMPTS = 3
_MOST_INDEX_BYTES = 4 << 30


def open_remote(url: str) -> ShardedImages:
    """Find what shards on a server hold.

    Args:
        url: Of a folder with an ``index.json``, of that file, or of tar files, as a pattern if there are several. Tar
            files without an index are read once from beginning to end, and nothing of them kept.

    Raises:
        DataError: If the address is not http(s), the server does not answer, or the shards are not as expected.
    """
    if not url.startswith(("http://", "https://")):
        raise DataError(
            f"'{url}' is no address that shards are read from; expected http:// or https:// (commands such as "
            "pipe: are never run)."
        )
    path = urlsplit(url).path
    if path.endswith(".tar"):
        shards, scans = [], []
        for address in expand(url):
            with _request(address) as answer:
                shard = Shard(address, _length(answer))
                shards.append(shard)
                scans.append(scan_shard(shard, answer))
        return assemble(url, scans, shards)
    base, mark, query = url.partition("?")
    base = base.removesuffix(INDEX_NAME).rstrip("/")
    with _request(f"{base}/{INDEX_NAME}{mark}{query}") as answer:
        try:
            content = json.loads(answer.read(_MOST_INDEX_BYTES))
        except (ValueError, RecursionError) as error:
            raise DataError(f"'{base}/{INDEX_NAME}' is no index that focalnets shard wrote ({error}).") from error
    return read_index(content, base, f"{mark}{query}")


@contextlib.contextmanager
def open_cached(shard: Shard) -> Iterator[IO[bytes]]:
    """A shard on a server as an open file, from the cache if it is there.

    Raises:
        ImageError: If it cannot be fetched or is not what the index says.
    """
    folder = cache_folder()
    path = folder / f"{hashlib.sha256(f'{shard.location}{shard.sha256}'.encode()).hexdigest()[:32]}.tar"
    try:
        file = path.open("rb")
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        # Of several processes that need it, one fetches it and the others wait.
        with FileLock(f"{path}.lock"):
            if not path.exists():
                _make_room(folder, shard.size or 0)
                _fetch(shard, path)
            # Opened before the lock is given back: removed by another process, an open file stays readable.
            file = path.open("rb")
    with file:
        with contextlib.suppress(OSError):
            os.utime(path)
        yield file


def cache_folder() -> Path:
    """Where shards are kept: ``FOCALNETS_CACHE``, or ``focalnets/shards`` in the user's cache folder."""
    chosen = os.environ.get("FOCALNETS_CACHE")
    if chosen:
        return Path(chosen).expanduser() / "shards"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "focalnets" / "shards"


def _fetch(shard: Shard, path: Path) -> None:
    reason = ""
    for _ in range(_ATTEMPTS):
        digest, size = hashlib.sha256(), 0
        try:
            with replacing(path) as temporary:
                with _request(shard.location) as answer, temporary.open("wb") as file:
                    while block := answer.read(1 << 20):
                        file.write(block)
                        digest.update(block)
                        size += len(block)
                wrong_hash = shard.sha256 is not None and digest.hexdigest() != shard.sha256
                if wrong_hash or (shard.size is not None and size != shard.size):
                    raise DataError(f"got {size:,} bytes, which are not what {INDEX_NAME} says")
            return
        except (OSError, DataError) as error:
            reason = str(error).rstrip(".")
    raise ImageError(f"the shard '{shard.location}' cannot be fetched ({reason}); try again later with --resume.")


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


def _request(url: str) -> IO[bytes]:
    try:
        return urllib.request.urlopen(
            urllib.request.Request(url, headers={"User-Agent": "focalnets"}), timeout=_TIMEOUT_S
        )
    except urllib.error.HTTPError as error:
        error.close()
        raise DataError(f"the server answers {error.code} ({error.reason}) for '{url}'; check the address.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"'{url}' cannot be fetched ({getattr(error, 'reason', error)}); check the address.") from error


def _length(answer: IO[bytes]) -> int | None:
    length = getattr(answer, "headers", {}).get("Content-Length")
    return int(length) if length and length.isdecimal() else None
