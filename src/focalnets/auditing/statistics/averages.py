"""Shares and means of one sample, with 95 % intervals.

Axes: N images.
"""

from __future__ import annotations

import numpy as np

from focalnets.intervals import Estimate, wilson_interval

__all__ = ["mean_with_interval", "share_with_interval"]

_NORMAL = 1.959964


def share_with_interval(holds: np.ndarray) -> Estimate:
    """Compute for which share of the images something holds, booleans (N,), N at least 1; the interval is Wilson's."""
    return Estimate(float(holds.mean()), *wilson_interval(int(holds.sum()), len(holds)))


def mean_with_interval(values: np.ndarray, *, least: float) -> Estimate:
    """Compute a mean with its normal interval, cut off where it leaves the range.

    Args:
        values: From ``least`` to 1, (N,), N at least 1; of one alone nearly nothing is known, so that the interval
            reaches 1 to both sides.
        least: The smallest possible value.
    """
    value = float(values.mean())
    margin = _NORMAL * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 1.0
    return Estimate(value, max(least, value - margin), min(1.0, value + margin))
