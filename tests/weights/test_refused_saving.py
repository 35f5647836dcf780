"""A network that a file could not give back is refused before anything is written; copies of a good one never are."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.weights.networks import drawn, small_config
from torch import nn
from torch.optim.swa_utils import AveragedModel

import focalnets
from focalnets import FocalNet
from focalnets.errors import CheckpointError, ConfigError
from focalnets.weights.checkpoint import save_checkpoint
from focalnets.weights.conversion import save_in_layout

NAMES = tuple(f"thing {index}" for index in range(11))
FEATURES = 64


@pytest.fixture
def model() -> FocalNet:
    return drawn(small_config("srf"), class_names=NAMES)


def refused(model: nn.Module, folder: Path, words: str) -> None:
    for write in (
        lambda: save_checkpoint(model, folder / "w.safetensors"),
        lambda: save_in_layout(model, folder / "w.pth", "official"),  # type: ignore[arg-type]
        lambda: save_in_layout(model, folder / "w", "transformers"),  # type: ignore[arg-type]
    ):
        with pytest.raises(CheckpointError, match=words):
            write()
    assert not list(folder.iterdir())


def written(model: nn.Module, folder: Path) -> FocalNet:
    save_checkpoint(model, folder / "w.safetensors")
    return focalnets.load_model(folder / "w.safetensors")


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (nn.Linear(FEATURES, 7), r"with 11 outputs: it was replaced by hand \(mis-shaped: head\.weight, head\.bias\)"),
        (nn.Linear(FEATURES, 11, bias=False), r"missing: head\.bias"),
        (nn.Sequential(nn.Dropout(), nn.Linear(FEATURES, 11)), r"missing: head\.weight.*unexpected: head\.1\.weight"),
        (nn.Identity(), r"missing: head\.weight"),
    ],
)
def test_a_classifier_replaced_by_hand_is_refused(model: FocalNet, tmp_path: Path, head: nn.Module, words: str) -> None:
    model.head = head
    refused(model, tmp_path, words)
    refused(model, tmp_path, r"Call model\.reset_classifier\(classes, class_names\)")
    model.class_names = None
    refused(model, tmp_path, words)


def test_what_the_sentence_says_works(model: FocalNet, tmp_path: Path) -> None:
    mine = nn.Linear(FEATURES, 3)
    model.reset_classifier(3, ["a", "b", "c"])
    model.head.load_state_dict(mine.state_dict())
    loaded = written(model, tmp_path)
    assert loaded.class_names == ("a", "b", "c")
    assert torch.equal(loaded.head.weight, mine.weight)


def test_names_of_the_old_classifier_are_not_kept_for_a_new_one(model: FocalNet, tmp_path: Path) -> None:
    labelled, fresh = model.head, nn.Linear(FEATURES, 11)
    model.head = fresh
    assert not model.names_fit_head()
    refused(model, tmp_path, "replaced by hand after the class names were set")
    model.head = labelled
    assert written(model, tmp_path).class_names == NAMES
    model.head = copy.deepcopy(labelled)
    assert written(model, tmp_path).class_names == NAMES
    model.head = fresh
    others = tuple(f"other {index}" for index in range(11))
    model.class_names = others
    assert written(model, tmp_path).class_names == others
    model.head = nn.Linear(FEATURES, 11)
    model.class_names = None
    assert written(model, tmp_path).class_names is None


def test_a_classifier_of_another_network_brings_other_names(model: FocalNet, tmp_path: Path) -> None:
    other = drawn(small_config("srf"), class_names=[f"other {index}" for index in range(11)])
    model.head = other.head
    refused(model, tmp_path, "class names were set")
    unnamed = drawn(small_config("srf"))
    unnamed.head = nn.Linear(FEATURES, 11)
    assert written(unnamed, tmp_path).class_names is None


def test_resetting_refuses_wrong_names_and_changes_nothing(model: FocalNet, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="each of the 3 classes, got 1"):
        model.reset_classifier(3, ["a"])
    assert written(model, tmp_path).class_names == NAMES


COPIES: dict[str, Callable[[FocalNet], nn.Module]] = {
    "deep copy": copy.deepcopy,
    "shallow copy": copy.copy,
    "moved": lambda model: model.to("cpu", torch.float64).to(torch.float32),
    "pickled": lambda model: _through_a_pickle(model),
    "compiled": torch.compile,
    "compiled classifier": lambda model: _with_compiled_classifier(model),
    "moving average": lambda model: AveragedModel(model),
    "compiled moving average": lambda model: torch.compile(AveragedModel(model)),
    "data parallel": nn.DataParallel,
    "loaded": lambda model: _loaded(model),
}


def _through_a_pickle(model: FocalNet) -> nn.Module:
    memory = io.BytesIO()
    torch.save(model, memory)
    memory.seek(0)
    return torch.load(memory, weights_only=False)


def _with_compiled_classifier(model: FocalNet) -> nn.Module:
    model.head = torch.compile(model.head)
    return model


def _loaded(model: FocalNet) -> nn.Module:
    other = FocalNet(model.config, class_names=model.class_names)
    other.load_state_dict(model.state_dict(), assign=True)
    return other


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("dtype", [None, "float16"])
def test_copies_are_written_like_the_network_itself(
    model: FocalNet, tmp_path: Path, kind: str, dtype: str | None
) -> None:
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_checkpoint(COPIES[kind](model), tmp_path / "w.safetensors", dtype=dtype)
    loaded = focalnets.load_model(tmp_path / "w.safetensors")
    assert loaded.class_names == NAMES
    assert loaded.config == model.config
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name] if dtype is None else expected[name].half().float()), name


@pytest.mark.parametrize("kind", COPIES)
def test_copies_of_a_network_with_a_foreign_classifier_are_refused_too(
    model: FocalNet, tmp_path: Path, kind: str
) -> None:
    model.head = nn.Linear(FEATURES, 11)
    if kind == "loaded":  # which is how weights of another task are taken over: the names are those of the receiver
        assert written(COPIES[kind](model), tmp_path).class_names == NAMES
        return
    with pytest.raises(CheckpointError, match="after the class names were set"):
        save_checkpoint(COPIES[kind](model), tmp_path / "w.safetensors")


@pytest.mark.filterwarnings("ignore")
def test_tracing_is_not_disturbed(model: FocalNet) -> None:
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.trace(model, images)(images), model(images))


def test_other_tensors_than_those_of_the_config_are_refused(model: FocalNet, tmp_path: Path) -> None:
    model.adapter = nn.Linear(2, 2)
    refused(model, tmp_path, r"unexpected: adapter\.weight, adapter\.bias.*build a FocalNet with the config")
    del model.adapter
    norm = model.norm
    model.norm = nn.LayerNorm(FEATURES, bias=False)
    refused(model, tmp_path, r"missing: norm\.bias")
    model.norm = norm
    model.config = model.config.replace(depths=(1, 1, 1, 1))
    refused(model, tmp_path, r"unexpected: stages\.1\.blocks\.1")


def test_a_wrong_number_of_names_is_refused(model: FocalNet, tmp_path: Path) -> None:
    model.class_names = ("a", "b")
    refused(model, tmp_path, "2 class names for 11 outputs; set model.class_names")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(model: FocalNet, tmp_path: Path, value: float) -> None:
    with torch.no_grad():
        model.head.bias[3] = value
    refused(model, tmp_path, r"1 of \d+ tensors hold NaN or infinite numbers \(head\.bias\)")


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_tensors_that_no_file_gives_back_are_refused(model: FocalNet, tmp_path: Path) -> None:
    weight = model.head.weight
    model.head.weight = nn.Parameter(weight.detach().to_sparse())
    refused(model, tmp_path, r"head\.weight as a sparse tensor .* to_dense\(\)")
    model.head.weight = nn.Parameter(weight.detach().to(torch.int8), requires_grad=False)
    refused(model, tmp_path, r"head\.weight as torch\.int8; floating-point")
    model.head.weight = nn.Parameter(weight.detach().to(torch.complex64))
    refused(model, tmp_path, r"head\.weight as torch\.complex64")
    model.head.weight = nn.Parameter(weight.detach().to("meta"))
    refused(model, tmp_path, "no numbers for head.weight")
    model.head.weight = nn.Parameter(
        torch.quantize_per_tensor(weight.detach(), 0.1, 0, torch.qint8), requires_grad=False
    )
    refused(model, tmp_path, r"head\.weight quantised")


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_a_quantised_network_is_refused(model: FocalNet, tmp_path: Path) -> None:
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(CheckpointError, match=r"a checkpoint holds|quantised|not those of the network"):
        save_checkpoint(quantised, tmp_path / "w.safetensors")


def test_dense_backbones_and_pooled_features_are_written(tmp_path: Path) -> None:
    for config in (
        small_config("srf", num_classes=0),
        small_config("srf", pyramid_norms=True),
        small_config("srf", pyramid_norms=True, num_classes=0),
    ):
        assert written(drawn(config), tmp_path).config == config
