"""What hooks record is what the modulations compute, and nothing stays behind."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from focalnets.errors import ConfigError, FocalNetsError, ShapeError
from focalnets.models.config import FocalNetConfig
from focalnets.models.focalnet import FocalNet
from focalnets.visualize import capture, evidence_map, focus_map, gate_maps, look_inside, mean_kernels, modulator_map
from focalnets.visualize.maps import default_focus, parse_block, to_image_size
from focalnets.visualize.recording import TokenGrid, token_grids


def network(stem="overlapped", **changes):
    torch.manual_seed(0)
    settings = {"depths": (1, 2, 1), "embed_dim": 8, "focal_levels": (2, 2, 1), "focal_windows": (3, 3, 3)}
    return FocalNet(FocalNetConfig(**{**settings, "num_classes": 5, "stem": stem, **changes})).eval()


def hooks_of(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.parametrize("size", [(37, 50), (5, 5), (32, 64)])
def test_records_equal_a_computation_by_hand(size):
    model, images = network(), torch.randn(2, 3, *size)
    with torch.no_grad(), capture(model, modulator=True, query=True) as inside:
        logits = model(images)
    torch.testing.assert_close(logits, model(images))
    assert list(inside) == [(0, 0), (1, 0), (1, 1), (2, 0)]
    assert inside.last_blocks() == [(0, 0), (1, 1), (2, 0)]
    assert inside.image_size_px == size
    with torch.no_grad():
        block = model.stages[0].blocks[0]
        tokens = block.norm1(model.stem(images))
        query, context, gates = block.modulation.input_projection(tokens).split((8, 8, 3), -1)
        aggregated = torch.zeros_like(context)
        level = context.permute(0, 3, 1, 2)
        for index, kernel in enumerate(block.modulation.kernels):
            level = F.gelu(F.conv2d(level, kernel.unsqueeze(1), padding=kernel.shape[-1] // 2, groups=8))
            aggregated += gates[..., index, None] * level.permute(0, 2, 3, 1)
        aggregated += gates[..., 2, None] * F.gelu(level.mean((2, 3)))[:, None, None]
        modulator = block.modulation.modulator_projection(aggregated)
    record = inside[0, 0]
    torch.testing.assert_close(record.gates, gates)
    torch.testing.assert_close(record.query, query)
    torch.testing.assert_close(record.modulator, modulator, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(record.modulator_norm, modulator.square().sum(-1).sqrt(), atol=1e-5, rtol=1e-4)
    centred = modulator - modulator.mean((1, 2), keepdim=True)
    torch.testing.assert_close(record.modulator_contrast, centred.square().sum(-1).sqrt(), atol=1e-5, rtol=1e-4)


def test_only_what_was_asked_for_is_kept():
    model = network()
    with torch.no_grad(), capture(model, blocks=[(1, 1)]) as inside:
        model(torch.randn(1, 3, 32, 32))
    assert list(inside) == [(1, 1)]
    assert inside[1, 1].modulator is None
    assert inside[1, 1].query is None
    assert not inside[1, 1].gates.requires_grad
    with pytest.raises(FocalNetsError, match="nothing was recorded"):
        evidence_map(inside, 1)


def test_hooks_are_gone_afterwards_and_after_errors():
    model = network()
    with capture(model):
        assert hooks_of(model) == 1 + 2 * 4
        model(torch.randn(1, 3, 16, 16)).sum().backward()
        copy.deepcopy(model)
    assert hooks_of(model) == 0
    with pytest.raises(ShapeError), capture(model):
        model(torch.randn(1, 1, 16, 16))
    assert hooks_of(model) == 0
    with pytest.raises(ShapeError):
        look_inside(model, torch.randn(1, 1, 16, 16))
    assert hooks_of(model) == 0
    look_inside(model, torch.randn(1, 3, 16, 16))
    assert hooks_of(model) == 0
    before = set(copy.deepcopy(network()).__dict__)
    assert set(model.__dict__) == before


def test_a_network_inside_another_module_is_found():
    model = torch.nn.Sequential(torch.nn.Identity(), network())
    with torch.no_grad(), capture(model) as inside:
        model(torch.randn(1, 3, 16, 16))
    assert inside[2, 0].gates.shape == (1, 1, 1, 2)
    with pytest.raises(ConfigError, match="one FocalNet"), capture(torch.nn.Identity()):
        pass
    with pytest.raises(ConfigError, match=r"no block 1\.7"), capture(model, blocks=[(1, 7)]):
        pass


@pytest.mark.parametrize(
    ("stem", "grids"),
    [
        ("patch", [TokenGrid(4, 1.5), TokenGrid(8, 3.5), TokenGrid(16, 7.5)]),
        ("overlapped", [TokenGrid(4, 1.0), TokenGrid(8, 1.0), TokenGrid(16, 1.0)]),
        ("convolutional", [TokenGrid(4, 0.0), TokenGrid(8, 0.0), TokenGrid(16, 0.0)]),
    ],
)
def test_tokens_lie_where_their_receptive_field_is_centred(stem, grids):
    model = network(stem)
    assert token_grids(model) == grids
    # The pixels that embedding a token reads are symmetric about its place.
    images = torch.randn(1, 3, 96, 96, requires_grad=True)
    model.stem(images)[0, 10, 12].square().sum().backward()
    rows, columns = (images.grad[0].abs().sum((0, dim)).nonzero().squeeze() for dim in (2, 1))
    assert (rows.min() + rows.max()) / 2 == grids[0].offset_px + 10 * grids[0].stride_px
    assert (columns.min() + columns.max()) / 2 == grids[0].offset_px + 12 * grids[0].stride_px


def test_maps_are_stretched_to_where_tokens_lie():
    grid = TokenGrid(4, 1.0)
    values = torch.arange(12.0).reshape(3, 4)
    stretched = to_image_size(values, grid, 11, 15)
    assert stretched.shape == (11, 15)
    assert torch.equal(stretched[1::4, 1::4], values)
    assert stretched[1, 3] == 0.5
    assert stretched[0, 0] == 0.0
    assert stretched[10, 14] == 11.0
    assert to_image_size(torch.ones(1, 1), grid, 7, 3).eq(1).all()


def test_maps_have_the_size_of_the_image():
    model = network()
    inside, probabilities = look_inside(model, torch.randn(2, 3, 37, 50))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2))
    assert modulator_map(inside, (1, 1)).shape == (2, 37, 50)
    assert modulator_map(inside, (1, 1), measure="contrast", upsample=False).shape == (2, 5, 7)
    assert gate_maps(inside, (1, 1)).shape == (2, 3, 37, 50)
    assert gate_maps(inside, (2, 0), upsample=False).shape == (2, 2, 3, 4)
    for heat in (focus_map(inside, default_focus(model)), evidence_map(inside, 0)):
        assert heat.shape == (2, 37, 50)
        assert heat.dtype == np.float32
        assert heat.min() >= 0
        assert np.isfinite(heat).all()
    kernels = mean_kernels(model)
    assert [kernel.shape for kernel in kernels[1, 0]] == [(3, 3), (5, 5)]
    np.testing.assert_allclose(
        kernels[2, 0][0], model.stages[2].blocks[0].modulation.kernels[0].mean(0).detach(), rtol=1e-6
    )
    assert inside[1, 0].context_widths_px == (24, 56)


def test_evidence_is_modulator_times_gradient():
    model = network().requires_grad_(False)  # Frozen weights are no obstacle.
    images = torch.randn(2, 3, 32, 32)
    inside, _ = look_inside(model, images, classes=[3, 1])
    modulators = {}

    def keep(_module, _arguments, output):
        modulators["M"] = output.requires_grad_()

    handle = model.stages[1].blocks[0].modulation.modulator_projection.register_forward_hook(keep)
    logits = model(images)
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[0, 3] + logits[1, 1], modulators["M"])
    torch.testing.assert_close(inside[1, 0].evidence, (modulators["M"].detach() * gradient).abs().sum(-1))


def test_evidence_of_levels_is_what_each_adds_times_the_gradient():
    model = network().requires_grad_(False)
    images = torch.randn(2, 3, 32, 32)
    inside, _ = look_inside(model, images, classes=[3, 1])
    assert inside.classes == (3, 1)
    assert inside[1, 0].level_evidence is None
    modulation = model.stages[0].blocks[0].modulation
    kept = {}

    def keep(_module, arguments):
        kept["tokens"], kept["G"] = kept["tokens"], arguments[0].requires_grad_()

    def keep_tokens(_module, arguments):
        kept["tokens"] = arguments[0].detach()

    handles = [
        modulation.register_forward_pre_hook(keep_tokens),
        modulation.modulator_projection.register_forward_pre_hook(keep),
    ]
    logits = model(images)
    for handle in handles:
        handle.remove()
    (gradient,) = torch.autograd.grad(logits[0, 3] + logits[1, 1], kept["G"])
    _, context, gates = modulation.input_projection(kept["tokens"]).split(
        (modulation.dim, modulation.dim, modulation.focal_levels + 1), -1
    )
    level, total = context.movedim(-1, 1), 0
    scale = modulation.focal_levels + 1 if modulation.normalize_modulator else 1
    for number in range(modulation.focal_levels + 1):
        if number < modulation.focal_levels:
            kernel = modulation.kernels[number]
            level = torch.nn.functional.gelu(
                torch.nn.functional.conv2d(
                    level, kernel.unsqueeze(1), padding=kernel.shape[-1] // 2, groups=len(kernel)
                )
            )
        else:
            level = torch.nn.functional.gelu(level.mean((2, 3), keepdim=True))
        added = level.movedim(1, -1) * gates[..., number : number + 1] / scale
        total = total + added
        torch.testing.assert_close(inside[0, 0].level_evidence[..., number], (added * gradient).abs().sum(-1))
    torch.testing.assert_close(total, kept["G"].detach())


def test_looking_leaves_mode_and_gradients_alone():
    model = network(drop_path=0.5).train()
    with torch.no_grad():
        first = look_inside(model, torch.ones(1, 3, 32, 32))[1]
        second = look_inside(model, torch.ones(1, 3, 32, 32))[1]
    assert torch.equal(first, second)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(ShapeError, match="a class for each"):
        look_inside(model, torch.ones(2, 3, 32, 32), classes=[1])


def test_networks_without_classifier_or_with_one_stage():
    inside, features = look_inside(network(num_classes=0), torch.randn(1, 3, 32, 32))
    assert features.shape == (1, 32)
    assert inside[0, 0].evidence.sum() > 0
    single = network(stem="patch", depths=(2,), focal_levels=(0,), focal_windows=(3,), patch_size=16)
    assert default_focus(single) == (0, 1)
    inside, _ = look_inside(single, torch.randn(1, 3, 20, 33))
    assert gate_maps(inside, (0, 1)).shape == (1, 1, 20, 33)
    assert inside[0, 0].context_widths_px == ()


def test_blocks_are_written_as_stage_and_block():
    model = network()
    assert parse_block("1.0", model) == (1, 0)
    assert parse_block("-1.-1", model) == (2, 0)
    for wrong in ("3.0", "1.2", "1", "a.b", "1.1.1", ""):
        with pytest.raises(ConfigError, match=r"stage\.block"):
            parse_block(wrong, model)
