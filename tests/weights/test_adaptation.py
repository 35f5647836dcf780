"""Changes that are asked for by name, and the refusal of those that are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.weights.networks import drawn, relative_error, small_config
from torch import Tensor, nn

import focalnets
from focalnets import FocalNet
from focalnets.errors import CheckpointError, ConfigError
from focalnets.weights.checkpoint import save_checkpoint
from focalnets.weights.key_maps import to_layout

pytestmark = pytest.mark.usefixtures("without_gradients")

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture
def model() -> FocalNet:
    return drawn(small_config("srf"))


@pytest.fixture(params=["own.safetensors", "official.pth"])
def path(request: pytest.FixtureRequest, tmp_path: Path, model: FocalNet) -> Path:
    if request.param.startswith("own"):
        save_checkpoint(model, tmp_path / request.param)
    else:
        torch.save(to_layout("official", model.state_dict(), post_norm=False), tmp_path / request.param)
    return tmp_path / request.param


def test_another_number_of_classes_needs_consent(path: Path, model: FocalNet) -> None:
    with pytest.raises(
        CheckpointError, match=r"a classifier of 11 classes and 5 were asked for; pass replace_head=True"
    ):
        focalnets.load_model(path, num_classes=5)
    changed = focalnets.load_model(path, num_classes=5, replace_head=True, class_names=list("abcde"))
    assert changed(IMAGES).shape == (2, 5)
    assert changed.class_names == tuple("abcde")
    assert changed.head.weight.std() < 0.03
    assert torch.equal(changed.forward_features(IMAGES), model.forward_features(IMAGES))
    assert torch.equal(focalnets.load_model(path, num_classes=11).head.weight, model.head.weight)


def test_a_head_is_replaced_when_asked_for_even_with_as_many_classes(path: Path, model: FocalNet) -> None:
    assert not torch.equal(focalnets.load_model(path, num_classes=11, replace_head=True).head.weight, model.head.weight)
    assert not torch.equal(focalnets.load_model(path, replace_head=True).head.weight, model.head.weight)
    headless = focalnets.load_model(path, num_classes=0, replace_head=True)
    assert headless(IMAGES).shape == (2, 64)


def test_a_headless_file_gets_a_head_only_when_asked_for(tmp_path: Path, model: FocalNet) -> None:
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("head.")}
    torch.save(to_layout("timm", state, post_norm=False), tmp_path / "w.pth")
    assert focalnets.load_model(tmp_path / "w.pth").config.num_classes == 0
    with pytest.raises(CheckpointError, match="classifier of 0 classes and 5 were asked for"):
        focalnets.load_model(tmp_path / "w.pth", num_classes=5)
    assert focalnets.load_model(tmp_path / "w.pth", num_classes=5, replace_head=True)(IMAGES).shape == (2, 5)


def test_class_names_must_be_as_many_as_the_classes(path: Path) -> None:
    with pytest.raises(ConfigError, match="one entry for each of the 11 classes, got 2"):
        focalnets.load_model(path, class_names=["a", "b"])


def test_a_classifier_becomes_a_dense_backbone(path: Path, model: FocalNet) -> None:
    dense = focalnets.load_model(path, pyramid_norms=True)
    assert dense.config.pyramid_norms
    for norm, got, raw in zip(
        dense.pyramid_norms, dense.forward_pyramid(IMAGES), model.forward_pyramid(IMAGES), strict=True
    ):
        assert torch.equal(norm.weight, torch.ones_like(norm.weight))
        expected = nn.functional.layer_norm(raw.permute(0, 2, 3, 1), raw.shape[1:2]).permute(0, 3, 1, 2)
        assert relative_error(got, expected) < 1e-6
    with pytest.raises(ConfigError, match="leaves the classifier out"):
        focalnets.load_model(path, pyramid_norms=True, num_classes=3, replace_head=True)


def test_a_dense_backbone_does_not_become_a_classifier(tmp_path: Path, model: FocalNet, path: Path) -> None:
    dense = focalnets.load_model(path, pyramid_norms=True)
    save_checkpoint(dense, tmp_path / "dense.safetensors")
    again = focalnets.load_model(tmp_path / "dense.safetensors", pyramid_norms=True)
    assert torch.equal(again.forward_pyramid(IMAGES)[2], dense.forward_pyramid(IMAGES)[2])
    with pytest.raises(CheckpointError, match="dense backbone"):
        focalnets.load_model(tmp_path / "dense.safetensors", pyramid_norms=False)
    with pytest.raises(CheckpointError, match="no classifier"):
        focalnets.load_model(tmp_path / "dense.safetensors", num_classes=3, replace_head=True)


def test_larger_windows_are_padded_and_change_nothing(path: Path, model: FocalNet) -> None:
    wide = focalnets.load_model(path, focal_windows=(9, 11, 9, 5))
    assert wide.config.kernel_sizes(1) == (11, 13)
    kernel, before = wide.stages[1].blocks[0].modulation.kernels[0], model.stages[1].blocks[0].modulation.kernels[0]
    assert torch.equal(kernel[:, 4:7, 4:7], before)
    assert kernel.abs().sum() == pytest.approx(before.abs().sum().item(), rel=1e-5)
    assert relative_error(wide(IMAGES), model(IMAGES)) < 1e-5


def test_smaller_windows_are_cropped_to_their_centres(tmp_path: Path) -> None:
    model = drawn(small_config("fl3"))
    save_checkpoint(model, tmp_path / "w.safetensors")
    narrow = focalnets.load_model(tmp_path / "w.safetensors", focal_windows=(3, 3, 3, 3))
    before = model.stages[2].blocks[0].modulation.kernels[1]
    assert torch.equal(narrow.stages[2].blocks[0].modulation.kernels[1], before[:, 1:-1, 1:-1])


def test_new_levels_have_gates_of_zero_before_the_global_one(path: Path, model: FocalNet) -> None:
    more = focalnets.load_model(path, focal_levels=(3, 4, 2, 2))
    old, new = model.stages[1].blocks[1].modulation, more.stages[1].blocks[1].modulation
    channels = old.dim
    for part in ("weight", "bias"):
        before, after = getattr(old.input_projection, part), getattr(new.input_projection, part)
        assert torch.equal(after[: 2 * channels + 2], before[: 2 * channels + 2])
        assert not after[2 * channels + 2 : 2 * channels + 4].any()
        assert torch.equal(after[2 * channels + 4 :], before[2 * channels + 2 :])
    assert [tuple(kernel.shape[1:]) for kernel in new.kernels] == [(3, 3), (5, 5), (7, 7), (9, 9)]
    assert 0 < new.kernels[3].abs().max() <= 1 / 9
    assert torch.isfinite(more(IMAGES)).all()
    with pytest.raises(CheckpointError, match="trained ones are not dropped"):
        focalnets.load_model(path, focal_levels=(1, 2, 2, 2))
    with pytest.raises(ConfigError, match="one entry for each of the 4 stages"):
        focalnets.load_model(path, focal_levels=(3, 3))


def test_one_channel_takes_the_sum_and_more_repeat(path: Path, model: FocalNet) -> None:
    grey = focalnets.load_model(path, in_chans=1)
    image = IMAGES[:, :1]
    assert relative_error(grey(image), model(image.expand(-1, 3, -1, -1))) < 1e-5
    assert grey.preprocessing.mean == pytest.approx((sum(model.preprocessing.mean) / 3,))
    five = focalnets.load_model(path, in_chans=5)
    weight: Tensor = model.stem.projection.weight
    assert torch.allclose(five.stem.projection.weight, weight[:, [0, 1, 2, 0, 1]] * 3 / 5)
    assert len(five.preprocessing.std) == 5


def test_channels_agree_with_timm(path: Path, model: FocalNet) -> None:
    from timm.models import adapt_input_conv

    for channels in (1, 2, 4, 6):
        expected = adapt_input_conv(channels, model.stem.projection.weight.detach())
        assert torch.allclose(focalnets.load_model(path, in_chans=channels).stem.projection.weight, expected)


def test_drop_path_can_be_chosen(path: Path) -> None:
    assert focalnets.load_model(path, drop_path=0.3).stages[3].blocks[0].drop_path.p == pytest.approx(0.3)
    with pytest.raises(ConfigError, match="drop_path"):
        focalnets.load_model(path, drop_path=1.5)
