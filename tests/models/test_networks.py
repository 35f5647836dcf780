"""Every variant: published figures, any resolution, gradients, copies, compilation and export."""

from __future__ import annotations

import copy
import dataclasses
import io

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import focalnets
from focalnets.errors import ConfigError, ShapeError, UnknownNameError
from focalnets.models.complexity import complexity
from focalnets.models.config import FocalNetConfig, Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.models.layers import RECOMPUTE_LEVELS, FocalModulation
from focalnets.models.parameter_groups import layer_depth, parameter_groups
from focalnets.models.variants import VARIANTS, variant
from focalnets.ops import mlp as mlp_module


def shrunk(name, **overrides):
    """The variant with its flags, but few and narrow layers."""
    config = VARIANTS[name].config
    small = {"depths": [1] * len(config.depths), "embed_dim": 8, "num_classes": 5, "initialization": "fan_in"}
    if config.layer_scale is not None:
        small["layer_scale"] = 0.5
    return FocalNet(config.replace(**{**small, **overrides}))


EMBEDDINGS = [("patch", "single"), ("overlapped", "single"), ("convolutional", "single"), ("convolutional", "double")]
"""Stem and downsampling."""


def tiny(**overrides):
    settings = {"depths": (1, 1, 2, 1), "embed_dim": 8, "num_classes": 5, "initialization": "fan_in", **overrides}
    return FocalNet(FocalNetConfig(**settings))


@pytest.mark.parametrize("name", focalnets.list_models())
def test_parameters_and_cost_equal_the_published_figures(name):
    row = VARIANTS[name]
    with torch.device("meta"):
        network = FocalNet(row.config)
    counted = sum(parameter.numel() for parameter in network.parameters())
    cost = complexity(row.config)
    assert cost.parameters == counted
    if row.published is None:
        return
    head = sum(parameter.numel() for parameter in network.head.parameters())
    published, digits = row.published.parameters_m, len(str(row.published.parameters_m).partition(".")[2])
    # Some published figures were rounded twice (683.747 to 683.75 to 683.8), so a little more than half a digit.
    assert (counted - head * row.published.head_excluded) / 1e6 == pytest.approx(published, abs=0.6 * 10**-digits)
    if row.published.gmacs is not None:
        assert cost.macs / 1e9 == pytest.approx(row.published.gmacs, rel=0.01)


@pytest.mark.parametrize("name", ["focalnet_pico", "focalnet_tiny_lrf", "focalnet_tiny_iso_16", "focalnet_huge_fl4"])
@pytest.mark.parametrize("size", [(64, 96), (37, 50)])
def test_counted_cost_agrees_with_the_products_that_run(name, size):
    """PyTorch counts the products of layers only: 2 a multiply-accumulate, no gates, norms or scales."""
    network = shrunk(name).eval().requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        for module in network.modules():
            if isinstance(module, FocalModulation):
                module.backend = "reference"
        network(torch.randn(1, 3, *size))
    cost = complexity(network.config, *size)
    counted = counter.get_total_flops() / 2
    assert counted < cost.macs + cost.overlap_macs < 1.3 * counted


@pytest.mark.parametrize(("stem", "downsampling"), EMBEDDINGS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (31, 33), (64, 32), (5, 130)])
def test_any_size_and_aspect(stem, downsampling, size):
    network = tiny(stem=stem, downsampling=downsampling).eval()
    images = torch.randn(2, 3, *size)
    maps = network.forward_pyramid(images)
    for stride, dim, features in zip((4, 8, 16, 32), network.config.dims, maps, strict=True):
        assert features.shape == (2, dim, -(-size[0] // stride), -(-size[1] // stride))
    assert network(images).shape == (2, 5)
    assert network.forward_features(images).shape == maps[-1].shape


@pytest.mark.parametrize("in_chans", [1, 2, 7])
def test_any_number_of_channels(in_chans):
    assert tiny(in_chans=in_chans)(torch.randn(1, in_chans, 32, 32)).shape == (1, 5)


@pytest.mark.parametrize("name", focalnets.list_models())
def test_every_parameter_learns_and_nothing_stays_behind(name):
    """Copying a network after a training step fails where tensors of the graph stay on modules."""
    network = shrunk(name, drop_path=0.0).train()
    if network.config.initialization == "identity":
        network.config = network.config.replace(initialization="fan_in")
        network.reset_parameters()
    network(torch.randn(2, 3, 64, 64)).square().sum().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    twin = copy.deepcopy(network)
    names = set(dict(network.named_parameters())) | set(dict(network.named_buffers()))
    for module_name, module in network.named_modules():
        for key, value in vars(module).items():
            assert not isinstance(value, torch.Tensor), f"{module_name}.{key} holds a tensor that is no parameter"
    assert names == set(dict(twin.named_parameters())) | set(dict(twin.named_buffers()))


@pytest.mark.parametrize(("stem", "downsampling"), EMBEDDINGS)
def test_a_padded_batch_gives_each_image_what_it_gets_alone(stem, downsampling):
    network = tiny(stem=stem, downsampling=downsampling).eval()
    sizes = [(37, 50), (61, 23), (4, 4), (1, 1)]
    images = [torch.randn(1, 3, *size) for size in sizes]
    batch, mask = torch.full((4, 3, 61, 50), 7.7), torch.zeros(4, 61, 50, dtype=torch.bool)
    for index, (height, width) in enumerate(sizes):
        batch[index, :, :height, :width], mask[index, :height, :width] = images[index][0], True
    together, pyramid = network(batch, mask), network.forward_pyramid(batch, mask)
    for index, image in enumerate(images):
        torch.testing.assert_close(together[index], network(image)[0], rtol=1e-4, atol=1e-5)
        for features, alone in zip(pyramid, network.forward_pyramid(image), strict=True):
            valid = features[index, :, : alone.shape[2], : alone.shape[3]]
            torch.testing.assert_close(valid, alone[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["focalnet_tiny_lrf", "focalnet_pico", "focalnet_huge_fl3"])
def test_compiles_in_one_graph(name):
    torch.compiler.reset()
    network = shrunk(name).eval()
    images = torch.randn(2, 3, 40, 56)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images), network(images))
    with torch.no_grad():
        torch.testing.assert_close(compiled(images), network(images))
    network.train()
    torch.compile(network, fullgraph=True, backend="aot_eager")(images).sum().backward()


@pytest.mark.parametrize(("stem", "downsampling"), EMBEDDINGS)
def test_exports_with_free_batch_height_and_width(stem, downsampling, monkeypatch):
    monkeypatch.setattr(mlp_module, "_HIDDEN_BYTES_AT_ONCE", 4)  # the sizes lie on both sides of what one group holds
    network = tiny(stem=stem, downsampling=downsampling).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    height, width = torch.export.Dim("height", min=33, max=4096), torch.export.Dim("width", min=33, max=4096)
    with torch.no_grad():
        exported = torch.export.export(
            network, (torch.randn(2, 3, 64, 96),), dynamic_shapes=({0: batch, 2: height, 3: width},)
        )
    for shape in [(1, 3, 33, 34), (3, 3, 65, 130)]:
        images = torch.randn(shape)
        torch.testing.assert_close(exported.module()(images), network(images))


@pytest.mark.parametrize("level", RECOMPUTE_LEVELS)
def test_recomputation_changes_no_gradient(level):
    torch.manual_seed(1)
    network = tiny(drop_path=0.3).train()
    twin = copy.deepcopy(network)
    twin.set_recompute(level)
    images = torch.randn(2, 3, 64, 64)
    for model in (network, twin):
        torch.manual_seed(2)
        model(images).square().sum().backward()
    for expected, got in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(got.grad, expected.grad)


def test_each_level_of_recomputation_keeps_less():
    def kept_bytes(level):
        network, storages = tiny(embed_dim=16).train(), {}
        network.set_recompute(level)

        def remember(tensor):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
            loss = network(torch.randn(1, 3, 128, 128)).sum()
        loss.backward()
        return sum(storages.values())

    kept = [kept_bytes(level) for level in RECOMPUTE_LEVELS]
    assert kept == sorted(set(kept), reverse=True)


@pytest.mark.slow
def test_compiles_ahead_of_time_and_runs_from_the_package(tmp_path):
    network, images = tiny().eval(), torch.randn(2, 3, 64, 64)
    exported = torch.export.export(network, (images,))
    package = torch._inductor.aoti_compile_and_package(exported, package_path=str(tmp_path / "network.pt2"))
    with torch.no_grad():
        torch.testing.assert_close(torch._inductor.aoti_load_package(package)(images), network(images))


@pytest.mark.slow
def test_trains_through_inductor():
    network = tiny(drop_path=0.0).train()
    twin, images = copy.deepcopy(network), torch.randn(2, 3, 64, 64)
    torch.compile(network, fullgraph=True)(images).square().sum().backward()
    twin(images).square().sum().backward()
    for got, expected in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(got.grad, expected.grad, rtol=1e-3, atol=1e-4)


def test_drop_path_grows_linearly_and_only_trains():
    network = tiny(drop_path=0.4)
    assert [block.drop_path.p for stage in network.stages for block in stage.blocks] == pytest.approx(
        [0.0, 0.1, 0.2, 0.3, 0.4]
    )
    images = torch.randn(4, 3, 32, 32)
    assert not torch.equal(network.train()(images), network(images))
    assert torch.equal(network.eval()(images), network(images))


def test_reset_classifier():
    network = tiny()
    network.reset_classifier(3, ["a", "b", "c"])
    assert network(torch.randn(1, 3, 32, 32)).shape == (1, 3)
    assert network.config.num_classes == 3
    assert network.class_names == ("a", "b", "c")
    network.reset_classifier(0)
    assert network(torch.randn(1, 3, 32, 32)).shape == (1, network.config.dims[-1])
    with pytest.raises(ConfigError, match="class_names"):
        network.reset_classifier(3, ["a"])


def test_backbone_for_dense_tasks():
    network = tiny(pyramid_norms=True)
    maps = network.forward_pyramid(torch.randn(2, 3, 64, 64))
    for features in maps:
        torch.testing.assert_close(features.mean(1), torch.zeros_like(features.mean(1)), atol=1e-5, rtol=0)
    assert not any(name.startswith(("head", "norm.")) for name in network.state_dict())
    with pytest.raises(ConfigError, match="forward_pyramid"):
        network(torch.randn(1, 3, 32, 32))


def test_weight_decay_reaches_matrices_and_kernels_only():
    """The official code's test for excluded names is true for every name, so that nothing decays there."""
    network = shrunk("focalnet_huge_fl4")
    groups = parameter_groups(network, learning_rate=1e-3, weight_decay=0.05)
    decaying = {id(p) for group in groups if group["weight_decay"] > 0 for p in group["params"]}
    for name, parameter in network.named_parameters():
        assert (id(parameter) in decaying) == (parameter.ndim > 1), name
    assert len(decaying) > 20
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def test_layer_wise_learning_rates_fall_towards_the_pixels():
    network = tiny()
    groups = parameter_groups(network, learning_rate=1.0, weight_decay=0.0, layer_decay=0.5)
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    rates = {name: rate[id(p)] for name, p in network.named_parameters()}
    assert rates["head.weight"] == 1.0
    assert rates["stages.3.blocks.0.mlp.fc1.weight"] == rates["norm.weight"] == 0.5
    assert rates["stages.2.blocks.1.mlp.fc1.weight"] == 0.25
    assert rates["stages.2.downsample.projection.weight"] == rates["stages.2.blocks.0.norm1.weight"]
    assert rates["stem.projection.weight"] == 0.5**6
    assert layer_depth("stem.norm.bias", (1, 1, 2, 1)) == 0


def test_official_initialisation():
    """Linear layers at 0.02; convolutions, also the modulator's 1x1, as PyTorch draws them."""
    torch.manual_seed(0)
    network = FocalNet(FocalNetConfig(depths=(1, 1, 1, 1), embed_dim=96))
    block = network.stages[1].blocks[0]
    assert block.mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.05)
    uniform = 192**-0.5 / 3**0.5
    assert block.modulation.modulator_projection.weight.std().item() == pytest.approx(uniform, rel=0.05)
    kernel = block.modulation.kernels[1]
    assert kernel.abs().max().item() == pytest.approx(1 / 5, rel=0.01)
    assert not block.modulation.input_projection.bias.any()


def test_blocks_begin_as_the_identity():
    """And still learn: after one step on the last layers all others have gradients."""
    network = tiny(initialization="identity", stem="convolutional", downsampling="double")
    tokens = torch.randn(2, 5, 7, 8)
    block = network.stages[0].blocks[0]
    assert torch.equal(block(tokens), tokens)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        network(torch.randn(2, 3, 64, 64)).square().sum().backward()
        optimizer.step()
    assert [name for name, parameter in network.named_parameters() if not parameter.grad.any()] == []


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_focal_modulation_in_any_number_of_dimensions(dims):
    layer = FocalModulation(6, 2, 3, spatial_dims=dims, modulation_norm=True, normalize_modulator=True)
    tokens = torch.randn(2, *[4] * dims, 6)
    assert layer(tokens).shape == tokens.shape
    with pytest.raises(ConfigError, match="odd"):
        FocalModulation(6, 2, 4)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 4, 32, 32), (1, 3, 0, 32)])
def test_wrong_images_are_named(shape):
    with pytest.raises(ShapeError, match="images must be"):
        tiny()(torch.randn(shape))


def test_a_wrong_mask_is_named():
    with pytest.raises(ShapeError, match="mask"):
        tiny()(torch.randn(1, 3, 32, 32), torch.ones(1, 3, 32, 32))


def test_configs_are_strict_and_survive_json():
    config = FocalNetConfig(depths=(1, 2), focal_levels=(1, 0), focal_windows=(3, 7))
    assert FocalNetConfig.from_dict(config.to_dict()) == config
    assert Preprocessing.from_dict(Preprocessing(input_size_px=96).to_dict()) == Preprocessing(input_size_px=96)
    with pytest.raises(ConfigError, match="'dephts'"):
        FocalNetConfig.from_dict({"dephts": [1]})
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.embed_dim = 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"depths": ()},
        {"depths": (1, 1)},
        {"focal_windows": (3, 3, 4, 3)},
        {"embed_dim": 0},
        {"drop_path": 1.0},
        {"stem": "smooth"},
        {"stem": "overlapped", "patch_size": 16},
        {"initialization": "zeros"},
        {"downsampling": "triple"},
        {"mlp_ratio": 0},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError):
        FocalNetConfig(**wrong)


def test_names():
    assert focalnets.list_models("*tiny*lrf") == ["focalnet_tiny_lrf"]
    with pytest.raises(UnknownNameError, match="focalnet_tiny_srf"):
        variant("focalnet_tiny_sfr")
    with pytest.raises(UnknownNameError, match="focalnets models"):
        variant("resnet50")


def test_state_survives_saving():
    network = tiny()
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    buffer.seek(0)
    other = tiny()
    other.load_state_dict(torch.load(buffer, weights_only=True))
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(network.eval()(images), other.eval()(images))


def test_mixed_precision():
    network = tiny()
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in network.parameters())
