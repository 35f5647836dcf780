"""From what a user names to a file or folder of weights, which may have to be fetched."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

from focalnets.errors import CheckpointError
from focalnets.files import user_path
from focalnets.models.variants import VARIANTS
from focalnets.weights.shipped import SHIPPED
from focalnets.weights.sources import fetch_hub, fetch_variant, hub_id

__all__ = ["check_source", "locate"]

_WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar", ".json")


def locate(source: str | os.PathLike[str]) -> Path:
    """Find the file or folder that a source names; hub ids and names of published variants are fetched.

    What comes inside the package, see :mod:`focalnets.weights.shipped`, needs no network connection.

    Raises:
        CheckpointError: If there is no such thing, or it cannot be fetched.
    """
    return _way_to(os.fspath(source))()


def check_source(source: str | os.PathLike[str]) -> None:
    """Refuse a source that names nothing, without fetching what it names.

    Raises:
        CheckpointError: If there is no such file, folder or name.
    """
    _way_to(os.fspath(source))


def _way_to(text: str) -> Callable[[], Path]:
    """Choose what gives the file or folder that is named."""
    try:
        path = user_path(text)
        if path.exists():
            return lambda: path
    except (OSError, RuntimeError) as error:  # names too long for the system, ~somebody who does not exist
        raise CheckpointError(f"There is no file or folder {text} ({error.args[-1]}).") from error
    if text in SHIPPED:
        return lambda: SHIPPED[text].weights
    if text in VARIANTS:
        return functools.partial(fetch_variant, text)
    hub = hub_id(text)
    if hub is not None and path.suffix not in _WEIGHTS_SUFFIXES and not path.parent.is_dir():
        return functools.partial(_fetch_hub, text, hub)
    raise CheckpointError(
        f"There is no file or folder {text}; expected weights, a run folder, a hub id such as "
        "timm/focalnet_tiny_srf.ms_in1k, or a name that `focalnets models` lists with weights."
    )


def _fetch_hub(text: str, hub: tuple[str, str | None]) -> Path:
    try:
        return fetch_hub(*hub)
    except CheckpointError as error:
        sentence = f"There is no file or folder {text}, and as a hub id it did not work: {error}"
        raise CheckpointError(sentence) from error
