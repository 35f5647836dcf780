"""Every task at images of any size: as the network does on the whole image, with files, and from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tests.large.test_contexts import draw, semantic

from focalnets.cli.main import main
from focalnets.errors import ConfigError
from focalnets.large.looking import LargeOptions
from focalnets.large.pyramid import pixels_to_input
from focalnets.models.heads.detector import Detector
from focalnets.models.heads.detector_config import DetectorConfig
from focalnets.tasks.large import predict_large
from focalnets.tasks.table import build_task
from focalnets.weights.loading import create_model

SMALL = LargeOptions(tile_px=64, overlap_px=32)


def detector(*, masks):
    torch.manual_seed(3)
    backbone = create_model("focalnet_pico", pyramid_norms=True, depths=(1, 1, 1, 1), embed_dim=8)
    config = DetectorConfig(outputs=2, masks=masks, score_threshold=0.0, pyramid_channels=16)
    network = Detector(backbone, config, ["cat", "dog"]).eval()
    for parameter in network.head.regions.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


@pytest.mark.parametrize("context", ["image", "tile", "shared"])
def test_class_maps_are_written_for_viewers(context, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    network = semantic()
    options = LargeOptions(tile_px=64, overlap_px=32, context=context)
    plans = []
    answer = predict_large(
        build_task("semantic"), network, draw(150, 90), options, output=tmp_path / "out", on_plan=plans.append
    )
    assert answer.files == ("classes.tif", "classes.geojson", "overview.html", "result.json")
    assert plans[0].seconds > 0
    assert not (tmp_path / "out/.work").exists()
    labels = tifffile.imread(tmp_path / "out/classes.tif")
    assert labels.shape == (150, 90)
    assert answer.result.areas == {
        name: count for name, count in sorted(
            zip(network.class_names, np.bincount(labels.ravel(), minlength=5).tolist(), strict=True),
            key=lambda entry: -entry[1],
        ) if count
    }  # fmt: skip
    areas = json.loads((tmp_path / "out/classes.geojson").read_text())["features"]
    for name, count in answer.result.areas.items():
        assert sum(each["properties"]["pixels"] for each in areas if each["properties"]["class"] == name) == count
    written = json.loads((tmp_path / "out/result.json").read_text())
    assert written["look"]["context"] == context
    with pytest.raises(ConfigError, match=r"classes\.tif"):
        _ = answer.result.labels
    if context == "image":
        with torch.inference_mode():
            logits = network(pixels_to_input(network.preprocessing)(draw(150, 90)))["logits"]
        wanted = torch.nn.functional.interpolate(logits, size=(150, 90), mode="bilinear", align_corners=False)[
            0
        ].argmax(0)
        assert (labels == wanted.numpy()).mean() > 0.9995


@pytest.mark.parametrize("masks", [False, True])
def test_one_window_finds_what_the_whole_image_shows(masks, tmp_path):
    network, pixels = detector(masks=masks), draw(96, 120)
    task = build_task("instance" if masks else "detect")
    options = LargeOptions(tile_px=128, overlap_px=32)
    answer = predict_large(task, network, pixels, options, output=tmp_path / "out")
    with torch.inference_mode():
        (wanted,) = network(pixels_to_input(network.preprocessing)(pixels))["detections"]
    assert len(wanted["boxes"]) > 3
    assert len(answer.result.objects) == len(wanted["boxes"])
    found = np.array(sorted(each.box for each in answer.result.objects))
    np.testing.assert_allclose(found, np.array(sorted(map(tuple, wanted["boxes"].tolist()))), atol=1e-2)
    assert all((each.mask_data is not None) == masks for each in answer.result.objects)
    features = json.loads((tmp_path / "out/objects.geojson").read_text())["features"]
    assert len(features) == len(answer.result.objects)
    assert (tmp_path / "out/overview.html").is_file()


def test_objects_in_windows_lie_in_the_image(tmp_path):
    network, pixels = detector(masks=False), draw(200, 130)
    answer = predict_large(build_task("detect"), network, pixels, SMALL)
    assert answer.files == ()
    boxes = np.array([each.box for each in answer.result.objects])
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 130
    assert 100 < boxes[:, 3].max() <= 200
    with pytest.raises(ConfigError, match="must overlap"):
        predict_large(build_task("detect"), network, pixels, LargeOptions(tile_px=64, overlap_px=0))


def test_a_photo_is_classified_from_the_command_line(shipped_stand_in, tmp_path, capsys):
    Image.fromarray(draw(300, 200)).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", draw(300, 200))
    arguments = [str(tmp_path / "a.png"), str(tmp_path / "b.npy"), "--context", "image", "--memory", "2GB"]
    assert main(["predict", *arguments, "--json"]) == 0
    captured = capsys.readouterr()
    first, second = json.loads(captured.out)["predictions"]
    assert first["look"]["width"] == 200
    with torch.inference_mode():
        image = pixels_to_input(shipped_stand_in.preprocessing)(draw(300, 200))
        wanted = float(shipped_stand_in(image).softmax(1).max())
    confidences = [max(entry["confidence"] for entry in each["classes"]) for each in (first, second)]
    assert confidences == pytest.approx([wanted, wanted], abs=2e-3)
    assert "200 x 300 px as a whole" in captured.err


def test_mistakes_on_the_command_line_are_sentences(shipped_stand_in, tmp_path, capsys):
    Image.fromarray(draw(30, 20)).save(tmp_path / "a.png")
    for more, words in [
        (["--context", "whole"], "There is no context 'whole'"),
        (["--context", "image", "--size", "64"], "leave --size out"),
        (["--context", "image", "--memory", "much"], "an amount such as 8GB"),
        (["--context", "image", "--memory", "1MB"], "allow more"),
    ]:
        assert main(["predict", str(tmp_path / "a.png"), *more]) == 2
        assert words in capsys.readouterr().err
    assert main(["predict", str(tmp_path / "none.tif"), "--context", "tile"]) == 2
    assert "none.tif" in capsys.readouterr().err
