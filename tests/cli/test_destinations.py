"""Where results go is tried before the work; a disk that is full at the end loses nothing that was computed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from tests.visualize.clips import write_clip

from focalnets.cli.main import main

SMALL = ["--skeleton.embed_dim", "8", "--skeleton.depths", "[1,1,1,1]"]
LONG = "x" * 256


def calls(run, images):
    """By name: a command up to the option whose place follows, and what would be its work."""
    photo = str(images / "red" / "0.png")
    run, images = str(run), str(images)
    return {
        "train": (["train", images, "--recipe", "miniature", "--output"], "focalnets.training.trainer._fit"),
        "evaluate": (["evaluate", run, images, "--output"], "focalnets.api.evaluate"),
        "explain": (["explain", photo, "--model", run, "--output"], "focalnets.api.load"),
        "explain --kernels": (["explain", "--kernels", "--model", run, "--output"], "focalnets.api.load"),
        "audit": (["audit", run, images, "--most_changed", "0", "--output"], "focalnets.api.load"),
        "localize": (["localize", run, "scenes:2", "--resamples", "9", "--output"], "focalnets.api.load"),
        "compare": (["compare", "--variations", "full", *SMALL, "--output"], "focalnets.compare.measurement.fill"),
        "compare --train": (
            ["compare", "--variations", "full", "--train", images, "--output"], "focalnets.compare.training.train_all"
        ),
        "demo": (["demo", "--quick", "--output"], "focalnets.demo.classification.story.run_demo"),
        "shard": (["shard", images, "--output"], "focalnets.data.sources.open_images"),
        "convert timm": (["convert", run, "--to", "timm", "--output"], "focalnets.weights.opening.open_weights"),
        "convert": (["convert", run, "--to", "focalnets", "--output"], "focalnets.weights.opening.open_weights"),
        "runs --plot": (["runs", run, "--plot"], "focalnets.training.runs.find_runs"),
        "runs --csv": (["runs", run, "--csv"], "focalnets.training.runs.find_runs"),
        "predict --json": (["predict", photo, "--model", run, "--json"], "focalnets.api.load"),
        "evaluate --csv": (["evaluate", run, images, "--csv"], "focalnets.api.load"),
        "check --json": (["check", images, "--json"], "focalnets.data.sources.open_images"),
        "benchmark_data --json": (["benchmark_data", images, "--json"], "focalnets.training.trainer.open_data"),
        "models --csv": (["models", "--csv"], "focalnets.cli.models._row"),
        "doctor --json": (["doctor", "--json"], "focalnets.cli.doctor.examine"),
    }  # fmt: skip


COMMANDS = list(calls(Path(), Path()))
FILES = {"convert", *(name for name in COMMANDS if name.endswith(("json", "csv", "plot")))}
ENDINGS = {"convert": ".safetensors", "runs --plot": ".png"}

TAKEN = {
    "train": "best.safetensors",
    "evaluate": "mistakes.png",
    "explain": "0_explained.png",
    "explain --kernels": "kernels.npz",
    "audit": "audit.json",
    "localize": "methods.csv",
    "compare": "comparison.json",
    "compare --train": "report.html",
    "demo": "explained.png",
    "shard": "index.json",
    "convert timm": "config.json",
}
"""A file that each command writes into its folder."""


def sentence(capsys):
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    return shown.err


def everything(folder):
    return {str(path.relative_to(folder)): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


@pytest.fixture
def refused(coloured_run, coloured_images, tmp_path, monkeypatch, capsys):
    """Run a command that must refuse a place before its work, and leave nothing; returns what it says."""
    monkeypatch.chdir(tmp_path)

    def call(name, place):
        command, work = calls(coloured_run, coloured_images)[name]
        before = everything(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(work, lambda *given, **options: pytest.fail("the work was begun"))
            assert main([*command, place]) == 2
        assert everything(tmp_path) == before
        return sentence(capsys)

    return call


@pytest.mark.parametrize("name", COMMANDS)
def test_places_that_cannot_be_written_are_refused_before_the_work(name, refused, tmp_path):
    ending = ENDINGS.get(name, "")
    (tmp_path / "file").write_text("kept")
    assert "is a file" in refused(name, f"file/below{ending}") or name == "train"
    assert "too long" in refused(name, LONG[len(ending) :] + ending)
    assert "too long" in refused(name, f"{LONG}/below{ending}")
    assert "/proc/nothing" in refused(name, f"/proc/nothing/below{ending}")
    (tmp_path / f"folder{ending}").mkdir()
    if name in FILES:
        assert "is a folder" in refused(name, f"folder{ending}")
    else:
        assert "is a file" in refused(name, "file")
        (tmp_path / "folder" / TAKEN[name]).mkdir()
        said = refused(name, "folder")
        assert TAKEN[name] in said
        assert "folder '" in said or name == "train"


def test_the_end_of_a_name_may_be_the_longest_that_there_is(coloured_run, coloured_images, tmp_path, capsys):
    photo = tmp_path / f"{'é' * 125}.png"
    photo.write_bytes((coloured_images / "red" / "0.png").read_bytes())
    out, table = tmp_path / "out", tmp_path / f"{'x' * 250}.json"
    command = ["explain", str(photo), "--model", str(coloured_run), "--output", str(out), "--html"]
    assert main([*command, "--json", str(table)]) == 0
    written = json.loads(table.read_text())["explained"][0]["files"]
    assert sorted(map(str, out.iterdir())) == sorted(written)
    assert all(Path(file).name.startswith("éé") for file in written)
    assert [Path(file).name.rpartition("_")[2] for file in written] == ["explained.png", "explained.html"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["check", "table.csv", "--csv", "table.csv"], "would replace 'table.csv'"),
        (["check", "table.csv", "--json", "./table.csv"], "would replace 'table.csv'"),
        (["models", "--config", "options", "--json", "options"], "would replace 'options'"),
        (["runs", "run", "--plot", "a", "--csv", "a"], "--csv and --plot both name 'a'"),
        (["models", "--json", "a.json", "--csv", "./a.json"], "--json and --csv both name 'a.json'"),
        (["evaluate", "run", "photos", "--json", "a", "--output", "a"], "--json and --output both name 'a'"),
        (["evaluate", "run", "photos", "--json", "a", "--output", "a/b"], "below the file that --json names"),
        (["evaluate", "photos", "--output", ""], "--output is empty"),
        (["models", "--json", ""], "--json is empty"),
        (["evaluate", "photos", "--json", "run.safetensors"], "the name of weights"),
        (["evaluate", "photos", "--csv", "photos.tar"], "the name of an archive"),
    ],
)
def test_results_replace_neither_each_other_nor_what_is_read(command, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("table.csv", "options", "run.safetensors", "photos.tar"):
        Path(name).write_text("{}")
    before = everything(tmp_path)
    assert main(command) == 2
    assert words in sentence(capsys)
    assert everything(tmp_path) == before


@contextlib.contextmanager
def no_room(most_bytes=0):
    """Let no file grow beyond so many bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


SHOWN = {
    "evaluate": "top-1",
    "explain": "0.png: ",
    "audit": "recognised",
    "localize": "2 images of",
    "convert timm": "read ",
    "convert": "read ",
    "runs --plot": "epochs",
    "runs --csv": "epochs",
    "predict --json": "0.png",
    "evaluate --csv": "top-1",
    "check --json": "images to train",
    "models --csv": "focalnet_tiny_srf",
    "doctor --json": "backends, best first",
}
"""What commands show before they write."""


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("most_bytes", [0, 64])
def test_a_full_disk_loses_nothing_that_was_computed(
    name, most_bytes, coloured_run, coloured_images, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    command, _ = calls(coloured_run, coloured_images)[name]
    place = f"out{ENDINGS.get(name, '')}"
    file = Path(place) if name in FILES else Path(place, TAKEN[name])
    file.parent.mkdir(exist_ok=True)
    file.write_text("old")
    with no_room(most_bytes):
        assert main([*command, place]) == 2
    shown = capsys.readouterr()
    assert SHOWN[name] in shown.out
    assert shown.err.count("\nerror: ") + shown.err.startswith("error: ") == 1
    assert place in shown.err
    assert "Traceback" not in shown.err
    assert file.read_text() == "old"
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("name", ["train", "explain --kernels", "shard", "demo"])
def test_work_that_is_files_stops_with_a_sentence(name, coloured_run, coloured_images, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command, _ = calls(coloured_run, coloured_images)[name]
    with no_room():
        assert main([*command, "out", "--quiet"]) == 2
    error = sentence(capsys)
    assert "out" in error
    assert "too large" in error.lower()
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("most_bytes", [0, 100])
@pytest.mark.parametrize("output", ["pages", "seen.mp4", "seen.mkv"])
def test_videos_that_do_not_fit_leave_nothing(output, most_bytes, coloured_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4", range(0, 400, 40))
    with no_room(most_bytes):
        assert main(["explain", "clip.mp4", "--model", str(coloured_run), "--output", output, "--quiet"]) == 2
    error = sentence(capsys)
    assert "File too large" in error
    assert ".tmp" not in error
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["clip.mp4"]


def test_all_other_files_are_written_where_one_cannot_be(coloured_run, coloured_images, tmp_path, capsys):
    command = ["evaluate", str(coloured_run), str(coloured_images), "--json", "/dev/full"]
    assert main([*command, "--csv", str(tmp_path / "t.csv"), "--output", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr()
    assert "top-1" in shown.out
    assert "error: '/dev/full' (No space left on device) could not be written;" in shown.err
    assert "class" in (tmp_path / "t.csv").read_text()
    assert (tmp_path / "out" / "report.html").exists()


def refuse_writing(*given, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_demonstration_shows_its_figures_before_it_writes_its_report(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("focalnets.demo.classification.report.write_page", refuse_writing)
    assert main(["demo", "--quick", "--output", str(tmp_path / "out"), "--json", str(tmp_path / "a.json")]) == 2
    shown = capsys.readouterr()
    assert "held-out accuracy" in shown.out
    assert "No space left" in shown.err
    assert json.loads((tmp_path / "a.json").read_text())["images"]


def test_a_comparison_is_shown_though_it_cannot_be_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("focalnets.compare.results.write_json", refuse_writing)
    command = ["compare", "--variations", "pooling", *SMALL, "--size", "32", "--tasks", "inference", "--device", "cpu"]
    assert main([*command, "--output", str(tmp_path / "out"), "--csv", str(tmp_path / "a.csv")]) == 2
    shown = capsys.readouterr()
    assert "pooling" in shown.out
    assert "could not be written yet (No space left on device)" in shown.err
    assert shown.err.count("error: ") == 1
    assert "measured" in (tmp_path / "a.csv").read_text()


def test_a_training_says_what_it_reached_though_its_card_cannot_be_written(
    coloured_images, tmp_path, monkeypatch, capsys
):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("focalnets.training.trainer.write_text", refuse_writing)
        assert main(["train", str(coloured_images), "--recipe", "miniature", "--output", str(run), "--quiet"]) == 2
    error = sentence(capsys)
    assert "No space left on device" in error
    assert "reached top-1" in error
    assert "--resume" in error
    assert main(["train", "--resume", str(run), "--quiet"]) == 0
    assert (run / "README.md").exists()


@pytest.mark.parametrize(
    "arguments", [["models"], ["models", "--json"], ["--help"], ["models", "--help"], ["--version"], ["models", "-x"]]
)
@pytest.mark.parametrize("stream", ["out", "err", "closed"])
def test_full_and_missing_streams_are_no_traceback(arguments, stream, tmp_path):
    code = "import sys; from focalnets.cli.main import main; sys.exit(main(sys.argv[1:]))"
    if stream == "closed":
        code = f"import os, sys; os.close(1); sys.stdout = None; {code}"
    where = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with open("/dev/full", "w") as full:
        if stream != "closed":
            where[f"std{stream}"] = full
        done = subprocess.run([sys.executable, "-c", code, *arguments], check=False, **where)
    assert "Traceback" not in (done.stderr or "")
    assert "Exception ignored" not in (done.stderr or "")
    fails = "-x" in arguments or stream == "out"
    assert done.returncode == (2 if fails else 0)
