"""One network alone in a process of its own: what a call adds to memory, or why it cannot be made.

Reads jobs from standard input and answers on standard output, both as one line of JSON each. Where the system can copy
processes, every job is done in a fresh copy of this one, which has loaded the libraries and computed nothing: that
takes a tenth of a second instead of several. Elsewhere this process does one job and ends.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from focalnets.compare.calls import prepare_call, sample_batch
from focalnets.compare.models import find_models
from focalnets.compare.variations import load_rows
from focalnets.machine.memory import available_bytes, is_out_of_memory, limit_data, measure_added
from focalnets.machine.workers import read_lines, write_line
from focalnets.tasks.batch import Batch
from focalnets.weights.loading import create_model

__all__ = ["LARGEST_FRACTION", "main", "measure_job"]

LARGEST_FRACTION = 0.85
"""Of the available memory, a call may take this fraction; more would drive the machine to where it ends processes."""

_LARGE_PX = 512

_LIBRARIES = (create_model,)  # what a job needs is loaded before processes are copied


def measure_job(job: dict[str, Any]) -> dict[str, Any]:
    """Do the job ``model``, ``task``, ``size_px``, ``batch``, ``device``, and if wanted ``skeleton``, ``trained_for``.

    Returns:
        ``status`` ``measured`` with ``peak_bytes`` and ``seconds`` (of the one call, a rough figure), or another status
        with ``why``.
    """
    device = torch.device(job["device"])
    (model,) = find_models([job["model"]], job.get("skeleton"))
    trained_for = job.get("trained_for", "classify")
    seconds = 0.0
    try:
        network, call = prepare_call(model, job["task"], job["size_px"], device, trained_for)

        def sample(batch: int, size_px: int) -> Batch:
            return sample_batch(trained_for, batch, size_px, device)

        whole = sample(job["batch"], job["size_px"])

        def timed(some: Any) -> Any:
            nonlocal seconds
            begin = time.perf_counter()
            call(some)
            seconds = time.perf_counter() - begin

        if device.type == "cuda":
            timed(sample(1, job["size_px"]))
            network.zero_grad(set_to_none=True)
            torch.cuda.reset_peak_memory_stats(device)
            idle = torch.cuda.memory_allocated(device)
            timed(whole)
            added = torch.cuda.max_memory_allocated(device) - idle
        else:
            warm_ups = [sample(1, job["size_px"])]
            if job["batch"] == 1 and job["size_px"] >= _LARGE_PX:
                warm_ups.insert(0, sample(1, job["size_px"] // 2))
            added = _measure_added(timed, whole, warm_ups, network.zero_grad)["added_bytes"]
    except Exception as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        if is_out_of_memory(error):
            return {"status": "out of memory", "why": words}
        return {"status": "unsupported", "why": f"{type(error).__name__}: {words}"}
    return {"status": "measured", "peak_bytes": int(added), "seconds": seconds}


def _measure_added(
    call: Callable[[Any], Any], whole: Batch, warm_ups: Sequence[Batch], rest: Callable[[], None]
) -> dict[str, Any]:
    """Measure what a call on a batch adds to memory after one on a single image, or on one of half the sides.

    Networks made for one size refuse the smaller image and are warmed up by one of the whole size. Of small images it
    would leave out what a runtime sets aside once for all sizes.
    """
    for warm_up in warm_ups:
        try:
            return measure_added(lambda some: lambda: call(some), whole, rest, warm_up=warm_up)[1]
        except Exception as error:
            if is_out_of_memory(error) or warm_up is warm_ups[-1]:
                raise
    raise AssertionError("the last way gives an outcome or an error")


def main() -> None:
    """Do jobs until there are no more."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints is no answer
    copies = sys.platform == "linux"
    if copies and importlib.util.find_spec("timm") is not None:
        import timm  # noqa: F401 - loaded once, for all copies
    for job in read_lines(sys.stdin):
        write_line(answers, _in_a_copy(job) if copies else _do(job))
        if not copies:
            return


def _do(job: dict[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(job["threads"])
    load_rows(job["rows"])
    return measure_job(job)


def _in_a_copy(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job in a copy of this process, which is ended after ``timeout_s``."""
    reading, writing = os.pipe()
    copy = os.fork()
    if copy == 0:
        status = 1
        try:
            os.close(reading)
            # Where memory runs out after all the system ends a process of its choice: it shall be this one.
            with contextlib.suppress(OSError):
                Path("/proc/self/oom_score_adj").write_text("1000")
            free = available_bytes()
            if job["device"] == "cpu" and free is not None:
                limit_data(int(LARGEST_FRACTION * free))
            with os.fdopen(writing, "w") as answer:
                json.dump(_do(job), answer)
            status = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as answer:
        in_time = bool(select.select([answer], [], [], job["timeout_s"])[0])
        if not in_time:
            os.kill(copy, signal.SIGKILL)
        text = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
    if not in_time:
        return {"status": "over the time", "why": f"It took more than {job['timeout_s']:.0f} s; give more --minutes."}
    if status == 0:
        return json.loads(text)
    return {"status": "failed", "exit": status}


if __name__ == "__main__":
    main()
