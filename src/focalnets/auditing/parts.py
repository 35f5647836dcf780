"""Which classes a network still recognises when something is taken from the picture, and what it calls nothing.

Axes: N images, K classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from focalnets.auditing.answers import Answers, Chosen, ask
from focalnets.auditing.statistics.averages import share_with_interval
from focalnets.auditing.statistics.tests import holm, mcnemar_of
from focalnets.auditing.treatments import blank_pictures, treatments
from focalnets.auditing.verdicts import Verdict
from focalnets.engine.forms import InferenceForm
from focalnets.intervals import Estimate, paired_shares, points
from focalnets.tasks.classify.task import Classify
from focalnets.tasks.running import predict, spec_at

__all__ = [
    "BlankAnswer",
    "ClassUnderTreatment",
    "Parts",
    "SurroundedClass",
    "Treated",
    "measure_parts",
    "parts_verdicts",
    "spread",
]

_MOST_NAMED = 5
"""Classes that one sentence names."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassUnderTreatment:
    """How many images of a class are still recognised, with the share and its 95 % interval."""

    name: str
    images: int
    right: int
    recall: Estimate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Treated:
    """What a change of all pictures does.

    Attributes:
        key, label: Which change; ``untouched`` is none.
        accuracy: Share that is recognised.
        change: Against the untouched pictures, with its 95 % interval.
        adjusted_p: McNemar's exact test, Holm's over all changes.
        named_most: The class that is named most often, and how often.
        classes: Class by class.
    """

    key: str
    label: str
    accuracy: float
    change: Estimate
    adjusted_p: float
    named_most: tuple[str, float]
    classes: tuple[ClassUnderTreatment, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SurroundedClass:
    """Whether the surroundings of a class tell more than its centre, which has as many pixels.

    Attributes:
        name: The class.
        images: How many of it were looked at.
        surroundings, centre: Share that is recognised from each alone.
        difference: Surroundings minus centre on the same images, with its 95 % interval.
        adjusted_p: McNemar's exact test, Holm's over all classes.
        found: Whether the adjusted p is below alpha and the difference at least the least gap.
    """

    name: str
    images: int
    surroundings: float
    centre: float
    difference: Estimate
    adjusted_p: float
    found: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlankAnswer:
    """What the network calls a picture that shows nothing."""

    picture: str
    name: str
    confidence: float
    none_of_the_classes: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """What a network needs of pictures.

    Attributes:
        images: How many were changed, spread evenly over all.
        treated: By change, the untouched pictures first.
        surrounded: Class by class.
        blanks: What it calls nothing.
    """

    images: int
    treated: tuple[Treated, ...]
    surrounded: tuple[SurroundedClass, ...]
    blanks: tuple[BlankAnswer, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)


def measure_parts(
    task: Classify,
    model: nn.Module,
    data: Any,
    answers: Answers,
    *,
    most: int,
    gap: float,
    alpha: float,
    size_px: int | None = None,
    batch_size: int | None = None,
    form: InferenceForm | None = None,
    on_progress: Callable[[int, str], None] | None = None,
) -> Parts:
    """Change pictures in all ways and ask again; what the network said of the untouched ones is known.

    Args:
        task: Of the network.
        model: The network.
        data: The images, with ``samples``.
        answers: Of the network to all of them.
        most: At most so many images are changed.
        gap: Least difference that counts.
        alpha: Chance of a false alarm over all classes together, and over all changes.
        size_px: Input size [px]; None takes the network's own.
        batch_size: Images at once.
        form: How the network is run.
        on_progress: Called with the number of changed images done, over all changes, and the change.
    """
    spec = spec_at(model, size_px)
    positions = np.array(spread(range(len(answers)), most))
    chosen = Chosen(data, [int(answers.indices[position]) for position in positions])
    labels, right = answers.labels[positions], {"untouched": answers.right[positions]}
    said = {"untouched": answers.predicted[positions]}
    names = {"untouched": "as they are"}
    for number, treatment in enumerate(treatments(spec)):
        before = number * len(chosen)

        def show(done: int, before: int = before, label: str = treatment.label) -> None:
            if on_progress is not None:
                on_progress(before + done, label)

        found = ask(
            task, model, chosen, size_px=max(1, round(spec.input_size_px * treatment.scale)), batch_size=batch_size,
            alter=treatment.alter, form=form, on_progress=show,
        )  # fmt: skip
        right[treatment.key], said[treatment.key], names[treatment.key] = found.right, found.predicted, treatment.label
    return Parts(
        images=len(chosen),
        treated=_treated(right, said, names, labels, answers.classes),
        surrounded=_surrounded(right, labels, answers.classes, gap=gap, alpha=alpha),
        blanks=_blanks(task, model, size_px, form),
    )


def parts_verdicts(parts: Parts) -> list[Verdict]:
    """Say which classes live on their surroundings or colours, and what is named where there is nothing."""
    verdicts = [
        Verdict(section="parts", kind="found", harm=each.difference.value * each.images / parts.images, sentence=(
            f"'{each.name}' lives on its surroundings: with the centre removed {each.surroundings:.1%} of "
            f"{each.images:,} images are recognised, by the centre alone {each.centre:.1%} "
            f"({points(each.difference)})."
        ))
        for each in parts.surrounded
        if each.found
    ]  # fmt: skip
    if not verdicts:
        verdicts.append(Verdict(section="parts", kind="nothing", harm=0.0, sentence=(
            f"Surroundings: in none of {len(parts.surrounded)} classes do they tell more than the centre."
        )))  # fmt: skip
    verdicts += [_kept(parts, "surroundings", "With the centre removed"), _kept(parts, "grey", "In grey")]
    for rejected, start, end in (
        (False, "Where there is nothing the network names a class all the same: ", "."),
        (True, "Where there is nothing the network would name ", ", and says that it is none of its classes."),
    ):
        blanks = [blank for blank in parts.blanks if blank.none_of_the_classes == rejected]
        if blanks:
            shown = ", ".join(f"{blank.picture}: '{blank.name}' ({blank.confidence:.0%})" for blank in blanks)
            verdicts.append(_note(f"{start}{shown}{end}"))
    return verdicts


def _note(sentence: str) -> Verdict:
    return Verdict(section="parts", kind="note", harm=0.0, sentence=sentence)


def _kept(parts: Parts, key: str, change: str) -> Verdict:
    """Name the classes that keep half of their recall under a change and those that do not, the clearest first."""
    before = {each.name: each.recall.value for each in parts.treated[0].classes if each.right}
    (treated,) = (each for each in parts.treated if each.key == key)
    left = {each.name: each.recall.value for each in treated.classes if each.name in before}
    order = sorted(left, key=lambda name: left[name] / before[name])
    lose = [name for name in order if left[name] < before[name] / 2]
    keep = [name for name in reversed(order) if name not in lose]

    def listed(names: Sequence[str]) -> str:
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        return ", ".join(f"'{name}' ({before[name]:.0%} to {left[name]:.0%})" for name in names[:_MOST_NAMED]) + more

    if not keep or not lose:
        return _note(f"{change} {'all classes keep' if keep else 'no class keeps'} at least half of the recall.")
    return _note(f"{change} these keep at least half of their recall: {listed(keep)}; these do not: {listed(lose)}.")


def spread(numbers: Sequence[int], most: int) -> list[int]:
    """Choose at most so many numbers evenly spread over all, which lie class by class."""
    count = len(numbers)
    return list(numbers) if count <= most else [numbers[place * count // most] for place in range(most)]


def _treated(
    right: Mapping[str, np.ndarray],
    said: Mapping[str, np.ndarray],
    names: Mapping[str, str],
    labels: np.ndarray,
    classes: Sequence[str],
) -> tuple[Treated, ...]:
    before = right["untouched"]
    keys = list(right)
    p_values = holm([mcnemar_of(right[key], before) for key in keys[1:]])
    treated = []
    for key, p in zip(keys, [1.0, *p_values], strict=True):
        counts = np.bincount(said[key], minlength=len(classes))
        treated.append(
            Treated(
                key=key,
                label=names[key],
                accuracy=float(right[key].mean()),
                change=paired_shares(right[key], before),
                adjusted_p=p,
                named_most=(classes[int(counts.argmax())], float(counts.max() / counts.sum())),
                classes=tuple(_class(classes[each], right[key][labels == each]) for each in np.unique(labels)),
            )
        )
    return tuple(treated)


def _class(name: str, right: np.ndarray) -> ClassUnderTreatment:
    return ClassUnderTreatment(name=name, images=len(right), right=int(right.sum()), recall=share_with_interval(right))


def _surrounded(
    right: Mapping[str, np.ndarray], labels: np.ndarray, classes: Sequence[str], *, gap: float, alpha: float
) -> tuple[SurroundedClass, ...]:
    pairs = [
        (classes[each], right["surroundings"][labels == each], right["centre"][labels == each])
        for each in np.unique(labels)
    ]
    p_values = holm([mcnemar_of(one, other) for _, one, other in pairs])
    return tuple(
        SurroundedClass(
            name=name,
            images=len(one),
            surroundings=float(one.mean()),
            centre=float(other.mean()),
            difference=(apart := paired_shares(one, other)),
            adjusted_p=p,
            found=p < alpha and apart.value >= gap,
        )
        for (name, one, other), p in zip(pairs, p_values, strict=True)
    )


def _blanks(
    task: Classify, model: nn.Module, size_px: int | None, form: InferenceForm | None
) -> tuple[BlankAnswer, ...]:
    pictures = blank_pictures(spec_at(model, size_px))
    shown = list(pictures.values())
    results = predict(
        task, model, [Path(name) for name in pictures], shown.__getitem__, size_px=size_px, form=form
    )  # fmt: skip
    return tuple(
        BlankAnswer(
            picture=name,
            name=result.class_names[0],
            confidence=result.confidences[0],
            none_of_the_classes=result.is_none_of_the_classes,
        )
        for name, result in zip(pictures, results, strict=True)
    )
