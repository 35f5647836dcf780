"""Groups that nobody named: images alike to the network and often wrong, found on one half, proven on the other.

Axes: N images, C channels of an embedding, K clusters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.spatial.distance import cdist

from focalnets.auditing.answers import Answers
from focalnets.auditing.groups import Comparison, compare_shares
from focalnets.auditing.statistics.tests import holm
from focalnets.auditing.verdicts import Verdict
from focalnets.intervals import points

__all__ = ["Slice", "find_slices", "slice_verdicts"]

_CLUSTERS = (4, 8, 16, 32)
_MOST_SHARED = 0.5
_MOST_TESTED = 5
_MOST_COMPONENTS = 32
_SHOWN = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slice:
    """Images that are alike to the network.

    Attributes:
        number: Its number, from 1.
        images: How many there are in the half that tests.
        searched_recall: Share that is recognised in the half in which it was found, which flatters the finding.
        recall: In the other half, beside other images of the same classes.
        classes: The commonest classes of its images, with their share.
        taken_for: What its errors are taken for most, with their share of the errors.
        examples: Numbers of images in the data, those nearest to its middle first, of both halves.
        adjusted_p: One-sided exact test within classes, Holm's over the slices that were tested.
        found: Whether the adjusted p is below alpha and it is worse by at least the least gap.
    """

    number: int
    images: int
    searched_recall: float
    recall: Comparison
    classes: tuple[tuple[str, float], ...]
    taken_for: tuple[tuple[str, float], ...]
    examples: tuple[int, ...]
    adjusted_p: float
    found: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)


def find_slices(answers: Answers, *, gap: float, alpha: float, least: int, seed: int = 0) -> list[Slice]:
    """Cluster embeddings of one half, choose the clusters of most errors, and test these on the other half.

    The halves are drawn by chance, so the choice cannot flatter the test. Clusters are of k-means with 4, 8, 16 and 32
    middles on the first principal components of one half; images of the other half join the nearest. Those with the
    smallest p there that do not share most of their images are compared with all other images of the same classes, as
    groups are.

    Args:
        answers: Of the network, with embeddings.
        gap: Least gap that counts.
        alpha: Chance of a false alarm over all slices together.
        least: Slices of fewer images in either half are not looked at.
        seed: Of halves and clusters.

    Returns:
        The slices that were tested, the worst first; none where there are too few images or errors.
    """
    embeddings, count = answers.embeddings, len(answers)
    counts = [clusters for clusters in _CLUSTERS if clusters <= count // (2 * least)]
    if embeddings is None or not counts or answers.right.all():
        return []
    random = np.random.default_rng(seed)
    searched = random.permutation(count) < count // 2
    values = _components(embeddings, searched)
    candidates: list[tuple[float, np.ndarray, np.ndarray]] = []
    for clusters in counts:
        middles, _ = kmeans2(values[searched], clusters, minit="++", seed=random, missing="warn", iter=30)
        distance = cdist(values, middles, "sqeuclidean")
        cluster = distance.argmin(1)
        for number in range(clusters):
            inside = cluster == number
            if min((inside & searched).sum(), (inside & ~searched).sum()) < least:
                continue
            before = compare_shares(answers.right, answers.labels, inside & searched, ~inside & searched)
            if before is not None and before.gap.value < 0:
                candidates.append((before.p, inside, distance[:, number]))
    chosen: list[tuple[np.ndarray, np.ndarray]] = []
    for _, inside, distance in sorted(candidates, key=lambda each: each[0]):
        alike = any((inside & other).sum() > _MOST_SHARED * min(inside.sum(), other.sum()) for other, _ in chosen)
        if not alike and len(chosen) < _MOST_TESTED:
            chosen.append((inside, distance))
    tested: list[tuple[np.ndarray, np.ndarray, Comparison]] = []
    for inside, distance in chosen:
        after = compare_shares(answers.right, answers.labels, inside & ~searched, ~inside & ~searched)
        if after is not None and after.images >= least:
            tested.append((inside, distance, after))
    adjusted = holm([comparison.p for _, _, comparison in tested])
    found = [
        Slice(
            number=place,
            images=int((inside & ~searched).sum()),
            searched_recall=float(answers.right[inside & searched].mean()),
            recall=comparison,
            classes=_commonest(answers.labels[inside], answers.classes),
            taken_for=_commonest(answers.predicted[inside & ~answers.right], answers.classes),
            examples=_nearest(answers, inside, distance),
            adjusted_p=p,
            found=p < alpha and comparison.gap.value <= -gap,
        )
        for place, ((inside, distance, comparison), p) in enumerate(zip(tested, adjusted, strict=True), 1)
    ]
    return sorted(found, key=lambda each: each.recall.gap.value)


def slice_verdicts(slices: Sequence[Slice], *, images: int, looked: bool) -> list[Verdict]:
    """Say which slices are worse than others of the same classes."""
    verdicts = [
        Verdict(section="slices", kind="found", harm=-each.recall.gap.value * 2 * each.images / images, sentence=(
            f"Slice {each.number}, which nobody named, fares worse: of images like these ({_in_words(each.classes)}) "
            f"{each.recall.share:.1%} are recognised, but {each.recall.expected:.1%} of others of the same classes "
            f"({points(each.recall.gap)}, on {each.recall.images:,} images that did not choose it, adjusted p = "
            f"{each.adjusted_p:.2g}); look at its pictures."
        ))
        for each in slices
        if each.found
    ]  # fmt: skip
    if not verdicts and looked:
        words = (
            f"none of {len(slices)} clusters of errors in one half is worse in the other"
            if slices
            else "too few images or errors to look for any"
        )
        verdicts.append(Verdict(section="slices", kind="nothing", harm=0.0, sentence=f"Unknown slices: {words}."))
    return verdicts


def _components(embeddings: np.ndarray, searched: np.ndarray) -> np.ndarray:
    """Turn embeddings into at most 32 principal components of the half that searches, of their own variance."""
    centred = embeddings.astype(np.float64) - embeddings[searched].mean(0)
    _, vectors = np.linalg.eigh(centred[searched].T @ centred[searched])
    return centred @ vectors[:, ::-1][:, :_MOST_COMPONENTS]


def _commonest(numbers: np.ndarray, classes: Sequence[str]) -> tuple[tuple[str, float], ...]:
    kinds, counts = np.unique(numbers, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:3]
    return tuple((classes[kinds[place]], float(counts[place] / len(numbers))) for place in order)


def _nearest(answers: Answers, inside: np.ndarray, distance: np.ndarray) -> tuple[int, ...]:
    """Choose errors and right answers nearest to the middle, errors first."""
    members = np.flatnonzero(inside)
    order = members[np.lexsort((distance[members], answers.right[members]))]
    return tuple(int(answers.indices[place]) for place in order[:_SHOWN])


def _in_words(shares: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in shares)
