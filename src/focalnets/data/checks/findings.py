"""What is wrong or odd about a data set, and what to do about each finding."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from focalnets.data.checks.inspection import InspectedImage, near_pairs
from focalnets.errors import quoted_list

__all__ = ["Finding", "find_problems"]

Severity = Literal["error", "warning", "note"]
"""``error`` = stops training; ``warning`` = worsens the result or falsifies the accuracy; ``note`` = good to know."""

_TINY_CLASS = 10
_IMBALANCE = 10.0
_EXTREME_ASPECT = 4.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One kind of problem.

    Attributes:
        kind: A short stable name.
        severity: See :data:`Severity`.
        count: How many images, groups or classes it concerns.
        message: What was found.
        advice: What to do.
        examples: Names of the images or classes; those that belong together joined by " = ".
    """

    kind: str
    severity: Severity
    count: int
    message: str
    advice: str
    examples: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self) | {"examples": list(self.examples)}


def find_problems(images: Sequence[InspectedImage], classes: Sequence[str], input_size_px: int = 128) -> list[Finding]:
    """Draw findings from the rows of :func:`focalnets.data.checks.inspection.inspect_images`, the gravest first.

    Args:
        images: The rows.
        classes: Names of the classes.
        input_size_px: Size that the network will see [px]; smaller images are named.
    """
    whole = [image for image in images if image.error is None]
    found = [*_unreadable(images), *_classes(images, classes), *_exact(whole), *_near(whole)]
    found += _shapes(whole, input_size_px)
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda finding: order[finding.severity])


def _unreadable(images: Sequence[InspectedImage]) -> Iterable[Finding]:
    broken = [image for image in images if image.error is not None]
    if broken:
        yield Finding(
            kind="unreadable",
            severity="error",
            count=len(broken),
            message=f"images cannot be read, e.g. {broken[0].error}",
            advice="save or fetch them again, remove them, or train with --skip_unreadable",
            examples=tuple(image.name for image in broken),
        )


def _classes(images: Sequence[InspectedImage], classes: Sequence[str]) -> Iterable[Finding]:
    counts = {
        side: collections.Counter(image.label for image in images if image.side == side) for side in ("train", "val")
    }
    for side, other in (("train", "val"), ("val", "train")):
        alone = [classes[label] for label in sorted(counts[side]) if label not in counts[other]]
        if alone:
            yield Finding(
                kind=f"only-in-{side}",
                severity="error" if side == "val" else "warning",
                count=len(alone),
                message=f"classes are in {side} only: {quoted_list(alone)}",
                advice=f"put images of them into {other}, or remove them",
                examples=tuple(alone),
            )
    train = counts["train"]
    tiny = [classes[label] for label in sorted(train) if train[label] < _TINY_CLASS]
    if tiny:
        yield Finding(
            kind="tiny-classes",
            severity="warning",
            count=len(tiny),
            message=f"classes have fewer than {_TINY_CLASS} images to train: {quoted_list(tiny)}",
            advice="collect more, merge classes, or start from --pretrained weights",
            examples=tuple(tiny),
        )
    if train and max(train.values()) > _IMBALANCE * min(train.values()):
        most, least = train.most_common()[0], train.most_common()[-1]
        yield Finding(
            kind="imbalance",
            severity="warning",
            count=len(train),
            message=f"'{classes[most[0]]}' has {most[1]:,} images to train, '{classes[least[0]]}' only {least[1]:,}",
            advice="train with --class_balance 0.5 (1 shows all classes equally often)",
            examples=(classes[most[0]], classes[least[0]]),
        )


def _exact(images: Sequence[InspectedImage]) -> Iterable[Finding]:
    groups: dict[str, list[InspectedImage]] = collections.defaultdict(list)
    for image in images:
        groups[image.sha256].append(image)
    same = [group for group in groups.values() if len(group) > 1]
    yield from _duplicates("duplicates", "files are the same, byte for byte", same, certain=True)
    contradicting = [group for group in same if len({image.label for image in group}) > 1]
    if contradicting:
        yield Finding(
            kind="contradicting-labels",
            severity="warning",
            count=len(contradicting),
            message="groups of the same file lie in several classes",
            advice="keep each in the one class that is right",
            examples=_joined(contradicting),
        )


def _near(images: Sequence[InspectedImage]) -> Iterable[Finding]:
    """Pairs that look alike by the perceptual hash but are other files."""
    pairs = [
        [images[one], images[other]]
        for one, other in near_pairs([image.looks for image in images])
        if images[one].sha256 != images[other].sha256
    ]
    yield from _duplicates("near-duplicates", "pictures look alike (perceptual hash)", pairs, certain=False)


def _duplicates(kind: str, words: str, groups: Sequence[list[InspectedImage]], *, certain: bool) -> Iterable[Finding]:
    across = [group for group in groups if len({image.side for image in group}) > 1]
    inside = [group for group in groups if len({image.side for image in group}) == 1]
    look = "" if certain else "look at them; "
    if across:
        yield Finding(
            kind=f"{kind}-across",
            severity="warning",
            count=len(across),
            message=f"groups of {words} and lie in train and val: the accuracy on val is too high",
            advice=f"{look}remove them from one side",
            examples=_joined(across),
        )
    if inside:
        yield Finding(
            kind=f"{kind}-inside",
            severity="warning" if certain else "note",
            count=len(inside),
            message=f"groups of {words} on one side",
            advice=f"{look}keep one of each",
            examples=_joined(inside),
        )


def _shapes(images: Sequence[InspectedImage], input_size_px: int) -> Iterable[Finding]:
    def finding(
        kind: str, severity: Severity, chosen: list[InspectedImage], message: str, advice: str
    ) -> Iterable[Finding]:
        if chosen:
            names = tuple(image.name for image in chosen)
            yield Finding(
                kind=kind, severity=severity, count=len(chosen), message=message, advice=advice, examples=names
            )

    yield from finding(
        "small", "warning", [image for image in images if min(image.width, image.height) < input_size_px / 2],
        f"images have a side below {input_size_px // 2} px and are enlarged more than twice",
        "fetch larger ones, or train with a smaller --image_size",
    )  # fmt: skip
    yield from finding(
        "large", "note", [image for image in images if image.width * image.height > 25_000_000],
        "images have more than 25 megapixels, which are slow to read",
        "make them smaller once before training",
    )  # fmt: skip
    aspects = [(max(image.width, image.height) / min(image.width, image.height), image) for image in images]
    yield from finding(
        "extreme-aspect", "warning", [image for aspect, image in aspects if aspect > _EXTREME_ASPECT],
        f"images are more than {_EXTREME_ASPECT:g} times as long as wide; the network sees their middle only",
        "cut them into pieces or crop them",
    )  # fmt: skip
    grey = [image for image in images if image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16")]
    uneven = bool(grey) and len(grey) < len(images)
    yield from finding(
        "greyscale", "note", grey, "images are grey; they are read as RGB with three equal channels",
        "check that no class is grey alone, or the network learns that" if uneven else "nothing to do",
    )  # fmt: skip
    yield from finding(
        "cmyk", "note", [image for image in images if image.mode in ("CMYK", "YCCK")],
        "images are CMYK; their colours are converted without a profile", "save them as RGB if colours matter",
    )  # fmt: skip
    yield from finding(
        "few-bits", "warning", [image for image in images if image.few_bits],
        "images have 16 bits but use no more than 12 of them, and are read nearly black",
        "save them with their full range, or with the largest value as SMaxSampleValue (TIFF) or sBIT (PNG)",
    )  # fmt: skip
    yield from finding(
        "animated", "note", [image for image in images if image.frames > 1],
        "files hold several pictures, of which the first is used", "save the picture that you mean on its own",
    )  # fmt: skip


def _joined(groups: Iterable[list[InspectedImage]]) -> tuple[str, ...]:
    return tuple(" = ".join(f"{image.side}:{image.name}" for image in group) for group in groups)
