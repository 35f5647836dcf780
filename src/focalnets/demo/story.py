"""What the demonstration of a task must be able to do; the command line knows demonstrations through it alone."""

from __future__ import annotations

import abc
import contextlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from focalnets.errors import UnknownNameError, nearest

__all__ = ["STORIES", "ShowProgress", "Story", "find_story"]

ShowProgress = Callable[[str, int], contextlib.AbstractContextManager[Callable[[int], None]]]
"""Shows a task of so many steps while it runs; what it yields takes the number of steps done."""


class Story(abc.ABC):
    """The demonstration of a task: draws, trains, measures, looks inside and reports.

    Attributes:
        files: What is written: files and, by a name in them, folders.
    """

    files: ClassVar[tuple[str, ...]]

    @abc.abstractmethod
    def perform(
        self, output: Path, *, quick: bool, say: Callable[[str], None], progress: ShowProgress, quiet: bool
    ) -> Any:
        """Do everything once.

        Args:
            output: Folder for the network; that of an earlier demonstration is replaced.
            quick: Do what takes seconds: it shows that everything runs and learns next to nothing.
            say: Takes lines for people.
            progress: Shows how far a task is.
            quiet: Keep the training from printing its own lines.

        Returns:
            What was done and measured, for the other methods.
        """

    @abc.abstractmethod
    def write(self, result: Any, report: Path) -> None:
        """Write pictures, in place of those of an earlier demonstration, and the page."""

    @abc.abstractmethod
    def content(self, result: Any) -> dict[str, Any]:
        """Return what was measured, as plain values."""

    @abc.abstractmethod
    def summary(self, result: Any) -> str:
        """Sum up what was measured, in a line or two."""

    @abc.abstractmethod
    def next_steps(self, result: Any, output: Path) -> list[str]:
        """Return commands to try, without the name of the program."""


STORIES = {
    "classify": ("focalnets.demo.classification.story", "ClassifyStory"),
    "detect": ("focalnets.demo.dense.detect", "DetectStory"),
    "language": ("focalnets.demo.language.story", "LanguageStory"),
    "semantic": ("focalnets.demo.dense.semantic", "SemanticStory"),
}
"""Module and class of each task's demonstration."""


def find_story(task: str) -> Story:
    """Find the demonstration of a task.

    Raises:
        UnknownNameError: If there is none.
    """
    if task not in STORIES:
        raise UnknownNameError(f"There is no demonstration of {task!r}; {nearest(task, STORIES)}")
    module, name = STORIES[task]
    return getattr(importlib.import_module(module), name)()
