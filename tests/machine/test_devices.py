"""Devices: what is chosen by name, and what they can add up in."""

from __future__ import annotations

import pytest
import torch

from focalnets.errors import ConfigError
from focalnets.machine.devices import choose_device, device_name, sum_dtype
from focalnets.ops.causal_reference import running_dtype


def test_a_device_is_chosen_by_its_name() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert device_name(torch.device("cpu")) == "cpu"
    with pytest.raises(ConfigError, match="There is no device 'gpu'; did you mean cpu"):
        choose_device("gpu")


def test_no_float64_where_there_is_none() -> None:
    assert sum_dtype(torch.device("mps")) == torch.float32
    assert sum_dtype(torch.device("cuda:1")) == sum_dtype(torch.device("cpu")) == torch.float64
    context = torch.zeros(1, 2, 4, dtype=torch.bfloat16)
    assert running_dtype(context, None) == torch.float64
    assert running_dtype(context, torch.ones(1, 4)) == torch.float32
