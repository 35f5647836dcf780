"""What is fast on this machine is tried, not guessed."""

from __future__ import annotations

import pytest
import torch

from focalnets.errors import ConfigError
from focalnets.machine import arithmetic
from focalnets.machine.arithmetic import bfloat16_pays
from focalnets.training import launch
from focalnets.training.config import TrainingConfig
from focalnets.training.launch import fastest_precision


@pytest.mark.parametrize(("seconds", "pays"), [((1.0, 0.5), True), ((1.0, 1.0), False), ((1.0, 3.0), False)])
def test_it_pays_where_it_is_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, float], pays: bool
) -> None:
    def interleave(calls, timing):
        for call in calls.values():
            assert call().shape == (2048, 1024)
        return {name: [each] * 5 for name, each in zip(calls, seconds, strict=True)}

    monkeypatch.setattr(arithmetic, "interleave", interleave)
    assert bfloat16_pays(torch.device("cpu")) is pays


def test_a_trial_on_this_machine_is_short_and_ends() -> None:
    assert bfloat16_pays(torch.device("cpu")) in (True, False)
    assert not bfloat16_pays(torch.device("mps"))


@pytest.mark.parametrize("pays", [True, False])
def test_auto_is_settled_before_a_training(monkeypatch: pytest.MonkeyPatch, pays: bool) -> None:
    monkeypatch.setattr(launch, "bfloat16_pays", lambda device: pays)
    config = TrainingConfig(precision="auto", device="cpu")
    assert fastest_precision(config) == ("bfloat16" if pays else "float32")
    assert fastest_precision(config.replace(devices=2)) == "float32"


def test_other_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="precision"):
        TrainingConfig(precision="fast")  # type: ignore[arg-type]
