"""The network that a command works with: named by the user, or the one inside the package."""

from __future__ import annotations

from typing import Any

from focalnets.cli.output import note
from focalnets.files import is_there, user_path
from focalnets.weights.shipped import DEFAULT, SHIPPED

__all__ = ["DEFAULT_MODEL", "EXPORTED_HELP", "MODEL_HELP", "add_model", "add_model_and_data", "require_model"]

DEFAULT_MODEL = DEFAULT
"""What commands use that are given no network."""

MODEL_HELP = f"folder of a run, weights file, or name of published weights (default: {DEFAULT_MODEL}, ten classes)"

EXPORTED_HELP = "; also a file that `focalnets export` wrote, .onnx or .xml"
"""What the help of commands adds that only need the answers of a network."""

_MOST_NAMES = 12


def add_model(parser: Any, more: str = "") -> None:
    """Add ``--model MODEL``; the help ends in ``more``."""
    parser.add_argument("--model", type=str, metavar="MODEL", help=MODEL_HELP + more)


def add_model_and_data(parser: Any, data_help: str, more: str = "") -> None:
    """Add the positional arguments ``[MODEL] DATA``; one alone is DATA. The help of MODEL ends in ``more``."""
    parser.add_argument("model", type=str, nargs="?", metavar="MODEL", help=MODEL_HELP + more)
    parser.add_argument("data", type=str, metavar="DATA", help=data_help)


def require_model(given: str | None) -> str:
    """Return the network named, or the one inside the package, and note then how few classes it knows.

    Raises:
        CheckpointError: If nothing is called as given, or none was named and this installation lacks its own.
    """
    if given is not None:
        from focalnets.weights.locating import check_source
        from focalnets.weights.sources import hub_id

        check_source(given)
        if hub_id(given) is not None and not is_there(user_path(given)):
            note(f"there is no file or folder {given}, so it is taken for an id of the Hugging Face Hub")
        return given
    shipped = SHIPPED[DEFAULT_MODEL]
    names = shipped.class_names
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    note(
        f"no network was named: {shipped.name}, which comes with focalnets, knows {len(names)} classes only "
        f"({', '.join(names[:_MOST_NAMES])}{more}); name your own, or focalnet_tiny_srf for the 1,000 of ImageNet"
    )
    return shipped.name
