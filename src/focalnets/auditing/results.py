"""What an audit returns: figures and sentences that can be written, shown and put into tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from focalnets.auditing.against import Against
from focalnets.auditing.amplification import Amplification
from focalnets.auditing.backgrounds import Backgrounds
from focalnets.auditing.groups import Group
from focalnets.auditing.labels import SuspiciousLabels
from focalnets.auditing.looks import Looks
from focalnets.auditing.parts import Parts
from focalnets.auditing.shortcuts import Doubles, Shortcut
from focalnets.auditing.slices import Slice
from focalnets.auditing.verdicts import Section, Verdict
from focalnets.errors import ConfigError
from focalnets.files import csv_text
from focalnets.intervals import Estimate
from focalnets.tasks.evaluation import Failure

__all__ = ["AuditResult", "AuditSettings"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """What counts as found.

    Attributes:
        gap: Least difference that matters, above 0 and below 1.
        alpha: Chance of a false alarm in each family of tests, above 0 and below 1.
        least: Groups of fewer images are not compared.
        most_changed: At most so many images are changed to see what the network needs of them; 0 leaves that out.
        seed: Of permutations, folds and the bootstrap.

    Raises:
        ConfigError: If one is out of range.
    """

    gap: float = 0.05
    alpha: float = 0.05
    least: int = 30
    most_changed: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("gap", "alpha"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ConfigError(f"{name} must lie above 0 and below 1, got {getattr(self, name)}.")
        for name, smallest in (("least", 2), ("most_changed", 0), ("seed", 0)):
            if getattr(self, name) < smallest:
                raise ConfigError(f"{name} must be a whole number from {smallest} up, got {getattr(self, name)}.")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class AuditResult:
    """What the data taught a network besides its task.

    Attributes:
        model, data: Where they came from, in words.
        split: File of the run whose held-out images were audited; None if all were.
        images: How many were read.
        classes: Names of the network's classes.
        accuracy: Share that is recognised, with its 95 % interval.
        settings: What counts as found.
        verdicts: What it says, the most harmful first.
        groups: Groups of images beside the rest; none without a table of groups.
        unknown: By attribute, for how many images it is not known.
        shortcuts: Properties of pictures that may tell the class.
        other_classes, other_splits: Pictures that look like one of another class, or of those to train.
        suspicious: Images whose label other images contradict; None if that cannot be said.
        parts: What the network needs of a picture; None if that was left out.
        backgrounds: Whether backgrounds decide; None without masks.
        slices: Clusters of errors; none without embeddings, or where there are too few images or errors.
        looks: Where the network looks; None for networks without modulators.
        against: An earlier network beside this one; None without one.
        amplification: By attribute.
        pictures: By number of a slice, pictures (S, S, 3) of it, each with what it is and is called.
        left_out: Images that could not be read.
        notes: What else to know of the data.
        arithmetic: What the network computed with, in words.
        seconds: Duration.
    """

    model: str
    data: str
    split: Path | None
    images: int
    classes: tuple[str, ...]
    accuracy: Estimate
    settings: AuditSettings
    verdicts: tuple[Verdict, ...]
    groups: tuple[Group, ...]
    unknown: dict[str, int]
    shortcuts: tuple[Shortcut, ...]
    other_classes: Doubles
    other_splits: Doubles
    suspicious: SuspiciousLabels | None
    parts: Parts | None
    backgrounds: Backgrounds | None
    slices: tuple[Slice, ...]
    looks: Looks | None
    against: Against | None
    amplification: tuple[Amplification, ...]
    left_out: tuple[Failure, ...]
    notes: tuple[str, ...]
    arithmetic: str
    seconds: float
    pictures: Mapping[int, Sequence[tuple[np.ndarray, str]]] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        found = sum(verdict.kind == "found" for verdict in self.verdicts)
        return f"Audit({self.images:,} images, {found} found: {self.verdicts[0].sentence})"

    def found(self, sections: Collection[Section] | None = None) -> list[Verdict]:
        """Return what was found in these sections; None takes all."""
        chosen = (each for each in self.verdicts if sections is None or each.section in sections)
        return [verdict for verdict in chosen if verdict.kind == "found"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``focalnets audit --json`` writes them."""
        return {
            "model": self.model,
            "data": self.data,
            "split": None if self.split is None else str(self.split),
            "images": self.images,
            "classes": list(self.classes),
            "accuracy": dataclasses.asdict(self.accuracy),
            "settings": dataclasses.asdict(self.settings),
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
            "groups": [group.to_dict() for group in self.groups],
            "unknown": self.unknown,
            "shortcuts": [shortcut.to_dict() for shortcut in self.shortcuts],
            "look_like_another_class": self.other_classes.to_dict(),
            "look_like_images_to_train": self.other_splits.to_dict(),
            "suspicious_labels": None if self.suspicious is None else self.suspicious.to_dict(),
            "parts": None if self.parts is None else self.parts.to_dict(),
            "backgrounds": None if self.backgrounds is None else self.backgrounds.to_dict(),
            "slices": [each.to_dict() for each in self.slices],
            "looks": None if self.looks is None else self.looks.to_dict(),
            "against": None if self.against is None else self.against.to_dict(),
            "amplification": [each.to_dict() for each in self.amplification],
            "left_out": [failure.to_dict() for failure in self.left_out],
            "notes": list(self.notes),
            "arithmetic": self.arithmetic,
            "seconds": self.seconds,
        }

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return heading and rows of all differences that were tested."""
        heading = [
            "section", "what", "images", "value", "compared_with", "difference", "low", "high", "adjusted_p", "verdict",
        ]  # fmt: skip
        rows: list[list[Any]] = []
        for group in self.groups:
            recall = group.recall
            figures = [group.accuracy, None, None, None, None]
            if recall is not None:
                figures = [recall.share, recall.expected, *dataclasses.astuple(recall.gap)]
            what = f"{group.attribute} = {group.value}"
            rows.append(["groups", what, group.images, *figures, group.adjusted_p, group.status])
        for each in self.shortcuts:
            figures = [each.accuracy, each.majority, *dataclasses.astuple(each.lift)]
            rows.append(["data", each.label, self.images, *figures, each.adjusted_p, _status(each.found)])
        for surrounded in () if self.parts is None else self.parts.surrounded:
            figures = [surrounded.surroundings, surrounded.centre, *dataclasses.astuple(surrounded.difference)]
            status = _status(surrounded.found)
            rows.append(["parts", surrounded.name, surrounded.images, *figures, surrounded.adjusted_p, status])
        if self.backgrounds is not None:
            rows += _background_rows(self.backgrounds)
        for part in self.slices:
            figures = [part.recall.share, part.recall.expected, *dataclasses.astuple(part.recall.gap)]
            row = ["slices", f"slice {part.number}", part.images, *figures, part.adjusted_p, _status(part.found)]
            rows.append(row)
        for change in () if self.against is None else self.against.changes:
            figures = [change.now, change.before, *dataclasses.astuple(change.difference)]
            rows.append(["against", change.name, change.images, *figures, change.adjusted_p, change.status])
        for amplified in self.amplification:
            moved = dataclasses.astuple(amplified.moved)
            what = f"{amplified.attribute} {amplified.direction}"
            status = _status(amplified.found)
            rows.append(["amplification", what, amplified.images, None, None, *moved, None, status])
        return heading, rows

    def to_csv(self) -> str:
        """All differences that were tested as CSV, as ``focalnets audit --csv`` writes them."""
        return csv_text(*self.table())


def _status(found: bool) -> str:
    return "found" if found else "nothing found"


def _background_rows(found: Backgrounds) -> list[list[Any]]:
    rows: list[list[Any]] = []
    if found.gap is not None:
        figures = [None, None, *dataclasses.astuple(found.gap)]
        rows.append(["backgrounds", "gap", found.swapped, *figures, found.gap_p, _status(found.gap_found)])
    every = [] if found.pull is None else [("pull", found.pull, found.pull_p, found.pull_found)]
    every += [(f"pull of {each.name}", each.pull, each.adjusted_p, each.found) for each in found.classes]
    for what, pull, p, is_found in every:
        figures = [pull.given, pull.elsewhere, *dataclasses.astuple(pull.value)]
        rows.append(["backgrounds", what, pull.pairs, *figures, p, _status(is_found)])
    return rows
