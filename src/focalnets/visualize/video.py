"""From a video to the same video with the network's modulator over every frame and its answer as a caption.

Axes: H W height and width [px], h w [tokens].
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from focalnets.data.clips import ClipFrame, ClipInfo, describe_clip, rewrite_clip
from focalnets.data.transforms import LONGEST_ASPECT, bounded_size, to_tensor
from focalnets.errors import ConfigError, DataError
from focalnets.models.config import Preprocessing, WholeImage
from focalnets.models.focalnet import FocalNet
from focalnets.report.fonts import Line
from focalnets.visualize.answers import backbone_of
from focalnets.visualize.draw import Style, robust_limits, styled
from focalnets.visualize.explain import MOST_SEEN_PIXELS, named_probabilities, shorter_side
from focalnets.visualize.maps import default_focus, modulator_map
from focalnets.visualize.recording import BlockId, capture

__all__ = ["SteadyRange", "VideoExplanation", "explain_video"]

LOOK_AHEAD, _AHEAD_PIXELS = 8, 2**27
"""Frames that are looked at before the first one is drawn, so that the colours are right from the beginning; fewer, but
at least one, where they would have more than so many pixels together."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoExplanation:
    """What was written about one video.

    Attributes:
        path, output: The video and the new one.
        frames: Frames of both.
        looked: Frames that the network saw.
        seen_px: Width and height at which it saw them [px].
    """

    path: Path
    output: Path
    frames: int
    looked: int
    seen_px: tuple[int, int]


class SteadyRange:
    """Ends of a colour scale that follow a clip slowly, so that a value keeps its colour from frame to frame.

    Each frame's range leaves out the outermost percent at either end; the scale moves towards it exponentially, by half
    of the distance within ``half_life_s`` seconds of the clip.

    Args:
        first: Maps of the first frames; the scale begins with the mean of their ranges.
        half_life_s: Half-life [s], above 0.
    """

    def __init__(self, first: Sequence[np.ndarray], *, half_life_s: float = 2.0) -> None:
        self.half_life_s = half_life_s
        self._limits = np.mean([robust_limits(values) for values in first], axis=0)
        self._time_s: float | None = None

    def follow(self, values: np.ndarray, time_s: float) -> tuple[float, float]:
        """Choose the scale for the map of the frame shown at ``time_s`` [s], not earlier than the one before."""
        if self._time_s is not None:
            weight = 1.0 - 0.5 ** (max(0.0, time_s - self._time_s) / self.half_life_s)
            self._limits = self._limits + weight * (np.array(robust_limits(values)) - self._limits)
        self._time_s = time_s
        return float(self._limits[0]), float(self._limits[1])


def explain_video(
    model: nn.Module,
    path: str | Path,
    output: str | Path,
    *,
    focus: BlockId | None = None,
    size_px: int | Literal["native"] | None = None,
    style: Style = "overlay",
    every: int = 1,
    most_frames: int | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> VideoExplanation:
    """Draw the length of one block's modulator over every frame of a video.

    The colour scale follows the clip slowly, see :class:`SteadyRange`. Sound, time stamps, size and proportions stay,
    see :func:`focalnets.data.clips.rewrite_clip`; so does the memory, however long the video is. Unless a size is
    given, the network sees frames more than 32 times as long as wide smaller than usual, with as many pixels as those
    that are 32 times as long.

    Args:
        model: The network, on the device to use and in evaluation mode; a classifier's answer is written below.
        path: The video.
        output: The file to write (.mp4, .m4v, .mov, .mkv or .webm), complete or not at all.
        focus: Stage and block whose modulator is drawn; None chooses, see
            :func:`focalnets.visualize.maps.default_focus`.
        size_px: Shorter side at which the network sees a frame [px]; None takes the scale of its evaluation,
            ``"native"`` the video's own size.
        style: How map and frame are shown, see :data:`focalnets.visualize.draw.Style`.
        every: The network looks at each ``every``-th frame; those between show its last map and answer.
        most_frames: The new video ends after so many frames; None takes all.
        on_progress: Called after each frame with the number done, and of all frames where that is known.

    Raises:
        ConfigError: If a number is out of range, or the output cannot be written in that format or size.
        DataError: If the video is missing, empty, damaged, cut off, without pictures, of an unknown codec or too large.
        MissingPackageError: If PyAV is not installed.
    """
    for name, number in (("every", every), ("most_frames", most_frames)):
        if number is not None and number < 1:
            raise ConfigError(f"{name} must be a whole number of frames from 1 up, got {number}.")
    info = describe_clip(path)
    focus = default_focus(backbone_of(model)) if focus is None else focus
    spec = model.preprocessing
    assert isinstance(spec, Preprocessing)
    if size_px is None and isinstance(spec, WholeImage):
        whole = spec.size_of(max(1, round(info.width_px * info.pixel_aspect)), info.height_px)
        seen_px = bounded_size(*whole, LONGEST_ASPECT * spec.input_size_px**2)
    else:
        seen_px = _seen_size(info, shorter_side(spec), size_px)
    ahead = max(1, min(LOOK_AHEAD, _AHEAD_PIXELS // (info.width_px * info.height_px + seen_px[0] * seen_px[1])))
    total = info.frames if info.frames is None or most_frames is None else min(info.frames, most_frames)
    looked = 0

    def look(frames: Iterator[ClipFrame]) -> Iterator[tuple[ClipFrame, np.ndarray, str]]:
        nonlocal looked
        for frame in frames:
            if frame.index % every == 0:
                values, caption = _look(model, frame.picture, seen_px, focus)
                looked += 1
            yield frame, values, caption

    def draw(frames: Iterator[ClipFrame]) -> Iterator[tuple[ClipFrame, np.ndarray]]:
        following = look(frames)
        waiting = collections.deque(itertools.islice(following, ahead))
        if not waiting:
            return
        steady = SteadyRange([values for _, values, _ in waiting])
        while waiting:
            frame, values, caption = waiting.popleft()
            waiting.extend(itertools.islice(following, ahead - len(waiting)))
            picture = styled(frame.picture, values, style, limits=steady.follow(values, frame.time_s))
            yield frame, _with_caption(picture, caption)
            if on_progress is not None:
                on_progress(frame.index + 1, total)

    width_px = info.width_px * (2 if style == "side-by-side" else 1)
    frames = rewrite_clip(info, output, draw, width_px=width_px, height_px=info.height_px, most_frames=most_frames)
    return VideoExplanation(path=Path(path), output=Path(output), frames=frames, looked=looked, seen_px=seen_px)


def _look(model: nn.Module, picture: np.ndarray, seen_px: tuple[int, int], focus: BlockId) -> tuple[np.ndarray, str]:
    """Measure the modulator's length (H, W) at the size that the network saw, and write down what a classifier says."""
    tensor = _network_input(picture, seen_px, model.preprocessing).unsqueeze(0)  # type: ignore[arg-type]
    if not isinstance(model, FocalNet):
        with torch.inference_mode(), capture(model, blocks=[focus]) as inside:
            backbone_of(model).forward_pyramid(tensor.to(next(model.parameters()).device))
        return modulator_map(inside, focus)[0], ""
    with torch.inference_mode(), capture(model, blocks=[focus]) as inside:
        logits = model(tensor.to(next(model.parameters()).device)).float().cpu()
    best = named_probabilities(model, logits.softmax(1)[0].tolist(), 1)
    return modulator_map(inside, focus)[0], "".join(f"{name}  {100 * probability:.0f} %" for name, probability in best)


def _network_input(picture: np.ndarray, seen_px: tuple[int, int], preprocessing: Preprocessing) -> torch.Tensor:
    width, height = seen_px
    mode = InterpolationMode(preprocessing.interpolation)
    return to_tensor(preprocessing)(functional.resize(Image.fromarray(picture), [height, width], interpolation=mode))


def _seen_size(info: ClipInfo, usual_side: int, size_px: int | Literal["native"] | None) -> tuple[int, int]:
    """Compute width and height in the proportions in which the video is shown, with the shorter side as asked."""
    side = usual_side if size_px is None else size_px
    if side != "native" and side < 1:
        raise ConfigError(f"size_px must be a whole number from 1 up, got {side}.")
    shown = (float(info.width_px * info.pixel_aspect), float(info.height_px))
    scale = 1.0 if side == "native" else side / min(shown)
    width, height = (max(1, int(scale * length + 1e-6)) for length in shown)
    if size_px is None:
        return bounded_size(width, height, LONGEST_ASPECT * usual_side**2)
    if width * height > MOST_SEEN_PIXELS:
        raise DataError(
            f"the video '{info.path}' has frames of {info.width_px} x {info.height_px} pixels and would be seen at "
            f"{width} x {height}, more than the limit of {MOST_SEEN_PIXELS / 1e6:.1f} megapixels; use a smaller size."
        )
    return width, height


def _with_caption(picture: np.ndarray, text: str) -> np.ndarray:
    """Write a line of text into the lower left corner, white on a dark ground, where a frame has room for it.

    Returns:
        A new picture, or the same where nothing was written.
    """
    height, width = picture.shape[:2]
    size = max(8, round(0.045 * min(height, width)))
    margin = size // 2
    line = _caption_line(text, size, width - 2 * margin)
    if line is None or size + 2 * margin > height:
        return picture
    image = Image.fromarray(picture)
    box = (0, height - size - 2 * margin, min(width, round(line.width_px) + 2 * margin), height)
    ground = image.crop(box)
    image.paste(Image.blend(ground, Image.new("RGB", ground.size), 0.7), box[:2])
    line.draw(image, margin, height - margin - size * 0.12, "white")
    return np.asarray(image)


@functools.lru_cache(maxsize=256)
def _caption_line(text: str, size_px: int, room_px: int) -> Line | None:
    """Shorten a name with its percentage until it fits; None where nothing of it does."""
    name, _, percent = text.rpartition("  ")
    line = Line(text, size_px)
    if line.width_px > room_px:
        name = name[: 1 + int(len(name) * room_px / line.width_px)]  # Most of a long name goes at once.
    while line.width_px > room_px and name:
        name = name[:-1]
        line = Line(f"{name}…  {percent}" if name else percent, size_px)
    return line if text and line.width_px <= room_px else None
