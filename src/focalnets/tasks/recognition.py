"""Which task data is for, from how it is laid out."""

from __future__ import annotations

import os

from focalnets.errors import ConfigError
from focalnets.tasks.table import TASKS

__all__ = ["recognise_task"]


def recognise_task(place: str | os.PathLike[str]) -> tuple[str, str]:
    """Find the task that data is for: what holds neither texts nor annotated images is for classification.

    Returns:
        The task, and a sentence on what was recognised; empty for classification.

    Raises:
        ConfigError: If the data fits several tasks.
        DataError: If there is no such place, or it leaves open what is meant.
    """
    from focalnets.data.annotated.formats import possible_tasks, recognise
    from focalnets.data.series.labelled import recognise_labelled_series
    from focalnets.data.text.finding import recognise_texts
    from focalnets.data.text.recognition import recognise_labelled_texts

    text = os.fspath(place)
    for task, recognise_place in (
        ("series", recognise_labelled_series), ("text", recognise_labelled_texts), ("language", recognise_texts),
    ):  # fmt: skip
        if found := recognise_place(text):
            return task, f"recognised {found} in '{text}': training {task}; --task chooses another task"
    possible = possible_tasks(text)
    tasks = [task for task in TASKS if task in possible]
    if tasks in ([], ["classify"]):
        return "classify", ""
    formats = " and ".join(dict.fromkeys(each.format for each in recognise(text)))
    if len(tasks) > 1:
        words = "; ".join(f"{task}: {TASKS[task].summary}" for task in tasks)
        raise ConfigError(f"'{text}' ({formats}) can train several tasks; choose one with --task ({words}).")
    return tasks[0], f"recognised {formats} in '{text}': training {tasks[0]}; --task chooses another task"
