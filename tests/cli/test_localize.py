"""``focalnets localize`` as users run it."""

from __future__ import annotations

import csv
import json

import pytest
from tests.data.annotated_files import box, coco, mask_folders, photo

from focalnets.cli import localize
from focalnets.cli.main import main

QUICK = ["--resamples", "20", "--steps", "2"]


def test_folders_of_masks_with_everything_written(coloured_run, tmp_path, capsys):
    data, output = mask_folders(tmp_path / "data"), tmp_path / "out"
    command = [
        "localize",
        str(coloured_run),
        str(data),
        "--output",
        str(output),
        "--csv",
        str(tmp_path / "t.csv"),
        *QUICK,
    ]
    assert main(command) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"4 images of {data}, shorter side ")
    assert "Always the centre" in shown.out
    assert "report.html in" in shown.out
    result = json.loads((output / "localization.json").read_text())
    assert result["images"] == 4
    assert len(list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))) == len(result["methods"])
    assert {"report.html", "blocks.png", "methods.png", "best.png", "worst.png"} < {p.name for p in output.iterdir()}


def test_folders_without_masks_and_another_map(coloured_run, tmp_path, capsys):
    for number in range(3):
        photo(tmp_path / "holiday" / f"{number}.png")
    command = ["localize", str(coloured_run), str(tmp_path / "holiday"), *QUICK]
    assert main([*command, "--map", "modulator"]) == 0
    shown = capsys.readouterr().out
    assert "deletion %" in shown
    assert "AUC" not in shown
    assert "→ Modulator of block" in shown
    assert main([*command, "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["main"], result["mean_area"], result["methods"][0]["auc"]) == ("focal-evidence", None, None)
    assert main([*command, "--steps", "0"]) == 2
    assert "only be measured by deletion" in capsys.readouterr().err


def test_scenes_and_other_ways_to_name_the_network(coloured_run, capsys, monkeypatch):
    options = ["--limit", "2", "--size", "40", "--json", "-", *QUICK]
    assert main(["localize", str(coloured_run), "scenes:6", *options]) == 0
    first = capsys.readouterr()
    result = json.loads(first.out)
    assert (result["images"], result["size_px"]) == (2, 40)
    assert [one["name"] for one in result["per_image"]] == ["scene 2000000", "scene 2000003"]
    assert main(["localize", str(coloured_run), *options, "scenes:6"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert {**again, "seconds": 0} == {**result, "seconds": 0}
    monkeypatch.setattr(localize, "require_model", lambda given: given or str(coloured_run))
    assert main(["localize", "scenes:2", *options]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 2


def test_coco_by_category_and_block(coloured_run, tmp_path, capsys):
    photo(tmp_path / "images" / "a.jpg", width=40, height=30)
    things = [{"id": n, "image_id": 1, "category_id": n, "bbox": [x, 4, 9, 9]} for n, x in ((1, 2), (2, 25))]
    file = coco(tmp_path / "a.json", [(1, "a.jpg", 40, 30)], things)
    areas = {}
    for category in ([], ["--category", "car"]):
        assert main(["localize", str(coloured_run), str(file), "--block", "1.0", "--csv", "-", *category, *QUICK]) == 0
        rows = {row["key"]: row for row in csv.DictReader(capsys.readouterr().out.splitlines())}
        areas[len(category)] = float(rows["anywhere"]["energy"])
    assert areas[0] == pytest.approx(2 * areas[2], rel=0.2)


@pytest.mark.parametrize(
    "shape",
    [{"size": [30, 40], "counts": [2**63 - 1, 2**63 - 1, 1202]}, {"size": [30, 40], "counts": "oooP"}, [[1e308] * 6]],
)
def test_hostile_coco_files_are_one_sentence(coloured_run, tmp_path, capsys, shape):
    photo(tmp_path / "a.jpg", width=40, height=30)
    thing = {"id": 5, "image_id": 1, "category_id": 1, "segmentation": shape}
    file = coco(tmp_path / "a.json", [(1, "a.jpg", 40, 30)], [thing])
    assert main(["localize", str(coloured_run), str(file), *QUICK]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: Annotation 5 is not as COCO has it (")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--limit", "0"], "--limit must be"),
        (["--size", "-1"], "--size must be"),
        (["--resamples", "0"], "--resamples must be"),
        (["--seed", "-1"], "--seed must be"),
        (["--steps", "-1"], "--steps must be"),
        (["--block", "9.9"], "stage.block"),
        (["--category", "dragon"], "knows no category 'dragon'"),
        (["--peer", "convnext_atto"], "one file for each"),
        (["--peer", "convnext_atto", "--peer-weights", "gone"], "there are no weights"),
        (["--json", "-", "--csv", "-"], "both go to standard output"),
        (["--device", "abacus"], "abacus"),
        (["--images", "gone"], "holds no images with masks or boxes"),
    ],
)
def test_mistakes_are_one_sentence(coloured_run, tmp_path, capsys, options, words):
    data = mask_folders(tmp_path / "data", 2)
    assert main(["localize", str(coloured_run), str(data), *options]) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_mistakes_in_data_network_and_output(coloured_run, tmp_path, capsys):
    data = mask_folders(tmp_path / "data", 2)
    (tmp_path / "file").write_text("")
    for command, words in (
        (["localize", str(coloured_run), "nowhere"], "there is no file or folder 'nowhere'"),
        (["localize", "gone", str(data)], "gone"),
        (["localize", str(coloured_run), str(data), "--output", str(tmp_path / "file")], "is a file"),
    ):
        assert main(command) == 2
        assert words in capsys.readouterr().err


def test_images_without_objects_and_damaged_ones_are_counted(coloured_run, tmp_path, capsys):
    from tests.data.annotated_files import mask_image

    data = mask_folders(tmp_path / "data", 2)
    mask_image(data / "masks" / "0.png", box(0, 0, 0, 0))
    assert main(["localize", str(coloured_run), str(data), *QUICK]) == 0
    assert "left out: 1 that show no object" in capsys.readouterr().out
    whole = (data / "images" / "0.png").read_bytes()
    (data / "images" / "0.png").write_bytes(whole[:150])
    assert main(["localize", str(coloured_run), str(data), *QUICK]) == 2
    assert "0.png" in capsys.readouterr().err
    assert main(["localize", str(coloured_run), str(data), "--skip-unreadable", *QUICK]) == 0
    assert "left out: 1 that cannot be read" in capsys.readouterr().out


def test_without_captum_grad_cam_is_left_out_and_said_so(coloured_run, monkeypatch, capsys):
    monkeypatch.setattr("focalnets.visualize.localization.gradcam.has_grad_cam", lambda: False)
    monkeypatch.setattr("focalnets.visualize.localization.measure.has_grad_cam", lambda: False)
    assert main(["localize", str(coloured_run), "scenes:2", "--json", "-", *QUICK]) == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert "pip install 'focalnets[localize]'" in shown.err
    assert "pip install 'focalnets[localize]'" in result["notes"][0]
    assert not any(score["kind"] == "gradcam" for score in result["methods"])
