"""Recipes: what they promise, each tried in miniature; settings that they and users build on."""

from __future__ import annotations

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from tests.tasks.annotated_places import write_class_maps
from torchvision.transforms import v2

from focalnets.data.randaugment import noisy_randaugment
from focalnets.errors import ConfigError, TrainingError
from focalnets.models.config import Preprocessing
from focalnets.tasks.batch import Batch
from focalnets.tasks.classify.inference import evaluate_images
from focalnets.tasks.loading import load_trained
from focalnets.training.callbacks import Guard
from focalnets.training.config import TrainingConfig
from focalnets.training.data import training_loader
from focalnets.training.module import TaskModule
from focalnets.training.network import build_network
from focalnets.training.recipes import RECIPES, imagenet, imagenet22k_finetune, in_miniature, miniature
from focalnets.training.trainer import open_data, resume, train
from focalnets.weights.loading import load_checkpoint


@pytest.fixture(scope="module")
def config():
    return miniature().replace(batch_size=8)


@pytest.fixture(scope="module")
def data(coloured_images, config):
    return open_data(coloured_images, config)


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe().task == "classify"])
def test_each_recipe_trains_in_miniature(name, coloured_run, data, tmp_path):
    recipe = RECIPES[name]()
    assert "Command" in RECIPES[name].__doc__
    if "finetune" in name:
        recipe = recipe.replace(pretrained=str(coloured_run))
    settings = in_miniature(recipe).replace(batch_size=12)
    result = train(settings, data, output=tmp_path / "run", quiet=True)
    assert [row["epoch"] for row in result.history if row["epoch"] > 0] == [1, 2]
    assert load_checkpoint(result.best_weights).preprocessing.input_size_px == 32


@pytest.mark.parametrize("name", ["segment", "panoptic", "upernet_160k"])
def test_recipes_for_pixels_train_in_miniature(name, tmp_path):
    recipe = RECIPES[name]()
    assert "Command" in RECIPES[name].__doc__
    small = in_miniature(recipe).replace(batch_size=4, limit_train_batches=2, limit_val_batches=1)
    place = "scenes:12"
    if recipe.task == "panoptic":
        small = small.replace(channels=64, queries=8, decoder_layers=2)
    else:
        place = tmp_path / "maps"
        write_class_maps(place, train=8, val=4)
        small = small.replace(channels=16)
    result = train(small, open_data(place, small), output=tmp_path / "run", quiet=True)
    assert [row["epoch"] for row in result.history] == [1, 2]
    assert load_trained(result.best_weights)[1].preprocessing.input_size_px == 32


def test_imagenet_is_the_published_recipe():
    config = imagenet()
    assert config.images_a_step() == config.reference_batch == 1024
    expected = {
        "epochs": 300, "optimizer": "adamw", "learning_rate": 1e-3, "warmup_epochs": 20, "warmup_learning_rate": 1e-6,
        "minimum_learning_rate": 1e-5, "weight_decay": 0.05, "gradient_clip": 5, "augmentation": "strong",
        "randaugment_magnitude": 9, "randaugment_noise": 0.5, "colour_jitter": 0.4, "erasing": 0.25, "mixup": 0.8,
        "cutmix": 1.0, "mixup_switch": 0.5, "label_smoothing": 0.1, "ema_decay": 0,
    }  # fmt: skip
    values = config.to_flat_dict()
    assert {key: values[key] for key in expected} == expected
    assert "drop_path" not in config.model_overrides
    finetuned = imagenet22k_finetune()
    assert (finetuned.epochs, finetuned.learning_rate, finetuned.weight_decay) == (30, 3e-5, 1e-8)
    assert (finetuned.settings.mixup, finetuned.settings.cutmix, finetuned.model_overrides) == (
        0,
        0,
        {"drop_path": 0.3},
    )


def test_the_rate_follows_the_images_of_a_step(config, data, tmp_path):
    settings = config.replace(
        epochs=1, learning_rate=1e-3, reference_batch=32, warmup_epochs=0.5, warmup_learning_rate=1e-4,
        minimum_learning_rate=1e-5,
    )  # fmt: skip
    assert settings.learning_rate_scale() == 0.25
    assert settings.learning_rate_scale(processes=4) == 1.0
    rates = []
    original = torch.optim.AdamW.step

    def step(self, closure=None):
        rates.append(self.param_groups[0]["lr"])
        return original(self, closure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", step)
        result = train(settings, data, output=tmp_path / "run", quiet=True)
    assert rates[0] == pytest.approx(0.25e-4)
    assert rates[3] == pytest.approx(0.25e-3)
    assert result.history[-1]["learning_rate"] == pytest.approx(0.25e-5)


def test_a_frozen_start_changes_the_classifier_only(coloured_run, data, tmp_path):
    settings = TrainingConfig(
        pretrained=str(coloured_run), epochs=1, freeze_epochs=1, batch_size=8, workers=0, learning_rate=1e-2
    )
    before = load_file(coloured_run / "best.safetensors")
    after = load_file(train(settings, data, output=tmp_path / "frozen", quiet=True).run / "last.safetensors")
    parameters = {name for name, _ in load_checkpoint(coloured_run / "best.safetensors").named_parameters()}
    changed = {name for name in parameters if not torch.equal(before[name], after[name])}
    assert changed == {"head.weight", "head.bias"}
    settings = settings.replace(epochs=2)
    after = load_file(train(settings, data, output=tmp_path / "thawed", quiet=True).run / "last.safetensors")
    assert not torch.equal(before["stages.0.blocks.0.mlp.fc1.weight"], after["stages.0.blocks.0.mlp.fc1.weight"])


def test_training_ends_early_without_progress(config, data, tmp_path):
    # Without batch normalisation, whose means move without learning.
    overrides = {**config.model_overrides, "stem": "patch"}
    settings = config.replace(epochs=9, patience=2, learning_rate=1e-12, model_overrides=overrides)
    result = train(settings, data, output=tmp_path / "run", quiet=True)
    assert len(result.history) == 3
    with pytest.raises(TrainingError, match="complete"):
        resume(result.run, quiet=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_sizes_grow_over_the_epochs(config, data, workers):
    settings = config.replace(image_size_schedule={32: 2, 16: 0}, workers=workers, augmentation="strong")
    assert settings.image_size_schedule == "16:0,32:2"
    assert TrainingConfig.from_dict(yaml.safe_load(yaml.safe_dump(settings.to_dict()))) == settings
    loader = training_loader(settings.build_task(), data, settings, Preprocessing(input_size_px=24))
    sizes = []
    for epoch in range(4):
        loader.set_epoch(epoch)
        sizes.append({tuple(batch.inputs.shape[2:]) for batch in loader})
    assert sizes == [{(16, 16)}, {(16, 16)}, {(32, 32)}, {(32, 32)}]


def test_a_stopped_run_goes_on_at_its_size(config, data, tmp_path, monkeypatch):
    settings = config.replace(epochs=3, image_size_schedule="16:0,32:1", image_size=24)
    whole = train(settings, data, output=tmp_path / "whole", quiet=True)
    assert [row["image_size"] for row in whole.history] == [16, 32, 32]
    original, seen = Guard.on_train_batch_end, []

    def stop(self, trainer, module, outputs, batch, batch_idx):
        seen.append(batch_idx)
        self.request.asked = len(seen) == 8
        original(self, trainer, module, outputs, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(Guard, "on_train_batch_end", stop)
        with pytest.raises(RuntimeError, match="--resume"):
            train(settings, data, output=tmp_path / "stopped", quiet=True)
    continued = resume(tmp_path / "stopped", quiet=True)
    assert [row["image_size"] for row in continued.history] == [16, 32, 32]
    expected, got = load_file(whole.run / "last.safetensors"), load_file(continued.run / "last.safetensors")
    assert all(torch.equal(expected[key], got[key]) for key in expected)
    assert load_checkpoint(whole.best_weights).preprocessing.input_size_px == 24


@pytest.mark.parametrize("schedule", ["64", "64:1", "64:0,96:0", "4:0", "a:b", {}])
def test_wrong_schedules_are_refused(schedule):
    with pytest.raises(ConfigError, match="image_size_schedule"):
        TrainingConfig(image_size_schedule=schedule)


def test_evaluating_the_saved_average_gives_the_recorded_accuracy(config, data, tmp_path):
    result = train(config.replace(ema_decay=0.7), data, output=tmp_path / "run", quiet=True)
    evaluation = evaluate_images(load_checkpoint(result.run / "last.safetensors"), data.val)
    assert evaluation.top1 == pytest.approx(result.history[-1]["val_top1"])
    assert evaluation.loss == pytest.approx(result.history[-1]["val_loss"], rel=1e-4)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_blended_labels_say_what_is_in_the_images(config, mixup, cutmix):
    blend = config.replace(mixup=mixup, cutmix=cutmix).build_task().blend(("black", "white"))
    labels = torch.tensor([0, 1] * 4)
    images = labels.float().view(-1, 1, 1, 1).expand(-1, 3, 32, 32)
    torch.manual_seed(0)
    for _ in range(10):
        blended = blend(Batch(images, labels), 0)
        torch.testing.assert_close(blended.targets.sum(1), torch.ones(8))
        torch.testing.assert_close(blended.inputs.mean((1, 2, 3)), blended.targets[:, 1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("switch", [0.0, 1.0])
def test_the_switch_chooses_cutmix(config, switch):
    settings = config.replace(mixup=0.8, cutmix=1.0, mixup_switch=switch)
    blend = settings.build_task().blend(("a", "b"))
    torch.manual_seed(1)
    pictures = torch.tensor([0.0, 1.0] * 4).view(-1, 1, 1, 1).expand(-1, 3, 32, 32)
    images = blend(Batch(pictures, torch.tensor([0, 1] * 4)), 0).inputs
    assert bool(((images == 0) | (images == 1)).all()) == bool(switch)


def test_the_last_epochs_see_images_unmixed(config, data, tmp_path, monkeypatch):
    mixed, seen, original = [], {}, TaskModule.training_step

    def step(self, batch, batch_idx):
        loss = original(self, batch, batch_idx)
        seen.setdefault(self.trainer.current_epoch, []).append(len(mixed))
        mixed.clear()
        return loss

    monkeypatch.setattr(TaskModule, "training_step", step)
    monkeypatch.setattr(v2.CutMix, "forward", lambda self, *inputs: mixed.append(1) or inputs)
    train(config.replace(epochs=3, cutmix=1.0, mixup_off_epoch=2), data, output=tmp_path / "run", quiet=True)
    assert {epoch: set(blends) for epoch, blends in seen.items()} == {0: {1}, 1: {1}, 2: {0}}


def test_an_exploding_loss_stops_with_advice_and_keeps_the_weights(config, data, tmp_path, monkeypatch):
    original = TaskModule.training_step

    def step(self, batch, batch_idx):
        loss = original(self, batch, batch_idx)
        return loss * 1e4 if self.trainer.current_epoch else loss

    monkeypatch.setattr(TaskModule, "training_step", step)
    with pytest.raises(TrainingError, match=r"exploded to .* at step \d+ \(epoch 2, learning rate .*last\.safetensors"):
        train(config, data, output=tmp_path / "run", quiet=True)
    assert load_checkpoint(tmp_path / "run" / "last.safetensors").class_names == data.labels


def test_memory_and_compilation_are_asked_of_the_network(config):
    task = config.build_task()
    network = build_network(task, config, ("a", "b"))
    compiled = []
    network.module.compile = lambda: compiled.append(True)
    settings = config.replace(recompute="block", compile=True)
    TaskModule(task, network, settings, ("a", "b"), steps=1, warmup_steps=0)
    assert compiled == [True]
    assert network.module.stages[0].blocks[0].recompute == "block"


def test_randaugment_gets_stronger_with_the_magnitude():
    picture = Image.effect_mandelbrot((32, 32), (-2, -1, 1, 1), 50).convert("RGB")

    def change(magnitude):
        torch.manual_seed(0)
        augment = noisy_randaugment(magnitude, 0.5, [0, 0, 0])
        original = torch.tensor(list(picture.tobytes())).float()
        return sum((torch.tensor(list(augment(picture).tobytes())) - original).abs().mean() for _ in range(60))

    assert change(9.0) > 1.3 * change(2.0)
