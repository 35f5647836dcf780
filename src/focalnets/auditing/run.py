"""One audit: the images are read and asked about once, and every section takes what it needs of that."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from focalnets.auditing.against import against_verdicts, compare_with
from focalnets.auditing.amplification import PREDICTED, amplification_verdicts, find_amplification
from focalnets.auditing.answers import Answers, LookedAt, Relabelled, ask, require_classifier
from focalnets.auditing.attributes import Attributes, read_attributes
from focalnets.auditing.audited import Audit
from focalnets.auditing.backgrounds import BACKGROUND_PASSES, background_verdicts, measure_backgrounds
from focalnets.auditing.cutouts import Parted, take_apart
from focalnets.auditing.groups import find_gaps, group_verdicts
from focalnets.auditing.labels import find_suspicious_labels, label_verdicts
from focalnets.auditing.looks import MOST_LOOKED_AT, look
from focalnets.auditing.object_masks import open_object_masks
from focalnets.auditing.parts import measure_parts, parts_verdicts, spread
from focalnets.auditing.results import AuditSettings
from focalnets.auditing.samples import name_of
from focalnets.auditing.shortcuts import find_doubles, find_shortcuts, shortcut_verdicts
from focalnets.auditing.slices import Slice, find_slices, slice_verdicts
from focalnets.auditing.statistics.averages import share_with_interval
from focalnets.auditing.treatments import treatments
from focalnets.auditing.verdicts import Verdict, in_order
from focalnets.data.checks.properties import perceptual_hash
from focalnets.data.class_matching import match_classes
from focalnets.data.read_ahead import read_ahead
from focalnets.data.samples import Sample, read_stored_image
from focalnets.data.sources import open_images, read_split
from focalnets.data.transforms import framing
from focalnets.engine.accelerate import Precision
from focalnets.engine.forms import inference_form
from focalnets.errors import ConfigError, DataError, ImageError
from focalnets.models.config import Preprocessing
from focalnets.tasks.loading import OpenedData
from focalnets.tasks.running import spec_at
from focalnets.tasks.task import Task
from focalnets.tasks.trained import TrainedNetwork

__all__ = ["AuditProgress", "open_training_samples", "run_audit"]

AuditProgress = Callable[[int, int, str], None]
"""Takes the number of pictures looked at, over all passes, that of all, and what is being done."""

_HASHED_PX = 256


def open_training_samples(
    place: str | os.PathLike[str], classes: Sequence[str], *, split: Path | None = None
) -> list[Sample]:
    """Find the images that a network learnt from, with their class among the network's.

    Args:
        place: Folder, CSV file or shards.
        classes: Names of the network's classes.
        split: File of the run that says which of them it learnt from; None takes what the data says.

    Raises:
        DataError: If there are none, or they are of other classes.
    """
    found = open_images(os.fspath(place)) if split is None else read_split(split, root=os.fspath(place))
    index = match_classes(found.classes, classes, os.fspath(place))
    return [(file, index[found.classes[label]]) for file, label in found.train]


def run_audit(
    task: Task,
    model: nn.Module,
    opened: OpenedData,
    *,
    settings: AuditSettings,
    groups: str | os.PathLike[str] | None = None,
    masks: str | os.PathLike[str] | None = None,
    earlier: TrainedNetwork | None = None,
    trained_on: Sequence[Sample] = (),
    size_px: int | None = None,
    batch_size: int | None = None,
    skip_unreadable: bool = False,
    precision: Precision = "auto",
    source: str = "",
    on_progress: AuditProgress | None = None,
) -> Audit:
    """Audit a classifier on images that are open.

    Args:
        task: What the network is for.
        model: The network, on the device to use.
        opened: The images.
        settings: What counts as found.
        groups: CSV file of attributes.
        masks: Where the objects are.
        earlier: An earlier network of the same classes.
        trained_on: Images that the network learnt from.
        size_px: Input size; None takes the network's own.
        batch_size: Images at once.
        skip_unreadable: Leave damaged images out.
        precision: What is computed with.
        source: What the network was loaded from, in words.
        on_progress: See :data:`AuditProgress`.

    Raises:
        ConfigError: If the network does not name classes, or the images are not in files.
        DataError: If the table of groups does not fit, or an image cannot be read.
    """
    started = time.monotonic()
    classifier = require_classifier(task.for_model(model))
    spec = spec_at(model, size_px)
    data = LookedAt(classifier.for_evaluation(opened.data, spec))
    table = None if groups is None else read_attributes(groups)
    files = [file for file, _ in data.samples]
    if table is not None:
        table.of(files)  # before the work
    if earlier is not None:
        _require_classes(earlier, classifier.labels(model))
    objects = None
    if masks is not None and settings.most_changed:
        names = classifier.labels(model)
        objects = open_object_masks(masks, files, [names[label] for _, label in data.samples])
    changed = min(len(data), settings.most_changed)
    apart = [] if objects is None else spread(objects.numbers, settings.most_changed)
    asked = len(data) + len(treatments(spec)) * changed + BACKGROUND_PASSES * len(apart)
    read_again = len(apart) + min(len(apart), MOST_LOOKED_AT)
    asked += 0 if earlier is None else len(data)
    audited = set(files)
    trained_on = [sample for sample in trained_on if sample[0] not in audited]
    total = asked + len(trained_on) + read_again
    form = inference_form(model, precision, pixels=asked * spec.input_size_px**2)

    def show(before: int, words: str) -> Callable[[int], None]:
        return lambda done: None if on_progress is None else on_progress(before + done, total, words)

    answers = ask(
        classifier, model, data, size_px=size_px, batch_size=batch_size, skip_unreadable=skip_unreadable, form=form,
        on_progress=show(0, "asking about the images"), embed=True,
    )  # fmt: skip
    read = [int(index) for index in answers.indices]
    known = {} if table is None else table.of([files[index] for index in read])
    trained_looks = _hash_all(trained_on, show(len(data), "comparing with the images to train"))
    shortcuts = find_shortcuts(
        [data.properties[index] for index in read], answers.labels, answers.classes,
        gap=settings.gap, alpha=settings.alpha, seed=settings.seed,
    )  # fmt: skip
    other_classes, other_splits = find_doubles(
        [data.properties[index].looks for index in read], answers.labels.tolist(),
        [name_of(files[index]) for index in read], trained_looks,
    )  # fmt: skip
    compared = {name: values for name, values in known.items() if not name.startswith(PREDICTED)}
    found = find_gaps(answers, compared, gap=settings.gap, alpha=settings.alpha, least=settings.least)
    amplified = find_amplification(
        answers.labels, answers.predicted, known, training=_attributes_of_training(table, trained_on),
        gap=settings.gap, alpha=settings.alpha, least=settings.least, seed=settings.seed,
    )  # fmt: skip
    parts = None
    if settings.most_changed:
        before = len(data) + len(trained_on)
        parts = measure_parts(
            classifier, model, data.data, answers, most=settings.most_changed, gap=settings.gap, alpha=settings.alpha,
            size_px=size_px, batch_size=batch_size, form=form,
            on_progress=lambda done, words: show(before, words)(done),
        )  # fmt: skip
    before = len(data) + len(trained_on) + len(treatments(spec)) * (changed if settings.most_changed else 0)
    parted: dict[int, Parted] = {}
    backgrounds = None
    if objects is not None:
        apart = [number for number in apart if number in data.properties]
        parted = take_apart(data.data, objects, apart, spec, show(before, "taking objects and backgrounds apart"))
        before += len(apart)
        backgrounds = measure_backgrounds(
            classifier, model, parted, answers, without=len(apart) - len(parted), gap=settings.gap,
            alpha=settings.alpha, least=settings.least, seed=settings.seed, size_px=size_px, batch_size=batch_size,
            form=form, on_progress=lambda done, words: show(before, words)(done),
        )  # fmt: skip
        before += BACKGROUND_PASSES * len(apart)
    slices = find_slices(answers, gap=settings.gap, alpha=settings.alpha, least=settings.least, seed=settings.seed)
    suspicious = None
    if answers.embeddings is not None:
        suspicious = find_suspicious_labels(
            answers.embeddings, answers.labels, answers.classes, indices=read,
            names=[name_of(files[index]) for index in read], seed=settings.seed,
        )  # fmt: skip
    against = None
    if earlier is not None:
        then = _ask_earlier(
            earlier, data.data, answers, batch_size=batch_size, skip_unreadable=skip_unreadable,
            on_progress=show(before, "asking the earlier network"),
        )  # fmt: skip
        against = compare_with(
            earlier.source or earlier.origin, answers.right, then, compared,
            gap=settings.gap, alpha=settings.alpha, least=settings.least,
        )  # fmt: skip
    looks = look(
        model, data.data, answers, parted, compared, spec, seed=settings.seed,
        on_progress=show(total - min(len(apart), MOST_LOOKED_AT), "looking where the network looks"),
    )  # fmt: skip
    verdicts: list[Verdict] = [
        *group_verdicts(found, least=settings.least, images=len(answers)),
        *shortcut_verdicts(shortcuts, other_classes, other_splits, images=len(answers)),
        *([] if parts is None else parts_verdicts(parts)),
        *label_verdicts(suspicious),
        *background_verdicts(backgrounds, images=len(answers), least=settings.least),
        *slice_verdicts(slices, images=len(answers), looked=answers.embeddings is not None),
        *against_verdicts(against, images=len(answers)),
        *amplification_verdicts(amplified),
    ]
    return Audit(
        model=source or str(getattr(model, "origin", "")),
        data=opened.place,
        split=opened.split,
        images=len(answers),
        classes=answers.classes,
        accuracy=share_with_interval(answers.right),
        settings=settings,
        verdicts=in_order(verdicts),
        groups=tuple(found),
        unknown={name: sum(not value for value in values) for name, values in compared.items()},
        shortcuts=tuple(shortcuts),
        other_classes=other_classes,
        other_splits=other_splits,
        suspicious=suspicious,
        parts=parts,
        backgrounds=backgrounds,
        slices=tuple(slices),
        looks=looks,
        against=against,
        amplification=tuple(amplified),
        left_out=answers.left_out,
        notes=opened.notes,
        arithmetic=form.arithmetic,
        seconds=time.monotonic() - started,
        pictures={each.number: _pictures(data.data, answers, each, spec) for each in slices},
    )


def _hash_all(samples: Sequence[Sample], on_progress: Callable[[int], None]) -> list[tuple[int, str]]:
    """Read images to train for what they look like; those that cannot be read are left out."""

    def look(number: int) -> int:
        return perceptual_hash(read_stored_image(samples[number][0], smallest_side_px=_HASHED_PX))

    found = []
    for number, looks in read_ahead(look, len(samples), 64, catch=ImageError):
        if not isinstance(looks, ImageError):
            found.append((looks, name_of(samples[number][0])))
        on_progress(number + 1)
    return found


def _require_classes(earlier: TrainedNetwork, classes: Sequence[str]) -> None:
    """Raise ConfigError if an earlier network has other classes; their order does not matter."""
    names = earlier.labels
    if sorted(names) != sorted(classes):
        missing = [name for name in classes if name not in names] or list(names)
        raise ConfigError(
            f"the earlier network has other classes, e.g. not '{missing[0]}'; compare networks of the same classes."
        )


def _ask_earlier(
    earlier: TrainedNetwork, data: Any, answers: Answers, *, batch_size: int | None, skip_unreadable: bool,
    on_progress: Callable[[int], None],
) -> np.ndarray:  # fmt: skip
    """Ask an earlier network about the same images; returns whether it recognises each, (N,) bool."""
    names = earlier.labels
    task = require_classifier(earlier.task.for_model(earlier.network))
    numbers = [names.index(name) for name in answers.classes]
    labels = [numbers[label] for _, label in data.samples]
    form = inference_form(earlier.network, pixels=len(labels) * earlier.preprocessing.input_size_px**2)
    found = ask(
        task, earlier.network, Relabelled(task.for_evaluation(data, earlier.preprocessing), labels),
        batch_size=batch_size, skip_unreadable=skip_unreadable, form=form, on_progress=on_progress,
    )  # fmt: skip
    right = dict(zip(found.indices.tolist(), found.right.tolist(), strict=True))
    return np.array([right.get(index, False) for index in answers.indices.tolist()])


def _pictures(data: Any, answers: Answers, found: Slice, spec: Preprocessing) -> list[tuple[np.ndarray, str]]:
    """Show images of a slice as the network sees them, with what they are and are called."""
    crop, place_of = framing(spec), {index: place for place, index in enumerate(answers.indices.tolist())}
    shown = []
    for index in found.examples:
        label, said = (answers.classes[column[place_of[index]]] for column in (answers.labels, answers.predicted))
        words = f"'{label}'" if label == said else f"'{label}' called '{said}'"
        shown.append((np.asarray(crop(data[index][0])), words))
    return shown


def _attributes_of_training(
    table: Attributes | None, samples: Sequence[Sample]
) -> tuple[np.ndarray, Mapping[str, Sequence[str]]] | None:
    """Take classes and attributes of the images to train, if the table knows any of them."""
    if table is None or not samples:
        return None
    try:
        values = table.of([file for file, _ in samples])
    except DataError:
        return None  # The table is of the audited images alone.
    return np.array([label for _, label in samples]), values
