"""``focalnets convert``: rewrite a checkpoint in another layout."""

from __future__ import annotations

from typing import Any

EXAMPLES = """\
  focalnets convert focalnet_tiny_srf.pth tiny.safetensors --to focalnets
  focalnets convert microsoft/focalnet-tiny tiny.pth --to official
  focalnets convert runs/birds birds-for-transformers --to transformers
  focalnets convert tiny.safetensors tiny-for-timm --to timm
"""

_LAYOUTS = ("focalnets", "official", "timm", "transformers")


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument("source", type=str, help="weights file, run folder, hub id or name of a published network")
    parser.add_argument(
        "destination",
        type=str,
        help="file that ends in .safetensors, .pth, .pt or .bin; for timm and transformers also a folder",
    )
    parser.add_argument("--to", required=True, choices=_LAYOUTS, help="layout to write")
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


def run(arguments: Any) -> int:
    """Read, say what was recognised, write."""
    from focalnets.weights.conversion import save_in_layout
    from focalnets.weights.loading import inspect_checkpoint, load_model

    chosen = {"normalize_modulator": arguments.normalize_modulator, "post_norm": arguments.post_norm}
    recognition = inspect_checkpoint(arguments.source, **chosen)
    print(f"read {recognition}")
    for note in recognition.notes:
        print(f"note: {note}")
    for path in save_in_layout(load_model(arguments.source, **chosen), arguments.destination, arguments.to):
        print(f"wrote {path}")
    return 0
