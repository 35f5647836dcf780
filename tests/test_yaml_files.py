"""YAML files of settings: whatever stands in them is read as plain values or refused in one sentence."""

from __future__ import annotations

import re
import time

import pytest

from focalnets.errors import ConfigError, UnknownNameError
from focalnets.models.variants import variant
from focalnets.training.config import TrainingConfig
from focalnets.training.resolve import resolve_config
from focalnets.yaml_files import read_yaml

GROWN = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{second}: &{second} [{', '.join([f'*{first}'] * 9)}]\n"
    for first, second in zip("abcdefgh", "bcdefghi", strict=True)
)
"""Lists of lists of lists, 9^9 texts if somebody writes them out."""


def refused(tmp_path, text, read=read_yaml):
    file = tmp_path / "a.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises((ConfigError, UnknownNameError)) as caught:
        read(file)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 3100
    assert message.endswith((".", "?"))
    return message


def resolved(file):
    return resolve_config(config=file)


@pytest.mark.parametrize(
    "text",
    [
        "a: !!bool x", "a: !!timestamp x", "a: !!timestamp 2024-13-45", "a: !!int x", "a: !!float x", "a: !!omap 3",
        "!!python/name:os.system : 1",
        "a: !!python/object/apply:os.system [ls]", "a: *b", "? [a]\n: 1", "? {a: 1}\n: 1", "a: 1\na: 2", "1: 1\n0x1: 2",
        "a: " + "[" * 5000, "%", b"\xff\xfe", b"a: \x07", "- a", "a", f"a: {'9' * 5000}",
    ],
)  # fmt: skip
def test_whatever_constructors_raise_is_one_sentence(tmp_path, text):
    assert str(tmp_path / "a.yaml") in refused(tmp_path, text)


def test_many_names_take_no_time(tmp_path):
    (tmp_path / "a.yaml").write_text("".join(f"n{number}: 1\n" for number in range(5000)))
    began = time.process_time()
    assert len(read_yaml(tmp_path / "a.yaml")) == 5000
    assert time.process_time() - began < 30  # Comparing each with each took minutes.


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model_overrides: 3", "model_overrides in .* must be a section"),
        ("model_overrides: [a]", "model_overrides in .* must be a section"),
        ("model_overrides: {1: 2}", "must hold names with values, got 1"),
        ("model_overrides: {null: 2}", "must hold names with values, got None"),
        ("settings: 3", "must be a section of settings"),
        ("classify: 3", "classify in .* must be a section"),
        ("task: [classify]", "task in .* must be a name"),
        ("task: {a: 1}", "task in .* must be a name"),
        ("1: 2", "holds 1, which is no name"),
        ("classify: {1: 2}", "holds 1, which is no name"),
        ("settings: {1: 2}", "no field '1'"),
        ("~: 2", "holds None, which is no name"),
        ("? \n: 2", "holds None, which is no name"),
        ("image_size_schedule: [32, 0]", "sizes with their first epochs"),
        ("image_size_schedule: {32: [0]}", "sizes with their first epochs"),
        ("image_size_schedule: {32: .inf}", "sizes with their first epochs"),
        (f"seed: 0x{'f' * 5000}", "seed must be below"),
        (f"model: {'x' * 10**6}", "There is no model|model_overrides"),
        (f"{GROWN}", "has no field"),
        (f"classify:\n  {GROWN.replace(chr(10), chr(10) + '  ')}", "has no field"),
        ("optimizer: &a [*a]\n", "optimizer must be"),
    ],
)
def test_settings_of_other_kinds_are_one_sentence(tmp_path, text, words):
    def build(file):
        variant(resolved(file).model)

    assert re.search(words, refused(tmp_path, text, build))


def test_values_that_grow_are_not_written_out(tmp_path):
    for name in (
        "epochs",
        "optimizer",
        "model",
        "task",
        "image_size_schedule",
        "classify",
        "model_overrides",
        "learning_rate",
    ):
        refused(tmp_path, f"{name}:\n  - {GROWN.splitlines()[0][3:]}\n".replace("&a ", ""), resolved)
    grown = ["x"] * 9
    for _ in range(12):
        grown = [grown] * 9
    for name in ("epochs", "optimizer", "task", "image_size_schedule", "classify", "model_overrides", "learning_rate"):
        with pytest.raises(ConfigError) as caught:
            TrainingConfig.from_dict({name: grown})
        assert len(str(caught.value)) < 3100


def test_yes_and_no_are_understood(tmp_path):
    for word, value in (("no", False), ("Off", False), ("YES", True), ("true", True), ("'no'", False)):
        (tmp_path / "a.yaml").write_text(f"compile: {word}\nlearning_rate: 1e-3\n")
        config = resolved(tmp_path / "a.yaml")
        assert (config.compile, config.learning_rate) == (value, 1e-3)
