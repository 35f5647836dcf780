"""Findings about annotated images: what is wrong with boxes, masks and classes, and sizes that suit the objects.

Axes: N objects.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from focalnets.data.annotated.images import IGNORED, AnnotatedImages, DenseTask
from focalnets.data.annotated.objects import Box
from focalnets.data.annotated.parts import Parts, common_categories, sorted_by_fitness
from focalnets.data.annotated.problems import Problem, Problems
from focalnets.data.annotated.splits import divided
from focalnets.data.annotated.training import recognise_annotations
from focalnets.data.checks.anchors import AnchorProposal, object_sizes, propose_anchors
from focalnets.data.checks.findings import Finding, Severity
from focalnets.errors import DataError, FocalNetsError, quoted_list
from focalnets.models.config import WholeImage

__all__ = ["AnnotationCheck", "check_annotations"]

_OUTSIDE_PX = 1.0
_SAME_PX = 0.5
_MOST_BESIDE = 500
"""Boxes whose left edges lie together are compared with so many of them."""
_FEW_OBJECTS = 10
_VAL_FRACTION = 0.2
_USUAL_SIZE_PX = 256

_SENTENCES: dict[str, tuple[Severity, str, str]] = {
    "unreadable": ("error", "images or annotations cannot be read", "repair or remove them, or use --skip_unreadable"),
    "broken-annotation": ("error", "annotations are not as the format has them", "correct or remove them"),
    "unknown-category": ("error", "annotations are of classes that are not listed", "list these classes"),
    "annotation-without-image": (
        "error",
        "annotations belong to no image that is there",
        "add the images or remove them",
    ),
    "another-size": (
        "error",
        "images are of another size than the annotations say",
        "use the images that were annotated",
    ),
    "image-without-annotation": ("note", "images are not annotated and not used", "annotate them, or leave them out"),
    "no-object": ("note", "images show no object; they count as background", "check that none was forgotten"),
    "outside": ("warning", "boxes reach out of their image", "cut them off at the border"),
    "no-area": ("warning", "objects have no area and are left out", "remove or correct them"),
    "duplicate": ("warning", "objects are annotated twice: the same class and box", "keep one of each"),
}
"""Severity, what was found and what to do about each kind."""


@dataclasses.dataclass(frozen=True, eq=False)
class AnnotationCheck:
    """What is known of annotated data.

    Attributes:
        format: Of the annotations.
        task: For which they were opened.
        images: Number of images of each part.
        classes: Names of the classes.
        objects: Number of objects of each class in each part; of ground and of pixels, of images with it.
        findings: What is wrong or odd, the gravest first.
        anchors: Sizes that suit the boxes; None where there are no boxes.
    """

    format: str
    task: DenseTask
    images: dict[str, int]
    classes: tuple[str, ...]
    objects: dict[str, dict[str, int]]
    findings: tuple[Finding, ...]
    anchors: AnchorProposal | None


def check_annotations(place: str | Path, task: DenseTask | None = None) -> AnnotationCheck:
    """Read all annotations of a place and say what is wrong with them; photos are not decoded.

    Args:
        place: As in :func:`focalnets.data.annotated.training.open_annotated_training`.
        task: For which they are opened; None takes ``detect`` where that is possible.

    Raises:
        DataError: If there are none, or they cannot be opened at all.
    """
    problems = Problems(collect=True)
    found = recognise_annotations(place)
    if not found:
        raise DataError(f"'{place}' holds no annotations of objects or pixels that are known.")
    chosen = task or ("detect" if any("detect" in each.tasks for each in found) else sorted(found[0].tasks)[0])
    fitting = sorted_by_fitness(found, chosen)
    if not fitting:
        raise DataError(f"'{place}' cannot train {chosen}.")
    opened = common_categories(fitting[0].open(chosen, problems), place)
    parts = {str(part or "all"): images for part, images in opened.items()}
    categories = next(iter(parts.values())).categories if parts else ()
    mapped = chosen in ("semantic", "panoptic") and all(images.maps for images in opened.values())
    things = [each.name for each in categories if not mapped or (chosen == "panoptic" and each.thing)]
    counts = {part: _look(images, part, problems, things) for part, images in parts.items()}
    names = tuple(category.name for category in categories)
    of_classes = _of_classes(counts, names, things)
    findings = [*_of_problems(problems.found), *of_classes]
    order = {"error": 0, "warning": 1, "note": 2}
    return AnnotationCheck(
        format=fitting[0].format,
        task=chosen,
        images={part: len(images) for part, images in parts.items()},
        classes=names,
        objects={part: {name: count.get(name, 0) for name in names} for part, count in counts.items()},
        findings=tuple(sorted(findings, key=lambda finding: order[finding.severity])),
        anchors=_anchors(opened, place),
    )


def _anchors(parts: Parts, place: str | Path) -> AnchorProposal | None:
    """Propose what a training with the usual settings would choose, from the images that it would train on."""
    if sum(map(len, parts.values())) < 2 or not any("detect" in images.kinds for images in parts.values()):
        return None
    objects = object_sizes(divided(parts, _VAL_FRACTION, 0, place)[0])
    return propose_anchors(objects, WholeImage(input_size_px=_USUAL_SIZE_PX)) if len(objects.boxes) else None


def _look(images: AnnotatedImages, part: str, problems: Problems, things: Sequence[str]) -> collections.Counter[str]:
    """Read the annotations of a part, note what is odd, and count objects, of other classes images that show them."""
    counts: collections.Counter[str] = collections.Counter()
    for number, name in enumerate(images.names):
        try:
            annotated = images.annotation(number)
            known = annotated.objects
            if len(things) < len(images.categories) and annotated.semantic is not None:
                labels = np.unique(annotated.semantic)
                shown = {images.categories[label].name for label in labels[labels != IGNORED]}
                counts.update(shown - {*things})
        except FocalNetsError as error:
            problems.add("unreadable", f"{part}:{name}", str(error))
            continue
        if not known and things:
            problems.add("no-object", f"{part}:{name}", "")
        width, height = annotated.size
        boxes: dict[str, list[Box]] = collections.defaultdict(list)
        for thing in known:
            left, top, right, bottom = thing.box_xyxy
            counts[thing.category.name] += 1
            if right <= left or bottom <= top:
                problems.add("no-area", f"{part}:{name}", "")
                continue
            if min(left, top) < -_OUTSIDE_PX or right > width + _OUTSIDE_PX or bottom > height + _OUTSIDE_PX:
                problems.add("outside", f"{part}:{name}", "")
            boxes[thing.category.name].append(thing.box_xyxy)
        for _ in range(sum(map(_repeated, boxes.values()))):
            problems.add("duplicate", f"{part}:{name}", "")
    return counts


def _repeated(boxes: Sequence[Box]) -> int:
    """Count the boxes that lie where another one of them lies."""
    ordered = np.array(sorted(boxes))
    again = np.zeros(len(ordered), dtype=bool)
    for step in range(1, min(len(ordered), _MOST_BESIDE + 1)):
        change = np.abs(ordered[step:] - ordered[:-step])
        again[step:] |= change.max(axis=1) < _SAME_PX
        if (change[:, 0] >= _SAME_PX).all():  # Those further on lie further to the right still.
            break
    return int(again.sum())


def _of_problems(problems: Sequence[Problem]) -> Iterable[Finding]:
    by_kind: dict[str, list[Problem]] = collections.defaultdict(list)
    for problem in problems:
        by_kind[problem.kind].append(problem)
    for kind, same in by_kind.items():
        severity, message, advice = _SENTENCES[kind]
        said = next((problem.sentence.rstrip(".") for problem in same if problem.sentence), None)
        yield Finding(
            kind=kind,
            severity=severity,
            count=len(same),
            message=message if said is None else f"{message}, e.g. {said}",
            advice=advice,
            examples=tuple(dict.fromkeys(problem.name for problem in same)),
        )


def _of_classes(
    counts: dict[str, collections.Counter[str]], names: Sequence[str], things: Sequence[str]
) -> Iterable[Finding]:
    """Look at how often each class comes; of ``things`` objects are counted, of others images that show them."""
    for part, count in counts.items():
        others = [other for other in counts if other != part]
        alone = [name for name in names if count[name] and others and not any(counts[each][name] for each in others)]
        if alone:
            yield Finding(
                kind=f"only-in-{part}",
                severity="warning" if part == "train" or not things else "error",
                count=len(alone),
                message=f"classes are in {part} only: {quoted_list(alone)}",
                advice=f"put images of them into {' and '.join(others)} too, or remove them",
                examples=tuple(alone),
            )
    total = sum(counts.values(), collections.Counter())
    unused = [name for name in names if not total[name]]
    if unused:
        yield Finding(
            kind="unused-classes",
            severity="note",
            count=len(unused),
            message=f"classes never come: {quoted_list(unused)}",
            advice="nothing can be learnt of them; remove them or annotate some",
            examples=tuple(unused),
        )
    few = [name for name in things if 0 < total[name] < _FEW_OBJECTS]
    if few:
        yield Finding(
            kind="few-objects",
            severity="warning",
            count=len(few),
            message=f"classes have fewer than {_FEW_OBJECTS} objects: {quoted_list(few)}",
            advice="annotate more, or merge classes",
            examples=tuple(few),
        )
