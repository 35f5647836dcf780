"""Does a simple property of the pictures tell their class, so that a network need not look at the thing itself?

Axes: N images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from focalnets.auditing.statistics.association import cramers_v, cross_table, permutation_p
from focalnets.auditing.statistics.tests import holm
from focalnets.auditing.verdicts import Verdict
from focalnets.data.checks.inspection import near_pairs
from focalnets.data.checks.properties import NUMBERS, WORDS, Properties
from focalnets.data.class_matching import known_classes
from focalnets.intervals import Estimate, paired_shares, points

__all__ = ["Doubles", "Shortcut", "find_doubles", "find_shortcuts", "shortcut_verdicts"]

_BINS, _FOLDS, _PERMUTATIONS = 8, 5, 999
_MOST_EXAMPLES = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shortcut:
    """How far one property of pictures tells their class.

    Attributes:
        name: Of the property, a field of :class:`focalnets.data.checks.properties.Properties`.
        label: In words.
        values: How many values it has, numbers in 8 bins of equally many images.
        cramers_v: Association with the class without bias, from 0 to 1.
        accuracy: Of the best guess from this property alone, out of fold.
        majority: Of the best guess without any.
        lift: Their difference on the same images, with its 95 % interval.
        adjusted_p: Of 999 permutations, Holm's over all properties.
        found: Whether the adjusted p is below alpha and the lift at least the least gap.
    """

    name: str
    label: str
    values: int
    cramers_v: float
    accuracy: float
    majority: float
    lift: Estimate
    adjusted_p: float
    found: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Doubles:
    """Pictures that look alike although they should not be in both places.

    Attributes:
        images: How many images have such a double.
        pairs: How many pairs there are.
        examples: The first of them, by their names.
    """

    images: int
    pairs: int
    examples: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)


def find_shortcuts(
    properties: Sequence[Properties],
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    gap: float,
    alpha: float,
    seed: int = 0,
) -> list[Shortcut]:
    """Test each property of pictures that differs between them, the most telling first.

    Args:
        properties: Of each image.
        labels: Class of each image, (N,).
        classes: Their names; a folder that is called like an image's class says nothing new.
        gap: Least lift that counts.
        alpha: Chance of a false alarm over all properties together.
        seed: Of folds and permutations.
    """
    columns = _columns(properties, labels, classes)
    _, known = np.unique(labels, return_inverse=True)
    if len(labels) < 2 * _FOLDS or known.max() == 0:
        return []
    found = []
    p_values = holm(
        [permutation_p(column, known, permutations=_PERMUTATIONS, seed=seed) for column in columns.values()]
    )
    for (name, column), p in zip(columns.items(), p_values, strict=True):
        by_property, by_majority = _guess(column, known, seed)
        lift = paired_shares(by_property, by_majority)
        found.append(
            Shortcut(
                name=name,
                label={**NUMBERS, **WORDS}[name],
                values=int(column.max()) + 1,
                cramers_v=cramers_v(cross_table(column, known, (int(column.max()) + 1, int(known.max()) + 1))),
                accuracy=float(by_property.mean()),
                majority=float(by_majority.mean()),
                lift=lift,
                adjusted_p=p,
                found=p < alpha and lift.value >= gap,
            )
        )
    return sorted(found, key=lambda each: -each.lift.value)


def find_doubles(
    looks: Sequence[int], labels: Sequence[int], names: Sequence[str], others: Sequence[tuple[int, str]] = ()
) -> tuple[Doubles, Doubles]:
    """Find pictures that look alike but are of other classes, or among those that the network learnt from.

    Args:
        looks: Perceptual hash of each image.
        labels: Its class.
        names: Its name.
        others: Hash and name of each image to train.

    Returns:
        Doubles in other classes, and doubles among images to train.
    """
    everyone = [*names, *(name for _, name in others)]
    pairs = near_pairs([*looks, *(look for look, _ in others)])
    count = len(looks)
    classes = [pair for pair in pairs if pair[1] < count and labels[pair[0]] != labels[pair[1]]]
    splits = [pair for pair in pairs if pair[0] < count <= pair[1]]

    def doubles(chosen: list[tuple[int, int]]) -> Doubles:
        return Doubles(
            images=len({number for pair in chosen for number in pair if number < count}),
            pairs=len(chosen),
            examples=tuple((everyone[one], everyone[other]) for one, other in chosen[:_MOST_EXAMPLES]),
        )

    return doubles(classes), doubles(splits)


def shortcut_verdicts(
    shortcuts: Sequence[Shortcut], classes: Doubles, splits: Doubles, *, images: int
) -> list[Verdict]:
    """Say which properties tell the class, and which pictures are twice there."""
    verdicts = [
        Verdict(section="data", kind="found", harm=each.lift.value, sentence=_sentence(each))
        for each in shortcuts
        if each.found
    ]  # fmt: skip
    if not verdicts:
        words = (
            f"none of {len(shortcuts)} simple properties tells the class" if shortcuts else "too few images or classes"
        )
        verdicts.append(Verdict(section="data", kind="nothing", harm=0.0, sentence=f"Simple properties: {words}."))
    for found, where in ((classes, "in another class"), (splits, "among the images to train")):
        if found.pairs:
            verdicts.append(Verdict(section="data", kind="note", harm=found.images / images, sentence=(
                f"{found.images:,} images look like one {where} (perceptual hash), e.g. {found.examples[0][0]} and "
                f"{found.examples[0][1]}; look at them."
            )))  # fmt: skip
    return verdicts


def _sentence(shortcut: Shortcut) -> str:
    """Say how far a property tells the class."""
    return (
        f"{shortcut.label[0].upper()}{shortcut.label[1:]}: by it alone the class of {shortcut.accuracy:.1%} of the "
        f"images can be guessed, without it of {shortcut.majority:.1%} ({points(shortcut.lift)}; Cramer's V "
        f"{shortcut.cramers_v:.2f}); a network may have learnt it instead of the thing itself."
    )


def _columns(properties: Sequence[Properties], labels: np.ndarray, classes: Sequence[str]) -> dict[str, np.ndarray]:
    """Number the values of each property from 0, numbers in bins; those with one value are left out."""
    columns = {name: _bins(np.array([getattr(each, name) for each in properties])) for name in NUMBERS}
    own = known_classes(sorted({each.folder for each in properties}), classes)
    for name in WORDS:
        words = [getattr(each, name) for each in properties]
        if name == "folder":
            words = ["" if own.get(word) == label else word for word, label in zip(words, labels, strict=True)]
        columns[name] = np.unique(words, return_inverse=True)[1]
    return {name: column for name, column in columns.items() if len(column) and column.max() > 0}


def _bins(values: np.ndarray) -> np.ndarray:
    edges = np.unique(np.quantile(values, np.arange(1, _BINS) / _BINS))
    return np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)[1]


def _guess(column: np.ndarray, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Guess each image's class from the other folds, by the property and without it; returns which are right."""
    shape = (int(column.max()) + 1, int(labels.max()) + 1)
    fold = np.random.default_rng(seed).permutation(len(labels)) % _FOLDS
    by_property, by_majority = np.empty(len(labels), int), np.empty(len(labels), int)
    for number in range(_FOLDS):
        inside = fold == number
        table = cross_table(column[~inside], labels[~inside], shape)
        by_majority[inside] = table.sum(0).argmax()
        # A value that the other folds lack falls back on the commonest class.
        best = np.where(table.sum(1) > 0, table.argmax(1), table.sum(0).argmax())
        by_property[inside] = best[column[inside]]
    return by_property == labels, by_majority == labels
