"""Numbers that no machine can serve: one sentence before the work, not minutes of it and the end of the process."""

from __future__ import annotations

import pytest

from focalnets.cli.main import main
from focalnets.errors import ConfigError
from focalnets.models.config import FocalNetConfig
from focalnets.models.focalnet import FocalNet
from focalnets.models.memory import check_memory, least_bytes, least_parameters

HUGE = ("10000000000", "1" + "0" * 30, "9" * 5000)
REFUSED = {
    "evaluate": "bins worst size resolutions severities",
    "predict": "top_k size",
    "explain": "size",
    "audit": "least most_changed size",
    "localize": "resamples size",
    "models": "size",
    "compare": "size batch parallel seeds",
    "train": "epochs batch_size accumulate repeats devices workers image_size seed nodes",
}
"""Options of which a huge number is refused."""


@pytest.fixture
def commands(coloured_run, coloured_images, tmp_path):
    run, images, photo = str(coloured_run), str(coloured_images), str(coloured_images / "red" / "0.png")
    output = ["--output", str(tmp_path / "out"), "--device", "cpu"]
    return {
        "evaluate": ["evaluate", run, images],
        "predict": ["predict", photo, "--model", run],
        "explain": ["explain", photo, "--model", run, *output],
        "audit": ["audit", run, images],
        "localize": ["localize", run, "scenes:2"],
        "models": ["models", "pico"],
        "compare": ["compare", "--variations", "pooling", "--train", images, *output],
        "train": ["train", images, "--recipe", "miniature", *output],
    }


@pytest.mark.parametrize(("command", "option"), [(name, each) for name in REFUSED for each in REFUSED[name].split()])
def test_huge_numbers_are_refused_in_one_sentence(command, option, commands, tmp_path, capsys):
    for value in HUGE:
        try:
            status = main([*commands[command], f"--{option}", value, "--quiet"])
        except SystemExit as stopped:
            status = stopped.code
        error = capsys.readouterr().err
        assert status == 2
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert len(error) < 400
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_batches_beyond_the_number_of_images_are_fine(command, commands, capsys):
    assert main([*commands[command], "--batch_size", "1000000000000"]) == 0


@pytest.mark.parametrize("option", ["depths", "focal_levels", "focal_windows", "embed_dim", "mlp_ratio", "patch_size"])
def test_huge_networks_are_refused(option, commands, capsys):
    value = "1000000001"
    value = f"[{', '.join([value] * 4)}]" if option.startswith(("depths", "focal")) else value
    assert main([*commands["train"], f"--model_overrides.{option}", value, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert option in error or "billion numbers" in error
    assert error.count("\n") == 1


def test_what_does_not_fit_into_memory_is_refused_before_the_work(commands, monkeypatch, capsys):
    monkeypatch.setattr("focalnets.models.memory.available_bytes", lambda: 100_000)
    monkeypatch.setattr("focalnets.tasks.running.read_ahead", lambda *given, **options: pytest.fail("the work began"))
    for command in ("evaluate", "predict"):
        assert main([*commands[command], "--size", "256", "--quiet"]) == 2
        assert "more than the 0.0 GB of memory that are free; use a smaller batch_size" in capsys.readouterr().err
    monkeypatch.setattr("focalnets.models.memory.available_bytes", lambda: 30_000_000)
    assert main([*commands["evaluate"], "--resolutions", "32", "2048", "--quiet"]) == 2
    assert "2,048 px at once" in capsys.readouterr().err
    assert main([*commands["train"], "--image_size", "1024", "--quiet"]) == 2
    assert "16 images of 1,024 px at once" in capsys.readouterr().err


def test_estimates_are_below_what_is_needed():
    config = FocalNetConfig(depths=(1, 2), embed_dim=8, focal_levels=(1, 2), focal_windows=(3, 3), num_classes=3)
    network = FocalNet(config)
    assert 0.5 < least_parameters(config) / sum(weight.numel() for weight in network.parameters()) <= 1
    assert least_bytes(config, 64, 2, training=False) == 4 * 2 * (3 * 64 * 64 + 2 * 8 * 16 * 16)
    assert least_bytes(config, 64, 2, training=True) == 4 * 2 * (3 * 64 * 64 + 8 * 16 * 16 + 2 * 16 * 8 * 8)
    check_memory(network, 64, 2)
    with pytest.raises(ConfigError, match="GB"):
        check_memory(network, 8192, 10**9)


def test_one_image_leaves_batch_normalisation_nothing_to_learn_from(commands, capsys):
    double = ["--model_overrides.downsampling", "double", "--image_size", "32", "--workers", "0", "--quiet"]
    assert main([*commands["train"], *double, "--batch_size", "1"]) == 2
    error = capsys.readouterr().err
    assert "--batch_size 2" in error
    assert error.count("\n") == 1
    more = [*double, "--overwrite", "--epochs", "1", "--limit_train_batches", "1"]
    assert main([*commands["train"], *more, "--batch_size", "2"]) == 0
    assert main([*commands["train"], *more, "--batch_size", "1", "--image_size", "64"]) == 0
