"""Sections with pictures: backgrounds, slices, where the network looks; and an earlier network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from focalnets.auditing.looks import Share
from focalnets.auditing.pages.cells import ADJUSTED_P, IMAGES, emphasis, interval, share_of
from focalnets.auditing.results import AuditResult
from focalnets.auditing.verdicts import SECTIONS
from focalnets.report.parts import Card, Column, Gallery, Paragraph, Part, Picture, Row, Section, Table

__all__ = ["against_section", "backgrounds_section", "looks_sections", "slices_section"]

_SHOWN_PX = 224


def backgrounds_section(audit: AuditResult) -> Section:
    """Write data, answers and cause side by side, then what was measured."""
    found = audit.backgrounds
    if found is None:
        return Section(SECTIONS["backgrounds"], [])
    words = (
        f"{found.images:,} images were taken apart by their masks; {found.without:,} show no object, or nothing beside "
        "it. The object's box is filled from what surrounds it, so that its outline is not seen. Pull is how much more "
        "often the same object is called what its background stands for before a background of that class than before "
        "one of its own class (McNemar's exact test, Holm over pull and gap). Both pictures are pasted, so pasting "
        "cannot make a difference."
    )
    rows = []
    if found.data is not None:
        guessed, commonest, lift = found.data
        text = f"{guessed:.1%} guessed right from 4 x 4 colours of the background, {commonest:.1%} without"
        rows.append(Row(("Data: does the background tell the class?", text, interval(lift))))
    background = next(view for view in found.views if view.key == "background")
    text = f"{background.recognised.value:.1%} named rightly by the background alone"
    rows.append(Row(("Answers: does the network name it?", text, interval(found.answers))))
    if found.pull is not None:
        text = f"{found.pull.given:.1%} called so before it, {found.pull.elsewhere:.1%} elsewhere"
        row = ("Cause: does it change the answer?", text, interval(found.pull.value))
        rows.append(Row(row, emphasis(found.pull_found)))
    side = Table((Column("question"), Column("figures"), Column("difference", "number", "+.1%")), rows)
    views = Table(
        (Column("picture"), Column("recognised", "bar", ".1%")),
        [Row((view.label, interval(view.recognised))) for view in found.views],
        "Recall with its 95 % interval.",
    )
    parts: list[Part] = [Paragraph(words), side, views]
    if found.gap is not None and found.pasting is not None:
        parts.append(
            Table(
                (Column("difference"), Column("points", "number", "+.1%"), ADJUSTED_P),
                [
                    Row(
                        ("BG-gap: own class's background minus another's", interval(found.gap), found.gap_p),
                        emphasis(found.gap_found),
                    ),
                    Row(("pasting alone: own class's background minus untouched", interval(found.pasting), None)),
                ],
            )
        )
    if found.classes:
        columns = (
            Column("backgrounds of"),
            Column("pairs", "number", ","),
            Column("called so", "bar", ".1%"),
            Column("elsewhere", "number", ".1%"),
            Column("pull", "number", "+.1%"),
            ADJUSTED_P,
        )
        parts.append(
            Table(
                columns,
                [
                    Row(
                        (
                            each.name, each.pull.pairs, each.pull.given, each.pull.elsewhere,
                            interval(each.pull.value), each.adjusted_p,
                        ),
                        emphasis(each.found),
                    )
                    for each in found.classes
                ],
            )
        )  # fmt: skip
    labels = ("as it is", "object", "background", "before one of its class", "before another")
    cards = [
        Card([_picture(pixels, label)], [label])
        for example in found.examples
        for pixels, label in zip(example, labels, strict=True)
    ]
    return Section(SECTIONS["backgrounds"], [*parts, *([Gallery(cards, "small")] if cards else [])])


def slices_section(audit: AuditResult) -> Section:
    """Write down slices with contact sheets."""
    if not audit.slices:
        return Section(SECTIONS["slices"], [])
    words = (
        "Images that are alike to the network were gathered in clusters on one half of the images; those of the most "
        "errors were tested on the other half, against other images of the same classes (exact test within classes, "
        "Holm). What they have in common is for people to see: errors come first."
    )
    columns = (
        Column("slice"),
        IMAGES,
        Column("recall", "bar", ".1%"),
        Column("others", "number", ".1%"),
        Column("gap", "number", "+.1%"),
        ADJUSTED_P,
        Column("shows"),
        Column("errors are called"),
    )
    rows = [
        Row(
            (
                f"slice {each.number}", each.images, each.recall.share, each.recall.expected,
                interval(each.recall.gap), each.adjusted_p, _shares(each.classes), _shares(each.taken_for),
            ),
            emphasis(each.found),
        )
        for each in audit.slices
    ]  # fmt: skip
    parts: list[Part] = [Paragraph(words), Table(columns, rows, "Figures are of the half that did not choose.")]
    for each in audit.slices:
        pictures = audit.pictures.get(each.number, ())
        if pictures:
            parts += [
                Paragraph(f"Slice {each.number}"),
                Gallery([Card([_picture(pixels, text)], [text]) for pixels, text in pictures], "small"),
            ]
    return Section(SECTIONS["slices"], parts)


def against_section(audit: AuditResult) -> Section:
    """Write an earlier network beside this one."""
    if audit.against is None:
        return Section(SECTIONS["against"], [])
    columns = (
        Column("group"),
        IMAGES,
        Column("now", "bar", ".1%"),
        Column("before", "number", ".1%"),
        Column("difference", "number", "+.1%"),
        ADJUSTED_P,
    )
    rows = [
        Row(
            (each.name, each.images, each.now, each.before, interval(each.difference), each.adjusted_p),
            emphasis(each.status == "found"),
        )
        for each in sorted(audit.against.changes, key=lambda each: each.difference.value)
    ]
    words = "Both networks were asked about the same images (McNemar's exact test, Holm over all groups)."
    return Section(SECTIONS["against"], [Paragraph(words), Table(columns, rows)])


def looks_sections(audit: AuditResult) -> list[Section]:
    """Show where the network looks; none where that is not known."""
    looks = audit.looks
    if looks is None or not (looks.errors or looks.methods):
        return []
    words = (
        "Maps illustrate, they prove nothing: a network can look at an object and answer by its background. Drawn is "
        f"the length of the modulator of block {looks.block}."
    )
    parts: list[Part] = [Paragraph(words)]
    if looks.methods:
        parts.append(_table("map", looks.methods, "Share of each map on the object, beside maps that know nothing."))
    if looks.classes:
        parts.append(_table("class", looks.classes, "The modulator, class by class."))
    if looks.groups:
        parts.append(_table("group", looks.groups, "The modulator, group by group."))
    if looks.errors:
        cards = [
            Card(
                [_picture(error.picture, error.name), _picture(error.map, f"where it looks in {error.name}")],
                [error.name, f"'{error.label}' called '{error.predicted}' ({error.confidence:.0%})"],
            )
            for error in looks.errors
        ]
        parts += [Paragraph("The most confident errors"), Gallery(cards, "medium")]
    return [Section("Where it looks", parts)]


def _table(first: str, shares: Sequence[Share], caption: str) -> Table:
    columns = (
        Column(first),
        IMAGES,
        Column("on the object", "bar", ".1%"),
        Column("the object's area", "number", ".1%"),
    )
    rows = [Row((each.name, each.images, interval(each.on_object), each.area)) for each in shares]
    return Table(columns, rows, caption)


def _picture(pixels: np.ndarray, alt: str) -> Picture:
    return Picture(pixels, alt, (), _SHOWN_PX)


def _shares(shares: Sequence[tuple[str, float]]) -> str:
    return ", ".join(share_of(each) for each in shares)
