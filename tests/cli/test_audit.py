"""``focalnets audit`` from the command line and from Python: verdicts, files, exit status, mistakes."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image
from tests.report.reading import Page

import focalnets
from focalnets.cli.main import main
from focalnets.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def groups(coloured_images, tmp_path_factory):
    """A table of two attributes, one of which is the class itself."""
    path = tmp_path_factory.mktemp("groups") / "groups.csv"
    files = sorted(coloured_images.rglob("*.png"))
    rows = [f"{file},{'day' if number % 2 else 'night'},{file.parent.name}" for number, file in enumerate(files)]
    path.write_text("\n".join(["path,light,colour", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def table(coloured_images, tmp_path_factory):
    """All of the images, also those that the run has learnt from."""
    path = tmp_path_factory.mktemp("table") / "images.csv"
    rows = [f"{file},{file.parent.name}" for file in sorted(coloured_images.rglob("*.png"))]
    path.write_text("\n".join(["path,label", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def masks(coloured_images, tmp_path_factory):
    """A square in the middle of each image."""
    root, mask = tmp_path_factory.mktemp("masks"), np.zeros((24, 24), np.uint8)
    mask[8:16, 8:16] = 1
    for file in coloured_images.rglob("*.png"):
        (root / file.parent.name).mkdir(exist_ok=True)
        Image.fromarray(mask).save(root / file.parent.name / file.name)
    return root


def test_everything_is_written_and_says_the_same(coloured_run, coloured_images, table, groups, masks, tmp_path, capsys):
    options = ["--groups", str(groups), "--train_data", str(coloured_images), "--least", "10", "--most_changed", "30"]
    options += ["--masks", str(masks)]
    out = tmp_path / "out"
    status = main(["audit", str(coloured_run), str(table), *options, "--output", str(out), "--fail_on", "data"])
    shown = capsys.readouterr().out
    assert status == 1
    assert "60 images of" in shown
    audited = json.loads((out / "audit.json").read_text())
    kinds = [verdict["kind"] for verdict in audited["verdicts"]]
    assert kinds == sorted(kinds, key=["found", "note", "too few", "nothing"].index)
    assert audited["verdicts"][0]["section"] == "data"  # the colour of these images is their class
    harms = [verdict["harm"] for verdict in audited["verdicts"] if verdict["kind"] == "found"]
    assert harms == sorted(harms, reverse=True)
    assert {group["attribute"] for group in audited["groups"]} == {"light", "colour"}
    statuses = {group["value"]: group["status"] for group in audited["groups"]}
    assert statuses["red"] == "too few"  # no other image is of that class
    assert audited["parts"]["images"] == audited["backgrounds"]["images"] == 30
    assert audited["backgrounds"]["pull"]["value"]["low"] > 0.05  # the colour is everywhere in these images
    assert len(audited["looks"]["methods"]) == 5
    assert "light = night" in {share["name"] for share in audited["looks"]["groups"]}
    assert {each["attribute"] for each in audited["amplification"]} == {"light", "colour"}
    page = Page((out / "report.html").read_text())
    for verdict in audited["verdicts"]:
        assert verdict["sentence"] in page.text
    rows = list(csv.DictReader(io.StringIO((out / "figures.csv").read_text())))
    assert {row["section"] for row in rows} == {"groups", "backgrounds", "data", "parts", "amplification"}


def test_python_gives_the_same_and_nothing_found_is_status_0(coloured_run, table, capsys):
    assert main(["audit", str(coloured_run), str(table), "--most_changed", "0", "--fail_on", "groups", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    seen = []
    audited = focalnets.audit(
        table, coloured_run, most_changed=0, on_progress=lambda done, total, words: seen.append((done, total))
    )
    values = audited.to_dict()
    for unlike in ("seconds", "model"):
        values.pop(unlike), shown.pop(unlike)
    assert json.loads(json.dumps(values)) == shown
    assert seen[-1] == (60, 60)
    assert values["parts"] is None
    assert values["groups"] == values["amplification"] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--gap", "1.5"], "gap must lie above 0 and below 1, got 1.5"),
        (["--alpha", "0"], "alpha must lie above 0 and below 1"),
        (
            ["--fail_on", "group"],
            "--fail_on knows groups, backgrounds, slices, against, data, parts, amplification and any",
        ),
        (["--groups", "missing.csv"], "there is no CSV file 'missing.csv'"),
        (["--train_data", "missing"], "missing"),
        (["--masks", "missing"], "there is no file or folder 'missing' with masks"),
        (["--against", "missing"], "missing"),
    ],
)
def test_mistakes_are_one_sentence(options, words, coloured_run, coloured_images, capsys):
    assert main(["audit", str(coloured_run), str(coloured_images), *options]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert words in shown.err


def test_images_must_be_in_files(coloured_run):
    class Drawn:
        def __len__(self):
            return 0

        def __getitem__(self, index):
            raise IndexError(index)

    with pytest.raises(ConfigError, match="needs images in files"):
        focalnets.audit(Drawn(), coloured_run)
    with pytest.raises(DataError):
        focalnets.audit("nowhere", coloured_run)
