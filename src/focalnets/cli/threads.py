"""How the threads of a computation wait for each other; to be called before torch is imported."""

from __future__ import annotations

import os

__all__ = ["wait_without_spinning"]


def wait_without_spinning() -> None:
    """Let idle OpenMP threads sleep instead of spinning, unless the user chose otherwise.

    Where other processes run on the same cores, e.g. those that read the images, a spinning thread takes the core from
    the one it waits for: a training step of 2.5 s took 15 to 22 s on two busy cores.
    """
    if "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
