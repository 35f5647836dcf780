"""What ``focalnets check`` says of simple properties that tell the class, before a network learns them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from focalnets.auditing.shortcuts import find_shortcuts
from focalnets.data.checks.findings import Finding
from focalnets.data.checks.inspection import InspectedImage
from focalnets.intervals import points

__all__ = ["find_told_classes"]

_GAP, _ALPHA = 0.05, 0.05


def find_told_classes(images: Sequence[InspectedImage], classes: Sequence[str], *, seed: int = 0) -> list[Finding]:
    """Find simple properties of pictures by which a network could tell classes without looking at the thing itself.

    Args:
        images: The rows of :func:`focalnets.data.checks.inspection.inspect_images`.
        classes: Names of the classes.
        seed: Of folds and permutations.
    """
    known = [(image.properties, image.label) for image in images if image.properties is not None]
    if not known:
        return []
    found = find_shortcuts(
        [properties for properties, _ in known], np.array([label for _, label in known]), classes,
        gap=_GAP, alpha=_ALPHA, seed=seed,
    )  # fmt: skip
    return [
        Finding(
            kind="shortcut",
            severity="warning",
            count=len(known),
            message=(
                f"images whose {each.label} tells the class: by it alone {each.accuracy:.1%} are guessed right, "
                f"{each.majority:.1%} without it ({points(each.lift)}); a network may learn that in place of the thing"
            ),
            advice="see whether it belongs to the thing itself; if not, make it the same for all classes",
            examples=(each.label,),
        )
        for each in found
        if each.found
    ]
