"""``focalnets predict``: what is in these photos."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

from focalnets.cli.model_argument import MODEL_HELP, load_for_command, require_model
from focalnets.cli.output import progress, write_output, write_result
from focalnets.errors import DataError

EXAMPLES = """\
  focalnets predict photo.jpg
  focalnets predict photo.jpg --model runs/photos
  focalnets predict holiday 'archive/**/*.png' --model timm/focalnet_tiny_srf.ms_in1k --top-k 3
  focalnets predict holiday --model runs/photos --json - | jq .predictions

  Exit status: 0 all images were classified, 1 some could not be read, 2 none could."""


def add_arguments(parser: Any) -> None:
    """Add the images, the network and where results go."""
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="image files, folders of images or patterns")
    parser.add_argument("--model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--top_k", "--top-k", type=int, default=5, metavar="K", help="classes to name (default: 5)")
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON; - for standard output, and only that")
    parser.add_argument("--csv", metavar="FILE", help="write one line for each image and class as CSV")
    parser.add_argument("--image_size", "--image-size", type=int, help="input size [px] (default: the network's own)")
    parser.add_argument("--batch_size", "--batch-size", type=int, default=32, help="images at once (default: 32)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... or mps (default: auto)")


def run(arguments: Any) -> int:
    """Classify and report."""
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
    size = arguments.image_size
    if files:
        model = load_for_command(source, arguments.device)
        size = size or model.preprocessing.input_size_px
        options = {"top_k": arguments.top_k, "batch_size": arguments.batch_size, "size_px": arguments.image_size}
        with progress("classifying", len(files)) as show:
            for done, result in enumerate(predict_images(model, list(files), **options), 1):
                if isinstance(result, Prediction):
                    predictions.append(result)
                else:
                    failures.append(result)
                show(done)
    if arguments.json is not None:
        content = {
            "model": source,
            "input_size_px": size,
            "predictions": [prediction.to_dict() for prediction in predictions],
            "failures": [failure.to_dict() for failure in failures],
        }
        write_result(content, arguments.json)
    if arguments.csv is not None:
        write_output(_table_csv(predictions), arguments.csv)
    if arguments.json != "-":
        _show(predictions)
    sys.stdout.flush()
    for failure in failures:
        print(f"not classified: {failure.reason}", file=sys.stderr)
    if failures:
        total = len(predictions) + len(failures)
        print(f"{len(failures)} of {total} inputs could not be classified.", file=sys.stderr)
    return 0 if not failures else 1 if predictions else 2


def _table_csv(predictions: list[Any]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "rank", "class", "confidence"])
    for prediction in predictions:
        for rank, (name, share) in enumerate(zip(prediction.class_names, prediction.confidences, strict=True), 1):
            writer.writerow([prediction.path, rank, name, f"{share:.6f}"])
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
        cells += [", ".join(f"{name} {share:.1%}" for name, share in others)] if others else []
        table.add_row(*map(Text, cells))  # Text: brackets in names are no markup.
    # Where nobody looks, nothing is folded: one line an image for grep and cut.
    Console(highlight=False, width=None if sys.stdout.isatty() else 10_000).print(table)
