"""Training, continuing and measuring on a folder, a CSV table and shards: the same figures from the same images."""

from __future__ import annotations

import json

import pytest

from focalnets.cli.main import main


@pytest.fixture(scope="module")
def places(write_coloured_images, tmp_path_factory):
    """The same images stored in three ways."""
    root = tmp_path_factory.mktemp("kinds")
    images = write_coloured_images(root / "images", 6)
    lines = [f"{file.relative_to(images)},{file.parent.name}" for file in sorted(images.rglob("*.png"))]
    (images / "images.csv").write_text("\n".join(["image,class", *lines]))
    assert main(["shard", str(images), str(root / "shards"), "--samples_per_shard", "5"]) == 0
    return images, images / "images.csv", root / "shards"


def test_the_same_metrics(coloured_run, places, capsys):
    results = []
    for place in places:
        capsys.readouterr()
        assert main(["evaluate", str(coloured_run), str(place), "--json", "-"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["images"] == 18
        for mistake in result["mistakes"]:
            del mistake["path"]
        results.append({key: value for key, value in result.items() if key not in ("data", "seconds")})
    assert results[0] == results[1] == results[2]


def test_the_same_training_and_the_held_out_images_are_known(places, tmp_path, capsys):
    metrics = []
    for number, place in enumerate(places):
        run = tmp_path / f"run{number}"
        options = ["--recipe", "miniature", "--epochs", "1", "--workers", "0", "--device", "cpu", "--output", str(run)]
        assert main(["train", str(place), *options]) == 0
        (_, row) = (run / "metrics.csv").read_text().splitlines()
        metrics.append(row.split(",")[1:3])
        capsys.readouterr()
        assert main(["evaluate", str(run), str(place), "--json", "-"]) == 0
        shown = capsys.readouterr()
        assert json.loads(shown.out)["images"] == 3
        assert "3 images" in shown.err
    assert metrics[0] == metrics[1] == metrics[2]


@pytest.mark.parametrize("command", [["train"], ["evaluate", "RUN"], ["check"], ["benchmark_data"]])
@pytest.mark.parametrize(
    ("name", "content"),
    [("empty", None), ("no.tar", b"hello" * 200), ("data.csv", "path,label\nä.png,b\n".encode("latin-1"))],
)
def test_bad_data_is_one_sentence_everywhere(coloured_run, tmp_path, monkeypatch, capsys, command, name, content):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.mkdir() if content is None else path.write_bytes(content)
    assert main([*(str(coloured_run) if word == "RUN" else word for word in command), str(path)]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
