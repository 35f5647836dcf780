"""What the network in the package names rightly in each arithmetic: ``python -m benchmarks.accuracy --data FOLDER``."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.command import Case, Size, Topic, topic_main
from benchmarks.measure import Absent, Target, describe_goal
from benchmarks.peers import SLOW_TO_BUILD, absent, pytorch_network
from focalnets.api import Trained, evaluate, load
from focalnets.engine.accelerate import Precision, why_unavailable
from focalnets.weights.shipped import DEFAULT

__all__ = ["TOPIC", "on_data"]

_BASELINE = "PyTorch"
_FAST = "focalnets accelerated"
_MOST_LOST_POINTS = -0.5


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to compute the network.

    Attributes:
        precision: Of the engine; None for a way that is not the engine's.
        file: Name of the exported file that is run; None for none.
        packages: What that needs.
        is_int8: Whether the file computes products with 8 bits, after ranges that images to train show.
    """

    precision: Precision | None = None
    file: str | None = None
    packages: tuple[str, ...] = ()
    is_int8: bool = False

    def absent(self, name: str, size: Size, data: Path) -> Absent | None:
        """Say why it does not take part here; None if it does."""
        reason = absent(name, self.packages, ("full", "quick", "tiny") if self.file is None else SLOW_TO_BUILD, size)
        lacking = None if self.precision is None else why_unavailable(self.precision)
        if reason is None and lacking is not None:
            return Absent(name, "cannot run here", lacking)
        if reason is None and self.is_int8 and not (data / "train").is_dir():
            return Absent(name, "not run", "The data has no folder train, whose images would show the ranges.")
        return reason


_EXPORTS = ("onnx", "onnxscript")

WAYS: dict[str, Way] = {
    _BASELINE: Way(),
    _FAST: Way("float32"),
    f"{_FAST}, bfloat16": Way("bfloat16"),
    f"{_FAST}, int8": Way("int8"),
    "ONNX Runtime": Way(file="network.onnx", packages=(*_EXPORTS, "onnxruntime")),
    "OpenVINO": Way(file="network.xml", packages=(*_EXPORTS, "openvino")),
    "OpenVINO int8": Way(file="int8.xml", packages=(*_EXPORTS, "openvino", "nncf"), is_int8=True),
}
"""Every way; the first one judges."""


def measure(data: Path | None, name: str, size: Size) -> list[dict[str, Any]]:
    """Let every way name all images to validate, and count where they differ."""
    trained = load(DEFAULT, device="cpu")
    rows: list[dict[str, Any]] = []
    answers: dict[str, dict[int, str | None]] = {}
    with tempfile.TemporaryDirectory(prefix="focalnets-benchmarks-") as scratch, _opened(data, trained) as folder:
        for key, way in WAYS.items():
            outcome = way.absent(key, size, folder) or _attempt(key, way, trained, folder, Path(scratch))
            if isinstance(outcome, Absent):
                rows.append(dataclasses.asdict(outcome))
                continue
            row, wrong = outcome
            answers[key] = wrong
            rows.append({"name": key, "status": "measured", **row, **_against(answers[_BASELINE], wrong, row)})
    measured = {row["name"]: row for row in rows if row["status"] == "measured"}
    case = {"name": name, "unit": "points", "baseline": _BASELINE, "rounds": 1, "contenders": rows}
    targets = [
        Target(f"{_FAST}, {how}", _BASELINE, at_least=_MOST_LOST_POINTS, of="points") for how in ("bfloat16", "int8")
    ]
    return [{**case, "targets": [_goal(target, measured) for target in targets] if size == "full" else []}]


def _attempt(key: str, way: Way, trained: Trained, data: Path, scratch: Path) -> Any:
    if way.file is None:
        return _evaluate(way, trained, data, scratch)
    try:
        return _evaluate(way, trained, data, scratch)
    except Exception as error:  # What others make of the file is not ours.
        return Absent(key, "failed", f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0][:200]}")


def _evaluate(way: Way, trained: Trained, data: Path, scratch: Path) -> tuple[dict[str, Any], dict[int, str | None]]:
    """Evaluate; returns the figures, and by its number what each image is called that is called wrongly."""
    model: Any = trained
    if way.file is not None:
        model = scratch / way.file
        trained.export(model, int8=way.is_int8, data=data / "train" if way.is_int8 else None)
    elif way.precision is None:
        model = dataclasses.replace(trained, network=pytorch_network(trained.network))  # type: ignore[arg-type]
    place = data / "val" if (data / "val").is_dir() else data
    found = evaluate(place, model, precision=way.precision or "auto", worst=10_000, device="cpu")
    wrong: dict[int, str | None] = {mistake.index: mistake.predicted_class for mistake in found.mistakes}
    figures = {
        "images": found.images, "top1": found.top1, "top1_interval": list(found.top1_interval),
        "arithmetic": found.report.arithmetic, "seconds": round(found.seconds, 1),
    }  # fmt: skip
    return figures, wrong


def _against(judge: dict[int, str | None], wrong: dict[int, str | None], row: dict[str, Any]) -> dict[str, Any]:
    """Count the images whose answer differs from the judge's; both call rightly what is in neither."""
    differing = sum(judge.get(index) != wrong.get(index) for index in judge.keys() | wrong.keys())
    lost, gained = len(wrong.keys() - judge.keys()), len(judge.keys() - wrong.keys())
    points = 100 * (gained - lost) / row["images"]
    return {"difference_points": points, "lost": lost, "gained": gained, "answers_that_differ": differing}


def _goal(target: Target, measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if target.contender not in measured:
        return describe_goal(target, None)
    points = measured[target.contender]["difference_points"]
    return describe_goal(target, {"median": points, "p20": points, "p80": points})


@contextlib.contextmanager
def _opened(data: Path | None, trained: Trained) -> Iterator[Path]:
    """Give the folder of the data; without any, of pictures of noise, which show that everything runs."""
    if data is not None:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="focalnets-benchmarks-") as made:
        generator = np.random.default_rng(0)
        for name in trained.network.class_names or ():  # type: ignore[union-attr]
            for number, split in enumerate(("train", "val", "val")):
                picture = Path(made) / split / str(name) / f"{number}.png"
                picture.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(picture)
        yield Path(made)


def cases(data: Path | None, size: Size) -> list[Case]:
    """List one pass over the images for every way; at full size only where there are images."""
    if data is None and size == "full":
        return []
    name = "noise" if data is None else f"{data.resolve().name}, all images to validate"
    return [Case(name, 180 if size == "full" else 5, functools.partial(measure, data, name, size))]


def on_data(data: Path | None) -> Topic:
    """Make the topic for a folder of labelled images, with ``val`` and, for int8 of OpenVINO, ``train`` in it."""
    return Topic(
        "accuracy",
        "What the small network in the package names rightly, computed in different ways.",
        "Every image to validate is named once in each way, at the network's own size. Lost and gained: images that "
        "only PyTorch in float32, or only the other way, names rightly; the difference is theirs. PyTorch: our network "
        "by PyTorch's own operators only. ONNX Runtime and OpenVINO run the network as focalnets export writes it, "
        "OpenVINO int8 with ranges of images to train by NNCF.",
        functools.partial(cases, data),
        options="--data FOLDER",
    )


TOPIC = on_data(None)


if __name__ == "__main__":
    sys.exit(topic_main(TOPIC, on_data=on_data))
