"""Sections of figures alone: groups, data, parts of pictures and amplification."""

from __future__ import annotations

from focalnets.auditing.pages.cells import ADJUSTED_P, IMAGES, emphasis, interval, share_of
from focalnets.auditing.results import AuditResult
from focalnets.auditing.shortcuts import Doubles
from focalnets.auditing.verdicts import SECTIONS
from focalnets.report.parts import Bullets, Column, Paragraph, Part, Row, Section, Table, TableCell

__all__ = ["amplification_section", "data_section", "groups_section", "parts_section"]


def groups_section(audit: AuditResult) -> Section:
    if not audit.groups:
        return Section(SECTIONS["groups"], [])
    words = (
        "Each group is compared with the other images whose value is known, weighted so that every class counts as "
        "much as in the group. Recall decides: an exact test within classes, Holm's correction over all groups. "
        "Detectable is the gap that would have been found with a chance of 80 %. Precision and overconfidence (mean "
        "confidence minus accuracy) are shown and decide nothing."
    )
    columns = (
        Column("group"),
        IMAGES,
        Column("recall", "bar", ".1%"),
        Column("the rest", "number", ".1%"),
        Column("gap", "number", "+.1%"),
        ADJUSTED_P,
        Column("detectable", "number", ".1%"),
        Column("gap in precision", "number", "+.1%"),
        Column("overconfidence", "number", "+.1%"),
        Column("verdict"),
    )
    rows = []
    for group in sorted(audit.groups, key=lambda each: 0.0 if each.recall is None else each.recall.gap.value):
        cells: list[TableCell] = [f"{group.attribute} = {group.value}", group.images]
        if group.recall is None:
            cells += [group.accuracy, None, None, None, None, None]
        else:
            precision = None if group.precision is None else interval(group.precision.gap)
            recall = group.recall
            cells += [
                recall.share,
                recall.expected,
                interval(recall.gap),
                group.adjusted_p,
                group.detectable,
                precision,
            ]
        rows.append(Row((*cells, interval(group.overconfidence), group.status), emphasis(group.status == "found")))
    missing = [f"{name}: not known for {count:,} images" for name, count in audit.unknown.items() if count]
    return Section(
        SECTIONS["groups"], [Paragraph(words), Table(columns, rows), *([Bullets(missing)] if missing else [])]
    )


def data_section(audit: AuditResult) -> Section:
    words = (
        "A network can learn whatever tells the class. The best guess of the class from one simple property alone is "
        "compared with the best guess without any, on images that the guess did not see. V is Cramer's association "
        "without bias, from 0 to 1; p is of 999 permutations, corrected over all properties by Holm. A property may be "
        "of the thing itself, such as the blue of a sky around planes; that is for people to judge."
    )
    columns = (
        Column("property"),
        Column("guessed right", "bar", ".1%"),
        Column("without it", "number", ".1%"),
        Column("lift", "number", "+.1%"),
        Column("V", "number", ".2f"),
        ADJUSTED_P,
    )
    rows = [
        Row(
            (each.label, each.accuracy, each.majority, interval(each.lift), each.cramers_v, each.adjusted_p),
            emphasis(each.found),
        )
        for each in audit.shortcuts
    ]
    parts: list[Part] = [Paragraph(words), Table(columns, rows, "Below each lift its 95 % interval.")]
    return Section(
        SECTIONS["data"],
        [
            *parts,
            *_doubles("Pictures that look like one of another class", audit.other_classes),
            *_doubles("Pictures that look like one of those to train", audit.other_splits),
            *_labels(audit),
        ],
    )


def _doubles(title: str, doubles: Doubles) -> list[Part]:
    if not doubles.pairs:
        return []
    rows = [Row(pair) for pair in doubles.examples]
    caption = f"{title}: {doubles.images:,} images, {doubles.pairs:,} pairs, {len(rows)} shown."
    return [Table((Column("image"), Column("looks like")), rows, caption)]


def _labels(audit: AuditResult) -> list[Part]:
    found = audit.suspicious
    if found is None or not found.listed:
        return []
    rows = [
        Row((each.name, each.label, each.confidence, each.likelier, each.likelier_confidence)) for each in found.listed
    ]
    columns = (
        Column("image"),
        Column("label"),
        Column("probability", "number", ".1%"),
        Column("looks like"),
        Column("probability", "number", ".1%"),
    )
    caption = (
        f"Labels to look at: {found.suspicious:,} of {found.images:,}, {len(rows)} shown; by images of other folds."
    )
    return [Table(columns, rows, caption)]


def parts_section(audit: AuditResult) -> Section:
    parts = audit.parts
    if parts is None:
        return Section(SECTIONS["parts"], [])
    words = (
        f"{parts.images:,} images, spread evenly, were changed after the crop, so that the change is all that "
        "differs; what was removed has the mean colour of its training. Changes are compared with the untouched "
        "pictures by McNemar's exact test, corrected by Holm."
    )
    columns = (
        Column("picture"),
        Column("recognised", "bar", ".1%"),
        Column("change", "number", "+.1%"),
        ADJUSTED_P,
        Column("named most"),
    )
    rows = [
        Row((each.label, each.accuracy, interval(each.change), each.adjusted_p, share_of(each.named_most)))
        for each in parts.treated
    ]
    blanks = [
        Row((each.picture, "none of the classes" if each.none_of_the_classes else each.name, each.confidence))
        for each in parts.blanks
    ]
    surrounded_words = (
        "Centre and surroundings have as many pixels. A class that is recognised better by its surroundings alone "
        "than by its centre alone lives on context (McNemar's exact test, Holm over all classes)."
    )
    return Section(
        SECTIONS["parts"],
        [
            Paragraph(words),
            Table(columns, rows, "Below each change its 95 % interval."),
            Paragraph(surrounded_words),
            _surrounded(audit),
            _recalls(audit),
            Table((Column("a picture of nothing"), Column("is called"), Column("confidence", "bar", ".1%")), blanks),
        ],
    )


def _surrounded(audit: AuditResult) -> Table:
    assert audit.parts is not None
    rows = [
        Row(
            (each.name, each.images, each.surroundings, each.centre, interval(each.difference), each.adjusted_p),
            emphasis(each.found),
        )
        for each in sorted(audit.parts.surrounded, key=lambda each: -each.difference.value)
    ]
    columns = (
        Column("class"),
        IMAGES,
        Column("centre removed", "bar", ".1%"),
        Column("centre only", "bar", ".1%"),
        Column("difference", "number", "+.1%"),
        ADJUSTED_P,
    )
    return Table(columns, rows)


def _recalls(audit: AuditResult) -> Table:
    """Write how much of each class is recognised after each change."""
    assert audit.parts is not None
    treated = audit.parts.treated
    rows = [
        Row((treated[0].classes[number].name, *(interval(each.classes[number].recall) for each in treated)))
        for number in range(len(treated[0].classes))
    ]
    columns = (Column("class"), *(Column(each.label, "number", ".0%") for each in treated))
    return Table(columns, rows, "Recall of each class with its 95 % interval: which classes survive what.")


def amplification_section(audit: AuditResult) -> Section:
    if not audit.amplification:
        return Section(SECTIONS["amplification"], [])
    words = (
        "Directional BiasAmp of Wang and Russakovsky (2021): above 0 the answers go with the attribute more than the "
        "truth does. Moved is half its sum over all answers: the share of the answers that moves to those which the "
        "data ties to an image's value. Intervals are of 2,000 bootstrap samples, wider where there are several "
        "attributes. A->T: the attribute moves the class that is named; T->A: the class moves the attribute that is "
        "named in a column predicted_..."
    )
    columns = (
        Column("attribute"),
        Column("direction"),
        IMAGES,
        Column("BiasAmp", "number", "+.4f"),
        Column("moved", "number", "+.1%"),
    )
    rows = [
        Row(
            (each.attribute, each.direction, each.images, interval(each.value), interval(each.moved)),
            emphasis(each.found),
        )
        for each in audit.amplification
    ]
    return Section(SECTIONS["amplification"], [Paragraph(words), Table(columns, rows)])
