"""Time and memory a pixel from 224 to 4096 px: ``python -m benchmarks.resolution [--quick]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.command import Case, Size, Topic, topic_main
from benchmarks.exported import Prepare
from benchmarks.measure import Absent, Contender, Target, Timing, attempt, describe_goal, time_case
from benchmarks.memory import METHOD, Outcome, describe_memory, run_worker
from benchmarks.peers import INFERENCE, TOLERANCES, classifying, drawn_network, network_config

__all__ = ["SIDES_PX", "TOPIC"]

SIDES_PX: dict[Size, tuple[int, ...]] = {
    "full": (224, 384, 512, 768, 1024, 2048, 4096),
    "quick": (224, 320),
    "tiny": (64, 96),
}

_BUDGET_S = {"full": 10.0, "quick": 0.0, "tiny": 0.0}
_FAST = "focalnets accelerated"
_NAMES = ("focalnets", _FAST, "timm")

_OTHERS_UP_TO_PX = 2048
"""timm takes the better part of a minute for a larger image; that one is measured once, in the topic ``memory``."""

_FLAT = 1.15


class _Networks:
    """Every contender, built once for all resolutions, when the first case asks."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self._built: dict[str, Prepare | Absent] | None = None

    def contenders(self, images: torch.Tensor) -> list[Contender | Absent]:
        if self._built is None:
            ours = drawn_network(network_config(self._size))
            self._built = {
                name: INFERENCE[name].absent(name, self._size) or INFERENCE[name].build(ours, True) for name in _NAMES
            }
        return [
            _contender(name, built, images) if _takes(name, images.shape[-1]) else _too_large(name)
            for name, built in self._built.items()
        ]


def _takes(name: str, side_px: int) -> bool:
    return name == _FAST or side_px <= _OTHERS_UP_TO_PX


def _too_large(name: str) -> Absent:
    return Absent(name, "not run", f"Only up to {_OTHERS_UP_TO_PX} px, to save time.")


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
        tolerance=TOLERANCES["float32"],
        timing=Timing(_BUDGET_S[size], fewest=3, most=15, turn_s=0.05 if size == "full" else 0.01),
        details=_details("time per pixel", side_px),
    )
    return [case]


def measure_memory(size: Size) -> list[dict[str, Any]]:
    """Measure the peak memory of classifying one image, at every resolution; one process a contender."""
    sides = SIDES_PX[size]
    outcomes: dict[int, dict[str, Outcome | Absent]] = {side_px: {} for side_px in sides}
    for name in _NAMES:
        taken = [side_px for side_px in sides if _takes(name, side_px)]
        done = run_worker(name, [{"task": "inference", "batch": 1, "side_px": side_px} for side_px in taken], size)
        for side_px in sides:
            if isinstance(done, Absent):
                outcomes[side_px][name] = done
            else:
                outcomes[side_px][name] = done[taken.index(side_px)] if side_px in taken else _too_large(name)
    return [
        describe_memory(
            f"memory, {side_px} px",
            outcomes[side_px],
            task="inference",
            targets=(),
            details=_details("memory per pixel", side_px),
        )
        for side_px in sides
    ]


def _details(group: str, side_px: int) -> dict[str, Any]:
    shape = {"batch": 1, "side_px": side_px, "dtype": "float32", "pixels": side_px**2}
    return {"group": group, "column": f"{side_px} px", **shape}


def flatness(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare what a pixel costs at all sizes: the dearest with the smallest image, and with the cheapest."""
    goals = []
    for group in ("time per pixel", "memory per pixel"):
        costs = {
            case["side_px"]: row["median"] / case["pixels"]
            for case in cases
            if case["group"] == group
            for row in case["contenders"]
            if row["name"] == _FAST and row["status"] == "measured"
        }
        if len(costs) < 2:
            continue
        name = f"{group}, {min(costs)} to {max(costs)} px"
        for against, cost in (
            (f"itself at {min(costs)} px", costs[min(costs)]),
            (f"itself at its cheapest, {min(costs, key=costs.__getitem__)} px", min(costs.values())),
        ):
            ratio = max(costs.values()) / cost
            spread = {"median": ratio, "p20": ratio, "p80": ratio}
            of = group.partition(" ")[0]
            goal = describe_goal(Target(f"{_FAST}, at its dearest", against, at_most=_FLAT, of=of), spread)
            goals.append({"case": name, **goal})
    return goals


def cases(size: Size) -> list[Case]:
    """List one case of time for each resolution, and memory at all of them."""
    networks = _Networks(size)
    listed = []
    for side_px in SIDES_PX[size]:

        def run(side_px: int = side_px) -> list[dict[str, Any]]:
            return measure_time(networks, side_px, size)

        listed.append(Case(f"time, {side_px} px", _BUDGET_S[size] + 2 + 70 * min(1.2, (side_px / 2048) ** 2), run))
    memory_s = (40 if size == "full" else 5) * len(_NAMES)
    listed.append(Case("memory, all resolutions", memory_s, lambda: measure_memory(size)))
    return listed


TOPIC = Topic(
    "resolution",
    "Cost of classifying one image with FocalNet-T (large receptive field) from 224 to 4096 px, float32.",
    "Time: one call on one image that lies ready. Memory: " + METHOD,
    cases,
    goals=flatness,
)

if __name__ == "__main__":
    sys.exit(topic_main(TOPIC))
