"""``focalnets check``: what is wrong with a data set, before a network learns it."""

from __future__ import annotations

import dataclasses
from typing import Any

from focalnets.cli.options import add_csv, add_json, add_size, require_whole
from focalnets.cli.output import deliver, progress

EXAMPLES = """\
  focalnets check photos
  focalnets check photos.csv --json findings.json
  focalnets check shards --csv findings.csv --size 224
  focalnets check annotations/instances_train.json --samples samples.png
  focalnets check messages.csv --text_field message --label_field kind

  DATA is what focalnets train takes, split as it would split it. Simple properties that tell the class, such as size,
  brightness or camera, are warnings: a network may learn them in place of the thing. Of images with annotations, boxes,
  masks and classes are checked, and sizes of images and anchors proposed that suit the boxes. Of labelled texts
  those that are empty, doubled, contradictory or on both sides of the split are named.

  Exit status: 0 also with warnings, 1 where images
  would stop training, 2 where DATA cannot be opened at all."""

_STYLES = {"error": "red", "warning": "yellow", "note": "dim"}


def add_arguments(parser: Any) -> None:
    """Add the data and where the findings go."""
    parser.add_argument("data", type=str, metavar="DATA", help="folder of images, CSV file or shards; labelled texts")
    parser.add_argument("--val_fraction", type=float, default=0.2, help="fraction held out without val (default: 0.2)")
    parser.add_argument("--seed", type=int, default=0, help="chooses what is held out (default: 0)")
    add_size(parser, "side of the images that the network will see", aliases=("--image_size",), default=128)
    parser.add_argument(
        "--task", choices=("detect", "instance", "semantic", "panoptic"), help="what annotations are meant for"
    )
    parser.add_argument("--samples", type=str, metavar="FILE", help="PNG of some images with their annotations")
    parser.add_argument("--text_field", type=str, metavar="COLUMN", help="column of a table that holds texts")
    parser.add_argument("--label_field", type=str, metavar="COLUMN", help="column of such a table that holds labels")
    add_json(parser, "everything found")
    add_csv(parser, "one line for each image or group that was found")


def run(arguments: Any) -> int:
    """Look at every image, report, and say whether training would stop."""
    require_whole(arguments, size=8, seed=0)
    from focalnets.data.annotated.formats import possible_tasks
    from focalnets.data.text.recognition import recognise_labelled_texts

    if arguments.text_field or arguments.label_field or recognise_labelled_texts(arguments.data):
        return _check_texts(arguments)
    if arguments.task is not None or arguments.samples is not None or "classify" not in possible_tasks(arguments.data):
        return _check_annotations(arguments)
    from focalnets.auditing.checking import find_told_classes
    from focalnets.data.checks.findings import find_problems
    from focalnets.data.checks.inspection import inspect_images
    from focalnets.data.sources import open_images

    found = open_images(arguments.data, val_fraction=arguments.val_fraction, seed=arguments.seed)
    total = len(found.train) + len(found.val)
    with progress("checking", total) as show:
        images = inspect_images((("train", found.train), ("val", found.val)), found.name_of, on_progress=show)
    findings = find_problems(images, found.classes, arguments.size)
    findings += find_told_classes(images, found.classes, seed=arguments.seed)
    findings.sort(key=lambda finding: ("error", "warning", "note").index(finding.severity))
    stops = any(finding.severity == "error" for finding in findings)
    deliver(
        arguments,
        lambda: _show(found, findings),
        json=lambda: {
            "data": str(arguments.data),
            "split": found.split,
            "classes": list(found.classes),
            "images_to_train": len(found.train),
            "images_to_validate": len(found.val),
            "notes": list(found.notes),
            "would_stop_training": stops,
            "findings": [finding.to_dict() for finding in findings],
        },
        csv=lambda: _findings_csv(findings),
    )
    return int(stops)


def _check_texts(arguments: Any) -> int:
    """Look at texts with labels."""
    from focalnets.data.checks.texts import check_texts

    checked = check_texts(
        arguments.data, text_field=arguments.text_field or "", label_field=arguments.label_field or "",
        val_fraction=arguments.val_fraction, seed=arguments.seed,
    )  # fmt: skip
    stops = any(finding.severity == "error" for finding in checked.findings)

    def show() -> None:
        parts = ", ".join(f"{count:,} in {part}" for part, count in checked.counts.items())
        divided = f": {parts} ({checked.split})" if parts else ""
        print(f"{len(checked.found.rows):,} texts, {len(checked.classes)} classes{divided}")
        _show_findings(checked.findings)

    deliver(
        arguments,
        show,
        json=lambda: {
            "data": str(arguments.data),
            "task": "text",
            "split": checked.split,
            "classes": list(checked.classes),
            "texts": checked.counts,
            "would_stop_training": stops,
            "findings": [finding.to_dict() for finding in checked.findings],
        },
        csv=lambda: _findings_csv(checked.findings),
    )
    return int(stops)


def _findings_csv(findings: Any) -> str:
    from focalnets.files import csv_text

    return csv_text(
        ("kind", "severity", "example", "advice"),
        [(f.kind, f.severity, example, f.advice) for f in findings for example in f.examples],
    )


def _check_annotations(arguments: Any) -> int:
    """Look at annotations of objects and pixels, and draw some where that is asked for."""
    from focalnets.data.checks.annotated import check_annotations

    checked = check_annotations(arguments.data, arguments.task)
    stops = any(finding.severity == "error" for finding in checked.findings)
    if arguments.samples is not None:
        from focalnets.data.annotated.training import open_annotated_evaluation
        from focalnets.data.checks.samples import sample_sheet
        from focalnets.files import replacing

        _, data = open_annotated_evaluation(arguments.data, task=checked.task)
        sheet = sample_sheet(data.images)
        with replacing(arguments.samples) as temporary:
            sheet.save(temporary, "PNG")
    deliver(
        arguments,
        lambda: _show_annotations(checked),
        json=lambda: {
            "data": str(arguments.data),
            "format": checked.format,
            "task": checked.task,
            "images": checked.images,
            "classes": list(checked.classes),
            "objects": checked.objects,
            "anchors": None if checked.anchors is None else dataclasses.asdict(checked.anchors),
            "would_stop_training": stops,
            "findings": [finding.to_dict() for finding in checked.findings],
        },
        csv=lambda: _findings_csv(checked.findings),
    )
    return int(stops)


def _show_annotations(checked: Any) -> None:
    parts = ", ".join(f"{count:,} images in {part}" for part, count in checked.images.items())
    objects = sum(sum(counts.values()) for counts in checked.objects.values())
    counted = "" if checked.task == "semantic" else f", {objects:,} objects"
    print(f"{checked.format} for {checked.task}: {parts}, {len(checked.classes)} classes{counted}")
    if checked.anchors is not None:
        anchors = checked.anchors
        sizes, ratios = (", ".join(f"{value:g}" for value in each) for each in (anchors.sizes_px, anchors.ratios))
        print(
            f"a detector is trained with: shorter side {anchors.image_size_px} px, anchors of {sizes} px with ratios "
            f"{ratios}: mean best overlap {anchors.overlap:.2f} ({anchors.usual_overlap:.2f} with 32 to 512 px)"
        )
    _show_findings(checked.findings)


def _show(found: Any, findings: Any) -> None:
    print(
        f"{len(found.train):,} images to train and {len(found.val):,} held out, {len(found.classes)} classes "
        f"({found.split})"
    )
    for text in found.notes:
        print(text)
    _show_findings(findings)


def _show_findings(findings: Any) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not findings:
        print("nothing to complain about")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("count", justify="right")
    for heading in ("what was found", "e.g.", "what to do"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        style = _STYLES[finding.severity]
        example = finding.examples[0] if finding.examples else ""
        # Names of files may look like markup.
        cells = (Text(text) for text in (finding.message, example, finding.advice))
        table.add_row(Text(finding.severity, style=style), f"{finding.count:,}", *cells)
    Console(highlight=False).print(table)
