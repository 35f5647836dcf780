"""Whole trainings in miniature: what a run leaves, stopping and going on, mistakes."""

from __future__ import annotations

import csv
import errno
import importlib.util
import json
import os
import signal

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from focalnets.data.labelled import TrainingData
from focalnets.data.sources import read_split
from focalnets.errors import (
    ConfigError,
    DataError,
    FocalNetsError,
    InterruptedRunError,
    TrainingError,
    UnknownNameError,
)
from focalnets.tasks.classify.task import Classify
from focalnets.training.callbacks import Guard, Recorder
from focalnets.training.config import TrainingConfig
from focalnets.training.console import TrainingConsole
from focalnets.training.recipes import finetune, miniature
from focalnets.training.run_folder import RunFolder
from focalnets.training.trainer import open_data, resume, train
from focalnets.weights.loading import load_checkpoint, load_model


@pytest.fixture(scope="module")
def config():
    return miniature().replace(batch_size=8)


@pytest.fixture(scope="module")
def data(coloured_images, config):
    return open_data(coloured_images, config)


def interrupt_after(monkeypatch, batches):
    """Send Ctrl-C to this process before the given batch of the run (counted from 1) ends."""
    original = Guard.on_train_batch_end
    seen = []

    def hook(self, trainer, module, outputs, batch, batch_idx):
        seen.append(batch_idx)
        if len(seen) == batches:
            os.kill(os.getpid(), signal.SIGINT)
        original(self, trainer, module, outputs, batch, batch_idx)

    monkeypatch.setattr(Guard, "on_train_batch_end", hook)


def test_a_run_learns_and_holds_everything(coloured_run, coloured_images):
    held = {path.name for path in coloured_run.iterdir()}
    if importlib.util.find_spec("tensorboard") is not None:
        assert list((coloured_run / "tensorboard").glob("events.*"))
    assert held - {"tensorboard"} == {
        "README.md", "best.safetensors", "checkpoints", "config.yaml", "curves.png", "environment.json",
        "last.safetensors", "log.txt", "metrics.csv", "split.json",
    }  # fmt: skip
    rows = list(csv.DictReader((coloured_run / "metrics.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert [row["step"] for row in rows] == ["3", "6", "9", "12"]
    assert max(float(row["val_top1"]) for row in rows) > 0.8
    model = load_checkpoint(coloured_run / "best.safetensors")
    assert model.class_names == ("blue", "green", "red")
    assert model.preprocessing.input_size_px == 32
    assert "trained on" in model.origin
    config = TrainingConfig.from_dict(yaml.safe_load((coloured_run / "config.yaml").read_text()))
    assert config == miniature().replace(epochs=4)
    environment = json.loads((coloured_run / "environment.json").read_text())
    assert environment["data"]["images_to_train"] == 48
    assert environment["packages"]["torch"] == torch.__version__.partition("+")[0]
    split = read_split(coloured_run / "split.json")
    assert (len(split.train), len(split.val)) == (48, 12)
    with Image.open(coloured_run / "curves.png") as picture:
        assert picture.width > 500
    assert "epoch 4/4" in (coloured_run / "log.txt").read_text()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_settings_repeat_the_run(config, data, tmp_path, precision):
    config = config.replace(epochs=1, precision=precision)
    runs = [train(config, data, output=tmp_path / name, quiet=True) for name in "ab"]
    first, second = (load_file(run.best_weights) for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert runs[0].history[0]["train_loss"] == runs[1].history[0]["train_loss"]


FEATURES = {
    "epochs": 2,
    "ema_decay": 0.9,
    "optimizer": "muon",
    "accumulate": 2,
    "mixup": 0.4,
    "cutmix": 0.4,
    "augmentation": "strong",
    "precision": "bfloat16",
}


@pytest.mark.parametrize("batches", [1, 6, 8], ids=["in mid-epoch", "at the end of an epoch", "later"])
@pytest.mark.parametrize("settings", [{}, FEATURES], ids=["plain", "everything"])
def test_ctrl_c_saves_and_going_on_repeats_the_whole_run(config, data, tmp_path, monkeypatch, settings, batches):
    settings = config.replace(**settings)
    settings = settings.replace(model_overrides={**settings.model_overrides, "drop_path": 0.3})
    whole = train(settings, data, output=tmp_path / "whole", quiet=True)
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        interrupt_after(patch, batches)
        with pytest.raises(InterruptedRunError, match=r"--resume .*stopped"):
            train(settings, data, output=tmp_path / "stopped", quiet=True)
    assert signal.getsignal(signal.SIGINT) is before
    continued = resume(tmp_path / "stopped", quiet=True)
    for name in ("last.safetensors", "best.safetensors"):
        expected, got = load_file(whole.run / name), load_file(continued.run / name)
        assert all(torch.equal(expected[key], got[key]) for key in expected)
    for expected, got in zip(whole.history, continued.history, strict=True):
        for key in ("epoch", "step", "train_loss", "val_loss", "val_top1", "val_top5", "learning_rate"):
            assert expected[key] == got[key]


@pytest.mark.parametrize("stop_in_epoch", [1, 2, 3])
def test_patience_ends_a_continued_run_where_it_ends_the_whole_one(config, data, tmp_path, monkeypatch, stop_in_epoch):
    def never_better(self, trainer, module):
        original(self, trainer, module)
        trainer.callback_metrics["val_top1"].zero_()

    original = Recorder.on_validation_end
    monkeypatch.setattr(Recorder, "on_validation_end", never_better)
    settings = config.replace(epochs=6, patience=2)
    assert len(train(settings, data, output=tmp_path / "whole", quiet=True).history) == 3
    save = Guard._save

    def save_and_break_off(self, trainer):
        save(self, trainer)
        if trainer.current_epoch + 1 == stop_in_epoch:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Guard, "_save", save_and_break_off)
        with pytest.raises(InterruptedRunError):
            train(settings, data, output=tmp_path / "stopped", quiet=True)
    assert len(resume(tmp_path / "stopped", quiet=True).history) == 3


def test_the_watched_loss_is_that_of_a_batch_whatever_accumulates(config, data, tmp_path, monkeypatch):
    seen = {}
    check = Guard._check_loss

    def note(self, trainer, module, loss):
        seen.setdefault(trainer.accumulate_grad_batches, []).append(loss)
        check(self, trainer, module, loss)

    monkeypatch.setattr(Guard, "_check_loss", note)
    for accumulate in (1, 4):
        settings = config.replace(epochs=1, accumulate=accumulate)
        train(settings, data, output=tmp_path / str(accumulate), quiet=True)
    assert seen[4][0] == pytest.approx(seen[1][0])


def test_a_finished_run_is_not_continued(coloured_run):
    with pytest.raises(TrainingError, match="complete"):
        resume(coloured_run, quiet=True)


def test_only_the_same_images_continue_a_run(config, write_coloured_images, tmp_path, monkeypatch):
    root = write_coloured_images(tmp_path / "images", 10)
    interrupt_after(monkeypatch, 1)
    with pytest.raises(InterruptedRunError):
        train(config, open_data(root, config), output=tmp_path / "run", quiet=True)
    moved = root.rename(tmp_path / "moved")
    with pytest.raises(DataError):
        resume(tmp_path / "run", quiet=True)
    file = json.loads((tmp_path / "run" / "split.json").read_text())["train"][0][0]
    kept = (moved / file).read_bytes()
    (moved / file).write_bytes(kept + b" ")
    with pytest.raises(DataError, match="changed"):
        resume(tmp_path / "run", root=moved, quiet=True)
    (moved / file).write_bytes(kept)
    assert len(resume(tmp_path / "run", root=moved, quiet=True).history) == 2


def test_a_loss_that_is_no_number_stops_with_advice(config, data, tmp_path):
    with pytest.raises(
        TrainingError, match=r"loss became (nan|inf) at step \d+ \(epoch 1, learning rate .*--learning_rate"
    ):
        train(config.replace(learning_rate=1e30, gradient_clip=0.0), data, output=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "best.safetensors").exists()


def test_gradients_are_clipped(config, data, tmp_path, monkeypatch):
    norms = []
    original = torch.optim.AdamW.step

    def step(self, closure=None):
        def observed():
            loss = closure()
            gradients = [p.grad for group in self.param_groups for p in group["params"]]
            norms.append(float(torch.nn.utils.get_total_norm(gradients)))
            return loss

        return original(self, observed)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    train(config.replace(epochs=1, gradient_clip=0.1), data, output=tmp_path / "clipped", quiet=True)
    assert len(norms) == 6
    assert max(norms) == pytest.approx(0.1, rel=1e-3)
    norms.clear()
    train(config.replace(epochs=1, gradient_clip=0.0), data, output=tmp_path / "free", quiet=True)
    assert max(norms) > 0.2


def test_the_moving_average_is_what_is_saved(config, data, tmp_path):
    """With a decay close to 1 and few steps the average is still near where it began, the plain weights are not."""
    plain = train(config.replace(epochs=1), data, output=tmp_path / "plain", quiet=True)
    averaged = train(config.replace(epochs=1, ema_decay=0.5), data, output=tmp_path / "averaged", quiet=True)
    weights = [load_file(result.run / "last.safetensors")["head.weight"] for result in (plain, averaged)]
    assert not torch.equal(*weights)
    assert averaged.history[0]["val_loss"] != plain.history[0]["val_loss"]
    assert averaged.history[0]["train_loss"] == plain.history[0]["train_loss"]


def test_pretrained_weights_are_adapted_to_other_classes(config, coloured_run, write_coloured_images, tmp_path):
    root = write_coloured_images(tmp_path / "images", 6)
    (root / "red").rename(root / "scarlet")
    (root / "blue").rename(root / "azure")
    settings = TrainingConfig(
        pretrained=str(coloured_run), epochs=1, batch_size=8, workers=0, learning_rate=1e-9, weight_decay=0.0
    )
    data = open_data(root, settings)
    result = train(settings, data, output=tmp_path / "run", quiet=True)
    before, after = load_file(coloured_run / "best.safetensors"), load_file(result.best_weights)
    assert load_checkpoint(result.best_weights).class_names == ("azure", "green", "scarlet")
    assert not torch.allclose(after["head.weight"], before["head.weight"], atol=1e-3)
    key = "stages.0.blocks.0.mlp.fc1.weight"
    torch.testing.assert_close(after[key], before[key], atol=1e-6, rtol=0)
    with pytest.raises(ConfigError, match="embed_dim"):
        train(settings.replace(model_overrides={"embed_dim": 4}), data, output=tmp_path / "other", quiet=True)


def test_the_network_in_the_package_is_fine_tuned_offline(shipped_stand_in, coloured_images, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    config = finetune().replace(
        pretrained="focalnet_pico.imagenette", epochs=1, batch_size=8, image_size=32, device="cpu", ema_decay=0.0,
        limit_train_batches=2, limit_val_batches=1,
    )  # fmt: skip
    result = train(config, open_data(coloured_images, config), output=tmp_path / "run", quiet=True)
    model = load_model(result.best_weights)
    assert model.class_names == ("blue", "green", "red")
    assert model.config.depths == shipped_stand_in.config.depths
    kernel = "stages.3.blocks.1.mlp.fc1.weight"
    moved = (model.state_dict()[kernel] - shipped_stand_in.state_dict()[kernel]).abs().max()
    assert 0 < moved < 0.01  # it started from these weights


def test_an_image_damaged_beyond_its_header_is_named(config, write_coloured_images, tmp_path):
    root = write_coloured_images(tmp_path / "images", 8)
    for name in ("blue", "green", "red"):
        file = root / name / "0.png"
        file.write_bytes(file.read_bytes()[:600])
    settings = config.replace(workers=1)
    with pytest.raises(DataError, match=r"^'.*0\.png' is damaged.*--skip_unreadable\.$") as caught:
        train(settings, open_data(root, settings), output=tmp_path / "run", quiet=True)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"model": "focalnet_picco", "model_overrides": {}}, UnknownNameError, "focalnet_pico"),
        ({"model_overrides": {"depth": 3}}, ConfigError, "depth"),
        ({"model_overrides": {"num_classes": 3}}, ConfigError, "num_classes"),
        ({"precision": "float16", "device": "cpu"}, ConfigError, "bfloat16"),
        ({"compile": True, "device": "cpu"}, ConfigError, "compile makes the steps .* slower"),
        ({"pretrained": "missing.safetensors", "model_overrides": {}}, FocalNetsError, "missing.safetensors"),
    ],
)
def test_mistakes_leave_nothing_behind(config, data, tmp_path, changes, error, words):
    with pytest.raises(error, match=words):
        train(config.replace(**changes), data, output=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten_by_accident(config, data, coloured_run, tmp_path):
    with pytest.raises(TrainingError, match=r"--resume .*--overwrite"):
        train(config, data, output=coloured_run, quiet=True)
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="is a file"):
        train(config, data, output=tmp_path / "file", quiet=True)
    with pytest.raises(TrainingError, match="no run"):
        resume(tmp_path / "nothing", quiet=True)


def test_overwriting_removes_the_old_run_and_nothing_else(config, data, tmp_path):
    folder = tmp_path / "run"
    train(config.replace(epochs=2), data, output=folder, quiet=True)
    (folder / "notes.txt").write_text("mine")
    train(config.replace(epochs=1), data, output=folder, overwrite=True, quiet=True)
    assert len((folder / "metrics.csv").read_text().splitlines()) == 2
    assert (folder / "log.txt").read_text().count("training") == 1
    assert (folder / "notes.txt").read_text() == "mine"
    assert not list(folder.rglob("*.tmp"))


class Squares(torch.utils.data.Dataset):
    """Generated pictures, without files."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return Image.new("RGB", (20, 20), ("black", "white")[index % 2]), index % 2


def test_data_need_no_files(config, tmp_path):
    data = TrainingData(labels=("dark", "light"), train=Squares(), val=Squares(), description="generated squares")
    result = train(config.replace(epochs=1), data, output=tmp_path / "run", quiet=True)
    assert result.history[0]["step"] == 1
    assert not (result.run / "split.json").exists()


def test_among_equal_accuracies_the_lowest_loss_is_best():
    recorder = Recorder(RunFolder("unused"), TrainingConsole(RunFolder("unused"), quiet=True), Classify())
    assert recorder.best is None
    recorder.history = [
        {"epoch": epoch, "val_top1": top1, "val_loss": loss}
        for epoch, top1, loss in ((1, 0.5, 0.1), (2, 1.0, 0.4), (3, 1.0, 0.3), (4, 1.0, 0.35))
    ]
    assert recorder.best["epoch"] == 3


@pytest.mark.parametrize("writes", [0, 1])
def test_a_full_disk_stops_in_one_sentence_and_leaves_whole_files(config, data, tmp_path, monkeypatch, writes):
    original = torch.save
    done = []

    def save(content, file):
        if len(done) < writes:
            done.append(original(content, file))
            return
        file.write(b"half")
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            raise RuntimeError("unexpected pos 512 vs 454")  # noqa: B904 - as torch does it

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", save)
        with pytest.raises(
            TrainingError, match="No space left .*--resume" if writes else "No space left .*--overwrite"
        ):
            train(config, data, output=tmp_path / "run", quiet=True)
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists() == bool(writes)
    if writes:
        assert len(resume(tmp_path / "run", quiet=True).history) == 2
