"""Does a network tie classes to attributes more than the data does?

Axes: A values of an attribute, T classes, N images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from focalnets.auditing.statistics.association import cross_table
from focalnets.auditing.verdicts import Verdict
from focalnets.intervals import Estimate

__all__ = ["PREDICTED", "Amplification", "amplification_verdicts", "directional_amplification", "find_amplification"]

PREDICTED = "predicted_"
"""Begins the name of a column that holds what something says of an attribute; it is no attribute itself."""

_RESAMPLES = 2000
_FIGURES_AT_ONCE = 1_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Amplification:
    """How much more the answers go with an attribute than the truth does.

    Attributes:
        attribute: Which.
        direction: ``A->T``: the attribute moves the class that is named; ``T->A``: the class moves the attribute that
            is named.
        images: How many have a known value.
        value: Directional BiasAmp with its interval; above 0 is amplification.
        moved: Share of the answers that moves to those that the data ties to an image's value, with its interval: half
            the sum over all answers, averaged over the values.
        level: Of the intervals, 1 minus alpha over the number of attributes and directions.
        found: Whether the interval lies above 0 and what moved is at least the least gap.
    """

    attribute: str
    direction: str
    images: int
    value: Estimate
    moved: Estimate
    level: float
    found: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)


def directional_amplification(tied: np.ndarray, true: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """Compute directional BiasAmp from one thing to another.

    Args:
        tied: Counts (A, T) of the data that says what goes together.
        true: Counts (..., A, T) of the first thing with the truth of the second.
        answered: Counts (..., A, T) of the first thing with what is answered of the second.

    Returns:
        (...) float64.

    Source: Wang and Russakovsky, Directional bias amplification, 2021, equation 3.
    """
    total = tied.sum()
    together = tied * total > tied.sum(1, keepdims=True) * tied.sum(0, keepdims=True)

    def given_first(counts: np.ndarray) -> np.ndarray:
        return counts / np.maximum(counts.sum(-1, keepdims=True), 1)

    change = given_first(answered) - given_first(true)
    return np.where(together, change, -change).mean((-2, -1))


def find_amplification(
    labels: np.ndarray,
    predicted: np.ndarray,
    attributes: Mapping[str, Sequence[str]],
    *,
    training: tuple[np.ndarray, Mapping[str, Sequence[str]]] | None,
    gap: float,
    alpha: float,
    least: int,
    seed: int = 0,
) -> list[Amplification]:
    """Measure amplification for each attribute with two values or more.

    Args:
        labels: Class of each image, (N,).
        predicted: Class that each is taken for, (N,).
        attributes: By name, the value of each image, empty where it is not known. A column ``predicted_X`` holds what
            something says of the attribute X, and gives X the direction T->A.
        training: Classes and attributes of the images that the network learnt from, which say what goes together; None
            takes the images themselves.
        gap: Least share of moved answers that counts.
        alpha: Chance of a false alarm over all attributes together.
        least: Values of fewer images are left out.
        seed: Of the bootstrap.
    """
    jobs: list[tuple[str, str, np.ndarray, np.ndarray | None]] = []
    for name, values in attributes.items():
        column, answers = np.array(values, dtype=object), attributes.get(f"{PREDICTED}{name}")
        for value in set(column):
            if (column == value).sum() < least:
                column[column == value] = ""
        if name.startswith(PREDICTED) or len(set(column[column != ""])) < 2:
            continue
        jobs.append((name, "A->T", column, None))
        if answers is not None:
            jobs.append((name, "T->A", column, np.asarray(answers, dtype=object)))
    found = []
    for name, direction, column, said in jobs:
        known = column != ""
        if said is not None:
            known &= said != ""
        before = labels, column
        if training is not None:
            before = training[0], np.asarray(training[1][name], dtype=object)
        of_data = np.isin(before[1].astype(str), sorted(set(column[known])))
        kinds = sorted(set(column[known]) | set(before[1][of_data]) | (set() if said is None else set(said[known])))
        number = {kind: place for place, kind in enumerate(kinds)}
        code = np.array([number[each] for each in column[known]], int)
        tied_code = np.array([number[each] for each in before[1][of_data]], int)
        if not len(code) or not len(tied_code):
            continue
        classes = np.unique(np.concatenate([labels[known], predicted[known], before[0][of_data]]))
        count, place = len(classes), np.searchsorted
        true, answer, tied = (place(classes, each) for each in (labels[known], predicted[known], before[0][of_data]))
        if said is None:
            value, drawn = _measure(tied_code, tied, code, true, answer, (len(kinds), count), seed)
            scale = count / 2
        else:
            says = np.array([number[each] for each in said[known]], int)
            value, drawn = _measure(tied, tied_code, true, code, says, (count, len(kinds)), seed)
            scale = len(kinds) / 2
        level = alpha / len(jobs)
        low, high = (float(each) for each in np.quantile(drawn, (level / 2, 1 - level / 2)))
        found.append(
            Amplification(
                attribute=name,
                direction=direction,
                images=len(code),
                value=Estimate(value, low, high),
                moved=Estimate(value * scale, low * scale, high * scale),
                level=1 - level,
                found=low > 0 and value * scale >= gap,
            )
        )
    return found


def amplification_verdicts(found: Sequence[Amplification]) -> list[Verdict]:
    """Say of each attribute whether it is amplified."""
    verdicts = []
    for each in found:
        what = "answers" if each.direction == "A->T" else f"answers about {each.attribute}"
        figures = (
            f"{each.moved.value:+.1%} of the {what} move to what the data ties to them, {each.level:.1%} interval "
            f"{each.moved.low:+.1%} to {each.moved.high:+.1%}; BiasAmp {each.direction} {each.value.value:+.4f}"
        )
        kind: Any = "found" if each.found else "nothing"
        words = "the network amplifies what the data holds" if each.found else "no amplification found"
        harm = max(0.0, each.moved.value) if each.found else 0.0
        verdicts.append(
            Verdict(section="amplification", kind=kind, harm=harm, sentence=f"{each.attribute}: {words} ({figures}).")
        )
    return verdicts


def _measure(
    tied_first: np.ndarray, tied_second: np.ndarray, first: np.ndarray, true: np.ndarray, answered: np.ndarray,
    shape: tuple[int, int], seed: int,
) -> tuple[float, np.ndarray]:  # fmt: skip
    """Measure amplification, and again on images drawn anew with putting back."""
    tied = cross_table(tied_first, tied_second, shape)
    cells, counts = np.unique(np.stack([first, true, answered]), axis=1, return_counts=True)
    places = [np.unique(cells[0] * shape[1] + second, return_inverse=True) for second in cells[1:]]

    def measure(weights: np.ndarray) -> np.ndarray:
        tables = np.zeros((2, len(weights), shape[0] * shape[1]))
        for table, (used, place) in zip(tables, places, strict=True):
            order = np.argsort(place, kind="stable")
            starts = np.searchsorted(place[order], np.arange(len(used)))
            table[:, used] = np.add.reduceat(weights[:, order], starts, axis=1)
        return directional_amplification(tied, *tables.reshape(2, len(weights), *shape))

    # A few at a time: with many classes and values the tables of all would not fit in memory.
    random, shares = np.random.default_rng(seed), counts / counts.sum()
    step = max(1, _FIGURES_AT_ONCE // max(len(counts), shape[0] * shape[1]))
    drawn = [
        measure(random.multinomial(counts.sum(), shares, size=min(step, _RESAMPLES - start)))
        for start in range(0, _RESAMPLES, step)
    ]
    return float(measure(counts[None])[0]), np.concatenate(drawn)
