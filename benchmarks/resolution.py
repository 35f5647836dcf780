"""Time and memory a pixel from 224 to 2048 px: ``python -m benchmarks.resolution [--quick]``."""

from __future__ import annotations

import sys
from typing import Any

import torch

from benchmarks.command import Case, Size, Topic, topic_main
from benchmarks.inference import TOLERANCE
from benchmarks.measure import Absent, Contender, Timing, attempt, time_case
from benchmarks.memory import METHOD, Outcome, describe_memory, run_worker
from benchmarks.peers import INFERENCE, Prepare, absent, classifying, drawn_network, network_config

__all__ = ["SIDES_PX", "TOPIC"]

SIDES_PX: dict[Size, tuple[int, ...]] = {
    "full": (224, 384, 512, 768, 1024, 2048),
    "quick": (224, 320),
    "tiny": (64, 96),
}

_BUDGET_S = {"full": 20.0, "quick": 0.0, "tiny": 0.0}
_IN_QUICK = ("focalnets", "timm")

_COMPILED_UP_TO_PX = 1024


class _Networks:
    """Every contender, built once for all resolutions, when the first case asks."""

    def __init__(self, names: tuple[str, ...], size: Size) -> None:
        self._names, self._size = names, size
        self._built: dict[str, Prepare | Absent] | None = None

    def contenders(self, images: torch.Tensor) -> list[Contender | Absent]:
        if self._built is None:
            ours = drawn_network(network_config(self._size))
            self._built = {}
            for name in self._names:
                peer = INFERENCE[name]
                self._built[name] = absent(name, peer.packages, peer.sizes, self._size) or peer.build(ours, True)
        too_long = images.shape[-1] > _COMPILED_UP_TO_PX
        return [
            Absent(name, "not run", f"Only up to {_COMPILED_UP_TO_PX} px, to save time.")
            if too_long and name.endswith("compiled")
            else _contender(name, built, images)
            for name, built in self._built.items()
        ]


def _contender(name: str, built: Prepare | Absent, images: torch.Tensor) -> Contender | Absent:
    if isinstance(built, Absent):
        return built
    return attempt(name, lambda: classifying(name, built, images))


def measure_time(networks: _Networks, side_px: int, size: Size) -> list[dict[str, Any]]:
    """Time classifying one image (1, 3, side_px, side_px)."""
    images = torch.randn(1, 3, side_px, side_px, generator=torch.Generator().manual_seed(1))
    case = time_case(
        f"time, {side_px} px",
        networks.contenders(images),
        baseline="timm",
        tolerance=TOLERANCE,
        timing=Timing(_BUDGET_S[size], fewest=3, most=15, turn_s=0.05 if size == "full" else 0.01),
        details=_details("time per pixel", side_px),
    )
    return [case]


def measure_memory(names: tuple[str, ...], size: Size) -> list[dict[str, Any]]:
    """Measure the peak memory of classifying one image, at every resolution; one process a contender."""
    sides = SIDES_PX[size]
    jobs = [{"task": "inference", "batch": 1, "side_px": side_px} for side_px in sides]
    done = {name: run_worker(name, jobs, size) for name in names}
    listed = []
    for index, side_px in enumerate(sides):
        outcomes: dict[str, Outcome | Absent] = {
            name: answer if isinstance(answer, Absent) else answer[index] for name, answer in done.items()
        }
        case = describe_memory(
            f"memory, {side_px} px",
            outcomes,
            tolerance=TOLERANCE,
            targets=(),
            details=_details("memory per pixel", side_px),
        )
        listed.append(case)
    return listed


def _details(group: str, side_px: int) -> dict[str, Any]:
    shape = {"batch": 1, "side_px": side_px, "dtype": "float32", "pixels": side_px**2}
    return {"group": group, "column": f"{side_px} px", **shape}


def cases(size: Size) -> list[Case]:
    """List one case of time for each resolution, and memory at all of them."""
    names = _IN_QUICK if size == "quick" else tuple(name for name in INFERENCE if name != "focalnets compiled")
    networks = _Networks(names, size)
    listed = []
    for index, side_px in enumerate(SIDES_PX[size]):

        def run(side_px: int = side_px) -> list[dict[str, Any]]:
            return measure_time(networks, side_px, size)

        building_s = 120 if index == 0 and size == "full" else 2
        listed.append(Case(f"time, {side_px} px", _BUDGET_S[size] + building_s + 200 * (side_px / 2048) ** 2, run))
    memory_s = (28 if size == "full" else 5) * len(names)
    listed.append(Case("memory, all resolutions", memory_s, lambda: measure_memory(names, size)))
    return listed


TOPIC = Topic(
    "resolution",
    "Cost of classifying one image with FocalNet-T (large receptive field) from 224 to 2048 px, float32.",
    "Time: one call on one image that lies ready; compiled networks are compiled once, for sizes that "
    "vary, and their weights are not frozen. Memory: " + METHOD,
    cases,
)

if __name__ == "__main__":
    sys.exit(topic_main(TOPIC))
