"""How far a background pulls answers towards what is typical of it, from the same objects before two backgrounds.

Axes: N objects.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from focalnets.auditing.statistics.tests import mcnemar_of
from focalnets.intervals import Estimate, paired_shares

__all__ = ["Pull", "measure_pull"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pull:
    """P(answer typical of a background b | b) minus P(the same answer | another background), on the same objects.

    Attributes:
        pairs: Number of objects N.
        given, elsewhere: The two shares.
        value: Their difference, with its 95 % interval.
        p: McNemar's exact test.
    """

    pairs: int
    given: float
    elsewhere: float
    value: Estimate
    p: float

    def found(self, *, gap: float, alpha: float) -> bool:
        """Whether it is proven and large enough to matter: a background pushes answers away only by chance."""
        return self.p < alpha and self.value.value >= gap


def measure_pull(given: np.ndarray, elsewhere: np.ndarray) -> Pull:
    """Measure the pull of backgrounds.

    Args:
        given: Whether the answer to each object is the one typical of its background, (N,) bool, N at least 1.
        elsewhere: Whether it is the same answer before another background, (N,) bool.

    Source: the counterfactual form of BG-gap of Xiao et al., Noise or signal, 2020; McNemar, 1947.
    """
    return Pull(
        pairs=len(given),
        given=float(given.mean()),
        elsewhere=float(elsewhere.mean()),
        value=paired_shares(given, elsewhere),
        p=mcnemar_of(given, elsewhere),
    )
