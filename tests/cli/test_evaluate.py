"""``focalnets evaluate`` as users run it."""

from __future__ import annotations

import csv
import json

import pytest

from focalnets.cli.main import main


def last_row(run):
    return list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))


def test_repeats_the_validation_of_the_run(coloured_run, coloured_images, tmp_path, capsys):
    target = tmp_path / "report"
    assert main(["evaluate", str(coloured_run), str(coloured_images), "--output", str(target)]) == 0
    shown = capsys.readouterr()
    assert "12 images" in shown.err  # those that the run held out, not those it was trained on
    assert shown.out.startswith("top-1 ")
    result = json.loads((target / "evaluation.json").read_text())
    best = max(last_row(coloured_run), key=lambda row: (float(row["val_top1"]), -float(row["val_loss"])))
    assert result["images"] == 12
    assert result["top1"] == pytest.approx(float(best["val_top1"]), abs=1e-5)
    assert result["loss"] == pytest.approx(float(best["val_loss"]), rel=1e-4)
    written = {path.name for path in target.iterdir()}
    usual = {"evaluation.json", "per_class.csv", "confusion.png", "calibration.csv", "calibration.png"}
    assert written - {"mistakes.png"} == usual | {"confusion.csv", "mistakes.csv", "report.html"}
    rows = list(csv.reader((target / "confusion.csv").read_text().splitlines()))
    assert rows[0] == ["true class", "blue", "green", "red"]
    assert [[row[0], *map(int, row[1:])] for row in rows[1:]] == [
        [name, *counts] for name, counts in zip(rows[0][1:], result["confusion"], strict=True)
    ]


def test_other_folders_are_counted_whole(coloured_run, write_coloured_images, tmp_path, capsys):
    images = write_coloured_images(tmp_path / "images", 5)
    weights = coloured_run / "last.safetensors"
    assert main(["evaluate", str(weights), str(images), "--json", "-", "--batch_size", "4"]) == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert shown.err == ""
    assert result["images"] == 15 == sum(map(sum, result["confusion"]))
    assert result["preprocessing"]["input_size_px"] == 32
    assert main(["evaluate", str(weights), str(images), "--image_size", "24", "--json", str(tmp_path / "r.json")]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["preprocessing"]["input_size_px"] == 24


def test_classes_are_matched_by_name(coloured_run, write_coloured_images, tmp_path, capsys):
    images = write_coloured_images(tmp_path / "images", 3)
    for file in (images / "blue").iterdir():
        file.unlink()
    for remove in (lambda: None, (images / "blue").rmdir):
        remove()  # a class may have an empty folder or none
        assert main(["evaluate", str(coloured_run), str(images), "--json", "-"]) == 0
        per_class = json.loads(capsys.readouterr().out)["per_class"]
        assert [(one["name"], one["images"]) for one in per_class] == [("blue", 0), ("green", 3), ("red", 3)]
    (images / "red").rename(images / "scarlet")
    assert main(["evaluate", str(coloured_run), str(images)]) == 2
    assert "scarlet" in capsys.readouterr().err


def test_unreadable_images(coloured_run, write_coloured_images, tmp_path, capsys):
    images = write_coloured_images(tmp_path / "images", 3)
    (images / "red" / "text.png").write_text("no image")
    assert main(["evaluate", str(coloured_run), str(images)]) == 2
    assert "text.png" in capsys.readouterr().err
    assert main(["evaluate", str(coloured_run), str(images), "--skip-unreadable"]) == 0
    assert "left out, unreadable: 1" in capsys.readouterr().out


def test_other_sizes_and_corrupted_pictures(coloured_run, write_coloured_images, tmp_path, capsys):
    images, target = write_coloured_images(tmp_path / "images", 2), tmp_path / "report"
    command = ["evaluate", str(coloured_run), str(images), "--output", str(target), "--resolutions", "48", "24"]
    command += ["--corruptions", "jpeg", "darkness", "--severities", "5", "1", "--bins", "10", "--worst", "1"]
    assert main(command) == 0
    shown = capsys.readouterr()
    assert shown.err == "7 passes over 6 images: 1 evaluation, 2 resolutions, 4 corruptions\n"
    assert "top-1 by input size: 24 px " in shown.out
    assert "report.html in" in shown.out
    result = json.loads((target / "evaluation.json").read_text())
    assert [row["input_size_px"] for row in result["resolutions"]["sizes"]] == [24, 48]
    trials = [(row["corruption"], row["severity"]) for row in result["corruptions"]["trials"]]
    assert trials == [("jpeg", 1), ("jpeg", 5), ("darkness", 1), ("darkness", 5)]
    assert len(result["calibration"]["equal_width"]) == 10
    assert {"resolutions.csv", "resolutions.png", "corruptions.csv", "corruptions.png"} < {
        p.name for p in target.iterdir()
    }
    assert main([*command, "--json", "-"]) == 0
    repeated = json.loads(capsys.readouterr().out)
    assert repeated["corruptions"] == result["corruptions"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--corruptions", "snow"], "There is no corruption 'snow'"),
        (["--corruptions", "--severities", "6"], "--severities"),
        (["--corruptions", "--seed", "-1"], "--seed"),
        (["--resolutions", "0"], "--resolutions"),
        (["--bins", "0"], "--bins"),
        (["--worst", "-1"], "--worst"),
    ],
)
def test_options_out_of_range(coloured_run, coloured_images, capsys, options, words):
    assert main(["evaluate", str(coloured_run), str(coloured_images), *options]) == 2
    error = capsys.readouterr().err
    assert f"error: {words}" in error
    assert "passes" not in error


@pytest.mark.parametrize(("model", "data"), [("missing", "images"), ("run", "missing")])
def test_mistakes_are_one_sentence(coloured_run, coloured_images, capsys, model, data):
    paths = {"run": coloured_run, "images": coloured_images, "missing": "missing"}
    assert main(["evaluate", str(paths[model]), str(paths[data])]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert shown.out == ""


@pytest.mark.parametrize("naming", ["ids", "words", "underscores"])
def test_one_argument_is_data_for_the_network_in_the_package(
    shipped_stand_in, write_coloured_images, tmp_path, capsys, naming
):
    images = write_coloured_images(tmp_path / "images", 2)
    names = {
        "ids": ("n01440764", "n03888257", "n03394916"),
        "words": ("tench", "parachute", "French horn"),
        "underscores": ("Tench", "parachute", "French_horn"),
    }[naming]
    for folder, name in zip(("blue", "green", "red"), names, strict=True):
        (images / folder).rename(images / name)
    assert main(["evaluate", "--json", "-", str(images)]) == 0
    shown = capsys.readouterr()
    assert "knows 10 classes only" in shown.err
    result = json.loads(shown.out)
    seen = {one["name"]: one["images"] for one in result["per_class"] if one["images"]}
    assert seen == {"tench": 2, "parachute": 2, "French horn": 2}
    assert len(result["per_class"]) == 10


def test_the_model_and_the_data_may_stand_apart(coloured_run, write_coloured_images, tmp_path, capsys):
    images = write_coloured_images(tmp_path / "images", 2)
    weights = str(coloured_run / "last.safetensors")
    for command in ([weights, "--json", "-", str(images)], ["--worst", "1", weights, "--skip-unreadable", str(images)]):
        assert main(["evaluate", *command]) == 0
        assert "top-1" in capsys.readouterr().out.replace("top1", "top-1")


def test_a_stray_split_beside_the_caller_is_not_that_of_a_published_network(
    shipped_stand_in, write_coloured_images, tmp_path, monkeypatch, capsys
):
    images = write_coloured_images(tmp_path / "images", 2)
    for folder, name in (("blue", "tench"), ("green", "church"), ("red", "parachute")):
        (images / folder).rename(images / name)
    (tmp_path / "split.json").write_text(json.dumps({"root": str(images)}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "images", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 6
