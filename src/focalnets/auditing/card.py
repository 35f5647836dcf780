"""Verdicts of an audit in the model card of a run."""

from __future__ import annotations

import os
import re
from pathlib import Path

from focalnets.auditing.results import AuditResult
from focalnets.errors import ConfigError
from focalnets.files import user_path, write_text
from focalnets.report.names import without_folders

__all__ = ["card_of", "write_verdicts"]

_HEADING = "## Audit"
_OWN = re.compile(rf"^{_HEADING}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_BEFORE = re.compile(r"^## (?:Limits|How to load)$", re.MULTILINE)
_MOST = 20


def card_of(source: str | os.PathLike[str] | None) -> Path:
    """Find the model card of a run, and see that it can be read.

    Raises:
        ConfigError: If what was given is no run with a card, or the card is not in UTF-8.
    """
    place = user_path(source) if source else None
    folder = place.parent if place is not None and place.is_file() else place
    if folder is None or not (folder / "README.md").is_file():
        raise ConfigError(
            f"verdicts go into the card of a run, but '{source or 'the network in the package'}' is no folder of a run "
            "with a README.md."
        )
    card = folder / "README.md"
    try:
        card.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"'{card}' is not in UTF-8; save the file again as UTF-8.") from error
    return card


def write_verdicts(card: Path, audit: AuditResult) -> None:
    """Write the section ``Audit`` of a card, in place of an earlier one; all other text stays as it is."""
    settings = audit.settings
    lines = [f"- **{verdict.kind}**: {without_folders(verdict.sentence)}" for verdict in audit.verdicts[:_MOST]]
    if len(audit.verdicts) > _MOST:
        lines.append(f"- and {len(audit.verdicts) - _MOST} more")
    section = "\n".join(
        [
            _HEADING,
            f"{audit.images:,} images of `{Path(audit.data).name}`, {audit.accuracy.value:.1%} recognised. Found means "
            f"proven with at most {settings.alpha:.0%} false alarms in each family of tests, and at least "
            f"{100 * settings.gap:g} points large.",
            "",
            *lines,
            "",
            "",
        ]
    )
    text = _OWN.sub("", card.read_text(encoding="utf-8"))
    place = _BEFORE.search(text)
    at = len(text) if place is None else place.start()
    write_text(card, text[:at] + ("" if text[:at].endswith("\n") else "\n") + section + text[at:])
