"""Options mean the same in all commands: the table says which command has which, and help must agree."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from focalnets.cli.main import COMMANDS, main

ALWAYS = "quiet config print_config"
OPTIONS = {
    "demo": "json output",
    "train": "json output size device",
    "evaluate": "json csv output size device",
    "runs": "json csv",
    "predict": "json csv output size device",
    "generate": "json device",
    "explain": "json output size device",
    "localize": "json csv output size device",
    "audit": "json csv output size device",
    "convert": "json output",
    "check": "json csv size",
    "benchmark_data": "json size device",
    "export": "json size",
    "shard": "json output",
    "compare": "json csv output size device",
    "models": "json csv size",
    "doctor": "json",
    "completion": "",
}
"""What each command has besides those that all have."""

SHARED = ("json", "csv", "output", "size", "device", "quiet", "config", "print_config")

SAYS = {
    "json": r"--json \[FILE\]\s+write .* as JSON to FILE, or to standard output if no FILE or - is given",
    "csv": r"--csv \[FILE\]\s+write .* as CSV to FILE, or to standard output if no FILE or - is given",
    "output": r"--output PATH\s+(folder|in place of)",
    "size": r"--size PX",
    "device": r"--device ",
    "quiet": r"--quiet, --no_quiet\s+show no progress and no notes, only results and errors",
    "config": r"--config FILE\s+YAML file with ",
    "print_config": r"--print_config",
}


def help_of(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    return re.sub(r"\s+", " ", capsys.readouterr().out)


def test_the_table_has_every_command():
    assert set(OPTIONS) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_the_options_of_the_table(command, capsys):
    shown = help_of(command, capsys)
    described = shown[shown.index(" options: ") :]
    has = f"{OPTIONS[command]} {ALWAYS}".split()
    for option in SHARED:
        assert bool(re.search(rf"--{option}\b(?!-)", described)) == (option in has), option
        if option in has:
            assert re.search(SAYS[option].replace(r"\s+", " "), described), option


@pytest.mark.parametrize("command", COMMANDS)
def test_older_names_of_the_size_are_known(command, capsys):
    older = {
        "train": "image_size", "evaluate": "image_size", "predict": "image_size", "check": "image_size",
        "benchmark_data": "image_size", "explain": "resolution", "compare": "sizes",
    }  # fmt: skip
    if command in older:
        assert f"--{older[command]} PX" in help_of(command, capsys)


@pytest.fixture
def commands(coloured_run, coloured_images, shipped_stand_in, tmp_path, monkeypatch):
    """A quick call of each command that has a result."""
    monkeypatch.chdir(tmp_path)
    run, images, photo = str(coloured_run), str(coloured_images), str(coloured_images / "red" / "0.png")
    small = ["--skeleton.embed_dim", "8", "--skeleton.depths", "[1,1,1,1]"]
    quick = ["--recipe", "miniature", "--epochs", "1", "--device", "cpu", "--workers", "0"]
    return {
        "train": ["train", images, "--output", "run", "--overwrite", *quick],
        "evaluate": ["evaluate", run, images],
        "runs": ["runs", run],
        "predict": ["predict", photo, "--model", run],
        "explain": ["explain", photo, "--model", run, "--output", "pages"],
        "localize": ["localize", run, "scenes:2", "--resamples", "10"],
        "audit": ["audit", run, images, "--most_changed", "3"],
        "convert": ["convert", run, "out.safetensors", "--to", "focalnets"],
        "check": ["check", images],
        "benchmark_data": ["benchmark_data", images, "--size=32", "--batch_size=4", "--workers=0", "--batches=1"],
        "export": ["export", run, "net.pt2"],
        "shard": ["shard", images, "--output", "shards", "--overwrite"],
        "compare": ["compare", "--variations", "pooling", *small, "--size", "32", "--tasks", "inference"],
        "models": ["models", "pico"],
        "doctor": ["doctor"],
    }


WITH_JSON = [
    command for command, options in OPTIONS.items() if "json" in options and command not in ("demo", "generate")
]
"""Those that work on images; that of generated text is tested in ``test_generate.py``."""


@pytest.mark.parametrize("command", WITH_JSON)
def test_json_and_csv_go_to_standard_output_or_files(command, commands, tmp_path, capsys):
    call = commands[command]
    assert main([*call, "--json", "--quiet"]) == 0
    shown = capsys.readouterr()
    content = json.loads(shown.out)
    assert content
    assert shown.err == ""
    files = ["--json", "new/result.json", *(["--csv", "new/result.csv"] if "csv" in OPTIONS[command] else [])]
    assert main([*call, *files, "--quiet"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.strip()
    assert not shown.out.startswith(("{", "["))
    written = json.loads((tmp_path / "new" / "result.json").read_text())
    assert type(written) is type(content)
    if isinstance(content, dict):
        assert written.keys() == content.keys()
    if "csv" in OPTIONS[command]:
        rows = list(csv.reader(io.StringIO((tmp_path / "new" / "result.csv").read_text())))
        assert len({len(row) for row in rows}) == 1
        assert not shown.out.startswith(",".join(rows[0]))


@pytest.mark.parametrize("command", ["models", "runs", "predict", "check"])
def test_alone_or_with_a_hyphen_they_go_to_standard_output(command, commands, capsys):
    call = commands[command]
    shown = []
    for option in (["--json"], ["--json", "-"], ["--csv"], ["--csv", "-"]):
        assert main([*call, *option]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert json.loads(shown[0])
    assert shown[2] == shown[3]
    assert len({len(row) for row in csv.reader(io.StringIO(shown[2]))}) == 1
    assert main([*call, "--csv", "--json"]) == 2
    assert "cannot both go to standard output" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("destination", "words"),
    [("folder", "is a folder"), ("file/result.json", "which is a file"), ("photo.JPG", "of a picture")],
)
def test_files_for_results_are_tried_before_the_work(destination, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "photo.JPG").write_text("a photo")
    monkeypatch.setattr("focalnets.cli.doctor.examine", lambda: pytest.fail("the work was begun"))
    assert main(["doctor", "--json", destination]) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert shown.err.count("\n") == 1
    assert (tmp_path / "photo.JPG").read_text() == "a photo"


def test_whatever_is_printed_stays_out_of_the_json(monkeypatch, capsys):
    def examine():
        print("a package talks")
        return {"found": 1}

    monkeypatch.setattr("focalnets.cli.doctor.examine", examine)
    assert main(["doctor", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"found": 1}
    assert shown.err == "a package talks\n"
    assert main(["doctor", "--json", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_quiet_leaves_results_and_errors(shipped_stand_in, coloured_images, capsys):
    image = str(coloured_images / "red" / "0.png")
    assert main(["predict", image, "gone.png", "--quiet"]) == 1
    shown = capsys.readouterr()
    assert "red/0.png" in shown.out
    assert "gone.png" in shown.err
    assert "no network was named" not in shown.err
    assert main(["predict", "gone.png"]) == 2
    assert "no network was named" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "more"), [("shard", []), ("convert", ["--to", "focalnets"])])
def test_the_output_is_named_once(command, more, coloured_run, coloured_images, tmp_path, capsys):
    source = str(coloured_images if command == "shard" else coloured_run)
    target = str(tmp_path / ("out" if command == "shard" else "out.safetensors"))
    for given in ([], [target, "--output", target]):
        assert main([command, source, *given, *more]) == 2
        assert "--output" in capsys.readouterr().err
    assert main([command, source, target, *more]) == 0


@pytest.mark.parametrize(
    "command",
    [command for command, options in OPTIONS.items() if "device" in options and command not in ("train", "generate")],
)
def test_devices_that_are_not_there_are_named(command, commands, capsys):
    assert main([*commands[command], "--device", "cuda:99"]) == 2
    error = capsys.readouterr().err
    assert "cuda:99" in error
    assert "Traceback" not in error
