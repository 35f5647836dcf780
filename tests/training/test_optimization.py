"""Optimisers: what decays, how the rate runs, Muon beside AdamW, the moving average."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from focalnets.training.config import TrainingConfig
from focalnets.training.optimization import MuonWithAdamW, build_optimizer, ema_average, scheduled_rates
from focalnets.weights.loading import create_model

TINY = {"embed_dim": 8, "depths": (1, 1), "focal_levels": (2, 2), "focal_windows": (3, 3)}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return create_model("focalnet_pico", num_classes=3, layer_scale=0.1, **TINY)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_decay_shrinks_matrices_and_kernels_only(model, optimizer):
    config = TrainingConfig(optimizer=optimizer, learning_rate=0.1, weight_decay=0.5)
    made = build_optimizer(model, config)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made.step()
    for name, parameter in model.named_parameters():
        factor = 1 - 0.1 * 0.5 if parameter.ndim > 1 else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * factor, msg=name)


def test_every_parameter_is_in_one_group(model):
    for optimizer in ("adamw", "muon"):
        groups = build_optimizer(model, TrainingConfig(optimizer=optimizer, layer_decay=0.8)).param_groups
        held = [id(parameter) for group in groups for parameter in group["params"]]
        assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())


def test_muon_takes_the_matrices_inside_and_orthogonalises_them(model):
    made = build_optimizer(model, TrainingConfig(optimizer="muon", learning_rate=0.01, weight_decay=0.0))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    inside = {names[id(p)] for group in made.param_groups if group["orthogonal"] for p in group["params"]}
    assert "stages.0.blocks.0.mlp.fc1.weight" in inside
    assert not any(name.startswith(("head", "stem")) or "kernels" in name for name in inside)
    weight = model.stages[0].blocks[0].mlp.fc1.weight
    before = weight.detach().clone()
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    made.step()
    singular = torch.linalg.svdvals(before - weight.detach()) / (0.01 * 0.2 * math.sqrt(max(weight.shape)))
    assert 0.5 < singular.min() < singular.max() < 1.5


def test_muon_takes_the_steps_of_torch(model):
    torch.manual_seed(2)
    matrices = [torch.nn.Parameter(torch.randn(shape)) for shape in ((8, 24), (8, 24), (24, 8), (5, 5))]
    theirs = [torch.nn.Parameter(matrix.detach().clone()) for matrix in matrices]
    vector = torch.nn.Parameter(torch.zeros(3))
    settings = {"lr": 0.02, "weight_decay": 0.1}
    ours = MuonWithAdamW(
        [
            {"params": matrices, "orthogonal": True, **settings},
            {"params": [vector], "orthogonal": False, **settings},
        ],
        betas=(0.9, 0.999),
    )
    reference = torch.optim.Muon(theirs, momentum=0.95, adjust_lr_fn="match_rms_adamw", **settings)
    for _ in range(3):
        for mine, other in zip(matrices, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        ours.step()
        reference.step()
    for mine, other in zip(matrices, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0.02 * 0.2 * 24**0.5 * 0.1)  # theirs counts in bfloat16


def test_muon_continues_from_its_state(model):
    twin = copy.deepcopy(model)
    config = TrainingConfig(optimizer="muon")

    def step(network, optimizer, seed):
        torch.manual_seed(seed)
        for parameter in network.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()

    first = build_optimizer(model, config)
    step(model, first, 0)
    twin.load_state_dict(model.state_dict())
    second = build_optimizer(twin, config)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for optimizer in (first, second):
        scheduled_rates(optimizer, steps=10, warmup_steps=2, final=0.1)
    step(model, first, 1)
    step(twin, second, 1)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_rate_rises_and_falls(model):
    optimizer = build_optimizer(model, TrainingConfig(learning_rate=1.0))
    schedule = scheduled_rates(optimizer, steps=10, warmup_steps=4, final=0.1)
    rates = []
    for _ in range(11):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[7] == pytest.approx(0.55)
    assert rates[10] == pytest.approx(0.1)


def test_average_is_quick_at_first_and_copies_counters():
    average = ema_average(0.99)
    for count, decay in ((0, 0.1), (1, 2 / 11), (10**6, 0.99)):
        held = [torch.zeros(3)]
        average(held, [torch.ones(3)], torch.tensor(count))
        torch.testing.assert_close(held[0], torch.full((3,), 1 - decay))
    counters = [torch.tensor(3)]
    average(counters, [torch.tensor(7)], 5)
    assert counters[0] == 7
