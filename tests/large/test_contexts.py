"""What a network says of a large image: exactly that of the whole, or of tiles, with their means or those of all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from focalnets.large.labels import ClassMap, label_by_rows, label_by_windows, resized_rows
from focalnets.large.pyramid import classify_streamed, pixels_to_input, stream_pyramid
from focalnets.large.sources import open_source
from focalnets.large.streaming import StreamSettings
from focalnets.large.tiles import look_at_tile, maps_of_tile, mean_of_tiles
from focalnets.large.windows import cut_windows
from focalnets.models.config import FocalNetConfig
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.semantic import SemanticNetwork

SMALL = {
    "depths": (1, 2, 1), "embed_dim": 10, "focal_levels": (2, 2, 2), "focal_windows": (3, 3, 3), "num_classes": 4,
    "initialization": "fan_in",
}  # fmt: skip
GRID = 16


def build(**changes):
    torch.manual_seed(1)
    return FocalNet(FocalNetConfig(**{**SMALL, **changes})).eval()


def semantic(kind="mlp", stages=(0, 1, 2)):
    network = SemanticNetwork(
        build(pyramid_norms=True), ["a", "b", "c", "d", "e"], kind=kind, channels=12, stages=stages
    )
    return network.eval()


def draw(height, width, seed=0):
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 255, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, 8, 0), 8, 1)[:height, :width].copy()


@pytest.mark.parametrize("size", [(203, 117), (64, 64), (5, 9)])
def test_a_streamed_class_is_that_of_the_whole(size):
    network, pixels = build(), draw(*size)
    with open_source(pixels) as source, stream_pyramid(network, source, StreamSettings(band_bytes=1)) as pyramid:
        found = classify_streamed(network, pyramid)
    with torch.inference_mode():
        torch.testing.assert_close(found, network(pixels_to_input(network.preprocessing)(pixels)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(203, 117), (5, 9)])
def test_windows_of_the_pyramid_are_windows_of_the_maps(size, tmp_path):
    network, pixels = build(pyramid_norms=True), draw(*size)
    with torch.inference_mode():
        whole = network.forward_pyramid(pixels_to_input(network.preprocessing)(pixels))
    settings = StreamSettings(band_bytes=1, folder=tmp_path / "maps")
    with open_source(pixels) as source, stream_pyramid(network, source, settings) as pyramid:
        for window in cut_windows(*size, 64, 16, GRID):
            windows = pyramid.pixels(window.top, window.bottom, window.left, window.right)
            for stride, ours, theirs in zip(pyramid.strides, windows, whole, strict=True):
                top, left = window.top // stride, window.left // stride
                wanted = theirs[:, :, top : top + ours.shape[2], left : left + ours.shape[3]]
                torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-5)
        for path, theirs in zip(pyramid.save(tmp_path / "saved"), whole, strict=True):
            np.testing.assert_allclose(np.load(path), theirs[0].permute(1, 2, 0).numpy(), rtol=1e-4, atol=1e-5)
    assert list((tmp_path / "maps").iterdir()) == []


@pytest.mark.parametrize(
    ("size", "wanted"), [((7, 5), (20, 13)), ((50, 30), (199, 117)), ((1, 1), (4, 4)), ((6, 9), (6, 9))]
)
def test_rows_are_enlarged_as_the_whole_is(size, wanted):
    features = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    whole = F.interpolate(features, size=wanted, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    rows = features[0].permute(1, 2, 0)
    for band in (1, 3, 1000):
        parts = [
            resized_rows(lambda a, b: rows[a:b], size, wanted, first, min(wanted[0], first + band))
            for first in range(0, wanted[0], band)
        ]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stages", [(0, 1, 2), (1, 2)])
@pytest.mark.parametrize("size", [(203, 117), (37, 300)])
def test_streamed_class_maps_are_those_of_the_whole(size, stages, tmp_path):
    network, pixels = semantic(stages=stages), draw(*size)
    with torch.inference_mode():
        logits = network(pixels_to_input(network.preprocessing)(pixels))["logits"]
        wanted = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)[0].argmax(0).numpy()
    classes = ClassMap(tmp_path / "classes.npy", *size, 5)
    settings = StreamSettings(band_bytes=1, keep=stages)
    fractions = []
    with open_source(pixels) as source, stream_pyramid(network.backbone, source, settings) as pyramid:
        label_by_rows(network.head, pyramid, network.stages, classes, on_progress=fractions.append)
    assert len(np.unique(wanted)) > 1
    assert (classes.labels == wanted).mean() > 0.9995
    assert np.array_equal(np.load(tmp_path / "classes.npy"), classes.labels)
    assert classes.pixels == np.bincount(classes.labels.ravel(), minlength=5).tolist()
    assert fractions[-1] == 1.0


def test_one_window_gives_the_whole_and_cores_cover_it_once(tmp_path):
    size = (203, 117)
    network, pixels = semantic(), draw(*size)
    with open_source(pixels) as source:
        look = look_at_tile(network.backbone, source, network.preprocessing)
        whole = ClassMap(None, *size, 5)
        label_by_windows(network.head, look, cut_windows(*size, 208, 0, GRID), whole)
        tiled = ClassMap(None, *size, 5)
        label_by_windows(network.head, look, cut_windows(*size, 96, 32, GRID), tiled)
    with torch.inference_mode():
        logits = network(pixels_to_input(network.preprocessing)(pixels))["logits"]
    wanted = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)[0].argmax(0).numpy()
    assert np.array_equal(whole.labels, wanted)
    assert 0.3 < (tiled.labels == wanted).mean() < 1


@pytest.mark.parametrize("size", [(203, 117), (64, 64), (33, 500), (1, 1)])
@pytest.mark.parametrize(("tile", "overlap"), [(64, 16), (96, 0), (64, 48)])
def test_cores_cover_an_image_once(size, tile, overlap):
    seen = np.zeros(size, int)
    windows = cut_windows(*size, tile, overlap, GRID)
    for window in windows:
        top, bottom, left, right = window.core
        seen[top:bottom, left:right] += 1
        assert window.top % GRID == window.left % GRID == 0
        assert window.top <= top < bottom <= window.bottom <= size[0]
        assert window.left <= left < right <= window.right <= size[1]
        assert max(window.size) <= tile
    assert (seen == 1).all()
    for first, second in itertools.pairwise(windows):
        if first.top == second.top:
            assert first.right - second.left >= overlap


@pytest.mark.parametrize("changes", [{}, {"normalize_modulator": True}, {"post_norm": True, "layer_scale": 0.5}])
def test_a_tile_with_its_own_means_is_an_image(changes):
    network = build(pyramid_norms=True, **changes)
    image = pixels_to_input(network.preprocessing)(draw(80, 60))
    maps, means = maps_of_tile(network, image)
    with torch.inference_mode():
        for ours, theirs in zip(maps, network.forward_pyramid(image), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    again, _ = maps_of_tile(network, image, [mean.float() for mean in means])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(again, maps, strict=True))


def test_shared_means_bring_tiles_closer_to_the_whole(tmp_path):
    network, size = build(pyramid_norms=True), (256, 256)
    pixels = draw(*size)
    pixels[:, 128:] //= 4  # halves that differ
    with torch.inference_mode():
        whole = network.forward_pyramid(pixels_to_input(network.preprocessing)(pixels))
    windows = cut_windows(*size, 128, 32, GRID)
    with open_source(pixels) as source:
        means = mean_of_tiles(network, source, network.preprocessing, windows)
        errors = {}
        for name, given in (("own", None), ("shared", means)):
            look = look_at_tile(network, source, network.preprocessing, given)
            differences = []
            for window in windows:
                found = look(window)[0]
                top, bottom, left, right = (corner // 4 for corner in window.core)
                inner = (
                    slice(top - window.top // 4, bottom - window.top // 4),
                    slice(left - window.left // 4, right - window.left // 4),
                )
                difference = found[0][(slice(None), *inner)] - whole[0][0, :, top:bottom, left:right]
                differences.append(float(difference.norm()))
            errors[name] = np.linalg.norm(differences)
    assert errors["shared"] < 0.5 * errors["own"]
