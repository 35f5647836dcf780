"""``focalnets train`` as users run it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from focalnets.cli.main import main


def test_trains_continues_and_says_what_next(coloured_images, tmp_path, capsys):
    run = tmp_path / "run"
    command = ["train", str(coloured_images), "--recipe", "miniature", "--output", str(run), "--epochs", "1"]
    assert main([*command, "--model_overrides.drop_path", "0.1", "--batch_size", "8"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    lines = shown.out.splitlines()
    assert len(lines) == 6  # what is trained, one epoch, the best, three commands
    assert "3 classes: 48 images to train, 12 held out; 1 epochs of 6 steps" in lines[0]
    assert lines[1].startswith("epoch 1/1: top-1 ")
    assert f"focalnets evaluate {run} {coloured_images}" in lines[3]
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert settings["model_overrides"]["drop_path"] == 0.1
    assert settings["model_overrides"]["embed_dim"] == 8
    assert main(command) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["train", "--resume", str(run)]) == 2
    assert "complete" in capsys.readouterr().err
    assert main(["train", "--resume", str(run), "--epochs", "3"]) == 2
    assert "without --epochs" in capsys.readouterr().err


def test_settings_come_from_recipe_then_file_then_options(tmp_path, capsys):
    file = tmp_path / "config.yaml"
    file.write_text("epochs: 7\nbatch_size: 3\nmodel_overrides: {drop_path: 0.2}\n")
    command = ["train", "--recipe", "miniature", "--config", str(file), "--batch_size", "5", "--print_config"]
    assert main([*command, "--model_overrides.layer_scale", "0.1", "--skip_unreadable"]) == 0
    settings = yaml.safe_load(capsys.readouterr().out)
    assert (settings["epochs"], settings["batch_size"], settings["image_size"]) == (7, 5, 32)
    assert settings["model_overrides"]["drop_path"] == 0.2
    assert settings["model_overrides"]["layer_scale"] == 0.1
    assert settings["model_overrides"]["embed_dim"] == 8
    assert settings["skip_unreadable"] is True
    (tmp_path / "compiled.yaml").write_text("compile: true\n")
    assert main(["train", "--config", str(tmp_path / "compiled.yaml"), "--no-compile", "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["compile"] is False
    file.write_text("epoch: 7\n")
    assert main(command) == 2
    assert "'epoch'" in capsys.readouterr().err


def test_pretrained_weights_choose_the_fine_tuning_recipe(capsys):
    assert main(["train", "--pretrained", "weights.safetensors", "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["layer_decay"] < 1


@pytest.mark.parametrize(("arguments", "precision"), [([], "auto"), (["--recipe", "miniature"], "float32")])
def test_the_machine_decides_on_the_arithmetic_unless_told(arguments, precision, capsys):
    assert main(["train", *arguments, "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["precision"] == precision
    assert main(["train", *arguments, "--precision", "bfloat16", "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["precision"] == "bfloat16"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "folder of images"),
        (["missing"], "there is no folder"),
        (["empty"], "holds no class folders"),
        (["single"], "only the class folder 'red'"),
        (["images", "--model", "focalnet_pica"], "focalnet_pico"),
        (["images", "--image_size", "2"], "image_size"),
        (["images", "--config", "missing.yaml"], "missing.yaml"),
        (["images", "--output", "file/run"], "cannot be written"),
        (["images", "--device", "cuda:9"], "device"),
        (["--resume", "missing"], "no run"),
    ],
)
def test_mistakes_are_one_sentence(write_coloured_images, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    write_coloured_images(tmp_path / "images", 2)
    write_coloured_images(tmp_path / "single", 2)
    for name in ("blue", "green"):
        (tmp_path / "single" / name).rename(tmp_path / f"other_{name}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    try:
        status = main(["train", *arguments])
    except SystemExit as stop:  # from the parser
        status = stop.code
    assert status == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_help_is_quick_and_complete(capsys):
    code = (
        "import sys; sys.argv = ['focalnets', 'train', '--help']\n"
        "from focalnets.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'lightning', 'numpy', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    for option in ("--learning_rate", "--model_overrides", "--recipe", "--resume", "examples:"):
        assert option in done.stdout


def test_ctrl_c_ends_with_status_130_and_the_next_command(coloured_images, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "focalnets", "train", str(coloured_images), "--recipe", "miniature"]
    process = subprocess.Popen(
        [*command, "--epochs", "100000", "--batch_size", "4", "--workers", "1", "--output", str(run)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        while not (run / "metrics.csv").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # the terminal sends it to the workers too
        _, errors = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            process.kill()
    assert process.returncode == 130
    assert errors == f"error: Stopped; everything so far is saved. Go on with: focalnets train --resume {run}\n"
    assert not list(run.rglob("*.tmp"))
