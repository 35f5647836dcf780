"""Every variation is a working network; mixers compute what their names say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from focalnets.compare.models import find_models, multiply_accumulates
from focalnets.compare.variations import VARIATIONS, add_variation, build_variation, load_rows
from focalnets.errors import ConfigError, ShapeError, UnknownNameError
from focalnets.models.complexity import complexity
from focalnets.models.config import FocalNetConfig
from focalnets.models.focalnet import FocalNet
from focalnets.models.layers import FocalModulation
from focalnets.models.mixers import (
    AlteredModulation,
    GlobalAttention,
    MultiScaleAttention,
    SlidingAttention,
    WindowedAttention,
)

TINY = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_classes": 3}


@pytest.mark.parametrize("name", VARIATIONS)
def test_classifies_and_learns(name):
    network = build_variation(VARIATIONS[name], **TINY)
    logits = network(torch.randn(2, 3, 40, 72))
    assert logits.shape == (2, 3)
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)


def test_the_change_of_nothing_is_focal_modulation():
    torch.manual_seed(0)
    plain, altered = FocalModulation(8, 2, 3), AlteredModulation(8, 2, 3)
    altered.load_state_dict(plain.state_dict())
    tokens = torch.randn(2, 9, 7, 8)
    torch.testing.assert_close(altered(tokens), plain(tokens), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mixer", [WindowedAttention, SlidingAttention])
def test_attention_in_a_window_that_holds_everything_is_global(mixer):
    torch.manual_seed(0)
    everything, windowed = GlobalAttention(32), mixer(32, window=9)
    windowed.load_state_dict(everything.state_dict())
    tokens = torch.randn(2, 4, 5, 32)
    torch.testing.assert_close(windowed(tokens), everything(tokens), rtol=1e-4, atol=1e-5)


def test_counts_as_published_up_to_elementwise_products():
    network = build_variation(VARIATIONS["levels_2"], **TINY)
    counted, published = multiply_accumulates(network, 64), complexity(network.config, 64).macs
    assert 0.9 * published < counted < published


def test_rows_change_any_skeleton():
    small = {"embed_dim": 24, "initialization": "fan_in"}
    assert VARIATIONS["deeper_thinner"].config.embed_dim == 64
    config = build_variation(VARIATIONS["deeper_thinner"], small, num_classes=3).config
    assert (config.embed_dim, config.depths, config.stem) == (16, (3, 3, 16, 3), "overlapped")
    assert (config.initialization, config.num_classes) == ("fan_in", 3)
    with pytest.raises(ConfigError, match="drop_path"):
        find_models(["full"], {"drop_path": 0.1})


@pytest.mark.parametrize("projects_first", [True, False])
def test_multi_scale_attention_is_attention_to_the_levels(projects_first):
    torch.manual_seed(0)
    mixer, tokens = MultiScaleAttention(64, 2, 3, projects_first=projects_first), torch.randn(2, 5, 6, 64)
    context = mixer.key_value_projection(tokens) if projects_first else tokens
    levels, features = [], context.permute(0, 3, 1, 2)
    for kernel in mixer.kernels:
        convolved = nn.functional.conv2d(features, kernel.unsqueeze(1), padding="same", groups=len(kernel))
        features = nn.functional.gelu(convolved)
        levels.append(features.permute(0, 2, 3, 1))
    levels.append(nn.functional.gelu(levels[-1].mean((1, 2), keepdim=True)).expand_as(levels[-1]))
    stacked = torch.stack(levels, -2)
    keys, values = (stacked if projects_first else mixer.key_value_projection(stacked)).chunk(2, -1)
    query = mixer.query_projection(tokens).unsqueeze(-2)
    heads = [tensor.unflatten(-1, (2, 32)).transpose(-2, -3) for tensor in (query, keys, values)]
    mixed = nn.functional.scaled_dot_product_attention(*heads).flatten(-3)
    torch.testing.assert_close(mixer(tokens), mixer.output_projection(mixed), rtol=1e-4, atol=1e-5)


def test_sliding_attention_sees_its_window_and_no_more():
    torch.manual_seed(0)
    mixer = SlidingAttention(8, window=3)
    tokens = torch.randn(1, 7, 8, 8, requires_grad=True)
    mixer(tokens)[0, 3, 4].sum().backward()
    reached = tokens.grad.abs().sum(-1)[0] > 0
    expected = torch.zeros(7, 8, dtype=torch.bool)
    expected[2:5, 3:6] = True
    assert torch.equal(reached, expected)


def test_refuses_what_does_not_fit():
    with pytest.raises(UnknownNameError, match="focalnet_tiny_lrf"):
        find_models(["focalnet_tiny_lfr"])
    with pytest.raises(ConfigError, match="already"):
        add_variation(VARIATIONS["full"])
    with pytest.raises(ShapeError, match="no mask"):
        GlobalAttention(8)(torch.zeros(1, 2, 2, 8), torch.ones(1, 2, 2, dtype=torch.bool))


def test_a_single_file_or_name_is_no_list_of_letters(tmp_path):
    rows = tmp_path / "one_row.py"
    rows.write_text(
        "from focalnets.compare.variations import Variation, add_variation\n"
        "add_variation(Variation(name='one_row_alone', summary='nothing changed'))\n"
    )
    load_rows(str(rows))
    assert "one_row_alone" in VARIATIONS
    del VARIATIONS["one_row_alone"]
    assert [model.name for model in find_models("focalnet_pico")] == ["focalnet_pico"]
    with pytest.raises(ConfigError, match="list of texts"):
        FocalNet(FocalNetConfig(num_classes=3, embed_dim=8), class_names="abc")
