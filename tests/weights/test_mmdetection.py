"""Detectors of mmdetection: exact in and out, and what is no such detector is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.weights import published_detector
from tests.weights.mmdetection_files import CONFIG_2, save, state_dict

import focalnets
from focalnets.errors import CheckpointError
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.detector import Detector
from focalnets.models.heads.detector_config import DetectorConfig
from focalnets.weights.assembly import assemble_into
from focalnets.weights.loading import open_trained
from focalnets.weights.mmdetection_writing import save_for_mmdetection


def build(path):
    """The detector of a file, and what was recognised."""
    opened = open_trained(path)
    found = opened.recognition
    with torch.device("meta"):
        backbone = FocalNet(found.config, preprocessing=found.input)
        module = Detector(backbone, DetectorConfig.from_dict(found.head), found.labels)
    assemble_into(module, opened.tensors, opened.place)
    return module, found


@pytest.mark.parametrize("version", [2, 3])
def test_what_a_file_says_is_taken(tmp_path, version):
    tensors = state_dict()
    module, found = build(save(tmp_path / "epoch_12.pth", tensors, version=version))
    assert (found.layout, found.task, found.labels) == ("mmdetection", "instance", tuple("abcde"))
    assert found.config.focal_windows == (9, 9, 9, 9)
    assert found.config.pyramid_norms
    head = module.head_config
    assert head.anchor_sizes == ((32,), (64,), (128,), (256,), (512,))
    assert (head.candidates, head.proposals, head.detections) == ((200, 2000), (60, 1000), 30)
    assert (head.score_threshold, head.overlap, head.padding_masked) == (0.1, 0.4, False)
    assert (found.input.input_size_px, found.input.longest_px) == (480, 640)
    assert (found.input.interpolation, found.input.antialias) == ("bilinear", False)
    assert found.input.mean == pytest.approx((0.485, 0.456, 0.406))
    assert any("settings were read from the checkpoint" in note for note in found.notes)
    assert "task instance, head rcnn of 5 outputs, input whole_image, mmdetection layout" in str(found)


def test_published_settings_are_taken_where_nothing_is_said(tmp_path):
    _, found = build(save(tmp_path / "w.pth", state_dict(masks=False), config=None, names=None))
    assert found.task == "detect"
    assert found.labels == tuple(f"class {number}" for number in range(5))
    assert any("published configs" in note for note in found.notes)
    assert DetectorConfig.from_dict(found.head).detections == 100
    assert (found.input.input_size_px, found.input.longest_px) == (800, 1333)


def test_a_settings_file_beside_the_weights_is_read(tmp_path):
    path = save(tmp_path / "w.pth", state_dict(anchors=6), config=None)
    with pytest.raises(CheckpointError, match=r"6 anchors at a place, but does not say .* settings file"):
        open_trained(path)
    (tmp_path / "mask_rcnn.py").write_text(CONFIG_2.replace("scales=[8]", "scales=[4, 8]"))
    module, found = build(path)
    assert module.head_config.anchor_sizes[0] == (16.0, 32.0)
    assert any("mask_rcnn.py" in note for note in found.notes)


@pytest.mark.parametrize("size", [(96, 128), (70, 101)])
def test_detections_are_those_of_the_published_formulas(tmp_path, size):
    tensors = state_dict()
    module, _ = build(save(tmp_path / "w.pth", tensors))
    generator = torch.Generator().manual_seed(1)
    images = torch.zeros(1, 3, 96, 128)
    images[..., : size[0], : size[1]] = torch.randn(1, 3, *size, generator=generator)
    mask = torch.zeros(1, 96, 128, dtype=torch.bool)
    mask[:, : size[0], : size[1]] = True
    with torch.inference_mode():
        (found,) = module(images, None if size == (96, 128) else mask)["detections"]
        maps = module.maps(images)
    boxes, scores, labels, masks = published_detector.detect(
        tensors, maps, size, before=200, proposals=60, most=30, least_score=0.1, nms=0.4
    )
    assert len(boxes) > 15
    assert len(set(labels)) > 1
    assert found["labels"].tolist() == labels.tolist()
    np.testing.assert_allclose(found["boxes"], boxes, atol=1e-3)
    np.testing.assert_allclose(found["scores"], scores, atol=1e-5)
    np.testing.assert_allclose(found["masks"], masks, atol=1e-3)  # boxes of float32 against float64


def test_the_pyramid_and_proposals_are_those_of_the_formulas(tmp_path):
    tensors = state_dict(3)
    module, _ = build(save(tmp_path / "w.pth", tensors))
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        maps = module.maps(images)
        levels = module.head.pyramid(maps)
        expected = published_detector.pyramid(tensors, maps)
        for level, other in zip(levels, expected, strict=True):
            torch.testing.assert_close(level, other, atol=1e-4, rtol=1e-4)
        (proposals,), _ = module.head.proposals(levels, [(64, 96)], padding_counts=True)
        boxes = published_detector.propose(tensors, expected, (64, 96), 200, 60, 0.7)
    np.testing.assert_allclose(proposals, boxes, atol=1e-3)


@pytest.mark.parametrize("masks", [True, False])
def test_what_is_written_is_what_was_read(tmp_path, masks):
    tensors = state_dict(masks=masks)
    module, found = build(save(tmp_path / "w.pth", tensors))
    save_for_mmdetection(module, tmp_path / "out.pth")
    written = torch.load(tmp_path / "out.pth", weights_only=True)
    assert written["state_dict"].keys() == tensors.keys()
    assert all(torch.equal(written["state_dict"][name], tensor) for name, tensor in tensors.items())
    assert written["meta"]["CLASSES"] == tuple("abcde")
    _, found_again = build(tmp_path / "out.pth")
    assert (found_again.head, found_again.config, found_again.labels) == (found.head, found.config, found.labels)
    assert found_again.input == found.input
    namespace = {}
    exec(written["meta"]["cfg"], namespace)
    assert namespace["model"]["type"] == ("MaskRCNN" if masks else "FasterRCNN")
    assert namespace["model"]["neck"]["num_outs"] == 5


def test_averaged_weights_of_both_versions(tmp_path):
    raw, averaged = state_dict(0), state_dict(1)
    double = averaged | {f"ema_{name.replace('.', '_')}": tensor for name, tensor in raw.items()}
    module, _ = build(save(tmp_path / "2.pth", double))
    # Version 3 exchanges the two before it writes, so that the averaged ones stand under the usual name.
    inner = {f"module.{name}": tensor for name, tensor in raw.items()} | {"steps": torch.tensor(7)}
    other, _ = build(save(tmp_path / "3.pth", averaged, version=3, ema_state_dict=inner))
    for built in (module, other):
        assert torch.equal(built.head.pyramid.laterals[0].weight, averaged["neck.lateral_convs.0.conv.weight"])


def test_the_backbone_alone_is_read_too(tmp_path):
    path = save(tmp_path / "w.pth", state_dict())
    assert focalnets.load_model(path).config.pyramid_norms


@pytest.mark.parametrize(
    ("extra", "kind"),
    [
        ("roi_head.bbox_head.0.fc_cls.weight", "Cascade R-CNN"),
        ("rpn_head.init_proposal_bboxes.weight", "Sparse R-CNN"),
        ("bbox_head.atss_cls.weight", "ATSS"),
        ("transformer.decoder.layers.0.norm1.weight", "DINO"),
    ],
)
def test_other_detectors_are_named(tmp_path, extra, kind):
    tensors = {name: tensor for name, tensor in state_dict().items() if name.startswith(("backbone.", "neck."))}
    if kind == "DINO":
        tensors = {name.replace("backbone.", "backbone.0."): tensor for name, tensor in tensors.items()}
    path = save(tmp_path / "w.pth", tensors | {extra: torch.zeros(3, 3)})
    with pytest.raises(CheckpointError, match=rf"holds a {kind} .* focalnets\.load_model reads the backbone alone"):
        open_trained(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"config": CONFIG_2.replace("output_size=7", "output_size=5")}, "bbox_roi_extractor.output_size must be 7"),
        ({"config": CONFIG_2.replace("sampling_ratio=0", "sampling_ratio=2")}, "sampling_ratio must be 0, got 2"),
        ({"config": CONFIG_2.replace("mask_thr_binary=0.5", "mask_thr_binary=0.4")}, "mask_thr_binary must be 0.5"),
        ({"config": CONFIG_2.replace("scales=[8]", "scales=[4, 8]")}, "its tensors are for 3 anchors at a place"),
        ({"config": CONFIG_2.replace("strides=[4, 8, 16, 32, 64]", "strides=[8, 16, 32, 64, 128]")}, "px apart"),
        ({"config": CONFIG_2.replace("score_thr=0.1", "score_thr='high'")}, "score_threshold must be"),
        ({"config": CONFIG_2.replace("nms_pre=200", "nms_pre=10**9")}, None),
        ({"config": CONFIG_2.replace("max_per_img=60", "max_per_img=10000000")}, "proposals must be a whole number"),
        ({"names": ("a", "b")}, "names 2 classes for 5 outputs"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(tmp_path, change, words):
    path = save(tmp_path / "w.pth", state_dict(), **change)
    if words is None:  # an expression is not evaluated, so the usual number holds
        assert DetectorConfig.from_dict(open_trained(path).recognition.head).candidates[0] == 1000
        return
    with pytest.raises(CheckpointError, match=words):
        open_trained(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors.pop("roi_head.bbox_head.shared_fcs.1.bias"), "1 missing"),
        (lambda tensors: tensors.pop("neck.fpn_convs.3.conv.weight"), "pyramid is not made of"),
        (lambda tensors: tensors.update({"neck.fpn_convs.0.gn.weight": torch.ones(3)}), "1 unexpected: neck.fpn_convs"),
        (lambda tensors: tensors.update({"roi_head.bbox_head.fc_reg.weight": torch.ones(4, 24)}), "reg_class_agnostic"),
        (lambda tensors: tensors.update({"rpn_head.rpn_conv.weight": torch.ones(3, 3)}), "mis-shaped"),
        (lambda tensors: tensors.update({"neck.fpn_convs.0.conv.weight": torch.ones(3)}), "no complete detector"),
    ],
)
def test_incomplete_detectors_are_refused(tmp_path, change, words):
    tensors = state_dict()
    change(tensors)
    with pytest.raises(CheckpointError, match=words):
        build(save(tmp_path / "w.pth", tensors))


def test_anchors_that_were_chosen_for_data_are_written_too(tmp_path):
    module, _ = build(save(tmp_path / "w.pth", state_dict()))
    sizes = ((24.0, 36.0), (40.0, 60.0), (64.0, 96.0), (100.0, 150.0), (256.0, 384.0))
    other = Detector(module.backbone, module.head_config.replace(anchor_sizes=sizes), module.class_names)
    (path,) = save_for_mmdetection(other, tmp_path / "again.pth")
    again, _ = build(path)
    assert again.head_config.anchor_sizes == sizes
    assert "base_sizes" in torch.load(path, weights_only=True)["meta"]["cfg"]


def test_what_mmdetection_cannot_hold_is_not_written(tmp_path):
    module, _ = build(save(tmp_path / "w.pth", state_dict()))
    assert isinstance(module, Detector)
    for name, change, words in (
        ("out.safetensors", {}, "end the name in .pth"),
        ("out.pth", {"normalised": True}, "norms over channels"),
        (
            "out.pth",
            {"anchor_sizes": ((24, 32), (64, 96), (128, 192), (256, 384), (512, 768))},
            "same multiples of its smallest",
        ),
    ):
        other = Detector(module.backbone, module.head_config.replace(**change), module.class_names)
        with pytest.raises(CheckpointError, match=words):
            save_for_mmdetection(other, tmp_path / name)
    backbone = FocalNet(module.config.replace(post_norm=True))
    with pytest.raises(CheckpointError, match="has neither post_norm"):
        save_for_mmdetection(Detector(backbone, module.head_config, module.class_names), tmp_path / "out.pth")
    with pytest.raises(CheckpointError, match="no detector"):
        save_for_mmdetection(module.backbone, tmp_path / "out.pth")
    assert not list(tmp_path.glob("out*"))
