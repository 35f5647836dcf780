"""``focalnets localize``: whether maps show what decides and lie on the object, with masks or boxes or without."""

from __future__ import annotations

import sys
from typing import Any

from focalnets.cli.destinations import require_folder
from focalnets.cli.model_argument import add_model_and_data, require_model
from focalnets.cli.options import add_csv, add_device, add_flag, add_json, add_map, add_output, add_size, require_whole
from focalnets.cli.output import deliver, note, progress
from focalnets.errors import ConfigError
from focalnets.files import user_path

EXAMPLES = """\
  focalnets localize focalnets-demo/run scenes:400 --output localized
  focalnets localize runs/photos PennFudanPed --size 256 --json figures.json
  focalnets localize runs/photos annotations/instances_val2017.json --category dog --limit 500
  focalnets localize runs/photos holiday --limit 100
  focalnets localize runs/photos street --category car --peer convnext_tiny --peer-weights convnext.safetensors

  DATA is `scenes` or `scenes:COUNT` (generated scenes), a COCO json file, a folder with images/ and masks/, or one with
  PNGImages/ and PedMasks/; or any folder of images, which are measured by deletion and insertion alone.
  docs/interpretability.md tells how the figures are measured and what they mean."""

_EXAMPLES_SHOWN = 6


def add_arguments(parser: Any) -> None:
    """Add the network, the images, what is compared and where results go."""
    add_model_and_data(parser, "images with masks or boxes, `scenes`, or a folder of images")
    parser.add_argument(
        "--category", type=str, metavar="NAME", help="what counts as the object (default: all that is annotated)"
    )
    parser.add_argument("--images", type=str, metavar="FOLDER", help="images of a COCO file, if they are not beside it")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N images, evenly spread over all")
    add_size(parser, "shorter side of the whole picture", shown_default="the scale of its evaluation")
    parser.add_argument(
        "--block",
        type=str,
        metavar="STAGE.BLOCK",
        help="main block, from 0 (default: the last of the last stage but one); all blocks are measured",
    )
    add_map(parser, "main map, the one that is compared with the others", "modulator if a block is named")
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="in how many steps pixels go and come for deletion and insertion; 0 leaves them out (default: 16)",
    )
    parser.add_argument(
        "--peer",
        type=str,
        nargs="+",
        default=[],
        metavar="NAME",
        help="networks of timm, measured with Grad-CAM; needs timm",
    )
    parser.add_argument(
        "--peer_weights",
        type=str,
        nargs="+",
        default=[],
        metavar="FILE",
        help="their weights in the same order: safetensors of timm, or a run of `focalnets compare --train`",
    )
    parser.add_argument(
        "--resamples", type=int, default=2000, metavar="N", help="drawings of the bootstrap (default: 2000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap and of random maps (default: 0)")
    add_flag(parser, "skip_unreadable", "leave out images that cannot be read")
    add_device(parser)
    add_json(parser, "all figures")
    add_csv(parser, "one line for each method")
    add_output(parser, "folder for everything: report.html, figures as JSON and CSV, pictures")


def run(arguments: Any) -> int:
    """Measure and report."""
    _check(arguments)
    from focalnets.data.annotated.open import open_with_or_without

    source = require_model(arguments.model)
    images = open_with_or_without(arguments.data, category=arguments.category, images=arguments.images)
    images = images.limited(arguments.limit)

    from focalnets import api
    from focalnets.visualize.localization.gradcam import has_grad_cam
    from focalnets.visualize.localization.measure import STEPS, map_sources, measure_localization
    from focalnets.visualize.localization.report import LOCALIZATION_FILES, write_localization
    from focalnets.visualize.map_names import DEFAULT_MAP
    from focalnets.visualize.maps import default_focus, parse_block

    if arguments.output is not None:
        require_folder(arguments.output, LOCALIZATION_FILES)
    model = api.load(source, device=arguments.device).classifier("localize")
    focus = default_focus(model) if arguments.block is None else parse_block(arguments.block, model)
    name = arguments.map or (DEFAULT_MAP if arguments.block is None else "modulator")
    sources = [*map_sources(model, focus=focus, seed=arguments.seed, evidence=name), *_peers(arguments, model)]
    notes = []
    if not has_grad_cam():
        notes.append("Grad-CAM was left out, because captum is not installed; pip install 'focalnets[localize]'.")
        note(notes[0])
    with progress("localizing", len(images)) as show:
        result = measure_localization(
            model, images, focus=focus, map_name=name, size_px=arguments.size, sources=sources,
            steps=STEPS if arguments.steps is None else arguments.steps, resamples=arguments.resamples,
            seed=arguments.seed, skip_unreadable=arguments.skip_unreadable, notes=notes, on_progress=show,
        )  # fmt: skip

    def write_report() -> list[str]:
        from focalnets.visualize.localization.figures import best_and_worst

        best, worst = best_and_worst(model, images, result, focus, _EXAMPLES_SHOWN)
        return write_localization(result, best, worst, user_path(arguments.output))

    deliver(
        arguments, lambda: _show(result), json=result.to_dict, csv=result.methods_csv, files=write_report,
        output=arguments.output,
    )  # fmt: skip
    return 0


def _check(arguments: Any) -> None:
    """Refuse what cannot be right before anything is loaded."""
    require_whole(arguments, limit=1, size=(1, 65_536), steps=(0, 65_536), resamples=(1, 1_000_000), seed=0)
    if len(arguments.peer) != len(arguments.peer_weights):
        raise ConfigError(
            f"--peer names {len(arguments.peer)} networks and --peer-weights {len(arguments.peer_weights)} files; "
            "expected one file for each."
        )
    if arguments.output is not None:
        require_folder(arguments.output)


def _peers(arguments: Any, model: Any) -> list[Any]:
    if not arguments.peer:
        return []
    from focalnets.compare.peer_maps import open_peer

    device = next(model.parameters()).device
    return [
        open_peer(name, weights, device) for name, weights in zip(arguments.peer, arguments.peer_weights, strict=True)
    ]


def _show(result: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    from focalnets.visualize.localization.verdicts import describe_verdicts, summarise

    known = f"; the object: {result.objects}, {result.mean_area:.1%} of a picture on average" if result.objects else ""
    print(
        f"{result.images:,} images of {result.data}, shorter side {result.size_px} px{known}; "
        f"{result.images / max(result.seconds, 1e-9):.1f} images/s"
    )
    left_out = (
        (result.without_object, "show no object"),
        (result.filled, "show nothing beside the object"),
        (len(result.unreadable), "cannot be read"),
    )
    for count, reason in left_out:
        if count:
            print(f"left out: {count} that {reason}")
    for sentence in result.unreadable:
        print(f"  {sentence}")
    table = Table("map", box=None, pad_edge=False)
    for name in result.figures:
        table.add_column(_HEADINGS[name], justify="right")
    for score in result.methods:
        cells = [_with_interval(getattr(score, name)) for name in result.figures]
        if any(cells):
            table.add_row(f"{'→ ' if score.key == result.main else ''}{score.label}", *cells)
    Console(highlight=False, width=None if sys.stdout.isatty() else 1000).print(table, markup=False)
    print(f"95 % intervals from {result.resamples:,} bootstrap samples of the images.")
    if result.objects:
        print(
            f"near: at most {result.near_px:g} px beside the object. IoU: one threshold for all images, best for the "
            "method on these images."
        )
    if result.steps:
        print(
            "deletion, insertion: area under the probability of the answer while the most relevant pixels go (smaller "
            f"is better) or come (larger is better), in {result.steps} steps."
        )
    for sentence in (summarise(result), *describe_verdicts(result)):
        print(sentence)


_HEADINGS = {
    "hits": "on it %", "near": "near %", "energy": "energy %", "auc": "AUC %", "iou": "IoU %",
    "deletion": "deletion %", "insertion": "insertion %",
}  # fmt: skip


def _with_interval(estimate: Any) -> str:
    if estimate is None:
        return ""
    return f"{100 * estimate.value:.1f} ({100 * estimate.low:.1f}-{100 * estimate.high:.1f})"
