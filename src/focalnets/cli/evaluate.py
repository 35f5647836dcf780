"""``focalnets evaluate``: how well a network recognises labelled images."""

from __future__ import annotations

from typing import Any

from focalnets.cli.destinations import require_folder
from focalnets.cli.look_options import add_look_options, read_look_options
from focalnets.cli.model_argument import EXPORTED_HELP, add_model_and_data, require_model
from focalnets.cli.options import (
    add_csv,
    add_device,
    add_flag,
    add_json,
    add_output,
    add_precision,
    add_size,
    require_whole,
)
from focalnets.cli.output import deliver, note, progress
from focalnets.errors import ConfigError

EXAMPLES = """\
  focalnets evaluate imagenette2-160
  focalnets evaluate runs/photos photos
  focalnets evaluate runs/photos/best.safetensors photos/val --json result.json
  focalnets evaluate timm/focalnet_tiny_srf.ms_in1k imagenet/val --image_size 256 --output report
  focalnets evaluate runs/photos photos --output report --resolutions 96 128 160 --corruptions jpeg gaussian_blur
  focalnets evaluate runs/photos photos --output report --resolution_curve --corruptions
  focalnets evaluate runs/fields fields --context tile --tile 1024 --overlap 256 --output report

  With --context images are measured at the size that they have, as predict looks at them.

  DATA holds one folder of images for each class, or a folder val/ that does; classes are matched by name or
  WordNet id, so n01440764 is tench.
  Where a run split DATA itself, only the images that it held out are used."""

_MOST_CLASSES_SHOWN = 40


def add_arguments(parser: Any) -> None:
    """Add the network, the images and where results go."""
    add_model_and_data(
        parser, "folder of labelled images, CSV file or shards; texts for networks of texts", EXPORTED_HELP
    )
    parser.add_argument("--split", type=str, metavar="FILE", help="use the images that this split.json holds out")
    add_json(parser, "the result")
    add_csv(parser, "one line for each class")
    add_output(parser, "folder for everything: report.html, figures as JSON and CSV, pictures as PNG")
    add_size(
        parser,
        "side of the square crop",
        aliases=("--image_size",),
        shown_default="the network's own; of texts the tokens read at once",
    )
    parser.add_argument("--batch_size", type=int, help="images at once (default: 32 classified, 4 otherwise)")
    add_device(parser)
    add_precision(parser)
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
    add_look_options(parser)


def run(arguments: Any) -> int:
    """Evaluate and report."""
    from focalnets import api
    from focalnets.data.corruptions import CORRUPTIONS, check_corruptions
    from focalnets.tasks.loading import open_for_evaluation
    from focalnets.tasks.report import evaluation_files
    from focalnets.tasks.robustness import RESOLUTIONS_PX

    require_whole(
        arguments, resolutions=1, worst=0, size=1, batch_size=1, bins=1, seed=0, severities=(1, 5), tile=1, overlap=0
    )  # fmt: skip
    look = None if arguments.context is None else read_look_options(arguments)
    sizes = [*(arguments.resolutions or ()), *(RESOLUTIONS_PX if arguments.resolution_curve else ())]
    names = () if arguments.corruptions is None else tuple(arguments.corruptions or CORRUPTIONS)
    if look is not None and (sizes or names):
        raise ConfigError("--context measures images as they are; leave --resolutions and --corruptions out.")
    if arguments.output is not None:
        require_folder(arguments.output)
    source = require_model(arguments.model)
    model = api.load(source, device=arguments.device, bins=arguments.bins, worst=arguments.worst)
    if arguments.output is not None:
        require_folder(arguments.output, evaluation_files(model.task))
    data = open_for_evaluation(model.task, model.network, arguments.data, source=source, split=arguments.split)
    for text in data.notes:
        note(text)
    if data.split is not None:
        note(f"measuring on the {len(data):,} {model.task.inputs} that {data.split} holds out")
    if names:
        check_corruptions(names, tuple(arguments.severities), arguments.seed)
    trials = len(set(names)) * len(set(arguments.severities))
    passes = 1 + len(set(sizes)) + trials
    if passes > 1:
        further = f"{len(set(sizes))} resolutions, {trials} corruptions"
        note(f"{passes} passes over {len(data):,} images: 1 evaluation, {further}")
    with progress("evaluating", len(data) * passes) as show:
        evaluated = api.evaluate(
            data,
            model,
            size_px=arguments.size,
            resolutions=sizes,
            corruptions=names,
            severities=arguments.severities,
            seed=arguments.seed,
            batch_size=arguments.batch_size,
            skip_unreadable=arguments.skip_unreadable,
            precision=arguments.precision,
            look=look,
            folder=arguments.output,
            on_plan=lambda name, plan: note(f"{name}: {plan.sentence()}"),
            on_progress=lambda done, _all, name: show(done, name),
        )
    deliver(
        arguments,
        lambda: _show(evaluated.task, evaluated.report),
        json=evaluated.to_dict,
        csv=evaluated.to_csv,
        files=lambda: evaluated.save(arguments.output),
        output=arguments.output,
    )
    return 0


def _show(task: Any, report: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    evaluation = report.evaluation
    for line in task.summary(evaluation):
        print(line)
    print(f"computed in {report.arithmetic}")
    if evaluation.left_out:
        print(f"left out, unreadable: {len(evaluation.left_out)}")
        for failure in evaluation.left_out:
            print(f"  {failure.reason}")
    heading, rows = evaluation.table()
    if rows:
        table = Table(heading[0], box=None, pad_edge=False)
        for title in heading[1:]:
            table.add_column(title, justify="right")
        for row in rows[:_MOST_CLASSES_SHOWN]:
            table.add_row(*row)
        Console(highlight=False).print(table, markup=False)
    if len(rows) > _MOST_CLASSES_SHOWN:
        print(f"... and {len(rows) - _MOST_CLASSES_SHOWN} classes that are recognised better (--output lists all)")
    metric = task.metric_labels[task.watch.metric]
    if report.resolutions is not None:
        study = report.resolutions
        values = [metric.format(figures.value(task.watch.metric)) for figures in study.figures]
        shown = (f"{size} px {value}" for size, value in zip(study.sizes_px, values, strict=True))
        print(f"{metric.label} by input size: {', '.join(shown)}")
    if report.corruptions is not None:
        study = report.corruptions
        means = ", ".join(f"{name} {metric.format(study.mean(name))}" for name in study.corruptions)
        strengths = ", ".join(map(str, study.severities))
        mean = metric.format(study.mean())
        print(f"{metric.label} on corrupted pictures, mean of severities {strengths}: {mean} ({means})")
