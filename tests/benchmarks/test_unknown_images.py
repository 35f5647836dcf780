"""How sure a network is of what it does not know, and where the pictures for teaching it come from."""

from __future__ import annotations

import json
import struct
import zlib

import numpy as np
import pytest
from benchmarks import outlier_pictures, unknown_images
from PIL import Image

import focalnets


def test_the_area_under_the_curve_counts_pairs():
    rng = np.random.default_rng(0)
    inside, outside = rng.integers(0, 6, 40) / 5, rng.integers(0, 5, 30) / 5
    pairs = (inside[:, None] > outside).mean() + (inside[:, None] == outside).mean() / 2
    assert unknown_images.auroc(inside, outside) == pytest.approx(pairs)
    assert unknown_images.auroc(np.array([0.9, 0.8]), np.array([0.1])) == 1.0


@pytest.mark.parametrize("kind", unknown_images.KINDS)
def test_every_kind_is_drawn_anew_alike(kind):
    first, again = unknown_images.KINDS[kind](4), unknown_images.KINDS[kind](4)
    assert len(first) == 4
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert not np.array_equal(first[0], first[1])


def test_rows_hold_what_was_measured(coloured_run, coloured_images, tmp_path, capsys):
    network = focalnets.load(coloured_run, device="cpu")
    rows = unknown_images.measure(network, coloured_images, [coloured_images / "red"], count=6)
    assert [row["kind"] for row in rows] == [
        coloured_images.as_posix(),
        *unknown_images.KINDS,
        (coloured_images / "red").as_posix(),
    ]
    assert [row["pictures"] for row in rows] == [60, 6, 6, 6, 6]
    expected = np.mean([result.confidences[0] for result in network.predict(coloured_images)])
    assert rows[0]["mean_confidence"] == pytest.approx(expected)
    assert rows[0]["auroc"] is None
    assert all(0.0 <= row["auroc"] <= 1.0 for row in rows[1:])
    assert all(row["below_threshold"] is None for row in rows)
    network.network.threshold = 1.0
    command = [str(coloured_images), "--model", str(coloured_run), "--count", "2", "--json", str(tmp_path / "a.json")]
    unknown_images.main(command)
    assert "| blanks | 2 |" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["rows"]) == 4


def resource_file(files, compressed):
    """A Qt resource file of version 3 with one folder of files."""
    names, nodes, contents, places = b"", [], b"", []
    for name in ("folder", *files):
        places.append(len(names))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    nodes.append(struct.pack(">IHIIQ", 0, 2, 1, 1, 0))
    nodes.append(struct.pack(">IHIIQ", places[0], 2, len(files), 2, 0))
    for place, content in zip(places[1:], files.values(), strict=True):
        kept = struct.pack(">I", len(content)) + zlib.compress(content) if compressed else content
        nodes.append(struct.pack(">IHIIQ", place, int(compressed), 0, len(contents), 0))
        contents += struct.pack(">I", len(kept)) + kept
    tree = b"".join(nodes)
    start = 20
    return struct.pack(">4sIIII", b"qres", 3, start, start + len(tree), start + len(tree) + len(contents)) + (
        tree + contents + names
    )


@pytest.mark.parametrize("compressed", [False, True])
def test_resource_files_are_unpacked(compressed):
    files = {"a.webp": b"first", "b.png": b"second, longer"}
    found = dict(outlier_pictures.resources(resource_file(files, compressed)))
    assert found == {f"folder/{name}": content for name, content in files.items()}


def test_pictures_are_gathered(tmp_path, monkeypatch, capsys):
    package = tmp_path / "packages" / "one"
    (package / "photos").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("street", "church", "table"):
        Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)).save(package / "photos" / f"{name}.jpg")
    Image.new("RGB", (16, 16)).save(package / "photos" / "icon.png")
    thing = np.zeros((80, 90, 4), np.uint8)
    thing[20:60, 20:60] = (250, 20, 20, 255)
    Image.fromarray(thing).save(package / "photos" / "apple.png")
    monkeypatch.setattr(outlier_pictures, "SOURCES", {"one": "photos/"})
    monkeypatch.setattr("sys.argv", ["outlier_pictures", str(tmp_path / "packages"), str(tmp_path / "pictures")])
    outlier_pictures.main()
    assert "2 whole pictures, 1 cut-out things" in capsys.readouterr().out
    whole = sorted(path.name for path in (tmp_path / "pictures" / "whole").iterdir())
    assert whole == ["one_photos_street_jpg.jpg", "one_photos_table_jpg.jpg"]
    laid = sorted((tmp_path / "pictures" / "laid").iterdir())
    assert len(laid) == 4
    with Image.open(tmp_path / "pictures" / "whole" / whole[0]) as street:
        assert street.size == (341, 256)
    for path in laid:
        with Image.open(path) as picture:
            pixels = np.asarray(picture).astype(int)
        red = (pixels[..., 0] > 200) & (pixels[..., 1] < 80) & (pixels[..., 2] < 80)
        assert red.mean() > 0.03
