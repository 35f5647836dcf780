"""Reads each place in a folder as commands do, and all that its images show; run by a test in a process that may crash.

    python read_odd_annotations.py FOLDER

Prints one json object a place, as soon as it is read: its name, what happened to it and the memory used so far.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

from focalnets.data.annotated.training import (
    open_annotated_evaluation,
    open_annotated_training,
    recognise_annotations,
)
from focalnets.data.checks.annotated import check_annotations
from focalnets.errors import FocalNetsError
from focalnets.machine.memory import peak_bytes


def read_all(place, wanted):
    for look in (check_annotations, open_annotated_training):
        with contextlib.suppress(FocalNetsError):
            look(place, task=wanted or "semantic")
    with contextlib.suppress(FocalNetsError):
        open_annotated_training(place, task=wanted or "detect", skip_unreadable=True)
    tasks = {task for found in recognise_annotations(place) for task in found.tasks}
    for task in sorted(tasks & {wanted} if wanted in tasks else tasks) or ["detect"]:
        labels, data = open_annotated_evaluation(place, task=task)
        for number in range(len(data)):
            picture, image = data[number]
            assert tuple(image.masks.shape[1:]) == (picture.height, picture.width)
            assert image.boxes.isfinite().all()
            assert all(0 <= label < len(labels) for label in image.labels.tolist())
            if task in ("semantic", "panoptic"):
                assert image.semantic.shape == (picture.height, picture.width)
                assert set(image.semantic.ravel().tolist()) <= {*range(len(labels)), 255}


for folder in sorted(Path(sys.argv[1]).iterdir()):
    kind, said = "read", None
    try:
        read_all(folder / "place", (folder / "task").read_text() or None)
    except FocalNetsError as error:
        kind, said = "sentence", str(error)
    except BaseException as error:
        kind, said = "traceback", repr(error)
    peak = peak_bytes() // 1024
    print(json.dumps({"name": folder.name, "kind": kind, "said": said, "peak_kb": peak}), flush=True)
