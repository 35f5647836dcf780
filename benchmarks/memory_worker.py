"""One contender alone in a process of its own: what a call adds to the process's memory.

Reads jobs as JSON from standard input, does them in order, writes their outcomes as JSON to standard output.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers import INFERENCE, drawn_network, network_config
from benchmarks.trainers import Trainer
from focalnets.machine.memory import measure_added


def infer(job: dict[str, Any]) -> dict[str, Any]:
    """Measure the peak of classifying ``batch`` images of ``side_px``."""
    peer = INFERENCE[job["contender"]]
    ours = drawn_network(network_config(job["size"]))
    prepare = peer.build(ours, False)
    del ours
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(job["batch"], 3, job["side_px"], job["side_px"], generator=generator)
    images = images.contiguous(memory_format=peer.memory_format)
    logits, outcome = measure_added(prepare, images, lambda: None)
    return {**outcome, "outputs": {"logits": logits.flatten().tolist()}}


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Measure the peak of a training step on ``batch`` images of ``side_px``."""
    ours = drawn_network(network_config(job["size"]))
    trainer = Trainer(job["contender"], ours)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(job["batch"], 3, job["side_px"], job["side_px"], generator=generator)
    images = images.contiguous(memory_format=trainer.memory_format)
    labels = torch.randint(ours.config.num_classes, (job["batch"],), generator=generator)
    del ours

    def prepare(some: Tensor) -> Callable[[], Tensor]:
        return lambda: trainer.step(some, labels)

    loss, outcome = measure_added(prepare, images, trainer.drop_gradients)
    norms = {name: float(gradient.double().norm()) for name, gradient in sorted(trainer.gradients().items())}
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
