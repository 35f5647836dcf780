"""Settings and recipes: complete, strict, without torch."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import yaml

from focalnets.errors import ConfigError
from focalnets.tasks.settings import field_descriptions
from focalnets.training.config import TrainingConfig
from focalnets.training.recipes import RECIPES


@pytest.mark.parametrize("module", ["config", "recipes"])
def test_imports_no_torch(module):
    code = f"import sys, focalnets.training.{module}; assert not ({{'torch', 'lightning', 'numpy'}} & set(sys.modules))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("recipe", RECIPES.values())
def test_recipes_survive_yaml(recipe):
    config = recipe()
    assert TrainingConfig.from_dict(yaml.safe_load(yaml.safe_dump(config.to_dict()))) == config
    assert recipe.__doc__


def test_every_field_is_described():
    descriptions = field_descriptions(TrainingConfig)
    assert list(descriptions) == [field.name for field in dataclasses.fields(TrainingConfig)]
    assert descriptions["ema_decay"].endswith("steps.")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 1.5}, "batch_size"),
        ({"image_size": 4}, "image_size"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"min_crop_scale": 0.0}, "min_crop_scale"),
        ({"optimizer": "sgd"}, "optimizer"),
        ({"speed": 3}, "speed"),
    ],
)
def test_wrong_values_are_named(changes, named):
    with pytest.raises(ConfigError, match=named):
        TrainingConfig().replace(**changes)


@pytest.mark.parametrize("device", ["cuda:", "cuda:x", "gpu", "cpu:0", ""])
def test_unknown_devices_are_refused(device):
    with pytest.raises(ConfigError, match="device must be auto, cpu, cuda, cuda:N or mps"):
        TrainingConfig(device=device)


def test_one_gpu_of_several_is_trained_on_alone():
    assert TrainingConfig(device="cuda:1").device == "cuda:1"
    with pytest.raises(ConfigError, match="give device cuda"):
        TrainingConfig(device="cuda:1", devices=2)


ODD = ["no", "x", "", [1], {"a": 1}, float("nan"), float("inf"), -1, 1e400, 10**400, True, b"1", object()]


@pytest.mark.parametrize("name", [*TrainingConfig().to_flat_dict(), "classify"])
def test_odd_values_are_refused_or_taken_but_never_trace_back(name):
    for value in ODD:
        try:
            config = TrainingConfig.from_dict({name: value})
        except ConfigError:
            continue
        assert TrainingConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()


def test_numbers_as_yaml_1_1_reads_them():
    assert TrainingConfig.from_dict(yaml.safe_load("learning_rate: 1e-3\nmixup: 1e-1")).learning_rate == 1e-3
    assert TrainingConfig.from_dict({"compile": "no"}).compile is False
    for text, words in (
        ("compile: 'perhaps'", "true or false"),
        ("seed: 4294967296", "below 2"),
        ("epochs: '3'", "whole number"),
    ):
        with pytest.raises(ConfigError, match=words):
            TrainingConfig.from_dict(yaml.safe_load(text))
