"""``focalnets check``: each finding, its advice, and the exit status."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from focalnets.cli.main import main
from focalnets.data.checks.properties import perceptual_hash


def picture(seed, size=(64, 48)):
    """Smooth, so that resizing and saving again change little."""
    cells = np.random.default_rng(seed).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def data(tmp_path):
    """A whole data set: train and val with two classes of 12 and 4 images."""
    for side, count in (("train", 12), ("val", 4)):
        for number, name in enumerate(("cat", "dog")):
            folder = tmp_path / "data" / side / name
            folder.mkdir(parents=True)
            for index in range(count):
                picture(1000 * number + 100 * (side == "val") + index).save(folder / f"{index}.png")
    return tmp_path / "data"


def findings(data, capsys, status=0, *options):
    assert main(["check", str(data), "--json", "-", "--image_size", "64", *options]) == status
    result = json.loads(capsys.readouterr().out)
    assert result["would_stop_training"] == (status == 1)
    assert all(finding["advice"] and finding["message"] for finding in result["findings"])
    return {finding["kind"]: finding for finding in result["findings"]}


def test_nothing_to_complain_about(data, capsys):
    assert findings(data, capsys) == {}
    assert main(["check", str(data), "--image_size", "64"]) == 0
    assert "nothing to complain about" in capsys.readouterr().out


def test_unreadable_images_stop_training(data, capsys, tmp_path):
    (data / "train" / "cat" / "0.png").write_bytes(b"")
    whole = (data / "train" / "cat" / "1.png").read_bytes()
    (data / "train" / "cat" / "1.png").write_bytes(whole[: len(whole) // 2])
    found = findings(data, capsys, 1)
    assert found["unreadable"]["count"] == 2
    assert found["unreadable"]["severity"] == "error"
    assert main(["check", str(data), "--csv", str(tmp_path / "f.csv")]) == 1
    assert "--skip_unreadable" in capsys.readouterr().out.replace("\n", "")
    rows = list(csv.DictReader((tmp_path / "f.csv").read_text().splitlines()))
    assert [row["example"] for row in rows if row["kind"] == "unreadable"] == ["train/cat/0.png", "train/cat/1.png"]


def test_duplicates_inside_and_across(data, capsys):
    same = (data / "train" / "cat" / "0.png").read_bytes()
    (data / "val" / "dog" / "copy.png").write_bytes(same)
    (data / "train" / "dog" / "0.png").write_bytes((data / "train" / "dog" / "1.png").read_bytes())
    picture(5).resize((200, 150)).save(data / "val" / "cat" / "larger.jpg")
    found = findings(data, capsys)
    assert found["duplicates-across"]["examples"] == ["train:train/cat/0.png = val:val/dog/copy.png"]
    assert found["duplicates-inside"]["count"] == 1
    assert found["contradicting-labels"]["count"] == 1
    assert found["near-duplicates-across"]["examples"] == ["train:train/cat/5.png = val:val/cat/larger.jpg"]
    assert "near-duplicates-inside" not in found


def test_hashes_tell_other_pictures_apart():
    looks = [perceptual_hash(picture(seed)) for seed in range(30)]
    larger = [perceptual_hash(picture(seed).resize((320, 240))) for seed in range(30)]
    differing = sorted((a ^ b).bit_count() for a, b in zip(looks, larger, strict=True))
    assert differing[20] <= 3  # of most; some cells of such noise are as bright as their neighbours
    assert differing[-1] <= 8
    assert min((a ^ b).bit_count() for n, a in enumerate(looks) for b in looks[:n]) > 8
    assert perceptual_hash(Image.new("RGB", (20, 20), "white")) == 0


def test_shapes_and_kinds(data, capsys):
    folder = data / "train" / "cat"
    picture(50, (30, 30)).save(folder / "small.png")
    picture(51, (400, 64)).save(folder / "long.png")
    picture(52).convert("L").save(folder / "grey.png")
    picture(53).convert("CMYK").save(folder / "print.jpg")
    picture(54).save(folder / "moving.gif", save_all=True, append_images=[picture(55)])
    found = findings(data, capsys)
    kinds = {"small": "small.png", "extreme-aspect": "long.png", "greyscale": "grey.png", "cmyk": "print.jpg"}
    for kind, name in {**kinds, "animated": "moving.gif"}.items():
        assert found[kind]["examples"] == [f"train/cat/{name}"]


def test_classes(tmp_path, data, capsys):
    lines = ["path,label,split"]
    lines += [f"train/cat/{n}.png,cat,train" for n in range(12)] + [f"train/dog/{n}.png,dog,train" for n in range(12)]
    lines += ["val/cat/0.png,cat,val", "val/cat/1.png,rare,train"]
    (data / "data.csv").write_text("\n".join(lines))
    found = findings(data / "data.csv", capsys)
    assert found["only-in-train"]["examples"] == ["dog", "rare"]
    assert found["tiny-classes"]["examples"] == ["rare"]
    assert "--class_balance" in found["imbalance"]["advice"]


def test_shards_and_names_that_look_like_markup(tmp_path, data, capsys):
    (data / "train" / "cat" / "0.png").rename(data / "train" / "cat" / "[red]0[bold].png")
    (data / "train" / "cat" / "[red]0[bold].png").write_bytes(b"x")
    assert main(["check", str(data)]) == 1
    assert main(["shard", str(data), str(tmp_path / "shards")]) == 0
    capsys.readouterr()
    assert findings(tmp_path / "shards", capsys, 1)["unreadable"]["count"] == 1


@pytest.mark.parametrize("options", [["missing"], ["data", "--image_size", "2"], ["data", "--val_fraction", "2"]])
def test_mistakes_are_one_sentence(data, capsys, options):
    assert main(["check", str(data.parent / options[0]), *options[1:]]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
