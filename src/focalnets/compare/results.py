"""What a comparison found, as typed results that are kept in its folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from focalnets.errors import ConfigError
from focalnets.files import csv_text, read_json, write_json, write_text

__all__ = ["FINAL", "Cell", "Comparison", "Key", "Network", "read_comparison"]

Key = tuple[str, str, int, int]
"""Model, task, size [px], batch."""

FINAL = ("measured", "out of memory", "unsupported")
"""States of a cell that is not tried again; the others are ``over the time``, ``over the memory`` and ``failed``."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """What is known of a network without running it.

    Attributes:
        name, family: See :class:`focalnets.compare.models.ComparedModel`.
        parameters: Learnt numbers, at the first size asked for that the network takes; some have more for larger ones.
        published_top1_percent, published_by: ImageNet-1K accuracy at 224 px that others report.
    """

    name: str
    family: str
    parameters: int | None
    published_top1_percent: float | None
    published_by: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One network doing one task on a batch of square images.

    Attributes:
        model, task, size_px, batch: What was done; ``task`` is ``inference`` or ``training`` (a step).
        status: ``measured``, ``out of memory``, ``unsupported``, ``failed``; ``over the time`` and ``over the memory``
            were not tried, or not to the end, because they would take more than there was.
        why: A sentence where it was not measured.
        expected_s: Of a cell over the time: how long a call was expected to take [s].
        macs: Multiply-accumulates of the forward pass for one image; None where they could not be counted.
        latency_s: ``median``, ``p20`` and ``p80`` of a call on the batch [s].
        rounds: In how many rounds that was measured.
        together_with: The networks that shared the rounds.
        peak_bytes: What the call adds to memory at its peak, alone in a fresh process.
    """

    model: str
    task: str
    size_px: int
    batch: int
    status: str
    why: str | None = None
    expected_s: float | None = None
    macs: int | None = None
    latency_s: dict[str, float] | None = None
    rounds: int = 0
    together_with: tuple[str, ...] = ()
    peak_bytes: int | None = None

    @property
    def key(self) -> Key:
        """What tells cells apart."""
        return self.model, self.task, self.size_px, self.batch

    @property
    def result(self) -> str:
        """The median time [ms] with its spread, or in a few words why there is none."""
        if self.latency_s is not None:
            low, median, high = (1e3 * self.latency_s[key] for key in ("p20", "median", "p80"))
            return f"{median:.1f}" if self.rounds < 2 else f"{median:.1f} ({low:.1f} to {high:.1f})"
        if self.status == "over the time" and self.expected_s is not None:
            call = "a step" if self.task == "training" else "a call"
            seconds = f"{self.expected_s:.2g}" if self.expected_s < 10 else f"{self.expected_s:.0f}"
            return f"not run: about {seconds} s {call}"
        return f"not run: {self.status}" if self.status.startswith("over") else self.status

    @property
    def images_per_s(self) -> float | None:
        """Images a second at the median."""
        return None if self.latency_s is None else self.batch / self.latency_s["median"]


@dataclasses.dataclass
class Comparison:
    """All cells measured under one setting.

    Attributes:
        setting: Device, threads and versions; cells of different settings must not stand side by side.
        origin: Command, date, duration and machine of the newest measurement.
        networks: By name, in the order of the table.
        cells: By key.
    """

    setting: dict[str, Any]
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)
    networks: dict[str, Network] = dataclasses.field(default_factory=dict)
    cells: dict[Key, Cell] = dataclasses.field(default_factory=dict)

    def add(self, cell: Cell) -> None:
        """Take in a cell, in place of an older one."""
        self.cells[cell.key] = cell

    def sorted_cells(self) -> list[Cell]:
        """Sort the cells by task, batch, size, then in the order of the networks."""
        order = {name: index for index, name in enumerate(self.networks)}
        return sorted(self.cells.values(), key=lambda cell: (cell.task, cell.batch, cell.size_px, order[cell.model]))

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain values that survive JSON."""
        return {
            "setting": self.setting,
            "origin": self.origin,
            "networks": [dataclasses.asdict(network) for network in self.networks.values()],
            "cells": [
                {
                    **dataclasses.asdict(cell),
                    "together_with": list(cell.together_with),
                    "images_per_s": cell.images_per_s,
                }
                for cell in self.sorted_cells()
            ],
        }

    def to_csv(self) -> str:
        """Format as CSV, one line a cell."""
        heading = (
            "model", "family", "task", "size_px", "batch", "status", "parameters", "macs", "latency_median_s",
            "latency_p20_s", "latency_p80_s", "rounds", "images_per_s", "peak_bytes", "published_top1_percent", "why",
        )  # fmt: skip
        rows: list[Sequence[Any]] = []
        for cell in self.sorted_cells():
            network, latency = self.networks[cell.model], cell.latency_s or {}
            rows.append(
                (
                    cell.model, network.family, cell.task, cell.size_px, cell.batch, cell.status, network.parameters,
                    cell.macs, latency.get("median"), latency.get("p20"), latency.get("p80"), cell.rounds,
                    cell.images_per_s, cell.peak_bytes, network.published_top1_percent, cell.why,
                )
            )  # fmt: skip
        return csv_text(heading, rows)

    def write(self, folder: Path) -> None:
        """Write ``comparison.json`` and ``comparison.csv``, whole or not at all."""
        write_json(folder / "comparison.json", self.to_dict())
        write_text(folder / "comparison.csv", self.to_csv())


def read_comparison(folder: Path, setting: dict[str, Any] | None) -> Comparison:
    """Read what is kept in ``folder``; nothing yet gives an empty comparison.

    Args:
        folder: Of the comparison.
        setting: What new cells will be measured under; None takes what is there as it is.

    Raises:
        ConfigError: If the file there is damaged or was measured under another setting.
    """
    file = folder / "comparison.json"
    if not file.exists():
        return Comparison(setting or {})
    try:
        content = read_json(file)
        known = Comparison(content["setting"], content["origin"])
        known.networks = {network["name"]: Network(**network) for network in content["networks"]}
        for cell in content["cells"]:
            cell.pop("images_per_s")
            known.add(Cell(**{**cell, "together_with": tuple(cell["together_with"])}))
        known.sorted_cells()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"'{file}' cannot be read ({type(error).__name__}); measure again with --fresh or name another --output."
        ) from error
    if setting is None:
        return known
    differing = sorted(key for key in {*setting, *known.setting} if setting.get(key) != known.setting.get(key))
    if differing:
        raise ConfigError(
            f"'{folder}' holds measurements made under another setting ({', '.join(differing)}), which must not stand "
            "beside new ones; name another --output, or measure all again with --fresh."
        )
    return known
