"""``focalnets predict``: what is in these photos."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

from focalnets.cli.model_argument import add_model, load_for_command, require_model
from focalnets.cli.options import add_csv, add_device, add_json, add_size, require_whole
from focalnets.cli.output import deliver, progress
from focalnets.errors import DataError

EXAMPLES = """\
  focalnets predict photo.jpg
  focalnets predict photo.jpg --model runs/photos
  focalnets predict holiday 'archive/**/*.png' --model timm/focalnet_tiny_srf.ms_in1k --top_k 3
  focalnets predict holiday --model runs/photos --json | jq .predictions

  Exit status: 0 all images were classified, 1 some could not be read, 2 none could."""


def add_arguments(parser: Any) -> None:
    """Add the images, the network and where results go."""
    parser.add_argument(
        "inputs", type=str, nargs="+", metavar="INPUT", help="image files, folders of images or patterns"
    )
    add_model(parser)
    parser.add_argument("--top_k", type=int, default=5, metavar="K", help="classes to name (default: 5)")
    add_json(parser, "the result")
    add_csv(parser, "one line for each image and class")
    add_size(parser, "side of the square crop", aliases=("--image_size",), shown_default="the network's own")
    parser.add_argument("--batch_size", type=int, default=32, help="images at once (default: 32)")
    add_device(parser)


def run(arguments: Any) -> int:
    """Classify and report."""
    require_whole(arguments, top_k=1, size=1, batch_size=1)
    source = require_model(arguments.model)
    from focalnets.data.images import find_images
    from focalnets.tasks.classify.inference import predict_images
    from focalnets.tasks.classify.results import Prediction
    from focalnets.tasks.evaluation import Failure

    files: dict[Path, None] = {}
    failures: list[Failure] = []
    for given in arguments.inputs:
        try:
            files.update(dict.fromkeys(find_images([given])))
        except DataError as error:
            failures.append(Failure(path=Path(given), reason=str(error)))
    predictions: list[Prediction] = []
    size = arguments.size
    if files:
        model = load_for_command(source, arguments.device)
        size = size or model.preprocessing.input_size_px
        options = {"top_k": arguments.top_k, "batch_size": arguments.batch_size, "size_px": arguments.size}
        with progress("classifying", len(files)) as show:
            for done, result in enumerate(predict_images(model, list(files), **options), 1):
                if isinstance(result, Prediction):
                    predictions.append(result)
                else:
                    failures.append(result)
                show(done)
    deliver(
        arguments,
        lambda: _show(predictions),
        json=lambda: {
            "model": source,
            "input_size_px": size,
            "predictions": [prediction.to_dict() for prediction in predictions],
            "failures": [failure.to_dict() for failure in failures],
        },
        csv=lambda: _as_csv(predictions),
    )
    for failure in failures:
        print(f"not classified: {failure.reason}", file=sys.stderr)
    if failures:
        total = len(predictions) + len(failures)
        print(f"{len(failures)} of {total} inputs could not be classified.", file=sys.stderr)
    return 0 if not failures else 1 if predictions else 2


def _as_csv(predictions: list[Any]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "rank", "class", "confidence"])
    for prediction in predictions:
        pairs = zip(prediction.class_names, prediction.confidences, strict=True)
        for rank, (name, confidence) in enumerate(pairs, 1):
            writer.writerow([prediction.path, rank, name, f"{confidence:.6f}"])
    return text.getvalue()


def _show(predictions: list[Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not predictions:
        return
    table = Table("image", "class", box=None, pad_edge=False)
    table.add_column("confidence", justify="right")
    if len(predictions[0].class_names) > 1:
        table.add_column("then")
    for prediction in predictions:
        others = list(zip(prediction.class_names, prediction.confidences, strict=True))[1:]
        cells = [str(prediction.path), prediction.class_names[0], f"{prediction.confidences[0]:.1%}"]
        cells += [", ".join(f"{name} {confidence:.1%}" for name, confidence in others)] if others else []
        table.add_row(*map(Text, cells))  # Text: brackets in names are no markup.
    # Where nobody looks, nothing is folded: one line an image for grep and cut.
    Console(highlight=False, width=None if sys.stdout.isatty() else 10_000).print(table)
