"""``focalnets compare`` as users run it."""

from __future__ import annotations

import json

from focalnets.cli.main import main


def test_measures_two_networks(tmp_path, capsys):
    command = [
        "compare",
        "--models",
        "focalnet_pico",
        "--variations",
        "pooling",
        "--sizes",
        "32",
        "--tasks",
        "inference",
    ]
    assert main([*command, "--device", "cpu", "--minutes", "2", "--output", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "focalnet_pico" in shown
    cells = json.loads((tmp_path / "comparison.json").read_text())["cells"]
    assert [cell["status"] for cell in cells] == ["measured", "measured"]
    assert (tmp_path / "report.html").exists()


def test_trains_networks_alike(coloured_images, tmp_path, capsys):
    settings = tmp_path / "settings.yaml"
    settings.write_text("image_size: 32\nbatch_size: 4\nlimit_train_batches: 1\nlimit_val_batches: 1\nworkers: 0\n")
    output = tmp_path / "out"
    command = ["compare", "--models", "focalnet_pico", "--variations", "pooling", "--train", str(coloured_images)]
    command += ["--epochs", "1", "--config", str(settings), "--output", str(output)]
    assert main(command) == 0
    assert "pooling" in capsys.readouterr().out
    assert (output / "runs" / "pooling" / "seed0" / "best.safetensors").exists()
    assert main(command) == 0
    assert [row["model"] for row in json.loads((output / "accuracy.json").read_text())] == ["focalnet_pico", "pooling"]


def test_mistakes_are_one_sentence(tmp_path, capsys):
    assert main(["compare", "--models", "focalnet_tiny_lfr"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert main(["compare", "--models", "focalnet_pico", "--sizes", "0", "--output", str(tmp_path)]) == 2
    assert "from 1 up" in capsys.readouterr().err
