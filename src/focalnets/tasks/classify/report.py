"""Everything about an evaluation in one HTML file, and all files of an evaluation in one folder."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

from focalnets.data.corruptions import corrupt
from focalnets.data.transforms import ResizeAndCrop
from focalnets.files import csv_text, write_json, write_text
from focalnets.models.config import Preprocessing
from focalnets.report.page import jpeg_address, page, png_address
from focalnets.tasks.classify.figures import (
    draw_calibration,
    draw_confusion,
    draw_corruptions,
    draw_mistakes,
    draw_resolutions,
)
from focalnets.tasks.classify.results import Evaluation
from focalnets.tasks.robustness import CorruptionStudy, ResolutionStudy
from focalnets.version import __version__

__all__ = ["EvaluationReport", "write_evaluation"]

_SHOWN_PX = 224
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
        """All figures as plain values."""
        content = self.evaluation.to_dict() | {"data": self.data}
        if self.resolutions is not None:
            content["resolutions"] = self.resolutions.to_dict()
        if self.corruptions is not None:
            content["corruptions"] = self.corruptions.to_dict()
        return content

    def seen(self, index: int) -> Image.Image:
        """What the network saw of an image: resized and cropped, S x S."""
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
    pictures = [report.seen(mistake.index) for mistake in evaluation.mistakes]
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
    write_text(folder / "report.html", _document(report, pictures, folder))
    return [*names, "report.html"]


def _document(report: EvaluationReport, pictures: Sequence[Image.Image], folder: Path) -> str:
    sections = [_opening(report), _classes(report, folder), _calibration(report, folder)]
    sections.append(_mistakes(report, pictures))
    if report.resolutions is not None:
        sections.append(_resolutions(report.resolutions, folder))
    if report.corruptions is not None:
        sections.append(_corruptions(report, report.corruptions, folder))
    sections.append(_footer(report))
    return page("How well a network recognises images", sections)


def _opening(report: EvaluationReport) -> str:
    evaluation = report.evaluation
    facts = [
        (f"{evaluation.top1:.1%}", f"top-1: the likeliest class is right ({_interval(evaluation.top1_interval)})"),
        (
            f"{evaluation.top5:.1%}",
            f"top-5: right among the {min(5, len(evaluation.per_class))} likeliest "
            f"({_interval(evaluation.top5_interval)})",
        ),
        (f"{evaluation.mean_recall:.1%}", "mean recall: each class that has images counts the same"),
        (
            f"{evaluation.calibration.ece_equal_width:.1%}",
            f"expected calibration error, {len(evaluation.calibration.equal_width)} bins of equal width",
        ),
    ]
    cards = "".join(f'<div class="fact"><b>{value}</b><span>{text}</span></div>' for value, text in facts)
    return f"""
<header><h1>How well it recognises {evaluation.images:,} images</h1>
<p class="lead">{html.escape(evaluation.model or "A network")}, measured on {html.escape(report.data)} at
{evaluation.preprocessing["input_size_px"]} px.</p></header>
<div class="facts">{cards}</div>"""


def _classes(report: EvaluationReport, folder: Path) -> str:
    rows = []
    for figures in sorted(report.evaluation.per_class, key=lambda one: 2.0 if one.recall is None else one.recall):
        share = 0.0 if figures.recall is None else figures.recall
        interval = "" if figures.recall_interval is None else _interval(figures.recall_interval, words="")
        rows.append(
            f"<tr><td>{html.escape(figures.name)}</td><td class='number'>{figures.images:,}</td>"
            f'<td><span class="bar"><i style="width: {100 * share:.1f}%"></i></span></td>'
            f"<td class='number'>{_share(figures.recall)}</td><td class='number soft'>{interval}</td>"
            f"<td class='number'>{_share(figures.precision)}</td></tr>"
        )
    return f"""
<section><h2>Class by class</h2>
<p>Recall is the share of a class's images that are recognised, with its 95 % interval; precision the share of what is
called so that is so. The hardest classes come first, those without images last.</p>
<div class="panel"><table><thead><tr><th>class</th><th class="number">images</th><th>recall</th><th></th>
<th class="number">95 % interval</th><th class="number">precision</th></tr></thead><tbody>{"".join(rows)}</tbody>
</table></div>
<h2>What is taken for what</h2>
{_picture(folder / "confusion.png", "Confusion matrix: rows are the true classes, columns the predicted ones")}
</section>"""


def _calibration(report: EvaluationReport, folder: Path) -> str:
    calibration, top1 = report.evaluation.calibration, report.evaluation.top1
    tendency = "surer than it is right" if calibration.mean_confidence > top1 else "right more often than it is sure"
    return f"""
<section><h2>Is it right as often as it is sure?</h2>
<p>On average the network has a confidence of {calibration.mean_confidence:.1%} and is right in {top1:.1%}: it is
{tendency}. Expected calibration error: {calibration.ece_equal_width:.2%} with {len(calibration.equal_width)} bins of
equal width, {calibration.ece_equal_count:.2%} with {len(calibration.equal_count)} bins of equal count. Largest gap of a
bin of equal width: {calibration.largest_gap:.1%}.</p>
{_picture(folder / "calibration.png", "Reliability diagram: accuracy over confidence")}</section>"""


def _mistakes(report: EvaluationReport, pictures: Sequence[Image.Image]) -> str:
    if not pictures:
        return "<section><h2>The surest mistakes</h2><p>There are none: every image was recognised.</p></section>"
    cards = []
    for mistake, picture in zip(report.evaluation.mistakes, pictures, strict=True):
        cards.append(
            f'<figure><img loading="lazy" alt="{html.escape(mistake.true_class)}" src="{_thumbnail(picture)}">'
            f'<figcaption><span class="wrong">{html.escape(mistake.predicted_class)}</span> '
            f"{mistake.confidence:.0%}<br>is {html.escape(mistake.true_class)} {mistake.true_confidence:.0%}"
            f'<br><span title="{html.escape(mistake.path)}">{html.escape(Path(mistake.path).name)}</span>'
            "</figcaption></figure>"
        )
    return f"""
<section><h2>The surest mistakes</h2>
<p>The wrong answers that the network gave with the most confidence, as it saw the images. In red what it said, below it
what the label says, each with the confidence. Labels may be wrong, too.</p>
<div class="classes sheet">{"".join(cards)}</div></section>"""


def _resolutions(study: ResolutionStudy, folder: Path) -> str:
    rows = "".join(
        f"<tr><td>{size} px{' (its own)' if size == study.own_size_px else ''}</td>"
        f"<td class='number'>{figures.top1:.1%}</td>"
        f"<td class='number soft'>{_interval(figures.top1_interval, words='')}</td>"
        f"<td class='number'>{figures.top5:.1%}</td><td class='number'>{figures.ece:.1%}</td></tr>"
        for size, figures in zip(study.sizes_px, study.figures, strict=True)
    )
    return f"""
<section><h2>At other sizes</h2>
<p>The same images, resized to other input sizes with the same crop. The network was made for
{study.own_size_px} px.</p>
{_picture(folder / "resolutions.png", "Accuracy over the input size")}
<div class="panel"><table><thead><tr><th>input</th><th class="number">top-1</th><th class="number">95 % interval</th>
<th class="number">top-5</th><th class="number">calibration error</th></tr></thead><tbody>{rows}</tbody></table></div>
</section>"""


def _corruptions(report: EvaluationReport, study: CorruptionStudy, folder: Path) -> str:
    examples = ""
    skipped = {str(failure.path) for failure in report.evaluation.left_out}
    samples = getattr(report.dataset, "samples", None)
    first = next((i for i, (path, _) in enumerate(samples or ()) if str(path) not in skipped), 0)
    original, severity = report.seen(first), study.severities[-1]
    for name in study.corruptions:
        spoiled = corrupt(original, name, severity, seed=study.seed, index=first)
        examples += (
            f'<figure><img loading="lazy" alt="{name}" src="{_thumbnail(spoiled)}">'
            f"<figcaption>{name.replace('_', ' ')}</figcaption></figure>"
        )
    return f"""
<section><h2>With spoiled pictures</h2>
<p>Top-1 is {study.mean_top1():.1%} on average, and {report.evaluation.top1:.1%} on unspoiled pictures.
Pictures are spoiled after resizing and cropping; the same seed ({study.seed}) spoils each image in the same way every
time. The strengths are our own, so the figures cannot be compared with those of ImageNet-C.</p>
{_picture(folder / "corruptions.png", "Top-1 for each corruption and severity")}
<p class="note">One image at severity {severity}:</p>
<div class="classes sheet">{examples}</div></section>"""


def _footer(report: EvaluationReport) -> str:
    preprocessing = report.evaluation.preprocessing
    left_out = "".join(f"<li>{html.escape(failure.reason)}</li>" for failure in report.evaluation.left_out)
    skipped = f"<p>Left out, unreadable: {len(report.evaluation.left_out)}</p><ul>{left_out}</ul>" if left_out else ""
    mean, deviation = (", ".join(f"{value:g}" for value in preprocessing[key]) for key in ("mean", "std"))
    return f"""
<footer><p>How the images were prepared: input {preprocessing["input_size_px"]} px, centre crop of
{preprocessing["crop_fraction"]:g} of the shorter side, {html.escape(preprocessing["interpolation"])}, mean {mean},
standard deviation {deviation}. Intervals are Wilson's at 95 %. Loss {report.evaluation.loss:.4f}. focalnets
{__version__}.</p>{skipped}</footer>"""


def _picture(path: Path, words: str) -> str:
    with Image.open(path) as picture:
        width = picture.width
    return f'<img class="wide" loading="lazy" style="max-width: {width}px" alt="{words}" src="{png_address(path)}">'


def _thumbnail(picture: Image.Image) -> str:
    return jpeg_address(picture.resize((_SHOWN_PX, _SHOWN_PX), Image.Resampling.LANCZOS))


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _interval(interval: tuple[float, float], words: str = "95 % interval ") -> str:
    return f"{words}{interval[0]:.1%} to {interval[1]:.1%}"


def _calibration_csv(evaluation: Evaluation) -> str:
    kinds = (
        ("equal width", evaluation.calibration.equal_width),
        ("equal count", evaluation.calibration.equal_count),
    )
    rows = ([kind, *dataclasses.astuple(one)] for kind, bins in kinds for one in bins)
    return csv_text(["bins", "low", "high", "images", "confidence", "accuracy"], rows)


def _mistakes_csv(evaluation: Evaluation) -> str:
    heading = ["path", "index", "true_class", "predicted_class", "confidence", "true_confidence"]
    return csv_text(heading, (dataclasses.astuple(mistake) for mistake in evaluation.mistakes))
