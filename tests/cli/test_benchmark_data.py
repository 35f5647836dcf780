"""``focalnets benchmark_data``: what it reports; how fast anything is, is not tested."""

from __future__ import annotations

import json

import pytest

from focalnets.cli.main import main
from focalnets.training.throughput import Throughput

SMALL = ["--image_size", "32", "--batch_size", "4", "--workers", "0", "--batches", "2", "--warmup", "1"]


def throughput(loader, workers=2):
    return Throughput(
        loader_images_s=loader,
        step_images_s=100.0,
        workers=workers,
        batches=2,
        batch_size=4,
        image_size=32,
        device="cpu",
    )


def test_reports_both_speeds(coloured_images, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("augmentation: none\nlimit_train_batches: 1\n")
    command = ["benchmark-data", str(coloured_images), *SMALL, "--device", "cpu", "--config", str(tmp_path / "c.yaml")]
    assert main([*command, "--json", str(tmp_path / "r.json")]) == 0
    shown = capsys.readouterr().out
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["ratio"] == pytest.approx(result["loader_images_s"] / result["step_images_s"])
    assert result["ratio"] > 0
    assert (result["batch_size"], result["image_size"], result["workers"], result["batches"]) == (4, 32, 0, 2)
    assert result["verdict"] in shown


def test_sizes_that_grow_and_mixing_that_ends_are_measured_as_training_ends(coloured_images, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(
        "image_size: 32\nimage_size_schedule: 16:0,32:2\ncutmix: 1.0\nmixup_off_epoch: 1\nmodel_overrides:\n"
        "  embed_dim: 8\n  depths: [1, 1, 1, 1]\n"
    )
    options = ["--batch_size", "4", "--workers", "0", "--batches", "1", "--warmup", "1", "--device", "cpu"]
    command = ["benchmark_data", str(coloured_images), "--config", str(tmp_path / "c.yaml"), *options, "--json", "-"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["image_size"] == 32
    assert main([*command, "--image_size", "24"]) == 0
    assert json.loads(capsys.readouterr().out)["image_size"] == 24


@pytest.mark.parametrize(
    ("loader", "words"), [(250.0, "training step is the bottleneck"), (120.0, "hardly faster"), (50.0, "--workers 4")]
)
def test_the_sentence_names_what_to_change(loader, words):
    assert words in throughput(loader).verdict()


@pytest.mark.parametrize(
    "options", [["--batches", "0"], ["--warmup", "0"], ["--precision", "int8"], ["--config", "missing.yaml"]]
)
def test_mistakes_are_one_sentence(coloured_images, capsys, options):
    assert main(["benchmark_data", str(coloured_images), *SMALL, *options]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1


def test_data_is_needed(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["benchmark_data", str(tmp_path / "empty"), *SMALL]) == 2
    assert "no class folders" in capsys.readouterr().err
