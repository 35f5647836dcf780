"""What a file is by its first bytes, whatever its name ends in; what is no weights is named as what it is."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Literal

from focalnets.errors import CheckpointError

__all__ = ["FileKind", "describe_cut", "pickle_protocol", "recognise_file"]

FileKind = Literal["safetensors", "torch"]
"""What reads the file: safetensors, or ``torch.load`` (a zip archive, or the pickles of old)."""

_LONGEST_HEADER = 100_000_000
_TORCH_MAGIC = b"l\xfc\x9cF\xf9 j\xa8P\x19"

_SIGNATURES: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), sentence)
    for pattern, sentence in (
        (
            rb"version https://git-lfs",
            "a pointer of Git LFS, which stands for the weights: fetch them with `git lfs pull`",
        ),
        (
            rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body|\?xml|!--)",
            "a web page, perhaps that of a login or an error, saved in place of the weights: download them again",
        ),
        (
            rb"\x08[\x01-\x14](?:\x12|\x1a|\x22|\x2a|\x32|\x3a|\x42)",
            "an ONNX model, which keeps a network as a graph: give the weights that it was exported from",
        ),
        (rb"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it; no FocalNet is kept that way"),
        (rb".{4}TFL3", "a TensorFlow Lite model; give the weights that it was converted from"),
        (rb"GGUF", "a GGUF file; no FocalNet is kept that way"),
        (rb"\x93NUMPY", "a NumPy array without names; a state dict is expected"),
        (
            rb"(?:\x1f\x8b|BZh|\xfd7zXZ\x00|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd)",
            "compressed: unpack it and give the file inside",
        ),
        (rb".{257}ustar", "a tar archive: unpack it and give the weights file inside"),
        (rb"(?:\x89PNG|\xff\xd8\xff|GIF8|RIFF.{4}WEBP)", "a picture"),
        (rb"%PDF", "a PDF document"),
        (rb"\x00{16}", "zeros; its download was probably begun and not finished: download it again"),
    )
)


def recognise_file(path: Path) -> FileKind:
    """Tell by the first bytes what reads a file.

    Raises:
        CheckpointError: If it is missing, empty, cut or no weights file; says what it is instead.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not size:
        raise CheckpointError(f"{path} is empty; it was probably not completely written or downloaded.")
    if start.startswith(b"PK\x03\x04"):
        _check_archive(path, size)
        return "torch"
    if start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= _LONGEST_HEADER:
        return "safetensors"
    if start[:1] == b"\x80" and len(start) > 2:
        if _TORCH_MAGIC not in start[:32]:
            raise CheckpointError(
                f"{path} is damaged or no weights file: it is a Python pickle that torch.save did not write, and "
                "reading those can execute code; save the state dict with torch.save or as safetensors."
            )
        return "torch"
    for pattern, sentence in _SIGNATURES:
        if pattern.match(start):
            raise CheckpointError(f"{path} is damaged or no weights file: it is {sentence}.")
    raise CheckpointError(f"{path} is damaged or no weights file: {_first_bytes(start)}.")


def describe_cut(path: Path) -> str | None:
    """Say how much of a safetensors file is missing; None if nothing is, or its head cannot be read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LONGEST_HEADER:
            return None
        if size < 8 + length:
            return f"its head has {length:,} bytes and the file ends after {size:,}; download or copy it again"
        try:
            entries = json.loads(file.read(length))
            needed = 8 + length + max(entry["data_offsets"][1] for name, entry in entries.items() if name[:2] != "__")
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            return None
    if not isinstance(needed, int) or size >= needed:
        return None
    return f"its tensors need {needed:,} bytes and the file ends after {size:,}; download or copy it again"


def pickle_protocol(path: Path) -> int | None:
    """Read the version of pickle that a file of ``torch.save`` was written in, or None if it cannot be told."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                with archive.open(name) as file:
                    start = file.read(2)
        else:
            with path.open("rb") as opened:
                start = opened.read(2)
    except (OSError, StopIteration, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        return None
    return start[1] if len(start) == 2 and start[0] == 0x80 else None


def _check_archive(path: Path, size: int) -> None:
    try:
        if not zipfile.is_zipfile(path):
            raise CheckpointError(
                f"{path} is damaged: it begins like a file of torch.save, but its end is missing (it has {size:,} "
                "bytes); it was probably not completely written or downloaded."
            )
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except CheckpointError:
        raise
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is damaged: its list of contents cannot be read ({error}).") from error
    last = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in last:
        found = "a TorchScript program; save the state dict of the network that it was made from"
    elif "data.pkl" in last:
        return
    elif "archive_format" in last or "archive_version" in last:
        found = "a program of torch.export; save the state dict of the network that it was made from"
    elif any(name.endswith(".npy") for name in names):
        found = "an archive of NumPy arrays; a state dict saved by torch.save, or safetensors, is expected"
    else:
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        found = f"a zip archive of {len(names)} files ({shown}): unpack it and give the weights file inside"
    raise CheckpointError(f"{path} is damaged or no weights file: it is {found}.")


def _first_bytes(start: bytes) -> str:
    try:
        text = start.decode("utf-8", errors="strict" if len(start) < 512 else "ignore")
    except UnicodeDecodeError:
        text = "\0"
    line = text.strip().split("\n")[0].strip()
    if line and all(letter.isprintable() or letter in "\t\r\n" for letter in text):
        return f"it is a text that begins with {line[:60]!r}"
    return f"it begins with the bytes {start[:8].hex(' ')}, and no format that can be read does"
