"""An audit as files in one folder: a page that loads nothing, and all figures as JSON and CSV."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from focalnets.auditing.pages.figures import amplification_section, data_section, groups_section, parts_section
from focalnets.auditing.pages.pictures import against_section, backgrounds_section, looks_sections, slices_section
from focalnets.auditing.results import AuditResult
from focalnets.files import csv_text, write_json, write_text
from focalnets.report.names import without_folders
from focalnets.report.page import write_page
from focalnets.report.parts import (
    Bullets,
    Column,
    Fact,
    Facts,
    Opening,
    Paragraph,
    Part,
    Row,
    Section,
    Table,
)
from focalnets.report.words import Mark, MarkKind, count_in_words
from focalnets.version import __version__

__all__ = ["AUDIT_FILES", "write_audit"]

AUDIT_FILES = ("audit.json", "verdicts.csv", "figures.csv", "report.html")
"""What :func:`write_audit` writes."""

_TITLE = "What the data taught besides the task"
_MARKS: dict[str, MarkKind] = {"found": "bad", "note": "strong", "too few": "soft", "nothing": "good"}


def write_audit(audit: AuditResult, folder: Path) -> list[str]:
    """Write all files of an audit; returns their names."""
    write_json(folder / "audit.json", audit.to_dict())
    rows = [dataclasses.astuple(verdict) for verdict in audit.verdicts]
    write_text(folder / "verdicts.csv", csv_text(["section", "kind", "harm", "sentence"], rows))
    write_text(folder / "figures.csv", audit.to_csv())
    write_page(
        folder / "report.html",
        title=_TITLE,
        opening=_opening(audit),
        sections=_sections(audit),
        footer=_footer(audit),
    )
    return list(AUDIT_FILES)


def _sections(audit: AuditResult) -> list[Section]:
    """Write all sections, the one of the most harm first."""
    written = {
        "groups": groups_section(audit),
        "backgrounds": backgrounds_section(audit),
        "slices": slices_section(audit),
        "against": against_section(audit),
        "data": data_section(audit),
        "parts": parts_section(audit),
        "amplification": amplification_section(audit),
    }
    first = [verdict.section for verdict in audit.verdicts if verdict.kind == "found"]
    order = dict.fromkeys([*first, *written])
    return [section for name in order if (section := written[name]).parts] + looks_sections(audit)


def _opening(audit: AuditResult) -> list[Part]:
    found = len(audit.found())
    lead = f"{without_folders(audit.model)} on {audit.images:,} images: {without_folders(audit.data)}."
    held_out = "" if audit.split is None else f"Only what {audit.split.name} of the run holds out. "
    note = (
        f"{held_out}Found means: proven with at most {audit.settings.alpha:.0%} false alarms in each family of tests, "
        f"and at least {100 * audit.settings.gap:g} points large. First what concerns the most images."
    )
    accuracy = audit.accuracy
    facts = [
        Fact(count_in_words(found), "found"),
        Fact(f"{accuracy.value:.1%}", f"recognised (95 % interval {accuracy.low:.1%} to {accuracy.high:.1%})"),
        Fact(f"{len(audit.groups):,}", "groups compared with the rest"),
        Fact(f"{len(audit.shortcuts):,}", "simple properties tested"),
    ]
    rows = [
        Row((Mark(verdict.kind, _MARKS[verdict.kind]), verdict.sentence), "soft" if verdict.kind == "nothing" else "")
        for verdict in audit.verdicts
    ]
    return [Opening(_TITLE, lead, note), Facts(facts), Table((Column("verdict"), Column("what it is")), rows)]


def _footer(audit: AuditResult) -> list[Part]:
    settings = audit.settings
    words = (
        f"Least gap {settings.gap:g}, alpha {settings.alpha:g}, groups from {settings.least} images, seed "
        f"{settings.seed}. Computed in {audit.arithmetic}. focalnets {__version__}, {audit.seconds:.0f} s."
    )
    notes = [without_folders(text) for text in (*audit.notes, *(failure.reason for failure in audit.left_out))]
    return [Paragraph(words), *([Bullets(notes)] if notes else [])]
