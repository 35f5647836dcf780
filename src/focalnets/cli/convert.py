"""``focalnets convert``: rewrite a checkpoint in another layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from focalnets.cli.destinations import require_file, require_folder
from focalnets.cli.options import add_flag, add_json, add_output
from focalnets.cli.output import deliver, result_line
from focalnets.errors import ConfigError
from focalnets.files import user_path

EXAMPLES = """\
  focalnets convert focalnet_tiny_srf.pth tiny.safetensors --to focalnets
  focalnets convert microsoft/focalnet-tiny tiny.pth --to official
  focalnets convert runs/birds --output birds-for-transformers --to transformers
  focalnets convert tiny.safetensors tiny-for-timm --to timm
  focalnets convert runs/birds birds.safetensors --to focalnets --dtype float16    # half the size
  focalnets convert runs/cells cells.pth --to mmdetection                          # a detector
  focalnets convert runs/street street.pth --to mmsegmentation                     # a UPerNet
  focalnets convert mask_rcnn_epoch_12.pth cells.safetensors --to focalnets --head
"""

_LAYOUTS = ("focalnets", "official", "timm", "transformers", "mmdetection", "mmsegmentation")

_WITH_HEAD = ("mmdetection", "mmsegmentation")
"""Layouts of networks for dense tasks."""


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "source", type=str, metavar="SOURCE", help="weights file, run folder, hub id or name of a published network"
    )
    written = "file that ends in .safetensors, .pth, .pt or .bin; for timm and transformers also a folder"
    parser.add_argument("destination", type=str, nargs="?", metavar="DEST", help=f"{written}; --output as well")
    add_output(parser, f"in place of DEST: {written}")
    parser.add_argument("--to", required=True, choices=_LAYOUTS, help="layout to write")
    parser.add_argument(
        "--dtype",
        choices=("float32", "float16", "bfloat16"),
        default="float32",
        help="what weights are kept as; float16 halves the file, loading makes them float32 again (default: float32)",
    )
    add_flag(
        parser, "readable_class_names", "write English_springer and n02102040, names of folders, as English springer"
    )
    parser.add_argument(
        "--origin", type=str, metavar="TEXT", help="where the weights came from, in words, instead of what SOURCE says"
    )
    parser.add_argument(
        "--entry",
        metavar="NAME",
        help="which network to take where SOURCE holds several, such as teacher beside student",
    )
    parser.add_argument(
        "--normalize_modulator",
        type=bool | None,
        default=None,
        help="true or false, instead of what was recognised; tensors do not show it",
    )
    parser.add_argument(
        "--post_norm",
        type=bool | None,
        default=None,
        help="true or false, instead of what was recognised, in layouts whose names do not show it",
    )
    add_flag(
        parser,
        "head",
        "of a network for a dense task, from mmdetection, mmsegmentation or trained here, take the head along and not "
        "the backbone alone",
    )
    add_json(parser, "what was recognised and written")


def run(arguments: Any) -> int:
    """Read, say what was recognised, write."""
    if (arguments.destination is None) == (arguments.output is None):
        raise ConfigError("focalnets convert needs one place to write to; give it after SOURCE, or by --output.")
    if arguments.head or arguments.to in _WITH_HEAD:
        return _convert_with_head(arguments)
    from focalnets.class_names import readable_names
    from focalnets.weights.conversion import FILE_SUFFIXES, save_in_layout
    from focalnets.weights.loading import load_model
    from focalnets.weights.opening import open_weights

    destination = user_path(arguments.destination or arguments.output)
    if destination.suffix in FILE_SUFFIXES:
        require_file("focalnets convert", destination)
    else:
        require_folder(destination, ("model.safetensors", "config.json", "preprocessor_config.json"))
    chosen = {
        "entry": arguments.entry,
        "normalize_modulator": arguments.normalize_modulator,
        "post_norm": arguments.post_norm,
    }
    opened = open_weights(arguments.source, **chosen)
    # What was recognised helps also where it cannot be converted.
    result_line(f"read {opened.recognition}")
    for note in opened.recognition.notes:
        result_line(f"note: {note}")
    model = load_model(arguments.source, **chosen)
    if arguments.readable_class_names and model.class_names is not None:
        model.class_names = readable_names(model.class_names)
    if arguments.origin is not None:
        model.origin = arguments.origin
    notes = None if opened.description is None else opened.description.notes
    dtype = None if arguments.dtype == "float32" else arguments.dtype
    written = save_in_layout(model, destination, arguments.to, dtype=dtype, notes=notes)
    deliver(
        arguments,
        lambda: _show(written),
        json=lambda: {
            "read": str(opened.recognition),
            "notes": list(opened.recognition.notes),
            "layout": arguments.to,
            "dtype": arguments.dtype,
            "files": [{"path": str(path), "bytes": path.stat().st_size} for path in written],
        },
    )
    return 0


def _convert_with_head(arguments: Any) -> int:
    """Rewrite a network for a dense task, which has a head of its own."""
    if arguments.to not in ("focalnets", *_WITH_HEAD):
        raise ConfigError(
            f"--to {arguments.to} has no place for the head of a dense task; choose focalnets, "
            f"{' or '.join(_WITH_HEAD)}."
        )
    for option in ("normalize_modulator", "post_norm", "entry"):
        if getattr(arguments, option) is not None:
            raise ConfigError(f"--{option} is for backbones and classifiers; leave it out.")
    from focalnets.tasks.loading import load_trained
    from focalnets.weights.checkpoint import save_checkpoint
    from focalnets.weights.loading import inspect_trained
    from focalnets.weights.mmdetection_writing import save_for_mmdetection
    from focalnets.weights.mmsegmentation_writing import save_for_mmsegmentation

    found = inspect_trained(arguments.source)
    result_line(f"read {found}")
    for text in found.notes:
        result_line(f"note: {text}")
    task, loaded = load_trained(arguments.source)
    model: Any = loaded
    if arguments.origin is not None:
        model.origin = arguments.origin
    dtype = None if arguments.dtype == "float32" else arguments.dtype
    destination = user_path(arguments.destination or arguments.output)
    require_file("focalnets convert", destination)
    if arguments.to in _WITH_HEAD:
        save = save_for_mmdetection if arguments.to == "mmdetection" else save_for_mmsegmentation
        written = save(model, destination, dtype=dtype)
    elif destination.suffix != ".safetensors":
        raise ConfigError(f"our own layout is one file that ends in .safetensors, got '{destination}'.")
    else:
        save_checkpoint(model, destination, dtype=dtype, task=task.name, head=task.head(model))
        written = [destination]
    deliver(
        arguments,
        lambda: _show(written),
        json=lambda: {
            "read": str(found),
            "notes": list(found.notes),
            "layout": arguments.to,
            "dtype": arguments.dtype,
            "files": [{"path": str(path), "bytes": path.stat().st_size} for path in written],
        },
    )
    return 0


def _show(written: list[Path]) -> None:
    for path in written:
        print(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB)")
