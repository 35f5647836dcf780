"""``focalnets explain``: where a network looks in photos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from focalnets.cli.model_argument import load_for_command, require_model
from focalnets.cli.output import progress
from focalnets.errors import ConfigError, DataError, ImageError

EXAMPLES = """\
  focalnets explain photo.jpg --model runs/photos --output explained
  focalnets explain holiday --model timm/focalnet_tiny_lrf.ms_in1k --size 448
  focalnets explain photo.jpg --model runs/photos --block 1.0 --size native

  Exit status: 0 all photos were explained, 1 some could not be read, 2 none could."""


def add_arguments(parser: Any) -> None:
    """Add the photos, the network, and what to draw."""
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="image files, folders of images or patterns")
    parser.add_argument("--model", metavar="MODEL", help="folder of a run, weights file, or name of published weights")
    parser.add_argument(
        "--output",
        metavar="DIR",
        default="explained",
        help="folder for the pages, one PNG a photo (default: explained)",
    )
    parser.add_argument(
        "--block",
        metavar="STAGE.BLOCK",
        help="block whose modulator and gates are drawn, from 0 (default: the last of the last stage but one)",
    )
    parser.add_argument(
        "--size",
        metavar="PX",
        help="shorter side at which the network sees a photo, or native for its own size; larger gives finer maps but "
        "is less what the network was trained on (default: the scale of its evaluation)",
    )
    parser.add_argument("--top_k", "--top-k", type=int, default=5, metavar="K", help="classes to name (default: 5)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... or mps (default: auto)")


def run(arguments: Any) -> int:
    """Draw one page a photo."""
    source = require_model(arguments.model)
    size = _size(arguments.size)
    output = Path(arguments.output)
    if output.exists() and not output.is_dir():
        raise ConfigError(f"The output '{output}' is a file; name a folder.")
    from focalnets.data.images import find_images
    from focalnets.visualize.explain import explain_file, output_names
    from focalnets.visualize.maps import parse_block

    files: dict[Path, None] = {}
    failures: list[str] = []
    for given in arguments.inputs:
        try:
            files.update(dict.fromkeys(find_images([given])))
        except DataError as error:
            failures.append(str(error))
    explained = 0
    if files:
        model = load_for_command(source, arguments.device)
        focus = None if arguments.block is None else parse_block(arguments.block, model)
        with progress("explaining", len(files)) as show:
            for done, (file, name) in enumerate(zip(files, output_names(list(files)), strict=True), 1):
                try:
                    page = explain_file(
                        model, file, output / name, focus=focus, size_px=size, top_k=arguments.top_k, model_name=source
                    )
                except ImageError as error:
                    failures.append(str(error))
                else:
                    explained += 1
                    says = f"{page.predictions[0][0]} {page.predictions[0][1]:.1%}, " if page.predictions else ""
                    print(f"{file}: {says}{page.output}", flush=True)
                show(done)
    for failure in failures:
        print(f"not explained: {failure}", file=sys.stderr)
    if failures:
        print(f"{len(failures)} of {explained + len(failures)} inputs could not be explained.", file=sys.stderr)
    return 0 if not failures else 1 if explained else 2


def _size(given: str | None) -> Any:
    if given is None or given == "native":
        return given
    if not given.isdecimal() or int(given) < 1:
        raise ConfigError(f"--size must be a whole number of pixels from 1 up, or native, got {given!r}.")
    return int(given)
