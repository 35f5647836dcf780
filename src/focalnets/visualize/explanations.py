"""What explaining several photos and videos returns: pages that can be shown and written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, overload

from torch import nn

from focalnets.data.inputs import Input, Inputs, gather_inputs
from focalnets.errors import ConfigError, DataError, ImageError
from focalnets.files import user_path
from focalnets.models.focalnet import FocalNet
from focalnets.report.names import without_folders
from focalnets.report.parts import Paragraph, Part, Picture
from focalnets.tasks.clips import clip_outputs
from focalnets.tasks.evaluation import Failure
from focalnets.tasks.task import Task
from focalnets.tasks.trained import TrainedNetwork
from focalnets.visualize.answers import backbone_of, explain_answer
from focalnets.visualize.draw import FIGURE_FORMATS, Style
from focalnets.visualize.explain import Explanation, explain_picture, output_names
from focalnets.visualize.map_names import choose_map
from focalnets.visualize.maps import parse_block
from focalnets.visualize.recording import BlockId
from focalnets.visualize.video import VideoExplanation, explain_video

__all__ = ["Explanations", "explain_given", "explain_inputs"]

_MOST_IN_NOTEBOOK = 8
_PAGE_PX = 1400


class Explanations(Sequence[Explanation]):
    """Where a network looks in several photos, in their order.

    Attributes:
        failures: Inputs that could not be read, with the reason.
        videos: The videos that were written.
    """

    def __init__(
        self, entries: Sequence[Explanation], failures: Sequence[Failure] = (), videos: Sequence[VideoExplanation] = ()
    ) -> None:
        self._entries = tuple(entries)
        self.failures = tuple(failures)
        self.videos = tuple(videos)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self._entries)

    @overload
    def __getitem__(self, index: int) -> Explanation: ...

    @overload
    def __getitem__(self, index: slice) -> Explanations: ...

    def __getitem__(self, index: int | slice) -> Explanation | Explanations:
        if isinstance(index, slice):
            return Explanations(self._entries[index], self.failures, self.videos)
        try:
            return self._entries[index]
        except IndexError:
            raise IndexError(f"There is no explanation {index}; {self._in_words()}.") from None

    def __repr__(self) -> str:
        return f"Explanations({self._in_words()})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values: see :meth:`Explanation.to_dict`, with the videos and the failures."""
        videos = [
            {"input": str(video.path), "file": str(video.output), "frames": video.frames, "looked": video.looked}
            for video in self.videos
        ]
        return {
            "explained": [explanation.to_dict() for explanation in self],
            "videos": videos,
            "failures": [failure.to_dict() for failure in self.failures],
        }

    def show(self) -> None:
        """Show each page, in the notebook or in windows."""
        for explanation in self:
            explanation.show()

    def save(self, path: str | Path, *, kind: str = "png") -> list[Path]:
        """Write all pages into a folder, or a single one to the file that is named; returns the files.

        Args:
            path: The folder, or a file that ends in .png, .pdf, .svg or .html.
            kind: Of files in a folder: png, pdf, svg or html.

        Raises:
            ConfigError: If there is no such kind of file.
        """
        path = user_path(path)
        is_file = path.suffix.lower().removeprefix(".") in (*FIGURE_FORMATS, "html") and not path.is_dir()
        if is_file and len(self) == 1:
            return [self[0].save(path)]
        names = output_names([Path(explanation.name) for explanation in self], f".{kind}")
        return [explanation.save(path / name) for explanation, name in zip(self, names, strict=True)]

    def _repr_html_(self) -> str:
        from focalnets.report.fragment import render_fragment

        parts: list[Part] = [
            Picture(explanation.draw(), f"where the network looks in {Path(explanation.name).name}", (), _PAGE_PX)
            for explanation in self._entries[:_MOST_IN_NOTEBOOK]
        ]
        return render_fragment([*parts, Paragraph(without_folders(self._in_words()), "note")])

    def _in_words(self) -> str:
        words = [f"{len(self):,} photo{'' if len(self) == 1 else 's'} explained"]
        if self.videos:
            words.append(f"{len(self.videos):,} video{'' if len(self.videos) == 1 else 's'} written")
        if self.failures:
            words.append(f"{len(self.failures):,} not read ({self.failures[0].reason.rstrip('.')})")
        return ", ".join(words)


def explain_given(
    trained: TrainedNetwork, inputs: Inputs, *, output: str | os.PathLike[str] | None = None, **options: Any
) -> Explanations:
    """Explain what was given, see :func:`focalnets.explain` for the arguments, with what could not be read.

    Raises:
        ConfigError: As :func:`explain_inputs`, or if an exported file computes the network.
    """
    trained.require_weights("explain")
    entries, missing = gather_inputs(inputs, videos=True)
    failures = [Failure(path=Path(given), reason=reason) for given, reason in missing]
    explained = explain_inputs(
        trained.task, trained.network, entries, output=None if output is None else Path(output),
        model_name=trained.source or trained.origin, **options,
    )  # fmt: skip
    return Explanations(tuple(explained), [*failures, *explained.failures], explained.videos)


def explain_inputs(
    task: Task,
    network: nn.Module,
    inputs: Sequence[Input],
    *,
    output: str | Path | None = None,
    block: str | BlockId | None = None,
    map_name: str | None = None,
    size_px: int | Literal["native"] | None = None,
    top_k: int = 5,
    model_name: str = "",
    style: Style = "overlay",
    every: int = 1,
    most_frames: int | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Explanations:
    """Explain photos and videos, see :func:`focalnets.explain` for the arguments.

    Raises:
        ConfigError: If a number or a block is out of range, or videos lack an output.
        MissingPackageError: If there are videos and PyAV is not installed.
    """
    if map_name is not None:
        choose_map(map_name, None)
    photos, clips = [entry for entry in inputs if not entry.is_video], [entry for entry in inputs if entry.is_video]
    targets = clip_outputs([clip.path for clip in clips], output, "_explained")
    text = block if block is None or isinstance(block, str) else ".".join(map(str, block))
    backbone = backbone_of(network)
    focus = None if text is None else parse_block(text, backbone)
    if clips and map_name not in (None, "modulator"):
        raise ConfigError(f"map must be modulator for videos, got {map_name!r}; leave it out.")
    explained: list[Explanation] = []
    videos: list[VideoExplanation] = []
    failures: list[Failure] = []
    for number, photo in enumerate(photos, 1):
        options: dict[str, Any] = {"focus": focus, "map_name": map_name, "size_px": size_px, "style": style}
        try:
            picture = photo.read()
            options |= {"name": photo.name, "model_name": model_name}
            if isinstance(network, FocalNet):
                explained.append(explain_picture(network, picture, top_k=top_k, **options))
            else:
                explained.append(explain_answer(task, network, picture, **options))
        except ImageError as error:
            failures.append(Failure(path=photo.path, reason=str(error)))
        if on_progress is not None:
            on_progress(number, len(photos))
    for clip, target in zip(clips, targets, strict=True):
        options = {"focus": focus, "size_px": size_px, "style": style, "every": every, "most_frames": most_frames}
        try:
            videos.append(explain_video(network, clip.path, target, **options, on_progress=on_progress))
        except DataError as error:
            failures.append(Failure(path=clip.path, reason=str(error)))
    return Explanations(explained, failures, videos)
