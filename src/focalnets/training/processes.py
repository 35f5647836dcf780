"""The processes of one training on this machine, and who of them listens to Ctrl-C. Imports no torch."""

from __future__ import annotations

import os
import signal

__all__ = ["ignore_ctrl_c_in_helpers", "is_helper"]


def is_helper() -> bool:
    """Whether another process of the training started this one; those of torchrun and SLURM stand for themselves."""
    return "RANK" not in os.environ and int(os.environ.get("LOCAL_RANK", 0)) > 0


def ignore_ctrl_c_in_helpers() -> None:
    """Leave Ctrl-C, which reaches every process of a terminal, to the one that the user started.

    To be called before anything slow: a helper that dies while it still starts would take the training with it.
    """
    if is_helper():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
