"""What a network says about videos, frame by frame, drawn into a new video.

Axes: H W height and width of a frame [px].
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from focalnets.data.clips import CLIP_FORMATS, ClipFrame, describe_clip, rewrite_clip
from focalnets.engine.forms import InferenceForm
from focalnets.errors import ConfigError
from focalnets.files import user_path
from focalnets.report.names import unique_names
from focalnets.tasks.running import predict
from focalnets.tasks.task import Task

__all__ = ["PredictedClip", "clip_outputs", "predict_clip"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictedClip:
    """What a network says about a video.

    Attributes:
        path, output: The video, and the one with the answers drawn into it.
        frames: Frames of both.
        times_s: When each frame is shown that the network saw [s].
        results: What it said about each of these; their paths are ``VIDEO#FRAME``.
    """

    path: Path
    output: Path
    frames: int
    times_s: tuple[float, ...]
    results: tuple[Any, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        seen = [
            {"time_s": time_s, **result.to_dict()} for time_s, result in zip(self.times_s, self.results, strict=True)
        ]
        return {"input": str(self.path), "file": str(self.output), "frames": self.frames, "predictions": seen}


_TOGETHER_PIXELS = 2**28
"""Frames that are in memory together have no more than so many pixels, or there is only one of them."""


def predict_clip(
    task: Task,
    model: nn.Module,
    path: str | Path,
    output: str | Path,
    *,
    every: int = 1,
    batch_size: int | None = None,
    size_px: int | None = None,
    form: InferenceForm | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> PredictedClip:
    """Say what a network answers to the frames of a video, and write the video with the answers drawn into it.

    Args:
        task: What the network is for.
        model: The network, on the device to use, with ``preprocessing``.
        path: The video.
        output: The file to write, complete or not at all; see :func:`focalnets.data.clips.rewrite_clip`.
        every: The network looks at each ``every``-th frame; those between show its last answer.
        batch_size: Frames that it sees at once; None takes the task's usual number.
        size_px: Input size; None takes the network's own.
        form: How the network is run, see :func:`focalnets.engine.forms.inference_form`; None takes it as it is.
        on_progress: Called with the number of frames done, and of all where that is known.

    Raises:
        ConfigError: If a number is out of range or the output cannot be written in that format.
        DataError: If the video is missing, empty, damaged, cut off or of an unknown codec.
        MissingPackageError: If PyAV is not installed.
    """
    if every < 1:
        raise ConfigError(f"every must be a whole number of frames from 1 up, got {every}.")
    path = Path(path)
    info, together = describe_clip(path), every * (task.usual_batch if batch_size is None else batch_size)
    together = max(1, min(together, _TOGETHER_PIXELS // (info.width_px * info.height_px)))
    times: list[float] = []
    results: list[Any] = []

    def draw(frames: Iterator[ClipFrame]) -> Iterator[tuple[ClipFrame, np.ndarray]]:
        while group := list(itertools.islice(frames, together)):
            looked = [frame for frame in group if frame.index % every == 0]
            pictures = [Image.fromarray(frame.picture) for frame in looked]
            names = [path.with_name(f"{path.name}#{frame.index}") for frame in looked]
            answers = predict(
                task, model, names, pictures.__getitem__, batch_size=batch_size, size_px=size_px, form=form
            )  # fmt: skip
            results.extend(answers)
            times.extend(frame.time_s for frame in looked)
            for frame in group:
                answer = results[frame.index // every]
                yield frame, np.asarray(task.draw_frame(Image.fromarray(frame.picture), answer))
                if on_progress is not None:
                    on_progress(frame.index + 1, info.frames)

    frames = rewrite_clip(info, output, draw, width_px=info.width_px, height_px=info.height_px)
    return PredictedClip(
        path=path, output=Path(output), frames=frames, times_s=tuple(times), results=tuple(results)
    )  # fmt: skip


def clip_outputs(videos: Sequence[Path], output: str | os.PathLike[str] | None, ending: str) -> list[Path]:
    """Name the file to write for each video: ``output`` itself if it is named like a video, else one in that folder.

    Args:
        videos: The videos; without any there is nothing to write.
        output: Folder or file.
        ending: What the names of files in a folder end in, before the ending of the video.

    Raises:
        ConfigError: If there is no output, or several videos would be written to one file.
    """
    if not videos:
        return []
    if output is None:
        raise ConfigError(
            f"'{videos[0]}' is a video, which is drawn into a new one; name an output, a folder or a file."
        )
    place = user_path(output)
    if place.suffix.lower() in CLIP_FORMATS and not place.is_dir():
        if len(videos) != 1:
            raise ConfigError(f"The output '{place}' is one video; give exactly one video as input, or name a folder.")
        return [place]
    names = unique_names(videos, ending)
    endings = [file.suffix.lower() if file.suffix.lower() in CLIP_FORMATS else ".mkv" for file in videos]
    return [place / f"{name}{kind}" for name, kind in zip(names, endings, strict=True)]
