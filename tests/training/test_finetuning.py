"""Fine-tuning begins with what the weights know, and never ends below it."""

from __future__ import annotations

import pytest
import torch

from focalnets.cli.main import main
from focalnets.training.config import TrainingConfig
from focalnets.training.recipes import in_miniature, miniature
from focalnets.training.runs import read_run
from focalnets.training.trainer import open_data, resume, train
from focalnets.weights.loading import load_model


@pytest.fixture(scope="module")
def taught(coloured_images, tmp_path_factory):
    """A run that knows blue, green and red."""
    config = miniature().replace(epochs=6, device="cpu")
    return train(
        config, open_data(coloured_images, config), output=tmp_path_factory.mktemp("taught") / "run", quiet=True
    )


@pytest.fixture(scope="module")
def two(coloured_images, tmp_path_factory):
    """Two of the three classes, in other spellings."""
    root = tmp_path_factory.mktemp("two")
    for name, spelling in (("red", "Red"), ("blue", "BLUE")):
        (root / spelling).symlink_to(coloured_images / name)
    return root


def test_rows_of_known_classes_are_kept(taught, two, tmp_path):
    config = in_miniature(TrainingConfig(pretrained=str(taught.run))).replace(
        epochs=1, learning_rate=1e-12, device="cpu"
    )
    result = train(config, open_data(two, config), output=tmp_path / "run", quiet=True)
    old, new = load_model(taught.run), load_model(result.run)
    assert new.class_names == ("BLUE", "Red")
    for row, known in enumerate(("blue", "red")):
        index = old.class_names.index(known)
        torch.testing.assert_close(new.head.weight[row], old.head.weight[index], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(new.head.bias[row], old.head.bias[index], atol=1e-5, rtol=1e-4)
    assert "2 of 2 classes" in new.origin


def test_the_start_counts_as_epoch_0_and_the_best_never_falls_below_it(taught, coloured_images, tmp_path, capsys):
    settings = [
        "--pretrained",
        str(taught.run),
        "--recipe",
        "small",
        "--epochs",
        "2",
        "--device",
        "cpu",
        "--workers",
        "0",
    ]
    ruin = ["--learning_rate", "5.0", "--gradient_clip", "0", "--output", str(tmp_path / "run")]
    main(["train", str(coloured_images), *settings, *ruin])
    shown = capsys.readouterr().out
    assert "before the first epoch: top-1 " in shown
    run = read_run(tmp_path / "run")
    assert run.history[0]["epoch"] == 0
    assert run.history[0]["val_top1"] == pytest.approx(taught.best, abs=0.35)
    assert run.best == max(row["val_top1"] for row in run.history)
    assert run.best_epoch == 0
    old, best = load_model(taught.run), load_model(tmp_path / "run")
    assert all(torch.equal(old.state_dict()[key], best.state_dict()[key]) for key in old.state_dict())


def test_the_start_is_measured_once_and_changes_nothing_else(taught, coloured_images, tmp_path):
    config = in_miniature(TrainingConfig(pretrained=str(taught.run))).replace(epochs=2, patience=5, device="cpu")
    data = open_data(coloured_images, config)
    result = train(config, data, output=tmp_path / "run", quiet=True)
    assert [row["epoch"] for row in result.history] == [0, 1, 2]
    assert result.history[0]["train_loss"] is None
    assert read_run(result.run).epochs == 2
    with pytest.raises(RuntimeError, match="is complete"):
        resume(result.run, quiet=True)


def test_unknown_classes_begin_anew(taught, write_coloured_images, tmp_path):
    root = write_coloured_images(tmp_path / "images", 6)
    for name in ("blue", "green", "red"):
        (root / name).rename(root / f"very {name}")
    config = in_miniature(TrainingConfig(pretrained=str(taught.run))).replace(epochs=1, device="cpu")
    result = train(config, open_data(root, config), output=tmp_path / "run", quiet=True)
    assert [row["epoch"] for row in result.history] == [1]
    assert "classifier knew" not in load_model(result.run).origin
