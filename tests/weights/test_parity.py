"""The same weights give the same numbers here and in the peers: stage by stage and at the end, both ways."""

from __future__ import annotations

import pytest
import timm
import torch
from tests.weights.networks import (
    COMBINATIONS,
    ISOTROPIC,
    draw,
    drawn,
    relative_error,
    small_config,
    timm_network,
    timm_pyramid,
    transformers_network,
    transformers_pyramid,
)
from torch import nn

from focalnets import FocalNet, FocalNetConfig
from focalnets.models.variants import VARIANTS
from focalnets.weights.assembly import assemble
from focalnets.weights.conversion import why_inexpressible
from focalnets.weights.key_maps import expected_shapes, from_layout, to_layout

TOLERANCE = 1e-5

PEERS = {"timm": (timm_network, timm_pyramid), "transformers": (transformers_network, transformers_pyramid)}


def logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    output = model(images)
    return output if isinstance(output, torch.Tensor) else output.logits


def compare(layout: str, ours: FocalNet, theirs: nn.Module) -> None:
    images = torch.randn(2, ours.config.in_chans, 96, 64, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = PEERS[layout][1](theirs, images)
        got = ours.forward_pyramid(images)
        assert [tuple(item.shape) for item in got] == [tuple(item.shape) for item in expected]
        errors = [relative_error(mine, peer) for mine, peer in zip(got, expected, strict=True)]
        errors.append(relative_error(ours(images), logits(theirs, images)))
    assert max(errors) <= TOLERANCE, errors


@pytest.mark.parametrize("layout", PEERS)
@pytest.mark.parametrize("name", COMBINATIONS)
def test_weights_of_a_peer_give_its_numbers(layout: str, name: str) -> None:
    config = small_config(name)
    theirs = PEERS[layout][0](config)
    draw(theirs)
    tensors, unknown, post_norms = from_layout(layout, theirs.state_dict())
    assert not unknown
    assert post_norms == ({config.post_norm} if layout == "timm" else set())
    compare(layout, assemble(config, tensors, layout), theirs)


@pytest.mark.parametrize("layout", PEERS)
@pytest.mark.parametrize("name", COMBINATIONS)
def test_our_weights_give_our_numbers_in_a_peer(layout: str, name: str) -> None:
    ours = drawn(small_config(name), seed=3)
    theirs = PEERS[layout][0](ours.config)
    theirs.load_state_dict(to_layout(layout, ours.state_dict(), post_norm=ours.config.post_norm), strict=True)
    compare(layout, ours, theirs)


def test_isotropic_network_agrees_with_transformers() -> None:
    config = FocalNetConfig.from_dict({**ISOTROPIC, "num_classes": 5, "post_norm": True})
    theirs = transformers_network(config)
    draw(theirs)
    compare("transformers", assemble(config, from_layout("transformers", theirs.state_dict())[0], ""), theirs)


def test_every_weight_matters_to_the_comparison() -> None:
    """Were a path dead, exchanging two tensors would go unseen: every parameter has a gradient."""
    model = drawn(small_config("huge_fl4"))
    model(torch.randn(1, 3, 96, 64)).square().sum().backward()
    dead = [
        name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.abs().max() > 1e-4
    ]
    assert not dead


@pytest.mark.parametrize("layout", PEERS)
@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_names_and_shapes_of_every_variant_are_those_of_the_peers(layout: str, name: str) -> None:
    config = VARIANTS[name].config
    if config.stem == "convolutional" or (layout == "timm" and config.patch_size != 4):
        assert why_inexpressible(layout, config, suffix="") is not None
        return
    with torch.device("meta"):
        if layout == "timm" and timm.is_model(name):
            theirs = timm.create_model(name, num_classes=config.num_classes)
        else:
            theirs = PEERS[layout][0](config)
    assert expected_shapes(layout, config) == {key: tuple(tensor.shape) for key, tensor in theirs.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("layout", PEERS)
@pytest.mark.parametrize(
    "name", [f"focalnet_{size}_{focus}" for size in ("tiny", "small", "base") for focus in ("srf", "lrf")]
)
def test_full_size_networks_agree(layout: str, name: str) -> None:
    """Equal in float64. In float32 drawn weights amplify rounding over the depth, here no more than in the peer."""
    config = VARIANTS[name].config
    theirs = PEERS[layout][0](config)
    draw(theirs)
    ours = assemble(config, from_layout(layout, theirs.state_dict())[0], "")
    images = torch.randn(1, 3, 224, 160, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        got, expected = ours(images), logits(theirs, images)
        exact = logits(theirs.double(), images.double())
        assert relative_error(ours.double()(images.double()), exact) < 1e-12
    assert relative_error(got.double(), exact) < 2 * relative_error(expected.double(), exact)
