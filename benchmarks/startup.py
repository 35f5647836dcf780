"""How much processor time commands take before they do anything: ``python -m benchmarks.startup [--rounds N]``.

Each command runs in a fresh process. The rounds are interleaved, so that a machine that slows down slows all of them;
what counts is the processor time of the process (user and system, all threads), as a ratio to that of ``import torch``,
which no command that runs a network can do without. The network's own time is that of reading its weights and
classifying the photo, measured inside a process that has imported everything before.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import machine_fields, source_fields, version_fields
from focalnets.machine.description import utc_now

__all__ = ["measure", "run"]

_NETWORK = """
import sys, time
from pathlib import Path
from focalnets.tasks.classify.inference import predict_images
from focalnets.weights.loading import load_model
started = time.process_time()
model = load_model("focalnet_pico.imagenette").eval()
(prediction,) = predict_images(model, [Path(sys.argv[1])])
print(time.process_time() - started)
"""


def _processor_time_s(command: Sequence[str]) -> float:
    """Run a command to its end and return the processor time that it took [s]."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _network_s(photo: Path) -> float:
    done = subprocess.run([sys.executable, "-c", _NETWORK, str(photo)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def measure(rounds: int, folder: Path) -> dict[str, Any]:
    """Measure all commands in turn, ``rounds`` times after one round that warms up the caches of the disk.

    Args:
        rounds: How often each command runs.
        folder: For the photo, 640 x 480 pixels of noise.

    Returns:
        For each command its median, its 20 % and 80 % quantiles [s], and the ratio of the medians to ``import torch``.
    """
    import numpy as np
    from PIL import Image

    photo = folder / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)).save(photo)
    focalnets = [sys.executable, "-m", "focalnets"]
    contenders: dict[str, Callable[[], float]] = {
        "import torch": lambda: _processor_time_s([sys.executable, "-c", "import torch"]),
        "the network's own": lambda: _network_s(photo),
        "focalnets predict photo.png": lambda: _processor_time_s([*focalnets, "predict", str(photo)]),
        "focalnets --help": lambda: _processor_time_s([*focalnets, "--help"]),
        "focalnets predict --help": lambda: _processor_time_s([*focalnets, "predict", "--help"]),
        "focalnets models": lambda: _processor_time_s([*focalnets, "models"]),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, contender in contenders.items():
            seconds = contender()
            if number > 0:
                times[name].append(seconds)
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
    torch_s = statistics.median(times["import torch"])
    rows = {}
    for name, seconds in times.items():
        median, ordered = statistics.median(seconds), sorted(seconds)
        rows[name] = {
            "median_s": median,
            "p20_s": ordered[len(ordered) // 5],
            "p80_s": ordered[(4 * len(ordered)) // 5],
            "ratio_to_import_torch": median / torch_s,
        }
    own_s = rows["the network's own"]["median_s"]
    without_network = (rows["focalnets predict photo.png"]["median_s"] - own_s) / torch_s
    return {"rounds": rounds, "processor_time": rows, "predict_without_network_to_import_torch": without_network}


def run(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and write JSON where asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="how often each command runs (default: 10)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures with machine and versions as JSON")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options.rounds, Path(folder))
    print(f"{'processor time':<30}{'median [s]':>12}{'20 to 80 %':>16}{'ratio':>8}")
    for name, row in result["processor_time"].items():
        spread = f"{row['p20_s']:.2f} to {row['p80_s']:.2f}"
        print(f"{name:<30}{row['median_s']:>12.2f}{spread:>16}{row['ratio_to_import_torch']:>8.2f}")
    print(
        f"predict without the network's own, to import torch: {result['predict_without_network_to_import_torch']:.2f}"
    )
    if options.json is not None:
        described = {
            "date": utc_now(), "machine": machine_fields(), "versions": version_fields(), "source": source_fields(),
            "threads": os.environ.get("OMP_NUM_THREADS"),
        }  # fmt: skip
        options.json.write_text(json.dumps(described | result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run())
