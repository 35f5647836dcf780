"""One network alone in a process of its own: what a call adds to memory, or why it cannot be made.

Reads a job as JSON from standard input and writes the outcome as JSON to the file that the job names.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from focalnets.compare.calls import is_out_of_memory, prepare_call, sample_images
from focalnets.compare.entrants import find_entrants
from focalnets.compare.memory import measure_added
from focalnets.files import write_json

__all__ = ["main", "measure_job"]


def measure_job(job: dict[str, Any]) -> dict[str, Any]:
    """Do the job ``model``, ``task``, ``size_px``, ``batch``, ``device``.

    Returns:
        ``status`` ``measured`` with ``peak_bytes`` and ``seconds`` (of the one call, a rough figure), or another status
        with ``why``.
    """
    device = torch.device(job["device"])
    (entrant,) = find_entrants([job["model"]])
    seconds = 0.0
    try:
        network, call = prepare_call(entrant, job["task"], job["size_px"], device)
        images = sample_images(job["batch"], job["size_px"], device)

        def timed(some: Any) -> Any:
            nonlocal seconds
            begin = time.perf_counter()
            call(some)
            seconds = time.perf_counter() - begin

        if device.type == "cuda":
            timed(images[:1])
            network.zero_grad(set_to_none=True)
            torch.cuda.reset_peak_memory_stats(device)
            idle = torch.cuda.memory_allocated(device)
            timed(images)
            added = torch.cuda.max_memory_allocated(device) - idle
        else:
            # Networks made for one size take no small images, so one whole image warms up.
            warm_up = images[:1] if job["batch"] > 1 else images
            timed(warm_up)
            _, outcome = measure_added(lambda some: lambda: timed(some), images, network.zero_grad, warm_up=warm_up)
            added = outcome["added_bytes"]
    except Exception as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        if is_out_of_memory(error):
            return {"status": "out of memory", "why": words}
        return {"status": "unsupported", "why": f"{type(error).__name__}: {words}"}
    return {"status": "measured", "peak_bytes": int(added), "seconds": seconds}


def main() -> None:
    """Do the job from standard input."""
    # Where memory runs out the system ends a process of its choice: it shall be this one.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    job = json.load(sys.stdin)
    torch.set_num_threads(job["threads"])
    write_json(job["outcome"], measure_job(job))


if __name__ == "__main__":
    main()
