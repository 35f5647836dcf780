"""Measuring in several passes, and everything about it in one folder and one page, for every task."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from focalnets.data.corruptions import check_corruptions
from focalnets.data.labelled import LabelledData
from focalnets.engine.accelerate import Precision
from focalnets.engine.forms import inference_form, plain_form
from focalnets.errors import ConfigError
from focalnets.files import listed, write_json, write_text
from focalnets.large.looking import LargeOptions
from focalnets.large.plan import Plan
from focalnets.models.config import Preprocessing
from focalnets.models.memory import check_memory
from focalnets.report.names import without_folders
from focalnets.report.page import write_page
from focalnets.report.parts import Bullets, Details, Facts, Opening, Paragraph, Part, Section
from focalnets.tasks.evaluation import EvaluationReport, size_in_words, spec_of
from focalnets.tasks.large_evaluation import evaluate_large
from focalnets.tasks.robustness import evaluate_corruptions, evaluate_resolutions
from focalnets.tasks.running import evaluate, require_positive, spec_at
from focalnets.tasks.study_sections import (
    corruptions_section,
    draw_corruptions,
    draw_resolutions,
    resolutions_section,
)
from focalnets.tasks.task import Task
from focalnets.version import __version__

__all__ = ["EvaluationReport", "OnProgress", "evaluate_in_passes", "evaluation_files", "write_evaluation"]

_STUDY_FILES = ("resolutions.csv", "resolutions.png", "corruptions.csv", "corruptions.png")

OnProgress = Callable[[int, int, str], None]
"""Takes the number of inputs done over all passes, the number of all, and what is measured just now."""


def evaluate_in_passes(
    task: Task,
    model: nn.Module,
    data: LabelledData,
    *,
    place: str,
    size_px: int | None = None,
    resolutions_px: Sequence[int] = (),
    corruptions: Sequence[str] = (),
    severities: Sequence[int] = (1, 3, 5),
    seed: int = 0,
    batch_size: int | None = None,
    skip_unreadable: bool = False,
    precision: Precision = "auto",
    on_progress: OnProgress | None = None,
    look: LargeOptions | None = None,
    folder: str | os.PathLike[str] | None = None,
    on_plan: Callable[[str, Plan], None] | None = None,
) -> EvaluationReport:
    """Measure a network, then at other sizes and on corrupted pictures where these are asked for.

    Everything is checked before the first pass: a mistake must not show after an hour.

    Args:
        task: What the network is for.
        model: The network, on the device to use.
        data: What to measure on.
        place: Where the data comes from, in words.
        size_px: Input size; None takes the network's own.
        resolutions_px: One or several further input sizes, one pass each.
        corruptions: One or several names of corruptions, one pass for each of them and of the severities.
        severities: From 1 to 5.
        seed: Of the noise in corrupted pictures.
        batch_size: Inputs the network sees at once; None takes the task's usual number.
        skip_unreadable: Leave damaged inputs out instead of refusing.
        precision: What is computed with, see :func:`focalnets.engine.forms.inference_form`.
        on_progress: See :data:`OnProgress`.
        look: Measure images at the size that they have, in one pass; see
            :func:`focalnets.tasks.large_evaluation.evaluate_large`, also for what follows.
        folder: Where files lie meanwhile.
        on_plan: Takes what an image will take.

    Raises:
        ConfigError, UnknownNameError: If a number or a name is out of range, something does not fit ``look``, or the
            network cannot be run so.
        BackendUnavailableError: If this machine cannot compute with that precision.
        DataError, CheckpointError: As :func:`focalnets.tasks.running.evaluate`.
    """
    sizes = sorted(set(listed(resolutions_px)))
    if sizes or listed(corruptions) or look is not None:
        task.require_images("measuring at other sizes, on corruptions or by tiles")
    if look is not None:
        if size_px is not None or sizes or listed(corruptions):
            raise ConfigError(
                "context measures images at the size that they have; leave size, resolutions and corruptions out."
            )
        if precision not in ("auto", "float32"):
            raise ConfigError(f"context computes in float32; leave precision {precision} out, or context.")
        evaluation = evaluate_large(
            task, model, data, look, folder=folder, skip_unreadable=skip_unreadable, on_plan=on_plan,
            on_progress=None if on_progress is None else lambda done: on_progress(done, len(data), look.context),
        )  # fmt: skip
        return EvaluationReport(
            task=task.name, evaluation=evaluation, dataset=data, data=place, arithmetic=plain_form(model).arithmetic
        )
    batch_size = task.usual_batch if batch_size is None else batch_size
    require_positive(batch_size=batch_size)
    for size in sizes:
        if size < 1:
            raise ConfigError(f"resolutions must be whole numbers of pixels from 1 up, got {size}.")
        check_memory(model, spec_at(model, size).size, min(batch_size, len(data)))
    names, strengths = tuple(dict.fromkeys(listed(corruptions))), tuple(listed(severities))
    if names:
        check_corruptions(names, strengths, seed)
    inputs = len(data)
    passes = 1 + len(sizes) + len(names) * len(set(strengths))

    def after(before: int) -> Callable[[int, str], None] | None:
        if on_progress is None:
            return None
        return lambda done, name: on_progress(
            before * inputs + done, passes * inputs, f"pass {before + (done - 1) // inputs + 1} of {passes}: {name}"
        )

    form = inference_form(model, precision, pixels=passes * inputs * spec_at(model, size_px).size ** 2)
    first = after(0)
    evaluation = evaluate(
        task,
        model,
        data,
        batch_size=batch_size,
        size_px=size_px,
        skip_unreadable=skip_unreadable,
        form=form,
        on_progress=None if first is None else lambda done: first(done, "as they are"),
    )
    shared: dict[str, Any] = {"batch_size": batch_size, "skip_unreadable": skip_unreadable, "form": form}
    resolutions = corrupted = None
    if sizes:
        resolutions = evaluate_resolutions(task, model, data, sizes, on_progress=after(1), **shared)
    if names:
        corrupted = evaluate_corruptions(
            task,
            model,
            data,
            names,
            strengths,
            seed=seed,
            size_px=size_px,
            on_progress=after(1 + len(sizes)),
            **shared,
        )
    return EvaluationReport(
        task=task.name,
        evaluation=evaluation,
        dataset=data,
        data=place,
        arithmetic=form.arithmetic,
        resolutions=resolutions,
        corruptions=corrupted,
    )


def evaluation_files(task: Task) -> tuple[str, ...]:
    """Name all files that :func:`write_evaluation` may write or remove."""
    return ("evaluation.json", "report.html", *task.files, *task.optional_files, *_STUDY_FILES)


def write_evaluation(task: Task, report: EvaluationReport, folder: str | Path) -> list[str]:
    """Write figures as JSON and CSV, pictures as PNG and ``report.html`` with all of it; returns the files' names.

    Files that an earlier evaluation left there and that this one has nothing for are removed, so that no figures of two
    evaluations stand side by side.
    """
    folder = Path(folder)
    watched, clean = task.metric_labels[task.watch.metric], report.evaluation.figures()
    write_json(folder / "evaluation.json", report.to_dict())
    names = ["evaluation.json", *task.write_files(report, folder)]
    if report.resolutions is not None:
        write_text(folder / "resolutions.csv", report.resolutions.to_csv())
        draw_resolutions(report.resolutions, task.metric_labels, folder / "resolutions.png")
        names += ["resolutions.csv", "resolutions.png"]
    if report.corruptions is not None:
        write_text(folder / "corruptions.csv", report.corruptions.to_csv())
        draw_corruptions(report.corruptions, clean, watched, folder / "corruptions.png")
        names += ["corruptions.csv", "corruptions.png"]
    for name in {*_STUDY_FILES, *task.optional_files} - set(names):
        (folder / name).unlink(missing_ok=True)
    write_page(
        folder / "report.html",
        title=f"How well a network does: {task.name}",
        opening=_opening(task, report),
        sections=[*task.sections(report), *_study_sections(task, report)],
        footer=_footer(report),
    )
    return [*names, "report.html"]


def _opening(task: Task, report: EvaluationReport) -> list[Part]:
    evaluation = report.evaluation
    network = without_folders(evaluation.model) or "A network"
    return [
        Opening(
            task.heading(evaluation),
            f"{network}, measured on {without_folders(report.data)} {size_in_words(evaluation.preprocessing)}"
            f"{f', computed in {report.arithmetic}' if report.arithmetic else ''}.",
        ),
        Facts(tuple(task.facts(evaluation))),
    ]


def _study_sections(task: Task, report: EvaluationReport) -> list[Section]:
    watched, clean = task.metric_labels[task.watch.metric], report.evaluation.figures()
    sections = []
    if report.resolutions is not None:
        sections.append(resolutions_section(report.resolutions, task.metric_labels))
    if report.corruptions is not None:
        first = _first_readable(report)
        spec = spec_of(report.evaluation.preprocessing)
        example = (task.seen(report.dataset[first], spec), first)
        sections.append(corruptions_section(report.corruptions, clean, watched, example))
    return sections


def _footer(report: EvaluationReport) -> list[Part]:
    evaluation = report.evaluation
    spec = spec_of(evaluation.preprocessing)
    loss = "" if evaluation.loss is None else f" Loss {evaluation.loss:.4f}."
    if not isinstance(spec, Preprocessing):
        return [Paragraph(f"What the network reads: {spec.in_words()}.{loss} focalnets {__version__}.")]
    looked = "look" in evaluation.preprocessing
    size = (
        f"images {size_in_words(evaluation.preprocessing)}"
        if looked
        else f"input {spec.in_words()}, {spec.interpolation}"
    )
    mean, deviation = (", ".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std))
    parts: list[Part] = [
        Paragraph(
            f"How the images were prepared: {size}, mean {mean}, standard deviation {deviation}. Intervals are "
            f"Wilson's at 95 %.{loss} focalnets {__version__}."
        )
    ]
    if evaluation.left_out:
        reasons = Bullets([without_folders(failure.reason) for failure in evaluation.left_out])
        parts.append(Details(f"Left out, unreadable: {len(evaluation.left_out)}", [reasons]))
    return parts


def _first_readable(report: EvaluationReport) -> int:
    """Find the number of the first input that was not left out."""
    skipped = {str(failure.path) for failure in report.evaluation.left_out}
    samples = getattr(report.dataset, "samples", None)
    return next((index for index, (path, _) in enumerate(samples or ()) if str(path) not in skipped), 0)
