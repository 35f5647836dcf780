"""``focalnets explain``: where a network looks in photos and videos, and how far."""

from __future__ import annotations

import contextlib
import glob
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from focalnets.cli.model_argument import MODEL_HELP, load_for_command, require_model
from focalnets.cli.output import progress
from focalnets.errors import ConfigError, DataError, ImageError

EXAMPLES = """\
  focalnets explain photo.jpg
  focalnets explain photo.jpg --model runs/photos --output explained
  focalnets explain holiday --model timm/focalnet_tiny_lrf.ms_in1k --size 448 --html
  focalnets explain photo.jpg --model runs/photos --block 1.0 --size native --format pdf
  focalnets explain clip.mp4 --model runs/photos --output seen.mp4 --style side-by-side
  focalnets explain holiday --model runs/photos --receptive-field --kernels

  Exit status: 0 everything was explained, 1 some inputs could not be read, 2 none could."""

_MOST_FIELD_PHOTOS = 32


def add_arguments(parser: Any) -> None:
    """Add the photos and videos, the network, and what to draw."""
    parser.add_argument(
        "inputs", nargs="*", metavar="INPUT", help="image files, folders of images, video files, or patterns"
    )
    parser.add_argument("--model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument(
        "--output",
        metavar="PATH",
        default="explained",
        help="folder for the pages and videos, or for one video the file to write (default: explained)",
    )
    parser.add_argument(
        "--block",
        metavar="STAGE.BLOCK",
        help="block whose modulator and gates are drawn, from 0 (default: the last of the last stage but one)",
    )
    parser.add_argument("--stage", type=int, metavar="STAGE", help="the last block of this stage, from 0")
    parser.add_argument(
        "--style",
        choices=("overlay", "heatmap", "side-by-side"),
        default="overlay",
        help="maps over the grey picture, maps alone, or the picture beside the map over it (default: overlay)",
    )
    parser.add_argument(
        "--size",
        "--resolution",
        metavar="PX",
        help="shorter side at which the network sees a photo, or native for its own size; larger gives finer maps but "
        "is less what the network was trained on, and time and memory grow with the number of pixels "
        "(default: the scale of its evaluation)",
    )
    parser.add_argument(
        "--format", choices=("png", "pdf", "svg"), default="png", help="of figures; pdf and svg keep letters (png)"
    )
    parser.add_argument(
        "--html", action="store_true", help="also write a page for each photo with a slider over blocks"
    )
    parser.add_argument(
        "--kernels", action="store_true", help="draw the mean depthwise kernels instead; needs no INPUT"
    )
    parser.add_argument(
        "--receptive_field",
        "--receptive-field",
        action="store_true",
        help="draw how far the middle token of each stage really sees instead, as the mean over the first "
        f"{_MOST_FIELD_PHOTOS} photos",
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="in videos look at each Nth frame only (default: 1)"
    )
    parser.add_argument("--top_k", "--top-k", type=int, default=5, metavar="K", help="classes to name (default: 5)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... or mps (default: auto)")


def run(arguments: Any) -> int:
    """Draw one page a photo and one video a video, or what the network itself is like."""
    started = time.perf_counter()
    source = require_model(arguments.model)
    size = _size(arguments.size)
    photos, videos, failures = _sorted_inputs(arguments.inputs)
    _check(arguments, videos)
    explained = 0
    if arguments.kernels or arguments.receptive_field:
        if photos or not arguments.receptive_field:
            explained = _draw_network(arguments, load_for_command(source, arguments.device), photos, size, failures)
    elif photos or videos:
        from focalnets.visualize.maps import parse_block

        model = load_for_command(source, arguments.device)
        block = arguments.block if arguments.stage is None else f"{arguments.stage}.-1"
        focus = None if block is None else parse_block(block, model)
        explained = _explain_photos(arguments, model, source, photos, focus, size, failures)
        explained += _explain_videos(arguments, model, videos, focus, size, failures)
    if explained:
        print(_took(started))
    for failure in failures:
        print(f"not explained: {failure}", file=sys.stderr)
    if failures:
        print(f"{len(failures)} of {explained + len(failures)} inputs could not be explained.", file=sys.stderr)
    return 0 if not failures else 1 if explained else 2


def _took(started: float) -> str:
    from focalnets.machine.memory import peak_bytes

    peak = peak_bytes()
    memory = f", at most {peak / 2**20:,.0f} MiB of memory" if peak else ""
    return f"took {time.perf_counter() - started:.1f} s{memory}"


def _check(arguments: Any, videos: Sequence[Path]) -> None:
    """Refuse what contradicts itself before a network is loaded."""
    from focalnets.data.clips import CLIP_FORMATS

    output = Path(arguments.output)
    if arguments.block is not None and arguments.stage is not None:
        raise ConfigError("--block and --stage both choose the block; give one of them.")
    if arguments.every < 1:
        raise ConfigError(f"--every must be a whole number of frames from 1 up, got {arguments.every}.")
    if not arguments.inputs and (arguments.receptive_field or not arguments.kernels):
        raise ConfigError("There is nothing to look at; name image files, folders of images or video files.")
    if videos and (arguments.kernels or arguments.receptive_field):
        raise ConfigError(f"--kernels and --receptive-field need no video, got '{videos[0]}'; leave it out.")
    if output.suffix.lower() in CLIP_FORMATS and not output.is_dir():
        if len(videos) != 1 or len(arguments.inputs) != 1:
            raise ConfigError(f"The output '{output}' is one video; give exactly one video as input, or name a folder.")
    elif output.exists() and not output.is_dir():
        raise ConfigError(f"The output '{output}' is a file; name a folder.")


def _sorted_inputs(inputs: Sequence[str]) -> tuple[list[Path], list[Path], list[str]]:
    """Photos, videos, and sentences about inputs that lead to neither."""
    from focalnets.data.clips import VIDEO_EXTENSIONS
    from focalnets.data.images import find_images

    photos: dict[Path, None] = {}
    videos: dict[Path, None] = {}
    failures: list[str] = []
    for given in inputs:
        path = Path(given).expanduser()
        if path.suffix.lower() in VIDEO_EXTENSIONS and not path.is_dir():
            # Path.glob takes no absolute pattern.
            found = [path] if path.exists() else sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207
            videos.update(dict.fromkeys(found or [path]))
            continue
        try:
            photos.update(dict.fromkeys(find_images([given])))
        except DataError as error:
            failures.append(str(error))
    return list(photos), list(videos), failures


def _explain_photos(
    arguments: Any, model: Any, source: str, photos: Sequence[Path], focus: Any, size: Any, failures: list[str]
) -> int:
    """Draw the pages; returns how many."""
    from focalnets.visualize.explain import explain_file, output_names

    explained = 0
    output = Path(arguments.output)
    with progress("explaining", len(photos)) as show:
        names = output_names(photos, f".{arguments.format}")
        for done, (file, name) in enumerate(zip(photos, names, strict=True), 1):
            page = output / name
            html = page.with_suffix(".html") if arguments.html else None
            try:
                drawn = explain_file(
                    model, file, page, focus=focus, size_px=size, top_k=arguments.top_k, model_name=source,
                    style=arguments.style, html_output=html,
                )  # fmt: skip
            except ImageError as error:
                failures.append(str(error))
            else:
                explained += 1
                says = f"{drawn.predictions[0][0]} {drawn.predictions[0][1]:.1%}, " if drawn.predictions else ""
                print(f"{file}: {says}{page}{f', {html}' if html else ''}{_cost(drawn, size)}", flush=True)
            show(done)
    return explained


def _cost(drawn: Any, size: Any) -> str:
    if size is None:
        return ""
    width, height = drawn.seen_px
    times = drawn.macs / drawn.usual_macs
    return f" (seen at {width} x {height} px: {drawn.macs / 1e9:.3g} GMACs a pass, {times:.3g} times the usual)"


def _explain_videos(
    arguments: Any, model: Any, videos: Sequence[Path], focus: Any, size: Any, failures: list[str]
) -> int:
    """Write the videos; returns how many."""
    if not videos:
        return 0
    from focalnets.data.clips import CLIP_FORMATS
    from focalnets.visualize.explain import output_names
    from focalnets.visualize.video import explain_video

    output = Path(arguments.output)
    explained = 0
    for file, name in zip(videos, output_names(videos, ""), strict=True):
        extension = file.suffix.lower() if file.suffix.lower() in CLIP_FORMATS else ".mkv"
        is_file = output.suffix.lower() in CLIP_FORMATS and not output.is_dir()
        target = output if is_file else output / f"{name}{extension}"
        started = time.perf_counter()
        try:
            with _frame_progress(file.name) as show:
                clip = explain_video(
                    model, file, target, focus=focus, size_px=size, style=arguments.style, every=arguments.every,
                    on_progress=show,
                )  # fmt: skip
        except (ConfigError, DataError) as error:
            failures.append(str(error))
            continue
        explained += 1
        rate = clip.frames / max(time.perf_counter() - started, 1e-9)
        print(f"{file}: {clip.frames} frames, {rate:.1f} frames/s, {target}", flush=True)
    return explained


@contextlib.contextmanager
def _frame_progress(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar with frames a second and the time left on standard error if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as bar:
        task = bar.add_task(escape(name), total=None, rate="")

        def show(done: int, total: int | None) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:.1f} frames/s" if speed else "")

        yield show


def _draw_network(arguments: Any, model: Any, photos: Sequence[Path], size: Any, failures: list[str]) -> int:
    """Draw kernels and receptive fields and keep their numbers; returns how many photos were looked at, at least 1."""
    import numpy as np
    import torch

    from focalnets.data.transforms import load_for_model
    from focalnets.files import replacing
    from focalnets.visualize.draw import save_figure
    from focalnets.visualize.kernels import kernels_figure, stage_kernels
    from focalnets.visualize.receptive_field import effective_receptive_field, receptive_field_figure

    output = Path(arguments.output)

    def write(name: str, figure: Any, arrays: dict[str, Any]) -> None:
        page = save_figure(figure, output / f"{name}.{arguments.format}")
        with replacing(output / f"{name}.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
        print(f"{page}, {page.with_suffix('.npz')}", flush=True)

    if arguments.kernels:
        kernels = stage_kernels(model)
        arrays = {
            f"stage_{stage}_level_{level}": kernel
            for stage, levels in kernels.items()
            for level, kernel in enumerate(levels, 1)
        }
        write("kernels", kernels_figure(model), arrays)
    images = []
    if arguments.receptive_field:
        for photo in photos[:_MOST_FIELD_PHOTOS]:
            try:
                side = None if size == "native" else size  # Only photos of one size have a mean.
                images.append(load_for_model(photo, model.preprocessing, side)[0])
            except ImageError as error:
                failures.append(str(error))
    if images:
        fields = effective_receptive_field(model, torch.stack(images))
        title = f"Effective receptive field of the middle token, mean over {len(images)} photo{'s'[: len(images) - 1]}"
        write(
            "receptive_field", receptive_field_figure(fields, title=title), {f"stage_{n}": f for n, f in fields.items()}
        )
    return len(images) or int(arguments.kernels)


def _size(given: str | None) -> Any:
    if given is None or given == "native":
        return given
    if not given.isdecimal() or int(given) < 1:
        raise ConfigError(f"--size must be a whole number of pixels from 1 up, or native, got {given!r}.")
    return int(given)
