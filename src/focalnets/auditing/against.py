"""Is a network worse than an earlier one, for some group of the images that both are asked about?

Axes: N images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from focalnets.auditing.statistics.tests import holm, mcnemar_of
from focalnets.auditing.verdicts import Verdict
from focalnets.intervals import Estimate, paired_shares, points

__all__ = ["EVERYONE", "Against", "Change", "against_verdicts", "compare_with"]

EVERYONE = "all images"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """What became of a group.

    Attributes:
        name: Of the group, or :data:`EVERYONE`.
        images: How many.
        now, before: Share that is recognised by this network and by the earlier one.
        difference: Now minus before on the same images, with its 95 % interval.
        adjusted_p: McNemar's exact test, Holm's over all groups.
        status: ``found`` if the adjusted p is below alpha and it is worse by at least the least gap.
    """

    name: str
    images: int
    now: float
    before: float
    difference: Estimate
    adjusted_p: float
    status: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Against:
    """An earlier network beside this one."""

    model: str
    changes: tuple[Change, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)


def compare_with(
    model: str,
    now: np.ndarray,
    before: np.ndarray,
    attributes: Mapping[str, Sequence[str]],
    *,
    gap: float,
    alpha: float,
    least: int,
) -> Against:
    """Compare what two networks recognise.

    Args:
        model: Name of the earlier one.
        now: Whether this network recognises each image, (N,) bool.
        before: Whether the earlier one does.
        attributes: By name, the value of each image, empty where it is not known.
        gap: Least difference that counts.
        alpha: Chance of a false alarm over all groups together.
        least: Groups of fewer images are not compared.
    """
    groups = {EVERYONE: np.ones(len(now), dtype=bool)}
    for attribute, values in attributes.items():
        column = np.asarray(values, dtype=object)
        for value in sorted(set(column[column != ""])):
            inside = column == value
            if inside.sum() >= least:
                groups[f"{attribute} = {value}"] = inside
    p_values = holm([mcnemar_of(now[inside], before[inside]) for inside in groups.values()])
    changes = []
    for (name, inside), p in zip(groups.items(), p_values, strict=True):
        difference = paired_shares(now[inside], before[inside])
        changes.append(
            Change(
                name=name,
                images=int(inside.sum()),
                now=float(now[inside].mean()),
                before=float(before[inside].mean()),
                difference=difference,
                adjusted_p=p,
                status="found" if p < alpha and difference.value <= -gap else "nothing found",
            )
        )
    return Against(model=model, changes=tuple(changes))


def against_verdicts(against: Against | None, *, images: int) -> list[Verdict]:
    """Say which groups are recognised less often than before."""
    if against is None:
        return []
    verdicts = [
        Verdict(section="against", kind="found", harm=-each.difference.value * each.images / images, sentence=(
            f"{each.name}: worse than the earlier network, {each.now:.1%} of {each.images:,} images are recognised in "
            f"place of {each.before:.1%} ({points(each.difference)}, adjusted p = {each.adjusted_p:.2g})."
        ))
        for each in against.changes
        if each.status == "found"
    ]  # fmt: skip
    if not verdicts:
        verdicts.append(Verdict(section="against", kind="nothing", harm=0.0, sentence=(
            f"Against the earlier network: none of {len(against.changes)} groups is proven to be recognised less often "
            f"(all images: {points(against.changes[0].difference)})."
        )))  # fmt: skip
    return verdicts
