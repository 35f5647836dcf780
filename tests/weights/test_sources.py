"""Published weights: what is in the catalogue, and how fetching fails and succeeds, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors.torch import save_file
from tests.weights.networks import drawn

import focalnets
from focalnets.errors import CheckpointError, ConfigError, UnknownNameError
from focalnets.models.variants import VARIANTS
from focalnets.weights import sources
from focalnets.weights.key_maps import to_layout
from focalnets.weights.sources import SOURCES, hub_id


class Hub:
    """Stands for the hub: folders by repository, or none where there is no network."""

    def __init__(self, folders: dict[str, Path] | None) -> None:
        self.folders = folders
        self.asked: list[tuple[str, str, bool]] = []

    def __call__(self, repository: str, filename: str, *, revision: str | None, local_files_only: bool) -> str:
        self.asked.append((repository, filename, local_files_only))
        if self.folders is None:
            raise LocalEntryNotFoundError("no connection")
        if repository not in self.folders:
            raise OSError("404 for this repository")
        path = self.folders[repository] / filename
        if not path.is_file():
            raise EntryNotFoundError(f"no {filename}")
        return str(path)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    def fail(url: str, destination: str, **_: Any) -> None:
        raise URLError("no route")

    hub = Hub(None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub)
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    return hub


def test_the_catalogue_holds_what_timm_knows() -> None:
    import timm.models.focalnet

    known = {f"timm/{name}.{tag}" for name, tags in _timm_tags().items() for tag in tags}
    assert {row[0].place for row in SOURCES.values()} == known
    for name, places in SOURCES.items():
        published = timm.models.get_pretrained_cfg(places[0].place.removeprefix("timm/"))
        assert published is not None
        assert places[0].num_classes == published.num_classes
        assert places[0].input_size_px == published.input_size[-1]
        assert VARIANTS[name].preprocessing.crop_fraction == published.crop_pct
        assert all(place.sha256 is None or len(place.sha256) == 64 for place in places)


def _timm_tags() -> dict[str, list[str]]:
    tags: dict[str, list[str]] = {}
    for name in timm.list_models("focalnet*", pretrained=True):
        base, _, tag = name.partition(".")
        tags.setdefault(base, []).append(tag)
    return tags


def test_every_published_weight_belongs_to_a_variant() -> None:
    assert set(SOURCES) <= set(VARIANTS)
    assert "focalnet_pico" not in SOURCES


def test_without_a_network_one_sentence_names_the_places(offline: Hub, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        focalnets.create_model("focalnet_tiny_srf", pretrained=True)
    message = str(caught.value)
    for place in SOURCES["focalnet_tiny_srf"]:
        assert place.place in message
    assert "focalnets.load_model(path)" in message
    assert "\n" not in message
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_a_silent_hub_is_asked_once_per_repository(offline: Hub) -> None:
    with pytest.raises(CheckpointError, match="the hub does not answer"):
        sources.fetch_hub("timm/anything")
    assert [only_cache for _, _, only_cache in offline.asked] == [False, True, True, True]


def test_a_mistyped_folder_is_told_to_be_neither_folder_nor_hub_id(offline: Hub) -> None:
    with pytest.raises(CheckpointError, match=r"no file or folder rums/birds, and as a hub id it did not work"):
        focalnets.load_model("rums/birds")


def test_variants_without_published_weights_say_so(offline: Hub) -> None:
    with pytest.raises(CheckpointError, match="No weights of focalnet_nano are published"):
        focalnets.create_model("focalnet_nano", pretrained=True)
    assert not offline.asked


@pytest.fixture
def tiny_hub(offline: Hub, tmp_path: Path) -> focalnets.FocalNet:
    """A hub that holds the smallest published network with drawn weights."""
    model = drawn(VARIANTS["focalnet_tiny_srf"].config.replace(drop_path=0.0))
    folder = tmp_path / "hub"
    folder.mkdir()
    tensors = to_layout("timm", model.state_dict(), post_norm=False)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    offline.folders = {"timm/focalnet_tiny_srf.ms_in1k": folder}
    return model


IMAGES = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_published_weights_are_loaded(tiny_hub: focalnets.FocalNet) -> None:
    model = focalnets.create_model("focalnet_tiny_srf", pretrained=True)
    assert torch.equal(model(IMAGES), tiny_hub(IMAGES))
    assert model.config == VARIANTS["focalnet_tiny_srf"].config
    assert model.class_names is not None
    assert model.preprocessing == VARIANTS["focalnet_tiny_srf"].preprocessing
    for source in ("timm/focalnet_tiny_srf.ms_in1k", "hf-hub:timm/focalnet_tiny_srf.ms_in1k", "focalnet_tiny_srf"):
        assert torch.equal(focalnets.load_model(source).head.weight, tiny_hub.head.weight)


def test_published_weights_are_adapted(tiny_hub: focalnets.FocalNet) -> None:
    model = focalnets.create_model(
        "focalnet_tiny_srf", num_classes=5, in_chans=1, pretrained=True, drop_path=0.05, focal_levels=(3, 3, 3, 3)
    )
    assert model(IMAGES[:, :1]).shape == (1, 5)
    assert (model.config.drop_path, model.class_names) == (0.05, None)
    assert model.config.focal_levels == (3, 3, 3, 3)
    dense = focalnets.create_model("focalnet_tiny_srf", pretrained=True, pyramid_norms=True)
    assert len(dense.forward_pyramid(IMAGES)) == 4
    with pytest.raises(ConfigError, match="embed_dim cannot be changed"):
        focalnets.create_model("focalnet_tiny_srf", pretrained=True, embed_dim=8)
    with pytest.raises(ConfigError, match="leaves the classifier out"):
        focalnets.create_model("focalnet_tiny_srf", num_classes=3, pretrained=True, pyramid_norms=True)


def test_a_file_with_another_network_is_refused(tiny_hub: focalnets.FocalNet, offline: Hub) -> None:
    assert offline.folders is not None
    offline.folders["timm/focalnet_tiny_lrf.ms_in1k"] = offline.folders["timm/focalnet_tiny_srf.ms_in1k"]
    with pytest.raises(CheckpointError, match="holds another network: focalnet_tiny_srf"):
        focalnets.create_model("focalnet_tiny_lrf", pretrained=True)


def test_places_are_tried_in_turn_down_to_the_release(
    offline: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []

    def download(url: str, destination: str, **_: Any) -> None:
        fetched.append(url)
        model = drawn(VARIANTS["focalnet_tiny_srf"].config)
        torch.save({"model": to_layout("official", model.state_dict(), post_norm=False)}, destination)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    for _ in range(2):
        model = focalnets.create_model("focalnet_tiny_srf", pretrained=True)
        assert "official layout" in model.origin
    assert fetched == [SOURCES["focalnet_tiny_srf"][-1].place], "fetched once, then taken from the cache"
    assert {repository for repository, _, _ in offline.asked} == {
        row.place for row in SOURCES["focalnet_tiny_srf"][:-1]
    }
    (sources.release_cache() / "focalnet_tiny_srf.pth").unlink()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="could not be fetched"):
        focalnets.create_model("focalnet_tiny_srf", pretrained=True)


def test_hub_ids() -> None:
    assert hub_id("timm/focalnet_tiny_srf.ms_in1k") == ("timm/focalnet_tiny_srf.ms_in1k", None)
    assert hub_id("hf-hub:microsoft/focalnet-tiny@main") == ("microsoft/focalnet-tiny", "main")
    assert hub_id("focalnet_tiny_srf") is None
    assert hub_id("../etc/passwd") is None
    assert hub_id("/abs/path") is None


def test_create_model_with_random_weights() -> None:
    model = focalnets.create_model("focalnet_pico", num_classes=7, in_chans=1, drop_path=0.3)
    assert (model.config.num_classes, model.config.in_chans, model.config.drop_path) == (7, 1, 0.3)
    assert len(model.preprocessing.mean) == 1
    assert (model.origin, model.class_names, model.training) == ("random weights", None, True)
    with pytest.raises(ConfigError, match="no field 'colour'"):
        focalnets.create_model("focalnet_pico", colour="red")
    with pytest.raises(UnknownNameError, match="focalnet_tiny_srf"):
        focalnets.create_model("focalnet_tinny_srf")
