"""Images whose label other images contradict: what everything else of the data would call them.

Axes: N images, K classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from focalnets.auditing.statistics.discriminant import class_probabilities
from focalnets.auditing.verdicts import Verdict

__all__ = ["SuspiciousLabel", "SuspiciousLabels", "find_suspicious_labels", "label_verdicts"]

_FOLDS = 5
_MOST_LISTED = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuspiciousLabel:
    """An image that looks like one of another class.

    Attributes:
        index: Its number in the data.
        name: Its name.
        label, likelier: Its class, and the one that the other images speak for.
        confidence: Probability of its own class, out of fold.
        likelier_confidence: Probability of the other one.
    """

    index: int
    name: str
    label: str
    likelier: str
    confidence: float
    likelier_confidence: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuspiciousLabels:
    """Labels to look at.

    Attributes:
        images: How many were looked at.
        suspicious: How many look like another class.
        listed: Those that look most like it, at most 100.
    """

    images: int
    suspicious: int
    listed: tuple[SuspiciousLabel, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)


def find_suspicious_labels(
    embeddings: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    indices: Sequence[int],
    names: Sequence[str],
    seed: int = 0,
) -> SuspiciousLabels | None:
    """Find images that are as sure of another class as images of that class are.

    The probabilities come from images of other folds, so that a wrong label cannot vouch for itself.

    Args:
        embeddings: What describes the images, (N, C).
        labels: Their class, (N,).
        classes: Names of the classes.
        indices: Number of each image in the data.
        names: Name of each image.
        seed: Of the folds.

    Returns:
        The images; None where there are too few to say: fewer than ten of two classes.

    Source: Northcutt, Jiang and Chuang, Confident learning, 2021: the threshold of a class is the mean probability that
    its own images have of it.
    """
    own, compact = np.unique(labels, return_inverse=True)
    counts = np.bincount(compact)
    if (counts >= 2 * _FOLDS).sum() < 2:
        return None
    probabilities = class_probabilities(embeddings, compact, folds=_FOLDS, seed=seed)
    places = np.arange(len(compact))
    confidence = probabilities[places, compact]
    thresholds = np.bincount(compact, weights=confidence) / counts
    # Of a class with few images nobody knows how sure its own are.
    thresholds[counts < 2 * _FOLDS] = np.inf
    sure = np.where(probabilities >= thresholds, probabilities, 0.0)
    sure[places, compact] = 0.0
    likelier = sure.argmax(1)
    reached = sure[places, likelier]
    found = np.flatnonzero((reached > 0) & (reached > confidence))
    order = found[np.argsort(confidence[found] - reached[found], kind="stable")][:_MOST_LISTED]
    return SuspiciousLabels(
        images=len(labels),
        suspicious=len(found),
        listed=tuple(
            SuspiciousLabel(
                index=int(indices[place]),
                name=names[place],
                label=classes[own[compact[place]]],
                likelier=classes[own[likelier[place]]],
                confidence=float(confidence[place]),
                likelier_confidence=float(reached[place]),
            )
            for place in order
        ),
    )


def label_verdicts(found: SuspiciousLabels | None) -> list[Verdict]:
    """Say how many labels to look at."""
    if found is None or not found.suspicious:
        return []
    first = found.listed[0]
    return [
        Verdict(section="data", kind="note", harm=found.suspicious / found.images, sentence=(
            f"{found.suspicious:,} of {found.images:,} images look like another class by what the other images say, "
            f"first {first.name}: labelled '{first.label}', looks like '{first.likelier}'; look at them, labels "
            "may be wrong."
        ))
    ]  # fmt: skip
