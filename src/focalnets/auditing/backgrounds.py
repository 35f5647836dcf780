"""Does the background decide? Objects and backgrounds alone, and the same objects before other backgrounds.

Axes: N images whose object is known, S side of the picture as the network sees it [px], K classes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from focalnets.auditing.answers import Answers, ask
from focalnets.auditing.cutouts import Parted
from focalnets.auditing.statistics.averages import share_with_interval
from focalnets.auditing.statistics.discriminant import class_probabilities
from focalnets.auditing.statistics.pull import Pull, measure_pull
from focalnets.auditing.statistics.tests import holm, mcnemar_of
from focalnets.auditing.treatments import mean_colour
from focalnets.auditing.verdicts import Verdict
from focalnets.engine.forms import InferenceForm
from focalnets.intervals import Estimate, paired_shares, points
from focalnets.tasks.classify.task import Classify
from focalnets.tasks.running import spec_at

__all__ = [
    "BACKGROUND_PASSES",
    "Backgrounds",
    "ClassPull",
    "background_verdicts",
    "measure_backgrounds",
]

_VIEWS = {
    "untouched": "as it is",
    "object": "the object alone",
    "background": "the background alone",
    "same": "before a background of the same class",
    "other": "before a background of another class",
}

BACKGROUND_PASSES = len(_VIEWS) - 1
"""How often each image is asked about anew."""

_THUMBNAIL, _FOLDS = 4, 5
_MOST_EXAMPLES = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackgroundView:
    """How often objects are recognised in one kind of picture, with the 95 % interval."""

    key: str
    label: str
    recognised: Estimate


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassPull:
    """How far the backgrounds of one class pull objects of other classes towards it."""

    name: str
    pull: Pull
    adjusted_p: float
    found: bool


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Backgrounds:
    """What backgrounds do.

    Attributes:
        images: N, whose object is known and has a background.
        swapped: How many of them could be put before others: there is another image of their class, and another class.
        without: Images that were left out: no object is seen in them, or next to nothing else.
        views: Each kind of picture.
        data: How far the background tells the class in these data: the share guessed right from its colours alone, out
            of fold, and of the commonest class; their difference.
        answers: What the network says of backgrounds alone: share recognised minus that of the commonest class.
        pasting: What cutting out and pasting costs alone: before another background of the same class, against
            untouched.
        gap: BG-gap: before backgrounds of the same class minus of another one.
        gap_p, pull_p: Adjusted p of both, by Holm.
        pull: Of backgrounds of another class.
        gap_found, pull_found: Whether each is proven and at least the least gap.
        classes: Class by class, where there are enough pairs.
        examples: Rows of pictures (S, S, 3) in the order of ``views``.
    """

    images: int
    swapped: int
    without: int
    views: tuple[BackgroundView, ...]
    data: tuple[float, float, Estimate] | None
    answers: Estimate
    pasting: Estimate | None
    gap: Estimate | None
    gap_p: float
    pull: Pull | None
    pull_p: float
    gap_found: bool
    pull_found: bool
    classes: tuple[ClassPull, ...]
    examples: tuple[tuple[np.ndarray, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without pictures."""
        return dataclasses.asdict(dataclasses.replace(self, examples=()))


class _Made:
    """Labelled pictures that are put in place of these blanks."""

    def __init__(self, labels: Sequence[int]) -> None:
        self.labels = list(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.new("RGB", (1, 1)), self.labels[index]


def measure_backgrounds(
    task: Classify,
    model: nn.Module,
    parted: dict[int, Parted],
    answers: Answers,
    *,
    without: int,
    gap: float,
    alpha: float,
    least: int,
    seed: int = 0,
    size_px: int | None = None,
    batch_size: int | None = None,
    form: InferenceForm | None = None,
    on_progress: Callable[[int, str], None] | None = None,
) -> Backgrounds | None:
    """Ask about objects alone, backgrounds alone, and objects before other backgrounds.

    Args:
        task: Of the network.
        model: The network.
        parted: See :func:`focalnets.auditing.cutouts.take_apart`.
        answers: Of the network to the untouched images.
        without: How many images could not be taken apart.
        gap: Least difference that counts.
        alpha: Chance of a false alarm over gap and pull together, and over all classes.
        least: Fewer pairs are not compared.
        seed: Of who gets whose background.
        size_px: Input size [px]; None takes the network's own.
        batch_size: Images at once.
        form: How the network is run.
        on_progress: Called with the number of pictures done, over all kinds, and the kind.

    Returns:
        The figures; None where no image could be taken apart.
    """
    places = np.array([place for place, index in enumerate(answers.indices.tolist()) if index in parted], int)
    if not len(places):
        return None
    labels = answers.labels[places]
    parts = [parted[int(answers.indices[place])] for place in places]
    same, other = _donors(labels, seed)
    swapped = np.flatnonzero((same >= 0) & (other >= 0))
    spec = spec_at(model, size_px)
    plain = np.full_like(parts[0].background, mean_colour(spec))
    makers: dict[str, Callable[[int], np.ndarray]] = {
        "object": lambda place: parts[place].on(plain),
        "background": lambda place: parts[place].background,
        "same": lambda place: parts[place].on(parts[same[place]].background),
        "other": lambda place: parts[place].on(parts[other[place]].background),
    }
    said = {"untouched": answers.predicted[places]}
    done = 0

    def ask_all(key: str, make: Callable[[int], np.ndarray], chosen: np.ndarray) -> np.ndarray:
        return ask(
            task,
            model,
            _Made(labels[chosen].tolist()),
            size_px=size_px,
            batch_size=batch_size,
            form=form,
            alter=lambda _, index: Image.fromarray(make(int(chosen[index]))),
            on_progress=None if on_progress is None else functools.partial(_report, on_progress, done, _VIEWS[key]),
        ).predicted

    for key, make in makers.items():
        chosen = swapped if key in ("same", "other") else np.arange(len(places))
        said[key] = np.full(len(places), -1)
        if len(chosen):
            said[key][chosen] = ask_all(key, make, chosen)
        done += len(chosen)
    right = {key: values == labels for key, values in said.items()}
    pulls = _pulls(said, labels, other, swapped) if len(swapped) >= least else None
    gap_of = paired_shares(right["same"][swapped], right["other"][swapped]) if pulls is not None else None
    p_values = [1.0, 1.0]
    if pulls is not None:
        p_values = holm([mcnemar_of(right["same"][swapped], right["other"][swapped]), pulls.p])
    return Backgrounds(
        images=len(places),
        swapped=len(swapped),
        without=without,
        views=tuple(
            BackgroundView(key=key, label=label, recognised=share_with_interval(right[key][chosen]))
            for key, label in _VIEWS.items()
            if len(chosen := swapped if key in ("same", "other") else np.arange(len(places)))
        ),
        data=_told_by_data(parts, labels, seed),
        answers=paired_shares(right["background"], labels == np.bincount(labels).argmax()),
        pasting=paired_shares(right["same"][swapped], right["untouched"][swapped]) if len(swapped) else None,
        gap=gap_of,
        gap_p=p_values[0],
        pull=pulls,
        pull_p=p_values[1],
        gap_found=gap_of is not None and p_values[0] < alpha and gap_of.value >= gap,
        pull_found=pulls is not None and p_values[1] < alpha and pulls.value.value >= gap,
        classes=_by_class(said, labels, other, swapped, answers.classes, gap=gap, alpha=alpha, least=least),
        examples=tuple(
            (parts[place].picture, *(make(int(place)) for make in makers.values()))
            for place in swapped[:: max(1, len(swapped) // _MOST_EXAMPLES)][:_MOST_EXAMPLES]
        ),
    )


def background_verdicts(found: Backgrounds | None, *, images: int, least: int) -> list[Verdict]:
    """Say whether backgrounds decide: the data, the answers and the cause."""
    if found is None:
        return []
    if found.pull is None or found.gap is None:
        return [Verdict(section="backgrounds", kind="too few", harm=0.0, sentence=(
            f"Backgrounds: too few objects could be put before others ({found.swapped:,}); at least {least} are needed."
        ))]  # fmt: skip
    verdicts, pull = [], found.pull
    if found.pull_found:
        verdicts.append(Verdict(
            section="backgrounds", kind="found", harm=pull.value.value * found.images / images, sentence=(
                f"Backgrounds pull answers: before a background of another class {pull.given:.1%} of {pull.pairs:,} "
                f"objects are called what that class is called, before one of their own class {pull.elsewhere:.1%} of "
                f"the same objects ({points(pull.value)}, adjusted p = {found.pull_p:.2g})."
            ),
        ))  # fmt: skip
    if found.gap_found:
        verdicts.append(Verdict(
            section="backgrounds", kind="found", harm=found.gap.value * found.images / images, sentence=(
                f"Objects are recognised less often before a background of another class than of their own "
                f"({points(found.gap)}, on {found.swapped:,} objects, adjusted p = {found.gap_p:.2g})."
            ),
        ))  # fmt: skip
    for each in found.classes:
        if each.found:
            verdicts.append(Verdict(
                section="backgrounds", kind="found", harm=each.pull.value.value * each.pull.pairs / images, sentence=(
                    f"Backgrounds of '{each.name}' pull: {each.pull.given:.1%} of {each.pull.pairs:,} other objects "
                    f"are called so before them, {each.pull.elsewhere:.1%} elsewhere ({points(each.pull.value)})."
                ),
            ))  # fmt: skip
    if not verdicts:
        verdicts.append(Verdict(section="backgrounds", kind="nothing", harm=0.0, sentence=(
            f"Backgrounds: no pull found ({points(pull.value)}, on {pull.pairs:,} objects)."
        )))  # fmt: skip
    if found.pasting is not None and found.pasting.high < 0:
        verdicts.append(Verdict(section="backgrounds", kind="note", harm=0.0, sentence=(
            f"Cutting out and pasting alone changes how many objects are recognised ({points(found.pasting)}); pull "
            "and gap compare pasted pictures with each other."
        )))  # fmt: skip
    return verdicts


def _donors(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose for each image another one of its class, and one of another class, each class alike; -1 where none is."""
    random = np.random.default_rng([seed, 1])
    of_class = {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}
    same, other = np.full(len(labels), -1), np.full(len(labels), -1)
    for place, label in enumerate(labels.tolist()):
        own = of_class[label][of_class[label] != place]
        if len(own):
            same[place] = random.choice(own)
        others = [each for each in of_class if each != label]
        if others:
            other[place] = random.choice(of_class[others[int(random.integers(len(others)))]])
    return same, other


def _report(on_progress: Callable[[int, str], None], before: int, kind: str, count: int) -> None:
    on_progress(before + count, kind)


def _pulls(said: dict[str, np.ndarray], labels: np.ndarray, other: np.ndarray, chosen: np.ndarray) -> Pull:
    typical = labels[other[chosen]]
    return measure_pull(said["other"][chosen] == typical, said["same"][chosen] == typical)


def _by_class(
    said: dict[str, np.ndarray], labels: np.ndarray, other: np.ndarray, swapped: np.ndarray, classes: Sequence[str],
    *, gap: float, alpha: float, least: int,
) -> tuple[ClassPull, ...]:  # fmt: skip
    pulls = []
    for label in np.unique(labels).tolist():
        chosen = swapped[labels[other[swapped]] == label]
        if len(chosen) >= least:
            pulls.append((classes[label], _pulls(said, labels, other, chosen)))
    adjusted = holm([pull.p for _, pull in pulls])
    found = [
        ClassPull(name=name, pull=pull, adjusted_p=p, found=p < alpha and pull.value.value >= gap)
        for (name, pull), p in zip(pulls, adjusted, strict=True)
    ]
    return tuple(sorted(found, key=lambda each: -each.pull.value.value))


def _told_by_data(parts: Sequence[Parted], labels: np.ndarray, seed: int) -> tuple[float, float, Estimate] | None:
    """Guess classes from the colours of backgrounds, 4 x 4 of them."""
    _, compact = np.unique(labels, return_inverse=True)
    if len(labels) < 2 * _FOLDS or compact.max() == 0:
        return None
    small = np.stack(
        [
            np.asarray(Image.fromarray(each.background).resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)).ravel()
            for each in parts
        ]
    )
    guessed = class_probabilities(small.astype(np.float64), compact, folds=_FOLDS, seed=seed).argmax(1) == compact
    commonest = compact == np.bincount(compact).argmax()
    return float(guessed.mean()), float(commonest.mean()), paired_shares(guessed, commonest)
