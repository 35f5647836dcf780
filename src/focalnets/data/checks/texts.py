"""What is wrong or odd about labelled texts, and what to do about each finding."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from focalnets.data.checks.findings import Finding
from focalnets.data.finding import natural_key
from focalnets.data.text.labelled import FoundTexts, find_labelled_texts, split_rows
from focalnets.data.text.tables import TextRow
from focalnets.errors import DataError, quoted_list

__all__ = ["CheckedTexts", "check_texts"]

_TINY_CLASS = 10
_IMBALANCE = 10.0
_MOST_SHOWN = 80
_LONG = 10.0


@dataclasses.dataclass(frozen=True, eq=False)
class CheckedTexts:
    """Labelled texts that were looked at.

    Attributes:
        found: The texts.
        counts: How many there are in each part; empty where they cannot be divided.
        split: How they are divided, in words.
        classes: Names of the classes.
        findings: The gravest first.
    """

    found: FoundTexts
    counts: dict[str, int]
    split: str
    classes: tuple[str, ...]
    findings: tuple[Finding, ...]


def check_texts(
    place: str | Path, *, text_field: str = "", label_field: str = "", val_fraction: float = 0.2, seed: int = 0
) -> CheckedTexts:
    """Look at labelled texts as a training would take them.

    Args:
        place: As for :func:`focalnets.data.text.labelled.find_labelled_texts`.
        text_field: Column of tables that holds the text, see :func:`focalnets.data.text.tables.read_table`.
        label_field: Likewise for the label.
        val_fraction: Fraction that is held out where the place says nothing about it.
        seed: Chooses what is held out.

    Raises:
        DataError: If the place holds no labelled texts.
    """
    found = find_labelled_texts(place, text_field=text_field, label_field=label_field)
    findings = [
        Finding(
            kind="empty", severity="note", count=found.empty,
            message="texts are empty and left out", advice="fill them in or remove them",
        )
        for _ in found.notes
    ]  # fmt: skip
    findings += [*_doubled(found.rows), *_sizes(found.rows)]
    counts: dict[str, int] = {}
    split, classes = "", tuple(sorted({row.label for row in found.rows}, key=natural_key))
    try:
        train, val, classes, split, _ = split_rows(found, val_fraction=val_fraction, seed=seed)
    except DataError as error:
        findings.append(Finding(kind="split", severity="error", count=1, message=str(error), advice="correct the data"))
    else:
        counts = {"train": len(train), "val": len(val)}
        findings += [*_across(train, val), *_only_in_train(train, val)]
    order = ("error", "warning", "note")
    return CheckedTexts(
        found, counts, split, classes, tuple(sorted(findings, key=lambda each: order.index(each.severity)))
    )


def _doubled(rows: Sequence[TextRow]) -> Iterator[Finding]:
    labels: dict[str, set[str]] = collections.defaultdict(set)
    names: dict[str, list[str]] = collections.defaultdict(list)
    for row in rows:
        labels[row.text].add(row.label)
        names[row.text].append(row.name)
    torn = [text for text in labels if len(labels[text]) > 1]
    if torn:
        yield Finding(
            kind="contradictory", severity="warning", count=len(torn),
            message="texts occur with several labels", advice="keep the right one",
            examples=tuple(" = ".join(names[text]) for text in torn),
        )  # fmt: skip
    doubled = [text for text in names if len(names[text]) > 1]
    if doubled:
        yield Finding(
            kind="doubled", severity="note", count=len(doubled),
            message="texts occur more than once", advice="keep one of each, unless that is how often they come",
            examples=tuple(_abridged(text) for text in doubled),
        )  # fmt: skip


def _sizes(rows: Sequence[TextRow]) -> Iterator[Finding]:
    counts = collections.Counter(row.label for row in rows)
    tiny = [label for label, count in counts.items() if count < _TINY_CLASS]
    if tiny:
        yield Finding(
            kind="tiny-class", severity="warning", count=len(tiny),
            message=f"classes have fewer than {_TINY_CLASS} texts: {quoted_list(tiny)}",
            advice="collect more texts of them, or leave them out", examples=tuple(tiny),
        )  # fmt: skip
    most, least = max(counts.values()), min(counts.values())
    if most > _IMBALANCE * least:
        yield Finding(
            kind="imbalance", severity="note", count=len(counts),
            message=f"the largest class has {most / least:.0f} times as many texts as the smallest",
            advice="look at macro F1 rather than accuracy, or train with --class_balance",
        )  # fmt: skip
    lengths = sorted(len(row.text) for row in rows)
    usual = max(1, lengths[len(lengths) // 2])
    long = [row.name for row in rows if len(row.text) > _LONG * usual and len(row.text) > 2000]
    if long:
        yield Finding(
            kind="long", severity="note", count=len(long),
            message=f"texts are more than {_LONG:.0f} times as long as most ({usual:,} characters)",
            advice="only their beginning is read: raise --context_length, or cut them", examples=tuple(long),
        )  # fmt: skip


def _across(train: Sequence[TextRow], val: Sequence[TextRow]) -> Iterator[Finding]:
    learnt = {row.text for row in train}
    both = [row for row in val if row.text in learnt]
    if both:
        yield Finding(
            kind="across-splits", severity="warning", count=len(both),
            message="texts that are held out are among those to learn from too", advice="remove them from one part",
            examples=tuple(f"{row.name}: {_abridged(row.text)}" for row in both),
        )  # fmt: skip


def _only_in_train(train: Sequence[TextRow], val: Sequence[TextRow]) -> Iterator[Finding]:
    alone = sorted({row.label for row in train} - {row.label for row in val}, key=natural_key)
    if alone:
        yield Finding(
            kind="only-in-train", severity="warning", count=len(alone),
            message=f"classes are in train only: {quoted_list(alone)}",
            advice="hold some of their texts out, or remove them", examples=tuple(alone),
        )  # fmt: skip


def _abridged(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _MOST_SHOWN else f"{words[: _MOST_SHOWN - 3]}..."
