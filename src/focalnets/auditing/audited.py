"""A finished audit, with the means to write it down."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from focalnets.auditing.report import write_audit
from focalnets.auditing.results import AuditResult
from focalnets.files import user_path

__all__ = ["Audit"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Audit(AuditResult):
    """What the data taught a network besides its task; see :class:`focalnets.auditing.results.AuditResult`."""

    def save(self, folder: str | Path) -> list[str]:
        """Write ``report.html`` and all figures as JSON and CSV to a folder; returns the files' names."""
        return write_audit(self, user_path(folder))
