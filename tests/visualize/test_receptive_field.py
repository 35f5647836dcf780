"""Receptive fields and kernels as arrays and figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from focalnets.errors import ConfigError, ShapeError
from focalnets.models.config import FocalNetConfig
from focalnets.models.focalnet import FocalNet
from focalnets.visualize import (
    effective_receptive_field,
    field_width_px,
    kernels_figure,
    mean_kernels,
    receptive_field_figure,
    stage_kernels,
)


def network(**changes):
    torch.manual_seed(0)
    settings = {"depths": (2, 1), "embed_dim": 8, "focal_levels": (2, 1), "focal_windows": (3, 5), "num_classes": 3}
    return FocalNet(FocalNetConfig(**{**settings, **changes}))


@pytest.mark.parametrize("changes", [{}, {"post_norm": True}, {"pyramid_norms": True}, {"stem": "overlapped"}])
def test_a_field_is_the_mean_gradient_of_the_middle_token(changes):
    model = network(**changes).train().requires_grad_(False)
    images = torch.randn(3, 3, 32, 48)
    fields = effective_receptive_field(model, images, seed=4)
    assert list(fields) == [0, 1]
    assert model.training
    assert all(not module._forward_hooks for module in model.modules())
    for field in fields.values():
        assert field.shape == (32, 48)
        assert field.dtype == np.float32
        assert field.min() >= 0
        assert field.sum() == pytest.approx(1, abs=1e-4)
    # By hand, for the first stage and the first image: a token every 4 px, so the middle one is (4, 6).
    only = effective_receptive_field(model, images[:1], seed=4)[0]
    signs = torch.randint(0, 2, (8,), generator=torch.Generator().manual_seed(4)) * 2.0 - 1
    image = images[:1].clone().requires_grad_()
    model.eval()
    tokens = model.stages[0](model.stem(image))[0]
    (gradient,) = torch.autograd.grad((tokens[0, 4, 6] * signs).sum(), image)
    expected = gradient[0].abs().sum(0)
    np.testing.assert_allclose(only, expected / expected.sum(), rtol=1e-4, atol=1e-8)
    row, column = np.unravel_index(fields[0].argmax(), (32, 48))
    assert abs(row - 17.5) < 4
    assert abs(column - 25.5) < 4


def test_a_network_that_only_sees_a_patch_has_the_field_of_a_patch():
    model = network(depths=(1,), focal_levels=(0,), focal_windows=(3,))
    block = model.stages[0].blocks[0].modulation
    torch.nn.init.zeros_(block.output_projection.weight)  # Context is cut off.
    field = effective_receptive_field(model, torch.randn(1, 3, 16, 16))[0]
    assert (field[8:12, 8:12] > 0).all()
    assert field[8:12, 8:12].sum() == pytest.approx(1)


def test_images_must_be_there():
    for wrong in (torch.randn(0, 3, 16, 16), torch.randn(3, 16, 16), torch.randn(1, 1, 16, 16)):
        with pytest.raises(ShapeError):
            effective_receptive_field(network(), wrong)


def test_the_width_of_a_field():
    field = np.zeros((9, 11))
    field[4, 5] = 0.5
    field[4, 7] = 0.4
    field[0, 0] = 0.1
    assert [field_width_px(field, fraction) for fraction in (0.5, 0.51, 0.9, 1.0)] == [1, 5, 5, 11]
    with pytest.raises(ConfigError, match="fraction"):
        field_width_px(field, 0.0)


def test_the_figure_has_a_panel_for_each_stage_and_a_colour_bar():
    fields = effective_receptive_field(network(), torch.randn(1, 3, 24, 40))
    figure = receptive_field_figure(fields)
    assert len(figure.axes) == 3
    assert figure.axes[0].get_images()[0].get_array().shape == (24, 40)
    figure.canvas.draw()


def test_kernels_are_means_over_channels_and_blocks():
    model = network()
    kernels = stage_kernels(model)
    assert [[kernel.shape for kernel in levels] for levels in kernels.values()] == [[(3, 3), (5, 5)], [(5, 5)]]
    blocks = mean_kernels(model)
    np.testing.assert_allclose(kernels[0][1], (blocks[0, 0][1] + blocks[0, 1][1]) / 2, rtol=1e-6)
    figure = kernels_figure(model)
    assert sum(bool(axes.get_images()) for axes in figure.axes) == 3
    figure.canvas.draw()


def test_a_network_without_focal_levels_has_no_kernels():
    model = network(focal_levels=(0, 0))
    assert stage_kernels(model) == {0: [], 1: []}
    kernels_figure(model).canvas.draw()
