"""Everything about an evaluation in one HTML file, and all files of an evaluation in one folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

from focalnets.data.transforms import ResizeAndCrop
from focalnets.files import csv_text, write_json, write_text
from focalnets.models.config import Preprocessing
from focalnets.report.names import without_folders
from focalnets.report.page import write_page
from focalnets.report.parts import Bullets, Details, Fact, Facts, Opening, Paragraph, Part, Section
from focalnets.tasks.classify.figures import (
    draw_calibration,
    draw_confusion,
    draw_corruptions,
    draw_mistakes,
    draw_resolutions,
)
from focalnets.tasks.classify.results import Evaluation
from focalnets.tasks.classify.sections import (
    calibration_section,
    classes_section,
    confusion_section,
    corruptions_section,
    errors_section,
    resolutions_section,
)
from focalnets.tasks.robustness import CorruptionStudy, ResolutionStudy
from focalnets.version import __version__

__all__ = ["EvaluationReport", "evaluation_sections", "write_evaluation"]

_OPTIONAL_FILES = ("mistakes.png", "resolutions.csv", "resolutions.png", "corruptions.csv", "corruptions.png")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class EvaluationReport:
    """What was measured, and on what.

    Attributes:
        evaluation: The evaluation proper.
        dataset: The images that it was measured on, see :func:`focalnets.tasks.classify.inference.evaluate_images`.
        data: Where they came from, in words.
        resolutions, corruptions: Further measurements, if they were made.
    """

    evaluation: Evaluation
    dataset: Dataset
    data: str
    resolutions: ResolutionStudy | None = None
    corruptions: CorruptionStudy | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        content = self.evaluation.to_dict() | {"data": self.data}
        if self.resolutions is not None:
            content["resolutions"] = self.resolutions.to_dict()
        if self.corruptions is not None:
            content["corruptions"] = self.corruptions.to_dict()
        return content

    def seen(self, index: int) -> Image.Image:
        """Return what the network saw of an image: resized and cropped, S x S."""
        preprocessing = Preprocessing.from_dict(self.evaluation.preprocessing)
        crop = ResizeAndCrop(preprocessing.input_size_px, preprocessing.crop_fraction, preprocessing.interpolation)
        return crop(self.dataset[index][0])


def write_evaluation(report: EvaluationReport, folder: str | Path) -> list[str]:
    """Write figures as JSON and CSV, pictures as PNG and ``report.html`` with all of it; returns the files' names.

    Files that an earlier evaluation left there and that this one has nothing for are removed, so that no figures of two
    evaluations stand side by side.
    """
    folder = Path(folder)
    evaluation = report.evaluation
    write_json(folder / "evaluation.json", report.to_dict())
    write_text(folder / "per_class.csv", evaluation.per_class_csv())
    write_text(folder / "confusion.csv", evaluation.confusion_csv())
    draw_confusion(evaluation, folder / "confusion.png")
    write_text(folder / "calibration.csv", _calibration_csv(evaluation))
    draw_calibration(evaluation, folder / "calibration.png")
    write_text(folder / "mistakes.csv", _mistakes_csv(evaluation))
    names = ["evaluation.json", "per_class.csv", "confusion.csv", "confusion.png", "calibration.csv", "calibration.png"]
    names.append("mistakes.csv")
    pictures = _pictures_of_errors(report)
    if pictures:
        draw_mistakes(evaluation.mistakes, pictures, folder / "mistakes.png")
        names.append("mistakes.png")
    if report.resolutions is not None:
        write_text(folder / "resolutions.csv", report.resolutions.to_csv())
        draw_resolutions(report.resolutions, folder / "resolutions.png")
        names += ["resolutions.csv", "resolutions.png"]
    if report.corruptions is not None:
        write_text(folder / "corruptions.csv", report.corruptions.to_csv())
        draw_corruptions(report.corruptions, evaluation, folder / "corruptions.png")
        names += ["corruptions.csv", "corruptions.png"]
    for name in set(_OPTIONAL_FILES) - set(names):
        (folder / name).unlink(missing_ok=True)
    write_page(
        folder / "report.html",
        title="How well a network recognises images",
        opening=_opening(report),
        sections=evaluation_sections(report, pictures),
        footer=_footer(evaluation),
    )
    return [*names, "report.html"]


def evaluation_sections(report: EvaluationReport, pictures: Sequence[Image.Image] | None = None) -> list[Section]:
    """Write down an evaluation of a classifier as sections of a page.

    Args:
        report: What was measured.
        pictures: What the network saw of the most confident errors; None reads them.
    """
    pictures = _pictures_of_errors(report) if pictures is None else pictures
    evaluation = report.evaluation
    sections = [
        classes_section(evaluation),
        confusion_section(evaluation),
        calibration_section(evaluation),
        errors_section(evaluation, pictures),
    ]
    if report.resolutions is not None:
        sections.append(resolutions_section(report.resolutions))
    if report.corruptions is not None:
        first = _first_readable(report)
        sections.append(corruptions_section(evaluation, report.corruptions, (report.seen(first), first)))
    return sections


def _opening(report: EvaluationReport) -> list[Part]:
    evaluation = report.evaluation
    calibration = evaluation.calibration
    network = without_folders(evaluation.model) or "A network"
    return [
        Opening(
            f"How well it recognises {evaluation.images:,} images",
            f"{network}, measured on {without_folders(report.data)} at {evaluation.preprocessing['input_size_px']} px.",
        ),
        Facts(
            (
                Fact(
                    f"{evaluation.top1:.1%}",
                    f"top-1: the likeliest class is right ({_interval(evaluation.top1_interval)})",
                ),
                Fact(
                    f"{evaluation.top5:.1%}",
                    f"top-5: right among the {min(5, len(evaluation.per_class))} likeliest "
                    f"({_interval(evaluation.top5_interval)})",
                ),
                Fact(f"{evaluation.mean_recall:.1%}", "mean recall: each class that has images counts the same"),
                Fact(
                    f"{calibration.ece_equal_width:.1%}",
                    f"expected calibration error, {len(calibration.equal_width)} bins of equal width",
                ),
            )
        ),
    ]


def _footer(evaluation: Evaluation) -> list[Part]:
    preprocessing = evaluation.preprocessing
    mean, deviation = (", ".join(f"{value:g}" for value in preprocessing[key]) for key in ("mean", "std"))
    parts: list[Part] = [
        Paragraph(
            f"How the images were prepared: input {preprocessing['input_size_px']} px, centre crop of "
            f"{preprocessing['crop_fraction']:g} of the shorter side, {preprocessing['interpolation']}, mean {mean}, "
            f"standard deviation {deviation}. Intervals are Wilson's at 95 %. Loss {evaluation.loss:.4f}. focalnets "
            f"{__version__}."
        )
    ]
    if evaluation.left_out:
        reasons = Bullets([without_folders(failure.reason) for failure in evaluation.left_out])
        parts.append(Details(f"Left out, unreadable: {len(evaluation.left_out)}", [reasons]))
    return parts


def _pictures_of_errors(report: EvaluationReport) -> list[Image.Image]:
    return [report.seen(mistake.index) for mistake in report.evaluation.mistakes]


def _first_readable(report: EvaluationReport) -> int:
    """Return the number of the first image that was not left out."""
    skipped = {str(failure.path) for failure in report.evaluation.left_out}
    samples = getattr(report.dataset, "samples", None)
    return next((index for index, (path, _) in enumerate(samples or ()) if str(path) not in skipped), 0)


def _interval(interval: tuple[float, float]) -> str:
    return f"95 % interval {interval[0]:.1%} to {interval[1]:.1%}"


def _calibration_csv(evaluation: Evaluation) -> str:
    kinds = (
        ("equal width", evaluation.calibration.equal_width),
        ("equal count", evaluation.calibration.equal_count),
    )
    rows = ([kind, *dataclasses.astuple(bin_)] for kind, bins in kinds for bin_ in bins)
    return csv_text(["bins", "low", "high", "images", "confidence", "accuracy"], rows)


def _mistakes_csv(evaluation: Evaluation) -> str:
    heading = ["path", "index", "true_class", "predicted_class", "confidence", "true_confidence"]
    return csv_text(heading, (dataclasses.astuple(mistake) for mistake in evaluation.mistakes))
