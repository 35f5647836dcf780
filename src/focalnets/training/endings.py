"""What is said when a training ends before its last epoch."""

from __future__ import annotations

import shlex

import torch

from focalnets.errors import UnfinishedRunError
from focalnets.training.run_folder import RunFolder

__all__ = ["explain_failed_writing", "explain_resuming", "tells_of_lost_process", "unfinished"]


def tells_of_lost_process(error: RuntimeError) -> bool:
    """Whether processes that train together could not reach each other; gloo, of CPUs, has no class for it."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)


def explain_resuming(folder: RunFolder, *, stopped: bool = True) -> str:
    """Say what of a run is saved and how to go on with it.

    Args:
        folder: Of the run.
        stopped: Whether somebody stopped it, rather than a mistake.
    """
    name = shlex.quote(str(folder.root))
    if folder.resume_point.exists():
        saved = "Stopped; everything so far is saved." if stopped else "What was saved before is whole."
        return f"{saved} Go on with: focalnets train --resume {name}"
    saved = "Stopped before anything was saved" if stopped else "Nothing was saved before"
    return f"{saved}; start again with --overwrite (the folder is {name})."


def explain_failed_writing(error: Exception) -> str:
    """Say why a file of a run could not be written."""
    if isinstance(error, OSError) and error.strerror:
        return f"The run could not be written ({error.strerror})."
    return str(error)


def unfinished(folder: RunFolder, reason: str) -> UnfinishedRunError:
    """Make the error of a training that something outside ended: why, and how to go on."""
    return UnfinishedRunError(reason, explain_resuming(folder, stopped=False))
