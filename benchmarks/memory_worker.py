"""One contender alone in a process of its own: what a call adds to the process's memory.

Reads jobs as JSON from standard input, does them in order, writes their outcomes as JSON to standard output.
"""

from __future__ import annotations

import ctypes
import gc
import json
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers import INFERENCE, drawn_network, network_config
from benchmarks.trainers import Trainer

_WARM_UP_PX = 64


def read_status(field: str) -> int | None:
    """A field of this process's status [bytes], None where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    found = re.search(rf"^{field}:\s+(\d+) kB", status.read_text(), re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


def reset_peak() -> bool:
    """Make the kernel forget the peak so far; False where it cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_bytes() -> int:
    """Largest resident size since the process began, or since the peak was reset."""
    peak = read_status("VmHWM")
    if peak is not None:
        return peak
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def settle() -> int:
    """Return freed memory to the system; the resident size now [bytes]."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
    resident = read_status("VmRSS")
    return peak_bytes() if resident is None else resident


def measure(
    prepare: Callable[[Tensor], Callable[[], Any]], images: Tensor, rest: Callable[[], None]
) -> tuple[Any, dict[str, Any]]:
    """Run a call on a small image, let the process rest, then run it on ``images``: what does the second add?

    What a runtime sets aside when it is made ready for the larger images counts, what it needs meanwhile does not.
    """
    memory_format = torch.contiguous_format if images.is_contiguous() else torch.channels_last
    call = prepare(images[:, :, :_WARM_UP_PX, :_WARM_UP_PX].contiguous(memory_format=memory_format))
    call()
    rest()
    idle = settle()
    del call
    call = prepare(images)
    settle()
    was_reset = reset_peak()
    output = call()
    peak = peak_bytes()
    return output, {"added_bytes": peak - idle, "idle_bytes": idle, "peak_bytes": peak, "peak_was_reset": was_reset}


def infer(job: dict[str, Any]) -> dict[str, Any]:
    """Peak of classifying ``batch`` images of ``side_px``."""
    peer = INFERENCE[job["contender"]]
    ours = drawn_network(network_config(job["size"]))
    prepare = peer.build(ours, False)
    del ours
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(job["batch"], 3, job["side_px"], job["side_px"], generator=generator)
    images = images.contiguous(memory_format=peer.memory_format)
    logits, outcome = measure(prepare, images, lambda: None)
    return {**outcome, "outputs": {"logits": logits.flatten().tolist()}}


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Peak of a training step on ``batch`` images of ``side_px``."""
    ours = drawn_network(network_config(job["size"]))
    trainer = Trainer(job["contender"], ours)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(job["batch"], 3, job["side_px"], job["side_px"], generator=generator)
    images = images.contiguous(memory_format=trainer.memory_format)
    labels = torch.randint(ours.config.num_classes, (job["batch"],), generator=generator)
    del ours

    def prepare(some: Tensor) -> Callable[[], Tensor]:
        return lambda: trainer.step(some, labels)

    loss, outcome = measure(prepare, images, trainer.drop_gradients)
    norms = {name: float(one.double().norm()) for name, one in sorted(trainer.gradients().items())}
    return {**outcome, "outputs": {"loss": [float(loss)], "gradient norms": list(norms.values())}}


def main() -> None:
    """Do the jobs from standard input."""
    tasks = {"inference": infer, "training": train}
    request = json.load(sys.stdin)
    torch.set_num_threads(request["threads"])
    outcomes = [tasks[job["task"]](job) for job in request["jobs"]]
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    main()
