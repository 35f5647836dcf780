"""Odd and hostile annotations of each format end in one sentence, never in a crash, a traceback or much memory."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.data.annotated_files import photo
from tests.data.odd_annotations import cvat, labelme, masks, panoptic, voc, yolo

from focalnets.data.annotated.coco import find_coco_file

FORMATS = {"yolo": yolo, "voc": voc, "labelme": labelme, "cvat": cvat, "masks": masks, "panoptic": panoptic}
PLACES = {
    f"{name}: {odd}": (module, *place)
    for name, module in FORMATS.items()
    for odd, place in module.odd_files().items()
}  # fmt: skip
KINDS_OF_FILES = {
    "pipe": os.mkfifo,
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to nothing": lambda path: path.symlink_to("gone"),
    "device without end": lambda path: path.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
    "empty file": Path.touch,
}
"""What may have the name of a file of annotations, and what makes it."""

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


def read_places(folder, names, timeout_s):
    """What happened to each place, by its name; read in a process of its own, which may crash."""
    script = Path(__file__).with_name("read_odd_annotations.py")
    command = [sys.executable, "-X", "faulthandler", "-W", "error", str(script), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    read = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"crashed at {names[len(read)]}: {done.stderr[-2000:]}"
    return {names[int(outcome["name"])]: outcome for outcome in read}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    for number, (module, files, _) in enumerate(PLACES.values()):
        place = folder / f"{number:03d}"
        write(place / "place", module, files)
        (place / "task").write_text(module.TASK or "")
    return read_places(folder, list(PLACES), 600)


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


def test_what_is_no_file_is_read_or_one_sentence(tmp_path):
    names = []
    for name, module in FORMATS.items():
        good = next(files for files, said in module.odd_files().values() if said is None)
        for file, (kind, make) in itertools.product([module.PHOTO, *good, "zz"], KINDS_OF_FILES.items()):
            place = tmp_path / f"{len(names):03d}"
            write(place / "place", module, good)
            (place / "task").write_text(module.TASK or "")
            for path in [place / "place" / file] if file != "zz" else beside(place / "place", module):
                path.unlink(missing_ok=True)
                make(path)
            names.append(f"{name}: {file} is a {kind}")
    outcomes = read_places(tmp_path, names, 200)
    assert len(outcomes) == len(names) > 100
    assert {name: each["said"] for name, each in outcomes.items() if each["kind"] == "traceback"} == {}
    assert max(outcome["peak_kb"] for outcome in outcomes.values()) < _MOST_KB


def beside(place, module):
    """Places of further files that any of the formats looks at."""
    folders = {place, (place / module.PHOTO).parent}
    return [folder / f"zz{ending}" for folder in folders for ending in (".json", ".xml", ".yaml", ".txt", ".csv")]


def test_little_memory_is_used(outcomes):
    assert max(outcome["peak_kb"] for outcome in outcomes.values()) < _MOST_KB


@pytest.mark.parametrize("kind", [kind for kind in KINDS_OF_FILES if kind != "empty file"])
def test_what_is_no_file_is_not_taken_for_a_coco_file(tmp_path, kind):
    KINDS_OF_FILES[kind](tmp_path / "instances.json")
    assert find_coco_file(tmp_path) is None
