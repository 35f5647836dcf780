"""``focalnets evaluate``: how well a network recognises labelled images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from focalnets.cli.model_argument import add_model_and_data, load_for_command, require_model
from focalnets.cli.options import add_csv, add_device, add_flag, add_json, add_output, add_size
from focalnets.cli.output import deliver, note, progress
from focalnets.errors import ConfigError, DataError

EXAMPLES = """\
  focalnets evaluate imagenette2-160
  focalnets evaluate runs/photos photos
  focalnets evaluate runs/photos/best.safetensors photos/val --json result.json
  focalnets evaluate timm/focalnet_tiny_srf.ms_in1k imagenet/val --image_size 256 --output report
  focalnets evaluate runs/photos photos --output report --resolutions 96 128 160 --corruptions jpeg gaussian_blur
  focalnets evaluate runs/photos photos --output report --resolution_curve --corruptions

  DATA holds one folder of images for each class, or a folder val/ that does; classes are matched by name or
  WordNet id, so n01440764 is tench.
  Where a run split DATA itself, only the images that it held out are used."""

_MOST_CLASSES_SHOWN = 40


def add_arguments(parser: Any) -> None:
    """Add the network, the images and where results go."""
    add_model_and_data(parser, "folder of labelled images, CSV file or shards")
    parser.add_argument("--split", type=str, metavar="FILE", help="use the images that this split.json holds out")
    add_json(parser, "the result")
    add_csv(parser, "one line for each class")
    add_output(parser, "folder for everything: report.html, figures as JSON and CSV, pictures as PNG")
    add_size(parser, "side of the square crop", aliases=("--image_size",), shown_default="the network's own")
    parser.add_argument("--batch_size", type=int, default=32, help="images at once (default: 32)")
    add_device(parser)
    add_flag(parser, "skip_unreadable", "leave out images that cannot be read")
    parser.add_argument("--bins", type=int, default=15, help="bins of the calibration (default: 15)")
    parser.add_argument(
        "--worst", type=int, default=24, help="mistakes to show, the most confident first (default: 24)"
    )
    parser.add_argument(
        "--resolutions", type=int, nargs="+", metavar="PX", help="also measure at these input sizes, one pass each"
    )
    add_flag(parser, "resolution_curve", "also measure at 96 to 384 px in steps of 32, ten passes")
    parser.add_argument(
        "--corruptions",
        type=str,
        nargs="*",
        metavar="NAME",
        help="also measure on corrupted pictures, one pass a corruption and severity; no NAME is all of them",
    )
    parser.add_argument(
        "--severities", type=int, nargs="+", default=[1, 3, 5], metavar="N", help="from 1 to 5 (default: 1 3 5)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise in corrupted pictures (default: 0)")


def run(arguments: Any) -> int:
    """Evaluate and report."""
    from focalnets.data.folders import ImageFolder

    source = require_model(arguments.model)
    model = load_for_command(source, arguments.device)
    classes, samples = _samples(arguments, source, model.class_names)
    if len(classes) != model.config.num_classes:
        raise DataError(
            f"'{arguments.data}' holds {len(classes)} classes but the network has {model.config.num_classes} and no "
            "names for them; expected one folder for each class."
        )
    if model.class_names is None:
        model.class_names = tuple(classes)
    report = _measure(arguments, model, ImageFolder(samples, classes))
    written: list[str] = []
    if arguments.output is not None:
        from focalnets.tasks.classify.report import write_evaluation

        written = write_evaluation(report, arguments.output)

    def show() -> None:
        _show(report.evaluation)
        _show_studies(report)
        if written:
            print(f"written: {', '.join(written)} in {arguments.output}")

    deliver(arguments, show, json=report.to_dict, csv=report.evaluation.per_class_csv)
    return 0


def _measure(arguments: Any, model: Any, dataset: Any) -> Any:
    """All passes that were asked for, with one bar over all of them."""
    from focalnets.data.corruptions import CORRUPTIONS, check_corruptions
    from focalnets.tasks.classify.inference import evaluate_images
    from focalnets.tasks.classify.report import EvaluationReport
    from focalnets.tasks.robustness import RESOLUTIONS_PX, evaluate_corruptions, evaluate_resolutions

    # Everything is checked before the first pass: a mistake must not show after an hour.
    sizes = sorted({*(arguments.resolutions or ()), *(RESOLUTIONS_PX if arguments.resolution_curve else ())})
    if sizes and sizes[0] < 1:
        raise ConfigError(f"--resolutions takes whole numbers of pixels from 1 up, got {sizes[0]}.")
    names: tuple[str, ...] = ()
    if arguments.corruptions is not None:
        names = tuple(dict.fromkeys(arguments.corruptions or CORRUPTIONS))
        check_corruptions(names, tuple(arguments.severities), arguments.seed)
    if arguments.worst < 0:
        raise ConfigError(f"--worst takes a whole number from 0 up, got {arguments.worst}.")
    images, trials = len(dataset), len(names) * len(set(arguments.severities))
    passes = 1 + len(sizes) + trials
    if passes > 1:
        note(f"{passes} passes over {images:,} images: 1 evaluation, {len(sizes)} resolutions, {trials} corruptions")
    shared = {"batch_size": arguments.batch_size, "skip_unreadable": arguments.skip_unreadable}
    with progress("evaluating", passes * images) as show:

        def show_after(before: int) -> Callable[[int, str], None]:
            return lambda done, name: show(
                before * images + done, f"pass {before + (done - 1) // images + 1} of {passes}: {name}"
            )

        evaluation = evaluate_images(
            model,
            dataset,
            size_px=arguments.size,
            on_progress=show,
            bins=arguments.bins,
            worst=arguments.worst,
            **shared,
        )
        resolutions = corruptions = None
        if sizes:
            resolutions = evaluate_resolutions(model, dataset, sizes, on_progress=show_after(1), **shared)
        if names:
            corruptions = evaluate_corruptions(
                model,
                dataset,
                names,
                arguments.severities,
                seed=arguments.seed,
                size_px=arguments.size,
                on_progress=show_after(1 + len(sizes)),
                **shared,
            )
    return EvaluationReport(
        evaluation=evaluation,
        dataset=dataset,
        data=str(arguments.data),
        resolutions=resolutions,
        corruptions=corruptions,
    )


def _samples(arguments: Any, source: str, class_names: tuple[str, ...] | None) -> tuple[tuple[str, ...], Any]:
    """Names of the network's classes, and the files with their label among them."""
    from focalnets.data.class_matching import match_classes
    from focalnets.data.sources import open_evaluation_images, read_split

    split_file = arguments.split or _split_of_run(source, arguments.data)
    if split_file is None:
        found = open_evaluation_images(arguments.data, class_names)
        return found.classes, found.samples
    split = read_split(split_file, root=arguments.data)
    note(f"measuring on the {len(split.val):,} images that {split_file} holds out ({split.split})")
    names = class_names or split.classes
    labels = match_classes(split.classes, names, str(split_file))
    return names, tuple((path, labels[split.classes[label]]) for path, label in split.val)


def _split_of_run(model: str, data: str) -> Path | None:
    """The split of the run that trained the network, if it split this very folder."""
    given = Path(model).expanduser()
    if not given.exists():
        return None  # a name of published weights
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
    calibration = evaluation.calibration
    print(
        f"mean recall {evaluation.mean_recall:.2%}, mean confidence {calibration.mean_confidence:.2%}, expected "
        f"calibration error {calibration.ece_equal_width:.2%} ({len(calibration.equal_width)} bins of equal width), "
        f"{calibration.ece_equal_count:.2%} ({len(calibration.equal_count)} bins of equal count)"
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


def _show_studies(report: Any) -> None:
    if report.resolutions is not None:
        rows = zip(report.resolutions.sizes_px, report.resolutions.figures, strict=True)
        print("top-1 by input size: " + ", ".join(f"{size} px {figures.top1:.1%}" for size, figures in rows))
    if report.corruptions is not None:
        study = report.corruptions
        means = ", ".join(f"{name} {study.mean_top1(name):.1%}" for name in study.corruptions)
        strengths = ", ".join(map(str, study.severities))
        print(f"top-1 on spoiled pictures, mean of severities {strengths}: {study.mean_top1():.1%} ({means})")
