"""``focalnets predict`` as users run it."""

from __future__ import annotations

import csv
import json

from focalnets.cli.main import main


def test_files_folders_and_patterns(coloured_run, coloured_images, capsys):
    inputs = [str(coloured_images / "red" / "0.png"), str(coloured_images / "blue"), str(coloured_images / "*/1*.png")]
    assert main(["predict", *inputs, "--model", str(coloured_run), "--json", "-", "--top-k", "2"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    content = json.loads(shown.out)
    paths = [entry["path"] for entry in content["predictions"]]
    assert len(paths) == len(set(paths)) == 1 + 20 + 22
    assert paths[0].endswith("red/0.png")
    assert content["input_size_px"] == 32
    assert content["failures"] == []
    first = content["predictions"][0]["classes"]
    assert len(first) == 2
    assert set(first[0]) == {"name", "index", "confidence"}


def test_table_and_csv(coloured_run, coloured_images, tmp_path, capsys):
    target = tmp_path / "new" / "table.csv"
    assert main(["predict", str(coloured_images / "red"), "--model", str(coloured_run), "--csv", str(target)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 21
    assert str(coloured_images / "red" / "0.png") in lines[1]  # never cut or folded
    rows = list(csv.DictReader(target.read_text().splitlines()))
    assert len(rows) == 60
    assert [row["rank"] for row in rows[:3]] == ["1", "2", "3"]


def test_what_cannot_be_read_is_named_counted_and_skipped(coloured_run, coloured_images, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no image")
    command = ["predict", str(tmp_path / "text.png"), "gone.png", "--model", str(coloured_run)]
    assert main(["predict", str(coloured_images / "red" / "0.png"), *command[1:]]) == 1
    shown = capsys.readouterr()
    assert "red/0.png" in shown.out
    assert "text.png" in shown.err
    assert "gone.png" in shown.err
    assert shown.err.endswith("2 of 3 inputs could not be classified.\n")
    assert main([*command, "--json", "-"]) == 2
    assert len(json.loads(capsys.readouterr().out)["failures"]) == 2


def test_without_a_model_the_one_in_the_package_classifies_and_says_how_little_it_knows(
    shipped_stand_in, coloured_images, capsys
):
    image = str(coloured_images / "red" / "0.png")
    assert main(["predict", image, "--json", "-"]) == 0
    shown = capsys.readouterr()
    content = json.loads(shown.out)
    assert content["model"] == "focalnet_pico.imagenette"
    assert {entry["name"] for entry in content["predictions"][0]["classes"]} <= set(shipped_stand_in.class_names)
    assert shown.err.count("\n") == 1
    assert "knows 10 classes only (tench, English springer, cassette player, " in shown.err
    assert main(["predict", image, "--model", "focalnet_pico.imagenette"]) == 0
    assert capsys.readouterr().err == ""


def test_names_with_brackets_are_shown_as_they_are(coloured_run, coloured_images, tmp_path, capsys):
    image = tmp_path / "[red] photo.png"
    image.write_bytes((coloured_images / "red" / "0.png").read_bytes())
    assert main(["predict", str(image), "--model", str(coloured_run)]) == 0
    assert "[red] photo.png" in capsys.readouterr().out


def test_answers_that_are_not_finite_are_refused(coloured_run, coloured_images, tmp_path, capsys):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    weights = coloured_run / "best.safetensors"
    tensors = load_file(weights)
    tensors["head.weight"].fill_(3e38)  # finite, but its products are not
    with safe_open(weights, "pt") as file:
        save_file(tensors, tmp_path / "broken.safetensors", metadata=file.metadata())
    image = str(coloured_images / "red" / "0.png")
    assert main(["predict", image, "--model", str(tmp_path / "broken.safetensors"), "--json", "-"]) == 2
    shown = capsys.readouterr()
    assert "not finite" in shown.err
    assert shown.out == ""
    assert shown.err.count("\n") == 1
