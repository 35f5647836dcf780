"""Odd and hostile annotations of each format end in one sentence, never in a crash, a traceback or much memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.data.annotated_files import photo
from tests.data.odd_annotations import cvat, labelme, masks, panoptic, voc, yolo

FORMATS = {"yolo": yolo, "voc": voc, "labelme": labelme, "cvat": cvat, "masks": masks, "panoptic": panoptic}
PLACES = {
    f"{name}: {odd}": (module, *place)
    for name, module in FORMATS.items()
    for odd, place in module.odd_files().items()
}  # fmt: skip
_MOST_KB = 1_500_000
"""What PyTorch takes once it is imported, and several hundred megabytes."""


def write(root, module, files):
    """Write the files of a place and the photo that it shows; None for another photo, ``<missing>`` for no file."""
    for name, content in {module.PHOTO: None, **files}.items():
        if content == "<missing>":
            continue
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            photo(path, 12, 8)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content, encoding="utf-8", errors="surrogatepass", newline="")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What happened to each place, by its name; read in a process of its own, which may crash."""
    folder = tmp_path_factory.mktemp("odd")
    for number, (module, files, _) in enumerate(PLACES.values()):
        place = folder / f"{number:03d}"
        write(place / "place", module, files)
        (place / "task").write_text(module.TASK or "")
    script = Path(__file__).with_name("read_odd_annotations.py")
    command = [sys.executable, "-X", "faulthandler", "-W", "error", str(script), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    read = [json.loads(line) for line in done.stdout.splitlines()]
    names = list(PLACES)
    assert done.returncode == 0, f"crashed at {names[len(read)]}: {done.stderr[-2000:]}"
    return {names[int(outcome["name"])]: outcome for outcome in read}


@pytest.mark.parametrize("name", list(FORMATS))
def test_there_are_many(name):
    expected = [said for _, said in FORMATS[name].odd_files().values()]
    assert len(expected) - expected.count(None) >= 60


@pytest.mark.parametrize("name", list(PLACES))
def test_odd_places_are_read_or_one_sentence(outcomes, name):
    expected, outcome = PLACES[name][2], outcomes[name]
    if expected is None:
        assert outcome["kind"] == "read", outcome["said"]
        return
    assert outcome["kind"] == "sentence", outcome["said"]
    assert re.search(expected, outcome["said"])
    assert outcome["said"].endswith(".")
    assert outcome["said"].isprintable()
    assert len(outcome["said"]) < 1000


def test_little_memory_is_used(outcomes):
    assert max(outcome["peak_kb"] for outcome in outcomes.values()) < _MOST_KB
