"""A plain method beside a network that classifies sequences: how both do on the same inputs, and which to take.

Axes: N inputs, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from focalnets.intervals import Estimate, f1_scores, paired_shares
from focalnets.tasks.classify.classified import Answer
from focalnets.tasks.sequences.results import Baseline, rarer_class

__all__ = ["compare_with_network"]


def compare_with_network(
    method: str, model: str, named: np.ndarray, answers: Sequence[Answer], classes: int
) -> Baseline:
    """Measure a plain method on the inputs of a network, and say which of the two to take.

    Args:
        method: What inputs become, for people.
        model: What stands on it.
        named: What they say of the inputs (N,), whole numbers.
        answers: What the network says of them, with their labels.
        classes: K.
    """
    labels = np.array([answer.label for answer in answers])
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (labels, named), 1)
    *f1, macro = f1_scores(counts, resamples=1)
    assert macro is not None, "at least one input"
    rarer = rarer_class(counts)
    score = None if rarer is None else f1[rarer]
    network = np.array([answer.predicted for answer in answers]) == labels
    gap = paired_shares(network, named == labels)
    accuracy = float((named == labels).mean())
    return Baseline(
        method=method,
        accuracy=accuracy,
        macro_f1=macro.value,
        rarer_f1=None if score is None else score.value,
        difference=gap,
        verdict=_verdict(f"{method} with {model} reaches {accuracy:.2%} (macro F1 {macro.value:.2%})", gap),
    )


def _verdict(shown: str, gap: Estimate) -> str:
    """Say which of the two to take; ``gap`` is the network's accuracy less that of the method."""
    points = f"{100 * abs(gap.value):.1f} points"
    interval = f"95 % interval {100 * gap.low:+.1f} to {100 * gap.high:+.1f}"
    if gap.high < 0:
        return (
            f"{shown}, {points} more than the network ({interval}): it is better here, take it in place of the network"
        )
    if gap.low > 0:
        return f"{shown}, {points} less than the network ({interval})"
    return f"{shown}: not told apart from the network (difference {100 * gap.value:+.1f} points, {interval})"
