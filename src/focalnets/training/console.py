"""What a training shows: a bar with the time left on a terminal, and one line an epoch everywhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from focalnets.training.run_folder import RunFolder

__all__ = ["TrainingConsole", "short_duration"]

_SECONDS_BETWEEN_UPDATES = 0.25


class TrainingConsole:
    """Lines for people, also kept in the run's log; and a bar if this is a terminal.

    Args:
        folder: The run whose log gets every line.
        quiet: Show nothing.
        mute: Neither show nor log anything: for all but the first of several processes.
    """

    def __init__(self, folder: RunFolder, *, quiet: bool = False, mute: bool = False) -> None:
        self._folder = folder
        self._mute = mute
        quiet = quiet or mute
        self._console = Console(quiet=quiet, highlight=False, soft_wrap=True)
        self._progress: Progress | None = None
        self._bar: TaskID | None = None
        self._shown_at = 0.0
        if self._console.is_terminal and not quiet:
            self._progress = Progress(
                TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
                TextColumn("{task.fields[details]}"), TextColumn("epoch ends in"), TimeRemainingColumn(compact=True),
                TextColumn("{task.fields[whole]}"),
                console=self._console, auto_refresh=False, transient=True,
            )  # fmt: skip

    def line(self, text: str) -> None:
        """Show and log one line."""
        if self._mute:
            return
        self._folder.append_log(text)
        self._console.print(text, markup=False)

    def text(self, text: str) -> None:
        """Show and log a text of several lines, indented."""
        for line in text.splitlines():
            self.line(f"    {line}")

    def begin(self, description: str, total: int, completed: int = 0) -> None:
        """Start a bar of ``total`` steps in place of the one before."""
        if self._progress is None:
            return
        self.end()
        self._bar = self._progress.add_task(description, total=total, completed=completed, details="", whole="")
        self._progress.start()

    def due(self) -> bool:
        """Tell whether the bar would be drawn now: at most four times a second, so that it costs nothing."""
        return self._bar is not None and time.monotonic() - self._shown_at >= _SECONDS_BETWEEN_UPDATES

    def advance(self, completed: int, details: str = "", seconds_left: float | None = None) -> None:
        """Move the bar, if it is due."""
        if self._progress is None or self._bar is None or not self.due():
            return
        self._shown_at = time.monotonic()
        whole = "" if seconds_left is None else f"run in {short_duration(seconds_left)}"
        self._progress.update(self._bar, completed=completed, details=details, whole=whole)
        self._progress.refresh()

    def end(self) -> None:
        """Take the bar away."""
        if self._progress is not None and self._bar is not None:
            self._progress.remove_task(self._bar)
            self._bar = None
            self._progress.stop()


def short_duration(seconds: float) -> str:
    """Write a duration like 42 s, 3:05 min or 2:10 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
