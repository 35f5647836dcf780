"""``focalnets evaluate``: how well a network recognises labelled images."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from focalnets.cli.model_argument import load_for_command
from focalnets.cli.output import progress, write_result
from focalnets.errors import DataError
from focalnets.files import write_json, write_text

EXAMPLES = """\
  focalnets evaluate runs/photos photos
  focalnets evaluate runs/photos/best.safetensors photos/val --json result.json
  focalnets evaluate timm/focalnet_tiny_srf.ms_in1k imagenet/val --image_size 256 --output report

  DATA holds one folder of images for each class, or a folder val/ that does; classes are matched by name.
  Where a run split DATA itself, only the images that it held out are used."""

_MOST_CLASSES_SHOWN = 40


def add_arguments(parser: Any) -> None:
    """Add the network, the images and where results go."""
    parser.add_argument("model", metavar="MODEL", help="folder of a run, weights file, or name of published weights")
    parser.add_argument("data", metavar="DATA", help="folder of labelled images, CSV file or shards")
    parser.add_argument("--split", metavar="FILE", help="use the images that this split.json holds out")
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON; - for standard output")
    parser.add_argument(
        "--output", metavar="FOLDER", help="write evaluation.json, per_class.csv and confusion.png there"
    )
    parser.add_argument("--image_size", "--image-size", type=int, help="input size [px] (default: the network's own)")
    parser.add_argument("--batch_size", "--batch-size", type=int, default=32, help="images at once (default: 32)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... or mps (default: auto)")
    parser.add_argument(
        "--skip_unreadable", "--skip-unreadable", action="store_true", help="leave out images that cannot be read"
    )


def run(arguments: Any) -> int:
    """Evaluate and report."""
    from focalnets.data.folders import ImageFolder
    from focalnets.tasks.classify import evaluate_images

    model = load_for_command(arguments.model, arguments.device)
    classes, samples = _samples(arguments, model.class_names)
    if len(classes) != model.config.num_classes:
        raise DataError(
            f"'{arguments.data}' holds {len(classes)} classes but the network has {model.config.num_classes} and no "
            "names for them; expected one folder for each class."
        )
    if model.class_names is None:
        model.class_names = tuple(classes)
    with progress("evaluating", len(samples)) as show:
        evaluation = evaluate_images(
            model,
            ImageFolder(samples, classes),
            batch_size=arguments.batch_size,
            size_px=arguments.image_size,
            skip_unreadable=arguments.skip_unreadable,
            on_progress=show,
        )
    result = evaluation.to_dict() | {"data": str(arguments.data)}
    if arguments.output is not None:
        from focalnets.tasks.confusion import draw_confusion

        folder = Path(arguments.output)
        write_json(folder / "evaluation.json", result)
        write_text(folder / "per_class.csv", evaluation.per_class_csv())
        draw_confusion(evaluation, folder / "confusion.png")
    if arguments.json is not None:
        write_result(result, arguments.json)
    if arguments.json != "-":
        _show(evaluation)
        if arguments.output is not None:
            print(f"written: evaluation.json, per_class.csv and confusion.png in {arguments.output}")
    return 0


def _samples(arguments: Any, class_names: tuple[str, ...] | None) -> tuple[tuple[str, ...], Any]:
    """Names of the network's classes, and the files with their label among them."""
    from focalnets.data.image_split import ImageFolders
    from focalnets.data.sources import open_evaluation_images

    split_file = arguments.split or _split_of_run(arguments.model, arguments.data)
    if split_file is None:
        found = open_evaluation_images(arguments.data, class_names)
        return found.classes, found.samples
    split = ImageFolders.read_split(split_file, root=arguments.data)
    print(f"measuring on the {len(split.val):,} images that {split_file} holds out ({split.split})", file=sys.stderr)
    names = class_names or split.classes
    if set(split.classes) - set(names):
        raise DataError(f"'{split_file}' names classes that the network does not have; give the split of its run.")
    return names, tuple((path, names.index(split.classes[label])) for path, label in split.val)


def _split_of_run(model: str, data: str) -> Path | None:
    """The split of the run that trained the network, if it split this very folder."""
    given = Path(model).expanduser()
    split_file = (given if given.is_dir() else given.parent) / "split.json"
    try:
        root = json.loads(split_file.read_text(encoding="utf-8"))["root"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    same = root == data or Path(root).resolve() == Path(data).expanduser().resolve()
    return split_file if same else None


def _show(evaluation: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    low, high = evaluation.top1_interval
    size = evaluation.preprocessing["input_size_px"]
    print(
        f"top-1 {evaluation.top1:.2%} (95 % interval {low:.2%} to {high:.2%}), top-5 {evaluation.top5:.2%}, "
        f"loss {evaluation.loss:.4f} on {evaluation.images:,} images at {size} px "
        f"(crop {evaluation.preprocessing['crop_fraction']:g}, {evaluation.preprocessing['interpolation']}), "
        f"{evaluation.images / max(evaluation.seconds, 1e-9):.0f} images/s"
    )
    if evaluation.left_out:
        print(f"left out, unreadable: {len(evaluation.left_out)}")
        for failure in evaluation.left_out:
            print(f"  {failure.reason}")
    seen = [figures for figures in evaluation.per_class if figures.images]
    seen.sort(key=lambda figures: figures.recall)
    table = Table("class", box=None, pad_edge=False)
    for heading in ("images", "recall", "precision"):
        table.add_column(heading, justify="right")
    for figures in seen[:_MOST_CLASSES_SHOWN]:
        precision = "-" if figures.precision is None else f"{figures.precision:.1%}"
        table.add_row(figures.name, f"{figures.images:,}", f"{figures.recall:.1%}", precision)
    console = Console(highlight=False)
    console.print(table)
    if len(seen) > _MOST_CLASSES_SHOWN:
        print(f"... and {len(seen) - _MOST_CLASSES_SHOWN} classes that are recognised better (--output lists all)")
