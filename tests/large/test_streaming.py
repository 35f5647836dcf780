"""Maps by bands of rows are those of the whole image, for every kind of network, and after an interruption."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from focalnets.errors import ConfigError, DataError
from focalnets.large import store
from focalnets.large.journal import Journal
from focalnets.large.network import require_streamable
from focalnets.large.store import RowStore
from focalnets.large.streaming import StreamSettings, stream_maps
from focalnets.models.config import FocalNetConfig
from focalnets.models.focalnet import FocalNet

SMALL = {"depths": (1, 2), "embed_dim": 12, "focal_levels": (2, 2), "focal_windows": (3, 3), "num_classes": 3}
KINDS = {
    "patch": {},
    "patch of another size": {"patch_size": 3},
    "overlapped": {"stem": "overlapped"},
    "overlapped for dense tasks": {"stem": "overlapped", "stem_padding": 3},
    "convolutional": {"stem": "convolutional"},
    "double": {"stem": "convolutional", "downsampling": "double"},
    "post-norm": {"post_norm": True, "layer_scale": 0.5},
    "layer scale": {"layer_scale": 0.3},
    "normalised modulator": {"normalize_modulator": True},
    "norm in the modulation": {"modulation_norm": True},
    "global level alone": {"focal_levels": (0, 0)},
    "large windows": {"focal_levels": (3, 1), "focal_windows": (9, 7)},
    "isotropic": {"depths": (3,), "focal_levels": (3,), "focal_windows": (3,), "patch_size": 8},
    "wide": {"embed_dim": 67},
    "pyramid": {"pyramid_norms": True},
    "one channel": {"in_chans": 1},
}
TINY_BANDS = StreamSettings(band_bytes=1)


def build(**changes):
    torch.manual_seed(0)
    network = FocalNet(FocalNetConfig(**{**SMALL, "initialization": "fan_in", **changes})).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return network


def draw(height, width, channels=3):
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(height * 1000 + width))


@torch.inference_mode()
def whole(network, image):
    return [tokens[0] for tokens, _ in network._embed_and_refine(image, None)]


@torch.inference_mode()
def streamed(network, image, settings=TINY_BANDS, **options):
    stores = stream_maps(
        network, lambda first, last: image[:, :, first:last], image.shape[2], image.shape[3], settings, **options
    )
    return [None if each is None else torch.tensor(each.array()) for each in stores]


def assert_same(found, wanted, tolerance=2e-6):
    for index, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
        assert ours.shape == theirs.shape
        difference = float((ours.double() - theirs.double()).norm() / theirs.double().norm())
        assert difference < tolerance, f"stage {index}: {difference:.1e}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(301, 22), (67, 41)])
def test_every_kind_of_network_gives_the_whole_map(kind, size):
    network = require_streamable(build(**KINDS[kind]))
    image = draw(*size, network.config.in_chans)
    found = streamed(network, image)
    assert_same(found, whole(network, image))


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (50, 3), (4, 4), (5, 9), (17, 17)])
@pytest.mark.parametrize("kind", ["patch", "overlapped", "double"])
def test_images_smaller_than_a_band(kind, size):
    network = build(**KINDS[kind])
    assert_same(streamed(network, draw(*size)), whole(network, draw(*size)))


@pytest.mark.parametrize("rows", [17, 23, 40, 1000])
def test_bands_of_any_height(rows):
    network, image = build(stem="convolutional"), draw(403, 16)
    settings = StreamSettings(band_bytes=rows * 4 * 12 * 4)
    assert_same(streamed(network, image, settings), whole(network, image))


def test_maps_in_files_are_those_in_memory(tmp_path):
    network, image = build(stem="convolutional"), draw(300, 21)
    settings = StreamSettings(band_bytes=1, folder=tmp_path / "maps")
    for ours, theirs in zip(streamed(network, image, settings), streamed(network, image), strict=True):
        assert torch.equal(ours, theirs)
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["stage0.tokens", "stage1.tokens"]


def test_half_precision_is_close_and_half_as_large(tmp_path):
    network, image = build(), draw(300, 21)
    half = StreamSettings(band_bytes=1, folder=tmp_path, dtype="float16")
    found = streamed(network, image, half)
    assert_same([each.float() for each in found], whole(network, image), tolerance=2e-3)
    assert found[0].dtype == torch.float16
    assert (tmp_path / "stage0.tokens").stat().st_size < 0.6 * (75 + 24) * 6 * 12 * 4


def test_stages_that_are_not_wanted_are_given_back(tmp_path):
    network, image = build(), draw(90, 30)
    found = streamed(network, image, StreamSettings(folder=tmp_path, keep=(1,)))
    assert found[0] is None
    assert_same(found[1:], whole(network, image)[1:])
    assert [path.name for path in tmp_path.iterdir()] == ["stage1.tokens"]


class KilledError(Exception):
    """Stands for a process that ends without warning."""


@pytest.mark.parametrize("kind", ["patch", "double", "isotropic"])
def test_an_interrupted_image_goes_on_where_it_was(tmp_path, monkeypatch, kind):
    network, image = build(**KINDS[kind]), draw(397, 21)
    wanted = whole(network, image)
    settings = StreamSettings(band_bytes=1, folder=tmp_path)
    original = store._transfer
    writes, rounds = 0, 0

    def dying(file, offset, rows, *, write):
        nonlocal writes
        writes += write
        if write and writes % 7 == 0:
            original(file, offset, rows[: len(rows) // 2].contiguous(), write=True)  # half of the band
            raise KilledError
        original(file, offset, rows, write=write)

    monkeypatch.setattr(store, "_transfer", dying)
    fractions = []
    while True:
        rounds += 1
        try:
            journal = Journal(tmp_path / "progress.json", {"image": 1})
            found = streamed(network, image, settings, journal=journal, on_progress=fractions.append)
            break
        except KilledError:
            assert rounds < 100
    assert rounds > 3
    assert fractions[-1] == 1.0
    assert_same(found, wanted)


def test_a_record_of_other_work_counts_as_none(tmp_path):
    first = Journal(tmp_path / "progress.json", {"image": "a"})
    first.add("tiles", 3)
    assert Journal(tmp_path / "progress.json", {"image": "a"}).done("tiles") == [3]
    assert Journal(tmp_path / "progress.json", {"image": "b"}).done("tiles") == []
    (tmp_path / "progress.json").write_text('{"work": ')
    assert Journal(tmp_path / "progress.json", {"image": "a"}).done("tiles") == []


def test_a_disk_without_room_is_said_before_the_work(tmp_path):
    with pytest.raises(DataError, match=r"no room for a map of .* GB"):
        RowStore(2**30, 2**20, 64, slack=16, last_version=1, path=tmp_path / "map")
    assert list(tmp_path.iterdir()) == []


def test_progress_reaches_one_and_never_falls():
    fractions = []
    streamed(build(), draw(200, 9), on_progress=fractions.append)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(fractions) > 5


class Other(FocalNet):
    pass


def test_networks_that_cannot_be_taken_apart_are_refused():
    network = build()
    require_streamable(network)
    for broken, words in [
        (nn.Linear(2, 2), "not through Linear"),
        (Other(network.config).eval(), "not through Other"),
        (build().train(), "evaluation mode"),
        (build().half(), "float32"),
    ]:
        with pytest.raises(ConfigError, match=words):
            require_streamable(broken)
    hook = network.stages[0].blocks[0].register_forward_hook(lambda *_: None)
    with pytest.raises(ConfigError, match=r"a hook waits for whole maps at 'stages\.0\.blocks\.0'"):
        require_streamable(network)
    hook.remove()
    network.stages[1].blocks[0] = nn.Identity()
    network.stages[1].blocks[0].modulation = nn.Identity()
    network.stages[1].blocks[0].mlp = nn.Identity()
    with pytest.raises(ConfigError, match=r"'stages\.1\.blocks\.0' is a Identity"):
        require_streamable(network)


class Adapted(nn.Linear):
    """Takes its tokens one by one, as low-rank adapters do."""

    def forward(self, tokens):
        return super().forward(tokens) + 0.1 * tokens.sum(-1, keepdim=True)


def test_layers_with_adapters_are_called_as_they_are():
    network, image = build(), draw(120, 25)
    block = network.stages[0].blocks[0]
    for owner, name in [
        (block.modulation, "input_projection"),
        (block.modulation, "output_projection"),
        (block.mlp, "fc1"),
    ]:
        layer = getattr(owner, name)
        adapted = Adapted(layer.in_features, layer.out_features)
        adapted.load_state_dict(layer.state_dict())
        setattr(owner, name, adapted)
    assert_same(streamed(require_streamable(network), image), whole(network, image))
