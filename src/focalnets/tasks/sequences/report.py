"""Files, lines and the part of a page about a classifier of sequences that was measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from focalnets.files import csv_text, write_json, write_text
from focalnets.intervals import Estimate
from focalnets.report.names import without_folders
from focalnets.report.parts import Column, Fact, Paragraph, Row, Section, Table, TableCell
from focalnets.report.words import Mark
from focalnets.tasks.classify.figures import draw_calibration, draw_confusion
from focalnets.tasks.classify.report import calibration_csv
from focalnets.tasks.classify.sections import calibration_section, classes_section, confusion_section
from focalnets.tasks.evaluation import loss_in_words
from focalnets.tasks.sequences.results import Evaluation, SequenceError, SequencePrediction

__all__ = [
    "EVALUATION_FILES",
    "evaluation_facts",
    "evaluation_sections",
    "evaluation_summary",
    "prediction_row",
    "predictions_table",
    "write_evaluation_files",
]

EVALUATION_FILES = (
    "per_class.csv", "confusion.csv", "confusion.png", "calibration.csv", "calibration.png", "mistakes.csv",
)  # fmt: skip
"""What :func:`write_evaluation_files` always writes."""

_MOST_SHOWN, _MOST_IN_ROW = 300, 60


def evaluation_summary(evaluation: Evaluation) -> list[str]:
    """Tell accuracy, F1, calibration and how a plain method does on the same inputs."""
    calibration = evaluation.calibration
    rarer = ""
    if evaluation.rarer_f1 is not None:
        rarer = f", F1 of the rarer class {evaluation.rarer_class} {_with_interval(evaluation.rarer_f1)}"
    lines = [
        f"accuracy {_with_interval(evaluation.accuracy)}, macro F1 {_with_interval(evaluation.macro_f1)}{rarer}"
        f"{loss_in_words(evaluation.loss)} on {evaluation.inputs:,} {evaluation.unit}, "
        f"{evaluation.inputs / max(evaluation.seconds, 1e-9):,.0f} {evaluation.unit}/s",
        f"mean confidence {calibration.mean_confidence:.2%}, expected calibration error "
        f"{calibration.ece_equal_width:.2%} ({len(calibration.equal_width)} bins of equal width)",
    ]
    if evaluation.baseline is not None:
        lines.append(evaluation.baseline.verdict)
    return [*lines, *([evaluation.baseline_note] if evaluation.baseline_note else [])]


def evaluation_facts(evaluation: Evaluation) -> list[Fact]:
    """Choose the figures that count most."""
    facts = [
        Fact(f"{evaluation.accuracy.value:.1%}", f"accuracy ({_interval(evaluation.accuracy)})"),
        Fact(
            f"{evaluation.macro_f1.value:.1%}",
            f"macro F1: the mean over the classes of precision and recall together ({_interval(evaluation.macro_f1)})",
        ),
    ]
    if evaluation.rarer_f1 is not None:
        words = f"F1 of the rarer class, {evaluation.rarer_class} ({_interval(evaluation.rarer_f1)})"
        facts.append(Fact(f"{evaluation.rarer_f1.value:.1%}", words))
    if evaluation.baseline is not None:
        words = f"accuracy of {evaluation.baseline.method} on the same {evaluation.unit}"
        facts.append(Fact(f"{evaluation.baseline.accuracy:.1%}", words))
    return facts


def evaluation_sections(evaluation: Evaluation) -> list[Section]:
    """Show a plain method beside the network, class by class, confusions, calibration and confident errors."""
    return [
        *_baseline_section(evaluation),
        classes_section(evaluation),
        confusion_section(evaluation),
        calibration_section(evaluation),
        _errors_section(evaluation),
    ]


def write_evaluation_files(evaluation: Evaluation, folder: Path) -> list[str]:
    """Write figures as CSV and charts as PNG; returns the files' names."""
    write_text(folder / "per_class.csv", csv_text(*evaluation.per_class_table()))
    write_text(folder / "confusion.csv", evaluation.confusion_csv())
    draw_confusion(evaluation, folder / "confusion.png")
    write_text(folder / "calibration.csv", calibration_csv(evaluation))
    draw_calibration(evaluation, folder / "calibration.png")
    heading = [field.name for field in dataclasses.fields(SequenceError)]
    write_text(folder / "mistakes.csv", csv_text(heading, map(dataclasses.astuple, evaluation.mistakes)))
    if evaluation.baseline is None:
        return list(EVALUATION_FILES)
    write_json(folder / "baseline.json", evaluation.baseline.to_dict())
    return [*EVALUATION_FILES, "baseline.json"]


def prediction_row(result: SequencePrediction) -> dict[Column, TableCell]:
    """Make a row of what the input is called, its text, the likeliest class with its confidence, and the others."""
    classes = list(zip(result.class_names, result.confidences, strict=True))
    row: dict[Column, TableCell] = {Column("input"): str(result.path)}
    if result.text:
        row[Column("text")] = _abridged(result.text, _MOST_IN_ROW)
    row |= {Column("class"): result.class_names[0], Column("confidence", "number", ".1%"): result.confidences[0]}
    others = ", ".join(f"{name} {value:.1%}" for name, value in classes[1:])
    return row | ({Column("then"): others} if others else {})


def predictions_table(results: Sequence[SequencePrediction]) -> tuple[list[str], list[list[Any]]]:
    """Make a row for each class of each input, with the text where it is one."""
    texts = any(result.text for result in results)
    rows = [
        [str(result.path), *([result.text] if texts else []), rank, name, confidence]
        for result in results
        for rank, (name, confidence) in enumerate(zip(result.class_names, result.confidences, strict=True), 1)
    ]
    return ["path", *(["text"] if texts else []), "rank", "class", "confidence"], rows


def _baseline_section(evaluation: Evaluation) -> list[Section]:
    baseline = evaluation.baseline
    if baseline is None:
        return [Section("Beside a plain method", [Paragraph(without_folders(evaluation.baseline_note))])] * bool(
            evaluation.baseline_note
        )
    rarer = evaluation.rarer_f1
    columns = [Column(""), Column("accuracy", "number", ".1%"), Column("macro F1", "number", ".1%")]
    rows: list[list[TableCell]] = [
        ["the network", evaluation.accuracy.value, evaluation.macro_f1.value],
        [baseline.method, baseline.accuracy, baseline.macro_f1],
    ]
    if rarer is not None:
        columns.append(Column(f"F1 of {evaluation.rarer_class}", "number", ".1%"))
        rows = [[*rows[0], rarer.value], [*rows[1], baseline.rarer_f1]]
    return [Section("Beside a plain method", [Paragraph(baseline.verdict), Table(columns, [Row(row) for row in rows])])]


def _errors_section(evaluation: Evaluation) -> Section:
    title = "Most confident errors"
    if not evaluation.mistakes:
        none = "every input was recognised" if evaluation.accuracy.value == 1.0 else "none were asked for"
        return Section(title, [Paragraph(f"There are none: {none}.")])
    texts = any(mistake.text for mistake in evaluation.mistakes)
    columns = [
        Column("input"), *([Column("text")] if texts else []), Column("is"), Column("was called"),
        Column("confidence", "number", ".1%"), Column("of the true class", "number", ".1%"),
    ]  # fmt: skip
    rows = [
        Row((
            Path(mistake.path).name, *([_abridged(mistake.text, _MOST_SHOWN)] if texts else []), mistake.true_class,
            Mark(mistake.predicted_class, "bad"), mistake.confidence, mistake.true_confidence,
        ))
        for mistake in evaluation.mistakes
    ]  # fmt: skip
    words = "The wrong answers that the network gave with the most confidence. Labels may be wrong, too."
    return Section(title, [Paragraph(words), Table(columns, rows)])


def _abridged(text: str, most: int) -> str:
    words = " ".join(text.split())
    return words if len(words) <= most else f"{words[: most - 3]}..."


def _with_interval(estimate: Estimate) -> str:
    return f"{estimate.value:.2%} ({_interval(estimate)})"


def _interval(estimate: Estimate) -> str:
    return f"95 % interval {estimate.low:.1%} to {estimate.high:.1%}"
