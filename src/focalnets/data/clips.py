"""Video files: frames out, changed frames in, and everything else of the clip as it was. PyAV does the work.

PyAV is an optional package (``focalnets[video]``), imported inside functions. H W are height and width [px] of a frame
as it is shown, upright.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from focalnets.errors import ConfigError, DataError, MissingPackageError
from focalnets.files import replacing

__all__ = [
    "CLIP_FORMATS",
    "MOST_FRAME_PIXELS",
    "VIDEO_EXTENSIONS",
    "ClipFrame",
    "ClipInfo",
    "clip_format",
    "describe_clip",
    "rewrite_clip",
]

VIDEO_EXTENSIONS = (
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm",
    ".wmv",
)  # fmt: skip
"""Lower-case extensions of files that are taken for videos. What they really are, is told by their content."""

CLIP_FORMATS = {".m4v": "mp4", ".mkv": "matroska", ".mov": "mov", ".mp4": "mp4", ".webm": "webm"}
"""Extensions of videos that can be written; each format keeps time stamps of any spacing."""

_LOST_S, _LOST_SHARE = 1.0, 0.1
_OF_THE_DISK = (errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EROFS)

MOST_FRAME_PIXELS = 8192 * 4352
"""Largest frame that is decoded, as of H.264 at its highest level [px]."""

_LONGEST_WRITTEN_PX = 16_384
"""Largest width and height of a video that is written, as the encoder of H.264 takes them [px]."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipInfo:
    """What a video is, from its header and first frame.

    Attributes:
        path: The file.
        width_px, height_px: Of a frame as it is shown, upright.
        quarter_turns: Turns by 90 degrees, counter-clockwise, that bring a stored frame upright.
        pixel_aspect: Width over height of a pixel as it is shown, upright.
        rate: Mean frames a second.
        frames: Frames that the header promises, or that follow from duration and rate; None where unknown.
    """

    path: Path
    width_px: int
    height_px: int
    quarter_turns: int
    pixel_aspect: Fraction
    rate: Fraction
    frames: int | None


@dataclasses.dataclass(eq=False)
class ClipFrame:
    """One frame: pixels (H, W, 3) uint8 in RGB, its number from 0, its time stamp in ticks and in seconds."""

    picture: np.ndarray
    index: int
    ticks: int
    time_s: float


Draw = Callable[[Iterator[ClipFrame]], Iterator[tuple[ClipFrame, np.ndarray]]]
"""Takes all frames in their order and gives each one back in that order, with the picture (H', W', 3) to write."""


def clip_format(path: str | Path) -> str:
    """The container that a file name stands for.

    Raises:
        ConfigError: If no video of that extension can be written.
    """
    extension = Path(path).suffix.lower()
    if extension not in CLIP_FORMATS:
        raise ConfigError(f"expected an output ending in {', '.join(CLIP_FORMATS)}, got '{path}'.")
    return CLIP_FORMATS[extension]


def describe_clip(path: str | Path) -> ClipInfo:
    """Open a video and decode its first frame.

    Raises:
        DataError: If it is missing, empty, damaged, without pictures, coded in a way that cannot be decoded, or has
            frames of more than :data:`MOST_FRAME_PIXELS`.
        MissingPackageError: If PyAV is not installed.
    """
    path = Path(path)
    with _opened(path) as (container, stream):
        _refuse_large_frames(stream.codec_context, path)  # Before one is decoded.
        first = next((frame for packet in _packets(container, path) for frame in _decoded(packet, stream, path)), None)
        if first is None:
            raise DataError(f"the video '{path}' holds no frame that can be decoded; export it again.")
        turns = round(first.rotation / 90) % 4
        aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        frames = stream.frames
        if not frames and container.duration:
            frames = max(1, round(container.duration / 1_000_000 * rate))
        width, height = first.width, first.height
        if turns % 2:
            width, height, aspect = height, width, 1 / aspect
        return ClipInfo(
            path=path, width_px=width, height_px=height, quarter_turns=turns, pixel_aspect=aspect, rate=rate,
            frames=frames or None,
        )  # fmt: skip


def rewrite_clip(
    info: ClipInfo, output: str | Path, draw: Draw, *, width_px: int, height_px: int, most_frames: int | None = None
) -> int:
    """Write a video again with other pictures.

    Time stamps, sound (copied, not coded again), aspect of the pixels and metadata stay. A turned clip is written
    upright, so that it looks as before. Frames pass one by one, so memory does not depend on the length; how many are
    alive is up to ``draw``. Pictures of odd width or height are completed by one line, as video codecs want it.

    Args:
        info: The video, see :func:`describe_clip`.
        output: The file to write, complete or not at all.
        draw: Makes the new pictures, see :data:`Draw`.
        width_px: Width of what ``draw`` gives [px].
        height_px: Its height [px].
        most_frames: The video ends after so many frames, and its sound with them; None writes all.

    Returns:
        The number of frames written.

    Raises:
        DataError: If the video cannot be decoded, ends long before its header says, or is too large to be written.
        ConfigError: If the output's format cannot be written or cannot hold pictures or sound, or is the video itself.
        MissingPackageError: If PyAV is not installed.
    """
    av = _pyav()
    container_format = clip_format(output)
    if os.path.realpath(output) == os.path.realpath(info.path):
        raise ConfigError(f"the output '{output}' is the video itself; name another file.")
    if max(width_px, height_px) > _LONGEST_WRITTEN_PX:
        raise DataError(
            f"the new video of '{info.path}' would have frames of {width_px} x {height_px} pixels, but at most "
            f"{_LONGEST_WRITTEN_PX:,} pixels can be written along a side; make it smaller, or choose another style."
        )
    written = 0
    with (
        replacing(output) as temporary,
        _opened(info.path) as (source, stream),
        av.open(f"file:{temporary}", "w", format=container_format) as target,
    ):
        target.metadata.update(source.metadata)
        encoder = target.add_stream(_encoder_name(container_format), rate=info.rate)
        _set_up(encoder.codec_context, info, stream.time_base, width_px, height_px)
        sounds = _copied_sounds(source, target, info.path, output)
        frames = itertools.islice(_frames(info, source, stream, sounds, target), most_frames)
        for frame, picture in draw(frames):
            # From the pixels' sRGB to the matrix that the stream declares.
            image = av.VideoFrame.from_ndarray(_even(picture), format="rgb24").reformat(
                width_px + width_px % 2, height_px + height_px % 2, "yuv420p", dst_colorspace="ITU709"
            )
            image.pts, image.time_base = frame.ticks, stream.time_base
            target.mux(encoder.encode(image))
            written += 1
        if not written:
            raise DataError(f"the video '{info.path}' holds no frame that can be decoded; export it again.")
        target.mux(encoder.encode(None))
    return written


def _pyav() -> Any:
    try:
        import av
    except ImportError:
        raise MissingPackageError(
            "Videos are read and written by PyAV, which is not installed; get it with: pip install 'focalnets[video]'"
        ) from None
    return av


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The open file and its first stream of moving pictures."""
    av = _pyav()
    if not path.is_file():
        raise DataError(f"there is no video '{path}'; check the path.")
    if path.stat().st_size == 0:
        raise DataError(f"'{path}' is empty (0 bytes); expected a video.")
    try:
        # The prefix keeps a name with a colon from being taken for an address.
        container = av.open(f"file:{path}")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise DataError(f"'{path}' is no video that can be read, or it is damaged ({_reason(error)}).") from error
    with container:
        attached = av.stream.Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & attached]
        if not streams:
            sound = "only sound" if container.streams.audio else "neither pictures nor sound"
            raise DataError(f"'{path}' holds {sound}; expected a video.")
        if streams[0].codec_context is None:
            raise DataError(
                f"the pictures of '{path}' are coded in a way that PyAV cannot decode; convert it to H.264."
            )
        yield container, streams[0]


def _packets(container: Any, path: Path) -> Iterator[Any]:
    """All packets of a file, in their order; then one empty packet a stream, which makes decoders give their rest."""
    av = _pyav()
    packets = container.demux()
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError as error:
            raise _damaged(path, error) from error
        yield packet


def _decoded(packet: Any, stream: Any, path: Path) -> list[Any]:
    """The frames that a packet completes; none for packets of other streams."""
    if packet.stream_index != stream.index:
        return []
    try:
        return packet.decode()
    except _pyav().FFmpegError as error:
        raise _damaged(path, error) from error


def _frames(info: ClipInfo, source: Any, stream: Any, sounds: dict[int, Any], target: Any) -> Iterator[ClipFrame]:
    """The frames, upright and with growing time stamps; sound passes by on the way."""
    seconds = float(stream.time_base)
    step = max(1, round(1 / (info.rate * stream.time_base)))
    index, last_ticks, end_s = 0, None, 0.0
    for packet in _packets(source, info.path):
        if packet.pts is not None:
            end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream_index in sounds and packet.dts is not None:
            packet.stream = sounds[packet.stream_index]
            target.mux(packet)
            continue
        for frame in _decoded(packet, stream, info.path):
            _refuse_large_frames(frame, info.path)
            ticks = frame.pts
            if last_ticks is not None and (ticks is None or ticks <= last_ticks):
                ticks = last_ticks + step  # AVI stores none, and guesses come in the wrong order.
            last_ticks = ticks = ticks or 0
            picture = np.rot90(frame.to_ndarray(format="rgb24"), info.quarter_turns)
            yield ClipFrame(np.ascontiguousarray(picture), index, ticks, ticks * seconds)
            index += 1
    promised_s = (source.duration or 0) / 1e6
    lost_s = promised_s - (end_s - (source.start_time or 0) / 1e6)
    if lost_s > _LOST_S and lost_s > _LOST_SHARE * promised_s:
        raise DataError(
            f"the video '{info.path}' ends {lost_s:.1f} s before the {promised_s:.1f} s that its header promises; it "
            "is cut off, so copy it again."
        )


def _refuse_large_frames(sized: Any, path: Path) -> None:
    """Refuse a stream, or a frame of one whose size changes, that is larger than is decoded."""
    if sized.width * sized.height > MOST_FRAME_PIXELS:
        raise DataError(
            f"the video '{path}' has frames of {sized.width} x {sized.height} = {sized.width * sized.height / 1e6:.1f} "
            f"megapixels, more than the limit of {MOST_FRAME_PIXELS / 1e6:.1f}; make it smaller first."
        )


def _encoder_name(container_format: str) -> str:
    if container_format == "webm":
        return "libvpx-vp9"
    return "libx264" if "libx264" in _pyav().codecs_available else "mpeg4"


def _set_up(context: Any, info: ClipInfo, time_base: Fraction, width_px: int, height_px: int) -> None:
    context.width, context.height = width_px + width_px % 2, height_px + height_px % 2
    context.pix_fmt = "yuv420p"
    context.time_base = time_base
    context.sample_aspect_ratio = info.pixel_aspect
    context.options = {"crf": "32", "b": "0", "row-mt": "1"} if context.name == "libvpx-vp9" else {"crf": "20"}
    # BT.709 in the range of television, said in the file: players otherwise guess by size.
    context.colorspace = context.color_primaries = context.color_trc = 1
    context.color_range = 1


def _copied_sounds(source: Any, target: Any, path: Path, output: str | Path) -> dict[int, Any]:
    """Streams of the output for those of sound, by index in the source; writes the output's header."""
    av = _pyav()
    try:
        sounds = {stream.index: target.add_stream_from_template(stream) for stream in source.streams.audio}
        target.start_encoding()
    except (av.FFmpegError, ValueError) as error:
        if getattr(error, "errno", None) in _OF_THE_DISK:
            raise
        codecs = ", ".join(sorted({stream.name or "unknown" for stream in source.streams.audio}))
        sound = f" with its sound ({codecs})" if codecs else ""
        context = target.streams.video[0].codec_context
        raise ConfigError(
            f"'{output}' cannot hold this video of {context.width} x {context.height} pixels{sound}: {_reason(error)}; "
            "name an output ending in .mkv, which holds nearly everything."
        ) from error
    return sounds


def _even(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return np.ascontiguousarray(picture)
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"the video '{path}' is damaged or incomplete ({_reason(error)}); fetch or export it again.")
