"""``focalnets predict``: what is in these photos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from focalnets.cli.destinations import require_folder
from focalnets.cli.model_argument import EXPORTED_HELP, add_model, require_model
from focalnets.cli.options import add_csv, add_device, add_json, add_output, add_precision, add_size, require_whole
from focalnets.cli.output import deliver, progress
from focalnets.cli.predict_large import add_large_options, predict_large_images
from focalnets.cli.predict_sequences import add_sequence_options, predict_given_sequences, reads_sequences
from focalnets.cli.result_table import show_results

EXAMPLES = """\
  focalnets predict photo.jpg
  focalnets predict photo.jpg --model runs/photos
  focalnets predict holiday --model photos.onnx
  focalnets predict holiday 'archive/**/*.png' --model timm/focalnet_tiny_srf.ms_in1k --top_k 3
  focalnets predict holiday --model runs/photos --json | jq .predictions
  focalnets predict street.jpg drive.mp4 --model runs/street --output answers
  focalnets predict slide.svs --model runs/cells --context image --memory 8GB --output slide
  focalnets predict "You have won a prize" messages.csv --model runs/spam
  cat messages.txt | focalnets predict - --model runs/spam --csv

  With --output a folder gets the results as JSON and CSV, each picture with its answer drawn in, and what the task
  writes besides: maps of classes as PNG, objects as COCO json. Videos are drawn frame by frame and need it.
  A network that classifies texts takes texts, tables with a column of texts, text files (--lines: a text on each line)
  and, for -, the lines of standard input; one that classifies series takes CSV and NumPy files.
  Exit status: 0 all images were classified, 1 some could not be read, 2 none could."""


def add_arguments(parser: Any) -> None:
    """Add the images, the network and where results go."""
    parser.add_argument(
        "inputs", type=str, nargs="+", metavar="INPUT",
        help="image files, folders of images, patterns, or video files; for networks of texts: texts, tables, files, -",
    )  # fmt: skip
    add_model(parser, EXPORTED_HELP)
    parser.add_argument("--top_k", type=int, default=5, metavar="K", help="classes to name (default: 5)")
    parser.add_argument(
        "--threshold", type=float, metavar="FRACTION", help="least confidence of objects to name (default: the task's)"
    )
    add_output(parser, "folder for everything: JSON, CSV, pictures with the answers; videos need it")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="in videos look at each N-th frame only")
    add_json(parser, "the result")
    add_csv(parser, "one line for each image and class")
    add_size(
        parser,
        "side of the square crop, or of whole images",
        aliases=("--image_size",),
        shown_default="the network's own",
    )
    parser.add_argument("--batch_size", type=int, help="images at once (default: 32 classified, 4 otherwise)")
    add_device(parser)
    add_precision(parser)
    add_large_options(parser)
    add_sequence_options(parser)


def run(arguments: Any) -> int:
    """Predict and report."""
    require_whole(arguments, top_k=1, size=1, batch_size=1, every=1, tile=1, overlap=0, level=0)
    if reads_sequences(arguments.model):
        return predict_given_sequences(arguments, arguments.model)
    source = require_model(arguments.model)
    if arguments.context is not None:
        return predict_large_images(arguments, source)
    from focalnets import api
    from focalnets.data.clips import CLIP_FORMATS
    from focalnets.data.inputs import gather_inputs
    from focalnets.report.names import list_some
    from focalnets.tasks.evaluation import Failure
    from focalnets.tasks.results import Results
    from focalnets.tasks.table import build_task

    inputs, missing = gather_inputs(arguments.inputs, once=True, videos=True)
    is_video = arguments.output is not None and Path(arguments.output).suffix.lower() in CLIP_FORMATS
    if arguments.output is not None and not is_video:
        require_folder(arguments.output)
    failures = [Failure(path=Path(given), reason=reason) for given, reason in missing]
    # Without any input no network is loaded, which would tell its task.
    results = Results((), failures, build_task("classify"), model=source, input_size_px=arguments.size)
    if inputs:
        model = api.load(source, device=arguments.device, top_k=arguments.top_k)
        with progress("predicting", len(inputs)) as show:
            found = api.predict(
                inputs,
                model,
                size_px=arguments.size,
                batch_size=arguments.batch_size,
                threshold=arguments.threshold,
                precision=arguments.precision,
                output=arguments.output,
                every=arguments.every,
                on_progress=lambda done, _all: show(min(done, len(inputs))),
            )
        results = found.with_failures(failures)
    written = results.write(arguments.output) if inputs and arguments.output is not None and not is_video else []
    written += [clip.output.name for clip in results.clips]

    def show_all() -> None:
        show_results(results.task, [result.value for result in results])
        if written:
            print(f"written: {list_some(written, 8)} in {arguments.output}")

    deliver(arguments, show_all, json=results.to_dict, csv=results.to_csv)
    done = "classified" if results.task.name == "classify" else "read"
    for failure in results.failures:
        print(f"not {done}: {failure.reason}", file=sys.stderr)
    if results.failures:
        total = len(results) + len(results.clips) + len(results.failures)
        print(f"{len(results.failures)} of {total} inputs could not be {done}.", file=sys.stderr)
    return 0 if not results.failures else 1 if results or results.clips else 2
