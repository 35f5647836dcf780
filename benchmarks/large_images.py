"""Large images as a whole, by bands: ``python -m benchmarks.large_images [--sides PX ...] [--huge SIZE ...]``.

Exactness and time against the network on the whole image, in rounds, one thread; memory of each in a process of its
own, after the same on a small image. ``--huge HEIGHTxWIDTH`` streams one image from a file, with the maps in files.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import machine_fields, source_fields, version_fields
from focalnets.errors import FocalNetsError
from focalnets.files import write_json
from focalnets.large.plan import plan_streaming
from focalnets.large.pyramid import pixels_to_input, stream_pyramid
from focalnets.large.sources import Source, open_source
from focalnets.large.streaming import StreamSettings
from focalnets.machine.memory import peak_bytes, release_freed_memory, reset_peak
from focalnets.models.focalnet import FocalNet
from focalnets.weights.loading import create_model, load_model
from focalnets.weights.shipped import DEFAULT, SHIPPED

TOLERANCE = 1e-5
"""Norm of the difference over that of the map, every stage."""

_ROUNDS = 5
_SMALL_PX = 256
_ROWS_AT_ONCE = 256


def build(name: str) -> FocalNet:
    """Load the network in the package, or draw one of another variant whose branches all count."""
    torch.manual_seed(0)
    if name in SHIPPED:
        return load_model(name, pyramid_norms=True).eval()
    return create_model(name, pyramid_norms=True, initialization="fan_in").eval()


def draw_rows(first: int, last: int, width: int) -> np.ndarray:
    """Draw rows (rows, W, 3) uint8 of a picture with structure at many scales, the same each time."""
    y, x = np.mgrid[first:last, :width].astype(np.float32)
    waves = [np.sin(x / 7 + y / 31) + np.sin(y / 11), np.sin(x / 301 - y / 97) + np.sin(x / 23), np.sin((x + y) / 1009)]
    noise = np.random.default_rng(first).integers(0, 60, (last - first, width, 3))
    return (np.stack(waves, -1) * 45 + 98 + noise).clip(0, 255).astype(np.uint8)


def write_picture(path: Path, height: int, width: int) -> None:
    """Write such a picture as a NumPy file, row by row."""
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (height, width, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, height, _ROWS_AT_ONCE):
            file.write(draw_rows(first, min(height, first + _ROWS_AT_ONCE), width).tobytes())


@torch.inference_mode()
def measure_time(name: str, side: int) -> dict[str, Any]:
    """Time both ways in rounds and compare the maps."""
    network, pixels = build(name), draw_rows(0, side, side)
    prepare = pixels_to_input(network.preprocessing)
    with open_source(pixels) as source:
        seconds: dict[str, list[float]] = {"whole": [], "streamed": []}
        for _ in range(_ROUNDS + 1):
            started = time.process_time()
            whole = network.forward_pyramid(prepare(pixels))
            seconds["whole"].append(time.process_time() - started)
            started = time.process_time()
            pyramid = stream_pyramid(network, source)
            seconds["streamed"].append(time.process_time() - started)
        differences = []
        for stage, features in enumerate(whole):
            ours = pyramid.rows(stage, 0, features.shape[2]).permute(2, 0, 1)[None]
            differences.append(float((ours - features).norm() / features.norm()))
    ratios = [ours / theirs for ours, theirs in zip(seconds["streamed"][1:], seconds["whole"][1:], strict=True)]
    if max(differences) > TOLERANCE:
        raise FocalNetsError(f"the maps differ by {max(differences):.1e}; no times are reported.")
    return {
        "network": name,
        "side_px": side,
        "seconds_whole": statistics.median(seconds["whole"][1:]),
        "seconds_streamed": statistics.median(seconds["streamed"][1:]),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "relative_differences": differences,
    }


@torch.inference_mode()
def measure_memory(name: str, path: Path, way: str) -> dict[str, Any]:
    """Measure what a picture in a file adds to the memory of this process, after a small one."""
    network = build(name)
    prepare = pixels_to_input(network.preprocessing)
    small = draw_rows(0, _SMALL_PX, _SMALL_PX)
    if way == "whole":
        pixels = np.load(path)
        height, width = pixels.shape[:2]
        network.forward_pyramid(prepare(small))
        image = prepare(pixels)
        del pixels
        idle = release_freed_memory()
        reset_peak()
        started = time.monotonic()
        kept: Any = network.forward_pyramid(image)
        planned, files = None, 0
    else:
        with open_source(small) as tiny:
            stream_pyramid(network, tiny, StreamSettings()).close()
        with tempfile.TemporaryDirectory(dir=path.parent) as folder, open_source(path) as source:
            height, width = source.height, source.width
            plan = _plan(network, source, Path(folder), in_files=way == "files")
            planned, files = plan.memory_bytes, plan.file_bytes
            idle = release_freed_memory()
            reset_peak()
            started = time.monotonic()
            kept = stream_pyramid(network, source, plan.settings)
            kept.close()
    peak = peak_bytes()
    return {
        "network": name,
        "height_px": height,
        "width_px": width,
        "way": way,
        "added_bytes": peak - idle,
        "bytes_a_pixel": (peak - idle) / height / width,
        "peak_bytes": peak,
        "planned_bytes": planned,
        "file_bytes": files,
        "wall_seconds": time.monotonic() - started,
    }


def _plan(network: FocalNet, source: Source, folder: Path, *, in_files: bool) -> Any:
    return plan_streaming(
        network, source.height, source.width, memory_bytes=2**40, folder=folder / "maps", always_files=in_files
    )


def in_own_process(name: str, path: Path, way: str) -> dict[str, Any]:
    """Run :func:`measure_memory` in a process that does nothing else."""
    command = [sys.executable, "-m", "benchmarks.large_images", "--worker", name, str(path), way]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def run(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_images", description=__doc__)
    parser.add_argument("--network", default=DEFAULT)
    parser.add_argument("--sides", type=int, nargs="*", default=[1024, 2048, 4096], metavar="PX")
    parser.add_argument("--huge", nargs="*", default=[], metavar="HEIGHTxWIDTH")
    parser.add_argument("--folder", type=Path, help="for pictures and maps; otherwise that of temporary files")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.worker:
        name, path, way = options.worker
        print(json.dumps(measure_memory(name, Path(path), way)))
        return 0
    results: dict[str, Any] = {**machine_fields(), "versions": version_fields(), **source_fields()}
    results |= {"threads_used": 1, "times": [], "memory": []}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "picture.npy"
        for side in options.sides:
            results["times"].append(measure_time(options.network, side))
            print(results["times"][-1], flush=True)
            write_picture(path, side, side)
            for way in ("whole", "memory", "files"):
                results["memory"].append(in_own_process(options.network, path, way))
                print(results["memory"][-1], flush=True)
        for size in options.huge:
            height, width = map(int, size.split("x"))
            write_picture(path, height, width)
            for way in ("memory", "files") if height * width <= 2**26 else ("files",):
                results["memory"].append(in_own_process(options.network, path, way))
                print(results["memory"][-1], flush=True)
    if options.output is not None:
        write_json(options.output, results)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(run())
    except FocalNetsError as error:
        sys.exit(f"error: {error}")
