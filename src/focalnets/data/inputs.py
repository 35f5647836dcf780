"""Pictures as people have them: files, folders, patterns, PIL images, arrays, tensors and bytes, all as upright RGB.

Axes: H W height and width [px].
"""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, Union

import numpy as np
import torch
from PIL import Image

from focalnets.data.clips import VIDEO_EXTENSIONS
from focalnets.data.finding import find_images
from focalnets.data.images import DEFAULT_MAX_PIXELS, decode_image, read_image, upright_rgb
from focalnets.errors import DataError, ImageError, ShapeError
from focalnets.files import user_path

__all__ = ["Input", "Inputs", "PictureLike", "gather_inputs", "picture_of_array"]

_CHANNELS = (1, 3, 4)
_KINDS = "a path, a PIL image, an array, a tensor or the bytes of an image file"


@dataclasses.dataclass(frozen=True, eq=False)
class Input:
    """A picture that a network is to look at.

    Attributes:
        name: What people call it: its path, or ``image 0`` for one that is no file.
        content: The file, the bytes of one, or the picture itself as upright RGB.
    """

    name: str
    content: Path | bytes | Image.Image = dataclasses.field(repr=False)

    @property
    def path(self) -> Path:
        """The file, or the name where there is none."""
        return self.content if isinstance(self.content, Path) else Path(self.name)

    @property
    def is_video(self) -> bool:
        """Whether it is a file whose ending is that of a video."""
        return isinstance(self.content, Path) and _names_video(self.content)

    def read(self, *, max_pixels: int = DEFAULT_MAX_PIXELS, smallest_side_px: int | None = None) -> Image.Image:
        """Read the picture as upright 8-bit RGB, see :func:`focalnets.data.images.read_image`.

        Args:
            max_pixels: Largest picture that is decoded [px].
            smallest_side_px: Lets files be decoded at a fraction of their size, see there.

        Raises:
            ImageError: If it cannot be read.
        """
        if isinstance(self.content, Path):
            return read_image(self.content, max_pixels=max_pixels, smallest_side_px=smallest_side_px)
        if isinstance(self.content, bytes):
            return decode_image(self.content, name=self.name, max_pixels=max_pixels, smallest_side_px=smallest_side_px)
        return self.content


PictureLike: TypeAlias = Union[str, "os.PathLike[str]", bytes, Image.Image, np.ndarray, torch.Tensor, Input]
"""What one picture, or a path to several, may be given as."""

Inputs: TypeAlias = PictureLike | Iterable[PictureLike]
"""One picture or several."""


def gather_inputs(
    given: Inputs, *, once: bool = False, videos: bool = False
) -> tuple[list[Input], list[tuple[str, str]]]:
    """List the pictures meant by what was given, in its order.

    A path may be a file, a folder or a pattern, see :func:`focalnets.data.finding.find_images`; ``~`` is the home
    folder. Of folders and patterns only files come that are not there yet. Arrays are (H, W), (H, W, 1), (H, W, 3) or
    (H, W, 4); tensors may also have their colours first; both hold uint8, uint16 or floats from 0 to 1. A batch, with
    one dimension more, counts as its pictures. Pictures that are no files are kept as RGB, so that later changes of an
    array do not reach them.

    Args:
        given: One picture or several.
        once: Also leave out files that were named before.
        videos: Take files whose ending is that of a video as they are, whether they exist or not.

    Returns:
        The pictures, and each path that leads to none with the reason.

    Raises:
        ShapeError: If something is no picture, or an array has another shape or dtype.
        ImageError: If the values of an array are out of range, or a PIL image cannot be decoded.
        DataError: If there is nothing.
    """
    inputs: list[Input] = []
    seen: set[Path] = set()
    missing: list[tuple[str, str]] = []
    for number, entry in enumerate(_entries(given)):
        if not isinstance(entry, (str, os.PathLike)):
            inputs.append(entry if isinstance(entry, Input) else _held(entry, f"image {number}"))
            continue
        try:
            files = _find_videos(entry) if videos and _names_video(Path(entry)) else None
            if files is None:
                unreadable: list[tuple[Path, str]] = []
                files = find_images([entry], unreadable=unreadable)  # type: ignore[list-item]
                missing += [(os.fspath(folder), reason) for folder, reason in unreadable]
        except DataError as error:
            missing.append((os.fspath(entry), str(error)))
            continue
        is_named = len(files) == 1 and files[0] == user_path(entry) and not once
        inputs += [Input(str(file), file) for file in files if is_named or file not in seen]
        seen.update(files)
    if not inputs and not missing:
        raise DataError(f"There is nothing to look at; give {_KINDS}, or several of these.")
    return inputs, missing


def picture_of_array(array: np.ndarray | torch.Tensor, *, name: str = "the image") -> Image.Image:
    """Turn the pixels of one picture into a PIL image in mode RGB.

    Args:
        array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); a tensor also with its colours first. uint8, uint16, or floats
            from 0 to 1. A fourth colour is opacity and is laid on white.
        name: What errors call it.

    Raises:
        ShapeError: If it has another shape or dtype.
        ImageError: If floats are not between 0 and 1.
    """
    values = _channels_last(array, name)
    if values.dtype.kind == "f":
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all():
            raise ImageError(f"{name} holds values that are not finite (NaN or infinity); expected floats from 0 to 1.")
        if low < 0.0 or high > 1.0:
            raise ImageError(
                f"{name} holds floats from {low:.4g} to {high:.4g}; expected 0 to 1, so give pictures that are not "
                "normalised, or 0 to 255 as uint8."
            )
        values = (values.astype(np.float64) * 255.0 + 0.5).astype(np.uint8)
    elif values.dtype == np.uint16 or values.dtype.newbyteorder("=") == np.uint16:
        values = (values.astype(np.float64) / 65535.0 * 255.0 + 0.5).astype(np.uint8)
    elif values.dtype != np.uint8:
        raise ShapeError(
            f"{name} is of dtype {values.dtype}; expected uint8, uint16, or floats from 0 to 1, so convert it first."
        )
    return upright_rgb(Image.fromarray(np.ascontiguousarray(values)), name=name)


def _channels_last(array: np.ndarray | torch.Tensor, name: str) -> np.ndarray:
    """The array as (H, W) or (H, W, 3 or 4)."""
    shape = tuple(array.shape)
    values = array
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu()
        values = (array.float() if array.is_floating_point() else array).numpy()
        if len(shape) == 3 and shape[0] in _CHANNELS:
            values = np.moveaxis(values, 0, -1)
    assert isinstance(values, np.ndarray)
    fits = values.ndim == 2 or (values.ndim == 3 and values.shape[-1] in _CHANNELS)
    if not fits or 0 in shape:
        first = " or (3, H, W)" if isinstance(array, torch.Tensor) else ""
        turned = values.ndim == 3 and values.shape[0] in _CHANNELS
        hint = "; move the colours to the end, e.g. with array.transpose(1, 2, 0)" if turned else ""
        raise ShapeError(f"{name} has shape {shape}; expected (H, W), (H, W, 3) or (H, W, 4){first}{hint}.")
    return values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values


def _entries(given: Any) -> Sequence[Any]:
    """Everything that was given, one by one."""
    if isinstance(given, (np.ndarray, torch.Tensor)):
        return list(given) if given.ndim == 4 else [given]
    if isinstance(given, (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, Input)):
        return [given]
    if isinstance(given, Iterable) and not isinstance(given, dict):
        return list(given)
    raise ShapeError(f"expected {_KINDS}, or several of these, got {type(given).__name__}.")


def _held(entry: Any, name: str) -> Input:
    """A picture that is no file."""
    if isinstance(entry, (bytes, bytearray, memoryview)):
        return Input(name, bytes(entry))
    if isinstance(entry, Image.Image):
        return Input(name, upright_rgb(entry, name=name))
    if isinstance(entry, (np.ndarray, torch.Tensor)):
        return Input(name, picture_of_array(entry, name=name))
    raise ShapeError(f"{name} is of type {type(entry).__name__}; expected {_KINDS}.")


def _names_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_EXTENSIONS and not user_path(path).is_dir()


def _find_videos(given: str | os.PathLike[str]) -> list[Path]:
    """The video, or those that a pattern matches."""
    path = user_path(given)
    # Path.glob takes no absolute pattern.
    found = [path] if path.exists() else sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207
    return found or [path]
