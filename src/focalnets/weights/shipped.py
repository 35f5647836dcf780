"""The network that comes inside the package: trained from random weights, small, usable without a network connection.

It lies in ``shipped/<name>/`` beside this file: ``model.safetensors`` in our own format, and how it came about
(``README.md``, the card; ``config.yaml``, ``metrics.csv``, ``log.txt``). What it knows is read from the head of the
file, so that this table cannot contradict it. Imports no torch.
"""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from pathlib import Path
from typing import Any

from focalnets.errors import CheckpointError

__all__ = ["DEFAULT", "FOLDER", "SHIPPED", "Shipped", "shipped_for_variant"]

FOLDER = Path(str(resources.files(__package__))) / "shipped"

_METADATA = "focalnets."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shipped:
    """A network inside the package.

    Attributes:
        name: What :func:`focalnets.load_model` knows it by: the variant, a dot and what it was trained on.
        trained_on: The images it learned from.
        licence: Licence of the weights.
    """

    name: str
    trained_on: str
    licence: str = "MIT"

    @property
    def variant(self) -> str:
        """Name of the network's variant."""
        return self.name.partition(".")[0]

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return FOLDER / self.name

    @property
    def weights(self) -> Path:
        """The weights file.

        Raises:
            CheckpointError: If this installation lacks it.
        """
        path = self.folder / "model.safetensors"
        if not path.is_file():
            raise CheckpointError(
                f"The weights of {self.name} are missing in this installation ({path}); install focalnets again, or "
                "name another network."
            )
        return path

    @property
    def is_present(self) -> bool:
        """Whether this installation has the weights."""
        return (self.folder / "model.safetensors").is_file()

    @property
    def size_bytes(self) -> int:
        """Size of the weights file."""
        return self.weights.stat().st_size

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that it tells apart, in the order of its outputs."""
        return tuple(self._read("labels", "class_names"))

    @property
    def input_size_px(self) -> int:
        """Height and width of the images that it was made for [px]."""
        return int(self._read("input", "preprocessing")["input_size_px"])

    @property
    def top1_percent(self) -> float | None:
        """Accuracy on the images held out, as its training measured it; None if it was not noted."""
        top1 = self._read("notes").get("val_top1")
        return None if top1 is None else 100 * float(top1)

    def _read(self, *keys: str) -> Any:
        """Read what the file says under the first of the keys that it has; names differ between formats."""
        metadata = _metadata(self.weights)
        return json.loads(next(metadata[_METADATA + key] for key in keys if _METADATA + key in metadata))


SHIPPED: dict[str, Shipped] = {
    row.name: row for row in (Shipped(name="focalnet_pico.imagenette", trained_on="Imagenette"),)
}
"""Networks inside the package by name."""

DEFAULT = "focalnet_pico.imagenette"
"""What commands use that are given no network."""


def shipped_for_variant(variant: str) -> Shipped | None:
    """Find the network inside the package that is of this variant, or None."""
    return next((row for row in SHIPPED.values() if row.variant == variant and row.is_present), None)


def _metadata(path: Path) -> dict[str, str]:
    """Read metadata of a safetensors file of ours, without importing what reads its tensors."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(length))["__metadata__"]
