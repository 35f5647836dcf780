"""Odd and hostile COCO files end in one sentence, never in a crash or a traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.data.annotated_files import photo
from tests.data.odd_coco_files import HEIGHT, WIDTH, odd_files

FILES = odd_files()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What happened to each file, by its name; read in a process of its own, which may crash."""
    folder = tmp_path_factory.mktemp("odd")
    photo(folder / "a.png", WIDTH, HEIGHT)
    for number, (text, _) in enumerate(FILES.values()):
        (folder / f"{number:03d}.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    script = Path(__file__).with_name("read_odd_coco_files.py")
    command = [sys.executable, "-X", "faulthandler", str(script), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    read = [json.loads(line) for line in done.stdout.splitlines()]
    names = list(FILES)
    assert done.returncode == 0, f"crashed at {names[len(read)]}: {done.stderr[-2000:]}"
    return {names[int(outcome["file"])]: outcome for outcome in read}


def test_there_are_many():
    assert len(FILES) >= 100


@pytest.mark.parametrize("name", list(FILES))
def test_odd_files_are_read_or_one_sentence(outcomes, name):
    expected, outcome = FILES[name][1], outcomes[name]
    if expected is None:
        assert outcome["kind"] == "read", outcome["said"]
        return
    assert outcome["kind"] == "sentence", outcome["said"]
    assert re.search(expected, outcome["said"])
    assert outcome["said"].endswith(".")
    assert outcome["said"].isprintable()
    assert len(outcome["said"]) < 1000
