"""``focalnets export``: a network as a file that other programs run."""

from __future__ import annotations

from typing import Any

from focalnets.cli.destinations import require_file
from focalnets.cli.model_argument import MODEL_HELP, require_model
from focalnets.cli.options import add_flag, add_json, require_whole
from focalnets.cli.output import deliver, note

EXAMPLES = """\
  focalnets export net.onnx                                # the network in the package
  focalnets export runs/photos photos.onnx
  focalnets export runs/photos photos.xml --half           # OpenVINO, photos.bin beside it
  focalnets export runs/photos photos.xml --int8 --data photos/val
  focalnets export runs/cells cells.pt2                    # a program of PyTorch alone
  focalnets export runs/photos phone.pte --size 224

  The ending of the file says the format: .onnx, .xml (OpenVINO), .pt2 (torch.export) or .pte (ExecuTorch). It takes
  inputs of any size and number (.pte: of one size), says which classes it knows and how inputs are prepared, and is
  compared with PyTorch before it is put in place. .onnx and .xml for images work as MODEL of predict and evaluate.
  What each task's networks give: docs/export.md. Needs: pip install 'focalnets[export]'"""


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", type=str, nargs="?", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("destination", type=str, metavar="FILE", help="file that ends in .onnx, .xml, .pt2 or .pte")
    add_flag(parser, "half", "keep weights as float16 (.xml)")
    add_flag(parser, "int8", "compute products with 8 bits (.xml), with ranges that --data shows; needs nncf")
    parser.add_argument("--data", type=str, metavar="FOLDER", help="photos whose ranges --int8 takes over")
    add_flag(parser, "legacy", "use PyTorch's older exporter (.onnx)")
    add_flag(parser, "aoti", "compile for this machine, with the operator of this package (.pt2); takes minutes")
    parser.add_argument(
        "--size", type=int, metavar="PX", help="height and width of images of .pte files (default: the network's own)"
    )
    parser.add_argument("--batch_size", type=int, metavar="N", help="images at once of .pte files (default: 1)")
    add_flag(parser, "without_masks", "of a Mask R-CNN export the boxes alone")
    add_json(parser, "what was written, and how far it is from PyTorch")


def run(arguments: Any) -> int:
    """Export and report."""
    from focalnets.exporting.export import export
    from focalnets.exporting.formats import format_of
    from focalnets.files import user_path

    require_whole(arguments, size=1, batch_size=1)
    row = format_of(user_path(arguments.destination))
    place = require_file("focalnets export", arguments.destination)
    for ending in row.also:
        require_file("focalnets export", place.with_suffix(ending))
    options = ("half", "int8", "data", "legacy", "aoti", "batch_size", "without_masks")
    exported = export(
        require_model(arguments.model),
        place,
        size_px=arguments.size,
        on_progress=note,
        **{name: getattr(arguments, name) for name in options},
    )
    deliver(arguments, lambda: _show(exported), json=exported.to_dict)
    return 0


def _show(exported: Any) -> None:
    read = exported.inputs[0]
    for comparison in exported.comparisons:
        shape = " x ".join(map(str, comparison.shape))
        print(f"{read} {shape}: largest difference to PyTorch {comparison.difference:.1e} of the largest value")
    sizes = "of any size and number" if exported.shape is None else f"of shape {exported.shape}"
    if exported.smallest_px > 1:
        sizes += f", from {exported.smallest_px} px up"
    print(
        f"task {exported.task}, {exported.precision}, {read} {sizes}; outputs: {', '.join(exported.outputs)}; "
        f"tolerance {exported.tolerance:g}"
    )
    for path in exported.files:
        print(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB)")
