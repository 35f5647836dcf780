"""Clips made on the spot for the tests of videos."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np

TIME_BASE = Fraction(1, 1000)


def write_clip(path, ticks, *, size=(64, 48), sound=True, aspect=Fraction(1), codec="libx264", rate=25):
    """A bright square that moves over noise, one frame a time stamp [ms], with a tone beside it; returns the path."""
    random = np.random.default_rng(0)
    width, height = size
    with av.open(str(path), "w") as target:
        stream = target.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = TIME_BASE
        stream.codec_context.sample_aspect_ratio = aspect
        tone = target.add_stream("aac", rate=16000, layout="mono") if sound else None
        heard = 0
        for index, moment in enumerate(ticks):
            pixels = random.integers(0, 60, (height, width, 3), dtype=np.uint8)
            left = index * 2 % (width - 16)
            pixels[16:32, left : left + 16] = (240, 200, 40)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = moment, TIME_BASE
            target.mux(stream.encode(frame))
            while tone is not None and heard < moment * 16:
                samples = (8000 * np.sin(np.arange(heard, heard + 1024) / 6)).astype(np.int16)[None]
                sounding = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
                sounding.sample_rate, sounding.pts, sounding.time_base = 16000, heard, Fraction(1, 16000)
                target.mux(tone.encode(sounding))
                heard += 1024
        for last in (stream, tone):
            if last is not None:
                target.mux(last.encode(None))
    return path


def write_noise(path, size, frames):
    """A clip of noise without sound, of any size; returns the path."""
    random = np.random.default_rng(0)
    codec, pixel_format = ("ffv1", "bgr0") if path.suffix == ".mkv" else ("libx264", "yuv420p")
    with av.open(str(path), "w") as target:
        stream = target.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        target.start_encoding()
        for index in range(frames):
            pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = index
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path


def write_sound(path, *, beside_pictures=False):
    """A file with a tone and no pictures, or room for some and none there."""
    with av.open(str(path), "w") as target:
        if beside_pictures:
            stream = target.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        tone = target.add_stream("aac", rate=16000, layout="mono")
        sounding = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
        sounding.sample_rate, sounding.pts = 16000, 0
        target.mux(tone.encode(sounding))
        target.mux(tone.encode(None))
    return path


def turn_clockwise(path):
    """Say in the header of an MP4 file that it is to be shown turned by 90 degrees, as phones do."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    one, none, last = (1 << 16).to_bytes(4, "big"), bytes(4), (1 << 30).to_bytes(4, "big")
    minus = (-(1 << 16)).to_bytes(4, "big", signed=True)
    data[start : start + 36] = none + one + none + minus + none + none + none + none + last
    path.write_bytes(data)
    return path


def times_of(path):
    """Time stamps of all frames [s], in the order in which they are shown."""
    with av.open(str(path)) as container:
        return [round(frame.time, 6) for frame in container.decode(video=0)]


def sound_of(path):
    """The coded sound, packet by packet, with its time stamps [s]."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.dts is not None]
        return [(round(float(packet.pts * packet.time_base), 6), bytes(packet)) for packet in packets]


def pictures_of(path):
    """All frames (H, W, 3) uint8, as they are stored."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
