"""Do groups of images fare worse than others of the same classes?

A group is compared with the rest as if the rest had the group's classes: each image of the rest counts so that every
class weighs as much as in the group. Otherwise a group with many images of a hard class would look neglected.

Axes: N images, K classes.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from focalnets.auditing.answers import Answers
from focalnets.auditing.statistics.averages import mean_with_interval
from focalnets.auditing.statistics.power import detectable_gap
from focalnets.auditing.statistics.tests import holm, stratified_fisher
from focalnets.auditing.verdicts import Verdict
from focalnets.intervals import Estimate, difference, points

__all__ = ["Comparison", "Group", "compare_shares", "find_gaps", "group_verdicts"]

Status = Literal["found", "nothing found", "too few"]

_MOST_NAMED = 20
"""Groups of an attribute with too few images are named one by one up to so many."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """A share within a group beside that of the rest with the group's classes.

    Attributes:
        images: Images of the group whose class the rest has too; only these are compared.
        others: How many images the rest is worth, weighted so.
        share: Of the group.
        expected: Of the rest.
        gap: Group minus rest, with its 95 % interval; negative is worse.
        p: Of the exact test within classes that the group is no worse.
        p_better: The same that it is no better.
    """

    images: int
    others: float
    share: float
    expected: float
    gap: Estimate
    p: float
    p_better: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Images that share a value of an attribute.

    Attributes:
        attribute, value: Which.
        images: How many there are.
        accuracy: Share of them that is taken for what it is, classes as they come.
        recall: The same beside the rest; None where there are too few, or the rest has none of its classes. This alone
            decides.
        precision: Of what is taken for a class, the share that is of it, beside the rest with the same answers.
        overconfidence: Mean confidence minus accuracy, and its 95 % interval.
        adjusted_p: That it is no worse: Holm's, over all groups of all attributes.
        detectable: How much worse a group must be to be found with a chance of 80 %; None if nothing would be.
        better: Whether it fares better, by the same rules the other way round.
        status: ``found`` if the adjusted p is below alpha and it is worse by at least the least gap.
    """

    attribute: str
    value: str
    images: int
    accuracy: float
    recall: Comparison | None
    precision: Comparison | None
    overconfidence: Estimate
    adjusted_p: float | None
    detectable: float | None
    better: bool
    status: Status

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)


def compare_shares(right: np.ndarray, strata: np.ndarray, inside: np.ndarray, rest: np.ndarray) -> Comparison | None:
    """Compare how often something is right in a group and in the rest, stratum by stratum.

    Args:
        right: Booleans (N,).
        strata: Class of each image, (N,) whole numbers from 0.
        inside: The group, booleans (N,).
        rest: What it is compared with, booleans (N,).

    Returns:
        The comparison; None if they have no class in common.

    Source: direct standardisation; the effective number of weighted images after Kish, Survey sampling, 1965.
    """
    count = int(strata.max()) + 1
    own, others = (np.bincount(strata[chosen], minlength=count) for chosen in (inside, rest))
    shared = (own > 0) & (others > 0)
    if not shared.any():
        return None
    own_right, other_right = (np.bincount(strata[chosen & right], minlength=count)[shared] for chosen in (inside, rest))
    own, others = own[shared], others[shared]
    images = int(own.sum())
    weights = own / images
    expected = float((weights * other_right / others).sum())
    effective = float(1 / (weights**2 / others).sum())
    successes = int(own_right.sum())
    return Comparison(
        images=images,
        others=effective,
        share=successes / images,
        expected=expected,
        gap=difference(successes, images, min(expected * effective, effective), effective),
        p=stratified_fisher(own_right, own, own_right + other_right, own + others, "less"),
        p_better=stratified_fisher(own_right, own, own_right + other_right, own + others, "greater"),
    )


def find_gaps(
    answers: Answers, attributes: Mapping[str, Sequence[str]], *, gap: float, alpha: float, least: int
) -> list[Group]:
    """Compare every group with the other images whose value of the attribute is known.

    Args:
        answers: Of the network.
        attributes: By name, the value of each image in the order of ``answers``; empty where it is not known.
        gap: Least gap that counts.
        alpha: Chance of a false alarm over all groups together.
        least: Groups of fewer images are not compared.
    """
    right = answers.right
    groups: list[Group] = []
    tested: list[int] = []
    for attribute, values in attributes.items():
        kinds, column = np.unique(np.asarray(values, dtype=object), return_inverse=True)
        known = (kinds != "")[column]
        for number, value in enumerate(kinds):
            if not value:
                continue
            inside = column == number
            rest = known & ~inside
            enough = int(inside.sum()) >= least and rest.any()
            recall = compare_shares(right, answers.labels, inside, rest) if enough else None
            if recall is not None and recall.images < least:
                recall = None
            if recall is not None:
                tested.append(len(groups))
            groups.append(
                Group(
                    attribute=attribute,
                    value=value,
                    images=int(inside.sum()),
                    accuracy=float(right[inside].mean()),
                    recall=recall,
                    precision=None if recall is None else compare_shares(right, answers.predicted, inside, rest),
                    overconfidence=mean_with_interval(answers.confidences[inside] - right[inside], least=-1.0),
                    adjusted_p=None,
                    detectable=None,
                    better=False,
                    status="too few",
                )
            )
    comparisons = [recall for number in tested if (recall := groups[number].recall) is not None]
    worse, better = (holm([getattr(each, name) for each in comparisons]) for name in ("p", "p_better"))
    for number, recall, p, p_better in zip(tested, comparisons, worse, better, strict=True):
        groups[number] = dataclasses.replace(
            groups[number],
            adjusted_p=p,
            detectable=detectable_gap(
                recall.images, recall.expected, recall.others, alpha=alpha / len(tested), least=gap
            ),
            better=p_better < alpha and recall.gap.value >= gap,
            status="found" if p < alpha and recall.gap.value <= -gap else "nothing found",
        )
    return groups


def group_verdicts(groups: Sequence[Group], *, least: int, images: int) -> list[Verdict]:
    """Say of each attribute what was found, and what could have been."""
    verdicts = []
    few = collections.Counter(group.attribute for group in groups if group.recall is None)
    for attribute, count in few.items():
        if count > _MOST_NAMED:
            verdicts.append(Verdict(section="groups", kind="too few", harm=0.0, sentence=(
                f"{attribute}: {count:,} groups have too few images to tell; at least {least} of classes that others "
                "have too are needed."
            )))  # fmt: skip
    for group in groups:
        recall = group.recall
        if recall is None and few[group.attribute] > _MOST_NAMED:
            continue
        name = f"{group.attribute} = {group.value}"
        if recall is None:
            verdicts.append(Verdict(section="groups", kind="too few", harm=0.0, sentence=(
                f"{name}: too few images to tell ({group.images:,}); at least {least} of classes that others have too "
                "are needed."
            )))  # fmt: skip
        elif group.status == "found":
            verdicts.append(Verdict(
                section="groups", kind="found", harm=-recall.gap.value * recall.images / images, sentence=(
                    f"{name} fares worse: {recall.share:.1%} of its {recall.images:,} images are recognised, but "
                    f"{recall.expected:.1%} of others of the same classes ({points(recall.gap)}, adjusted p = "
                    f"{group.adjusted_p:.2g})."
                ),
            ))  # fmt: skip
    for attribute in dict.fromkeys(group.attribute for group in groups):
        own = [group for group in groups if group.attribute == attribute and group.recall is not None]
        worse = [group for group in own if group.status == "found"]
        better = [group for group in own if group.better and group.recall]
        if better and not worse:
            names = ", ".join(group.value for group in better)
            verdicts.append(Verdict(section="groups", kind="note", harm=0.0, sentence=(
                f"{attribute}: {names} fares better than the rest ({points(better[0].recall.gap)}); no single other "  # type: ignore[union-attr]
                "group is proven to fare worse."
            )))  # fmt: skip
        if own and not worse and not better:
            seen = [group.detectable for group in own]
            words = (
                "some of its groups are too small for any gap to be seen"
                if any(each is None for each in seen)
                else f"a gap of {100 * max(each for each in seen if each is not None):.0f} points in any of its "
                f"{len(own)} groups would have been seen with 80 %"
            )
            verdicts.append(
                Verdict(section="groups", kind="nothing", harm=0.0, sentence=f"{attribute}: nothing found; {words}.")
            )
    return verdicts
