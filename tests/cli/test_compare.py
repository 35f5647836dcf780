"""``focalnets compare`` as users run it."""

from __future__ import annotations

import json

import pytest

from focalnets.cli.main import main

SMALL = ["--skeleton.embed_dim", "8", "--skeleton.depths", "[1,1,1,1]"]


def test_measures_two_networks(tmp_path, capsys):
    command = ["compare", "--models", "focalnet_pico", "--variations", "pooling", *SMALL, "--sizes", "32"]
    command += ["--tasks", "inference", "--device", "cpu", "--minutes", "2", "--output", str(tmp_path)]
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "focalnet_pico" in shown.out
    assert "[1/1] inference, 32 px, batch 1" in shown.err
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert [cell["status"] for cell in content["cells"]] == ["measured", "measured"]
    assert content["setting"]["skeleton"]["embed_dim"] == 8
    assert content["networks"][1]["parameters"] < 1e6
    assert (tmp_path / "report.html").exists()
    assert main([*command, "--skeleton.embed_dim", "16"]) == 2
    assert "skeleton" in capsys.readouterr().err


def test_trains_networks_alike(coloured_images, tmp_path, capsys):
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "image_size: 32\nbatch_size: 4\nepochs: 1\nlimit_train_batches: 1\nlimit_val_batches: 1\nworkers: 0\n"
    )
    output = tmp_path / "out"
    command = ["compare", "--models", "focalnet_pico", "--variations", "pooling", *SMALL]
    command += ["--train", str(coloured_images), "--config", str(settings), "--output", str(output)]
    assert main(command) == 0
    assert "[2/2] pooling, seed 0: top-1" in capsys.readouterr().out
    assert (output / "runs" / "pooling" / "seed0" / "best.safetensors").exists()
    assert main(command) == 0
    assert "[2/2]" not in capsys.readouterr().out
    rows = json.loads((output / "accuracy.json").read_text())["rows"]
    assert [row["model"] for row in rows] == ["focalnet_pico", "pooling"]
    for name in ("accuracy.csv", "accuracy.png", "report.html"):
        assert (output / name).exists()
    assert main(["evaluate", str(output / "runs" / "pooling" / "seed0"), str(coloured_images)]) == 2
    assert "'pooling', trained by `focalnets compare`" in capsys.readouterr().err
    assert main(["runs", str(output)]) == 0
    assert "runs/pooling/seed0" in capsys.readouterr().out


def test_takes_rows_from_a_file(tmp_path, capsys):
    rows = tmp_path / "rows.py"
    rows.write_text(
        "from focalnets.compare.variations import Variation, add_variation\n"
        "from torch import nn\n"
        "class Nothing(nn.Module):\n"
        "    def forward(self, tokens, mask=None):\n"
        "        return tokens\n"
        "add_variation(Variation(name='nothing', summary='no mixing', mixer=lambda focal: Nothing()))\n"
    )
    command = ["compare", "--rows", str(rows), "--variations", "nothing", *SMALL, "--sizes", "32"]
    assert main([*command, "--tasks", "inference", "--device", "cpu", "--output", str(tmp_path / "out")]) == 0
    (cell,) = json.loads((tmp_path / "out" / "comparison.json").read_text())["cells"]
    assert (cell["model"], cell["status"]) == ("nothing", "measured")
    (tmp_path / "broken.py").write_text("1 / 0")
    assert main(["compare", "--rows", str(tmp_path / "broken.py")]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--models", "focalnet_tiny_lfr"], "did you mean"),
        (["--sizes", "0"], "from 1 up"),
        (["--batch", "-1"], "from 1 up"),
        (["--minutes", "0"], "above 0"),
        (["--tasks", "sleeping"], "sleeping"),
        (["--rows", "nowhere.py"], "nowhere.py"),
        (["--variations", "full", "--skeleton.embedding", "8"], "embedding"),
        (["--variations", "full", "--skeleton.num_classes", "8"], "num_classes"),
        (["--train", "nowhere"], "nowhere"),
        (["--train", "nowhere", "--seeds", "0"], "--seeds"),
        (["--train", "nowhere", "--device", "cuda:99"], "no usable device 'cuda:99'"),
        (["--device", "cuda:99"], "no usable device 'cuda:99'"),
        (["--train", "nowhere", "--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, capsys, arguments, words):
    assert main(["compare", "--models", "focalnet_pico", "--output", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
