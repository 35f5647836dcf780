"""``focalnets explain``: where a network looks in photos and videos, and what one of texts listens to."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from focalnets.cli.destinations import require_file, require_folder
from focalnets.cli.explain_texts import explain_texts, reads_texts
from focalnets.cli.model_argument import add_model, require_model
from focalnets.cli.options import add_device, add_flag, add_json, add_map, add_output, add_size, require_whole
from focalnets.cli.output import deliver, is_quiet, progress, result_line
from focalnets.errors import ConfigError, ImageError
from focalnets.files import user_path

EXAMPLES = """\
  focalnets explain photo.jpg
  focalnets explain photo.jpg --model runs/photos --output explained
  focalnets explain holiday --model timm/focalnet_tiny_lrf.ms_in1k --size 448 --html
  focalnets explain photo.jpg --map evidence
  focalnets explain photo.jpg --model runs/photos --block 1.0 --size native --format pdf
  focalnets explain clip.mp4 --model runs/photos --output seen.mp4 --style side-by-side
  focalnets explain holiday --model runs/photos --receptive-field --kernels
  focalnets explain "To be, or not to be" speech.txt --model runs/shakespeare
  fortune | focalnets explain - --model runs/shakespeare --output said

  Of a network of texts each INPUT is a file, a folder of texts, - for standard input, or else the text itself; it gives
  a page of coloured tokens, with the choice of block, and a table.
  Exit status: 0 everything was explained, 1 some inputs could not be read, 2 none could."""

_MOST_FIELD_PHOTOS = 32
_LARGEST_PX = 65_536


def add_arguments(parser: Any) -> None:
    """Add the photos and videos, the network, and what to draw."""
    parser.add_argument(
        "inputs", type=str, nargs="*", metavar="INPUT",
        help="image files, folders of images, video files, or patterns; of a network of texts the texts",
    )  # fmt: skip
    add_model(parser)
    add_output(parser, "folder for the pages and videos, or for one video the file to write", default="explained")
    parser.add_argument(
        "--block",
        type=str,
        metavar="STAGE.BLOCK",
        help="block whose modulator and gates are drawn, from 0 (default: the last of the last stage but one)",
    )
    add_map(parser, "map that is drawn large", "modulator-evidence if a block is named")
    parser.add_argument("--stage", type=int, metavar="STAGE", help="the last block of this stage, from 0")
    parser.add_argument(
        "--style",
        choices=("overlay", "heatmap", "side-by-side"),
        default="overlay",
        help="maps over the grey picture, maps alone, or the picture beside the map over it (default: overlay)",
    )
    add_size(
        parser,
        "shorter side at which the network sees a photo, or native for its own size; larger gives finer maps but is "
        "less what the network was trained on, and time and memory grow with the number of pixels",
        aliases=("--resolution",),
        shown_default="the scale of its evaluation",
        words=True,
    )
    parser.add_argument(
        "--format", choices=("png", "pdf", "svg"), default="png", help="of figures; pdf and svg keep letters (png)"
    )
    add_flag(parser, "html", "also write a page for each photo with a slider over blocks")
    add_flag(parser, "kernels", "draw the mean depthwise kernels instead; needs no INPUT")
    add_flag(
        parser,
        "receptive_field",
        "draw how far the middle token of each stage really sees instead, as the mean over the first "
        f"{_MOST_FIELD_PHOTOS} photos",
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="in videos look at each Nth frame only (default: 1)"
    )
    parser.add_argument(
        "--most_frames", type=int, metavar="N", help="end videos after so many frames (default: take all)"
    )
    parser.add_argument("--top_k", type=int, default=5, metavar="K", help="classes to name (default: 5)")
    parser.add_argument("--most_tokens", type=int, metavar="N", help="tokens of a text to read (default: 4096)")
    add_device(parser)
    add_json(parser, "what was explained, and where it was written,")


@dataclasses.dataclass
class _Done:
    """What was explained, for ``--json``, and sentences about the inputs that could not be."""

    explained: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    failures: list[str] = dataclasses.field(default_factory=list)


def run(arguments: Any) -> int:
    """Draw one page a photo and one video a video, or what the network itself is like."""
    started = time.perf_counter()
    source = require_model(arguments.model)
    require_whole(arguments, most_tokens=1)
    if reads_texts(arguments.model):
        return explain_texts(arguments, source)
    size = _read_size(arguments.size)
    done = _Done()
    photos, videos = _find_inputs(arguments.inputs, done)
    _check(arguments, photos, videos)
    stopped: OSError | None = None
    try:
        _explain(arguments, source, photos, videos, size, done)
    except OSError as error:  # What was explained before is delivered.
        if error.errno is None:
            raise
        stopped = error
    deliver(
        arguments,
        lambda: _show_cost(started) if done.explained else None,
        json=lambda: {"model": source, "explained": done.explained, "failures": done.failures},
    )
    for failure in done.failures:
        print(f"not explained: {failure}", file=sys.stderr)
    if done.failures:
        total = sum(entry["input"] is not None for entry in done.explained) + len(done.failures)
        print(f"{len(done.failures)} of {total} inputs could not be explained.", file=sys.stderr)
    if stopped is not None:
        raise stopped
    return 0 if not done.failures else 1 if done.explained else 2


def _explain(
    arguments: Any, source: str, photos: Sequence[Path], videos: Sequence[Path], size: Any, done: _Done
) -> None:
    """Draw what was asked for."""
    on_network = arguments.kernels or arguments.receptive_field
    if not photos and (arguments.receptive_field if on_network else not videos):
        return
    from focalnets import api
    from focalnets.visualize.answers import backbone_of
    from focalnets.visualize.maps import parse_block

    model = api.load(source, device=arguments.device)
    if on_network:
        _draw_network(arguments, model.classifier("explain"), photos, size, done)
        return
    block = arguments.block if arguments.stage is None else f"{arguments.stage}.-1"
    options = {
        "block": None if block is None else parse_block(block, backbone_of(model.network)),
        "map": arguments.map,
        "size": size,
        "style": arguments.style,
    }
    _explain_photos(arguments, model, photos, options, done)
    _explain_videos(arguments, model, videos, options, done)


def _show_cost(started: float) -> None:
    from focalnets.machine.memory import peak_bytes

    peak = peak_bytes()
    memory = f", at most {peak / 2**20:,.0f} MiB of memory" if peak else ""
    print(f"took {time.perf_counter() - started:.1f} s{memory}")


def _check(arguments: Any, photos: Sequence[Path], videos: Sequence[Path]) -> None:
    """Refuse what contradicts itself before a network is loaded."""
    from focalnets.data.clips import CLIP_FORMATS

    require_whole(arguments, every=1, most_frames=1, top_k=1)
    if arguments.block is not None and arguments.stage is not None:
        raise ConfigError("--block and --stage both choose the block; give one of them.")
    if videos and arguments.map not in (None, "modulator"):
        raise ConfigError(f"--map must be modulator for videos, got {arguments.map}; leave it out.")
    if not arguments.inputs and (arguments.receptive_field or not arguments.kernels):
        raise ConfigError("There is nothing to look at; name image files, folders of images or video files.")
    if videos and (arguments.kernels or arguments.receptive_field):
        raise ConfigError(f"--kernels and --receptive_field need no video, got '{videos[0]}'; leave it out.")
    output = user_path(arguments.output)
    if output.suffix.lower() in CLIP_FORMATS and not output.is_dir():
        if len(videos) != 1 or len(arguments.inputs) != 1:
            raise ConfigError(f"The output '{output}' is one video; give exactly one video as input, or name a folder.")
        require_file("--output", output)
    else:
        require_folder(output)
    _check_files(arguments, output, photos, videos)


def _check_files(arguments: Any, output: Path, photos: Sequence[Path], videos: Sequence[Path]) -> None:
    """Refuse an output in which a file would be written that cannot be."""
    from focalnets.tasks.clips import clip_outputs
    from focalnets.visualize.explain import output_names

    if arguments.kernels or arguments.receptive_field:
        names = [f"{name}{end}" for name in ("kernels", "receptive_field") for end in (f".{arguments.format}", ".npz")]
    else:
        names = output_names(photos, f".{arguments.format}")
        if arguments.html:
            names += [str(Path(name).with_suffix(".html")) for name in names]
        if videos:
            names += [file.name for file in clip_outputs(videos, output, "_explained") if file != output]
    if names:
        require_folder(output, names)


def _find_inputs(inputs: Sequence[str], done: _Done) -> tuple[list[Path], list[Path]]:
    """Return photos and videos; inputs that lead to neither are failures."""
    if not inputs:
        return [], []
    from focalnets.data.inputs import gather_inputs

    found, missing = gather_inputs(inputs, once=True, videos=True)
    done.failures += [reason for _, reason in missing]
    return [each.path for each in found if not each.is_video], [each.path for each in found if each.is_video]


def _explain_photos(arguments: Any, model: Any, photos: Sequence[Path], options: dict[str, Any], done: _Done) -> None:
    """Draw a page for each photo."""
    from focalnets.visualize.explain import output_names

    output = user_path(arguments.output)
    with progress("explaining", len(photos)) as show:
        names = output_names(photos, f".{arguments.format}")
        for number, (file, name) in enumerate(zip(photos, names, strict=True), 1):
            explanations = model.explain(file, top_k=arguments.top_k, **options)
            done.failures += [failure.reason for failure in explanations.failures]
            for drawn in explanations:
                page = output / name
                files: list[str] = []
                done.explained.append({"input": str(file), "files": files, "classes": drawn.to_dict()["classes"]})
                answer = f"{drawn.predictions[0][0]} {drawn.predictions[0][1]:.1%}, " if drawn.predictions else ""
                try:
                    for path in (page, page.with_suffix(".html"))[: 2 if arguments.html else 1]:
                        files.append(str(drawn.save(path)))
                except OSError:
                    result_line(f"{file}: {answer}not written")
                    raise
                result_line(f"{file}: {answer}{', '.join(files)}{_describe_cost(drawn, options['size'])}")
            show(number)


def _describe_cost(drawn: Any, size: Any) -> str:
    if size is None:
        return ""
    width, height = drawn.seen_px
    times = drawn.macs / drawn.usual_macs
    return f" (seen at {width} x {height} px: {drawn.macs / 1e9:.3g} GMACs a pass, {times:.3g} times the usual)"


def _explain_videos(arguments: Any, model: Any, videos: Sequence[Path], options: dict[str, Any], done: _Done) -> None:
    """Write a video for each video."""
    if not videos:
        return
    from focalnets.tasks.clips import clip_outputs

    for file, target in zip(videos, clip_outputs(videos, arguments.output, "_explained"), strict=True):
        started = time.perf_counter()
        try:
            with _frame_progress(file.name) as show:
                chosen = {"every": arguments.every, "most_frames": arguments.most_frames}
                explained = model.explain(file, output=target, on_progress=show, **chosen, **options)
        except ConfigError as error:
            done.failures.append(str(error))
            continue
        done.failures += [failure.reason for failure in explained.failures]
        for clip in explained.videos:
            rate = clip.frames / max(time.perf_counter() - started, 1e-9)
            done.explained.append({"input": str(file), "files": [str(target)], "frames": clip.frames})
            result_line(f"{file}: {clip.frames} frames, {rate:.1f} frames/s, {target}")


@contextlib.contextmanager
def _frame_progress(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar with frames a second and the time left on standard error if that is a terminal."""
    if is_quiet() or not sys.stderr.isatty():
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


def _draw_network(arguments: Any, model: Any, photos: Sequence[Path], size: Any, done: _Done) -> None:
    """Draw kernels and receptive fields and keep their numbers."""
    import numpy as np
    import torch

    from focalnets.data.transforms import load_for_model
    from focalnets.files import replacing
    from focalnets.visualize.draw import save_figure
    from focalnets.visualize.kernels import kernels_figure, stage_kernels
    from focalnets.visualize.receptive_field import effective_receptive_field, receptive_field_figure

    output = user_path(arguments.output)

    def write(name: str, figure: Any, arrays: dict[str, Any], looked_at: Sequence[Path] = ()) -> None:
        page = save_figure(figure, output / f"{name}.{arguments.format}")
        numbers = page.with_suffix(".npz")
        with replacing(numbers) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
        entries: list[dict[str, Any]] = [{"input": str(photo)} for photo in looked_at] or [{"input": None}]
        done.explained.extend({**entry, "files": [str(page), str(numbers)]} for entry in entries)
        result_line(f"{page}, {numbers}")

    if arguments.kernels:
        kernels = stage_kernels(model)
        arrays = {
            f"stage_{stage}_level_{level}": kernel
            for stage, levels in kernels.items()
            for level, kernel in enumerate(levels, 1)
        }
        write("kernels", kernels_figure(model), arrays)
    images, looked_at = [], []
    if arguments.receptive_field:
        for photo in photos[:_MOST_FIELD_PHOTOS]:
            try:
                side = None if size == "native" else size  # Only photos of one size have a mean.
                images.append(load_for_model(photo, model.preprocessing, side)[0])
                looked_at.append(photo)
            except ImageError as error:
                done.failures.append(str(error))
    if images:
        fields = effective_receptive_field(model, torch.stack(images))
        title = f"Effective receptive field of the middle token, mean over {len(images)} photo{'s'[: len(images) - 1]}"
        arrays = {f"stage_{stage}": field for stage, field in fields.items()}
        write("receptive_field", receptive_field_figure(fields, title=title), arrays, looked_at)


def _read_size(given: str | None) -> Any:
    if given is None or given == "native":
        return given
    if not given.isdecimal() or len(given) > 9 or not 1 <= int(given) <= _LARGEST_PX:
        raise ConfigError(
            f"--size must be a whole number of pixels from 1 to {_LARGEST_PX:,}, or native, got {given!r:.40}."
        )
    return int(given)
