"""The engine's form is chosen where it applies, answers like the network, and says what it computes with."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from focalnets.engine import forms
from focalnets.engine.accelerate import AcceleratedNetwork, why_unavailable
from focalnets.engine.forms import inference_form, plain_form
from focalnets.errors import BackendUnavailableError, ConfigError, UnknownNameError
from focalnets.models.config import FocalNetConfig
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.semantic import SemanticNetwork

SMALL = FocalNetConfig(embed_dim=16, depths=(1, 1, 2, 1), focal_levels=(2, 2, 2, 2), num_classes=5)

needs_kernels = pytest.mark.skipif(why_unavailable("float32") is not None, reason=str(why_unavailable("float32")))


def classifier() -> FocalNet:
    torch.manual_seed(0)
    return FocalNet(SMALL).eval()


@needs_kernels
@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_exact_precisions_take_the_engine_and_answer_alike(precision: Any) -> None:
    model, images = classifier(), torch.randn(2, 3, 61, 64)
    form = inference_form(model, precision, pixels=math.inf)
    assert isinstance(form.network, AcceleratedNetwork)
    assert form.arithmetic.startswith("float32 by the engine on cpu (")
    torch.testing.assert_close(form.network(images), model(images).detach(), rtol=1e-4, atol=1e-5)


def test_little_work_is_not_worth_packing() -> None:
    model = classifier()
    form = inference_form(model, pixels=3 * 224**2)
    assert form.network is model
    assert form.arithmetic == "float32 by PyTorch on cpu"


@needs_kernels
def test_of_a_dense_network_the_backbone_is_exchanged_and_the_head_shared() -> None:
    torch.manual_seed(0)
    backbone = FocalNet(SMALL.replace(pyramid_norms=True, num_classes=0))
    model = SemanticNetwork(backbone, ("sky", "road")).eval()
    form = inference_form(model, pixels=math.inf)
    assert isinstance(form.network, SemanticNetwork)
    assert isinstance(form.network.backbone, AcceleratedNetwork)
    assert model.backbone is backbone
    assert form.arithmetic.endswith("the head by PyTorch")
    heads = [name for name, _ in model.named_children() if name != "backbone"]
    assert heads
    assert all(getattr(form.network, name) is getattr(model, name) for name in heads)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = form.network(images), model(images)
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        if isinstance(expected, Tensor):
            torch.testing.assert_close(ours[name], expected, rtol=1e-4, atol=1e-5)


class _Other(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)


@pytest.mark.parametrize("change", ["other", "half", "hook"])
def test_what_the_engine_does_not_take_runs_as_it_is(change: str) -> None:
    model: nn.Module = classifier()
    if change == "other":
        model = _Other()
    elif change == "half":
        model = model.half()
    else:
        model.get_submodule("stages.0").register_forward_hook(lambda *_: None)
    form = inference_form(model, pixels=math.inf)
    assert form.network is model
    assert form.arithmetic == plain_form(model).arithmetic
    assert form.arithmetic == f"{'float16' if change == 'half' else 'float32'} by PyTorch on cpu"


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_what_was_asked_for_is_done_or_refused(monkeypatch: pytest.MonkeyPatch, precision: Any) -> None:
    if why_unavailable(precision) is None:
        assert inference_form(classifier(), precision, pixels=1).arithmetic.startswith(precision)
    with pytest.raises((ConfigError, BackendUnavailableError)):
        inference_form(_Other(), precision, pixels=math.inf)

    def refuse(*_: Any) -> None:
        raise BackendUnavailableError("This processor has no such instructions.")

    monkeypatch.setattr(forms, "accelerate", refuse)
    with pytest.raises(BackendUnavailableError):
        inference_form(classifier(), precision, pixels=math.inf)
    assert inference_form(classifier(), pixels=math.inf).arithmetic == "float32 by PyTorch on cpu"


def test_other_devices_compute_as_pytorch_does() -> None:
    model = nn.Linear(3, 2, device="meta")
    assert inference_form(model, pixels=math.inf).network is model
    form = inference_form(model, "bfloat16", pixels=1)
    assert form.autocast is torch.bfloat16
    assert form.arithmetic == "bfloat16 by PyTorch on meta"
    with pytest.raises(ConfigError, match="for CPUs"):
        inference_form(model, "int8", pixels=1)


def test_unknown_precisions_are_named() -> None:
    with pytest.raises(UnknownNameError, match="float16"):
        inference_form(classifier(), "float16", pixels=1)  # type: ignore[arg-type]


def test_products_of_other_devices_are_in_the_precision() -> None:
    form = forms.InferenceForm(nn.Linear(4, 4), "bfloat16", torch.bfloat16)
    with form.context(torch.device("cpu")):
        assert form.network(torch.randn(2, 4)).dtype == torch.bfloat16


@needs_kernels
def test_a_network_that_learns_answers_as_in_evaluation_and_goes_on_learning() -> None:
    torch.manual_seed(0)
    model = SemanticNetwork(FocalNet(SMALL.replace(pyramid_norms=True, num_classes=0)), ("sky", "road")).train()
    form = inference_form(model, pixels=math.inf)
    assert not form.network.training
    assert model.training
    assert all(module.training for module in model.modules())
