"""Detectors: what padding must not change, regions against torchvision's kernel, boxes, matching, and their config."""

from __future__ import annotations

import json

import pytest
import torch
from tests.weights.networks import draw, small_config
from torchvision.ops import box_iou, roi_align

from focalnets.errors import ConfigError
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.align import align_regions, levels_of
from focalnets.models.heads.boxes import (
    IGNORED,
    Anchors,
    Differences,
    assign_objects,
    sample_balanced,
    suppress_within,
)
from focalnets.models.heads.detector import Detector
from focalnets.models.heads.detector_config import DetectorConfig
from focalnets.models.heads.pyramid import FeaturePyramid

SMALL = {
    "pyramid_channels": 12, "box_channels": 16, "candidates": (200, 300), "proposals": (60, 80), "mask_channels": 8,
    "mask_layers": 1, "detections": 20, "sampled_boxes": 32, "score_threshold": 0.01,
}  # fmt: skip


def detector(*, masks=True, names=("a", "b", "c"), **changes):
    torch.manual_seed(0)
    backbone = FocalNet(small_config("srf", pyramid_norms=True, num_classes=0))
    values = {**SMALL, "outputs": len(names), "masks": masks, **changes}
    model = Detector(backbone, DetectorConfig(**values), names).eval()
    draw(model)
    return model


def targets_for(sizes):
    """An object and a crowd in each image, and none in the last."""
    found = []
    for number, (height, width) in enumerate(sizes):
        shown = number < len(sizes) - 1
        masks = torch.zeros(2, height, width, dtype=torch.bool)
        masks[0, 4:30, 6:28] = True
        found.append(
            {
                "boxes": torch.tensor([[6.0, 4, 28, 30], [30, 30, 50, 44]])[: 2 * shown],
                "labels": torch.tensor([1, 2])[: 2 * shown],
                "crowd": torch.tensor([False, True])[: 2 * shown],
                "masks": masks[: 2 * shown],
            }
        )
    return found


@pytest.mark.parametrize(
    "changes", [{}, {"normalised": True}, {"stages": (1, 2, 3), "anchor_sizes": ((16,), (32,), (64,))}]
)
def test_an_image_gets_alone_what_it_gets_in_a_padded_batch(changes):
    model = detector(**changes)
    sizes = [(64, 90), (51, 64), (64, 96)]
    images, mask = torch.zeros(3, 3, 64, 96), torch.zeros(3, 64, 96, dtype=torch.bool)
    generator = torch.Generator().manual_seed(1)
    for number, (height, width) in enumerate(sizes):
        images[number, :, :height, :width] = torch.randn(3, height, width, generator=generator)
        mask[number, :height, :width] = True
    with torch.inference_mode():
        together = model(images, mask, targets_for(sizes))
        for number, (height, width) in enumerate(sizes):
            single = model(images[number : number + 1, :, :height, :width], None, [targets_for(sizes)[number]])
            expected, got = single["detections"][0], together["detections"][number]
            assert len(expected["boxes"]) > 0
            assert torch.equal(expected["labels"], got["labels"])
            for name in ("boxes", "scores", "masks"):
                torch.testing.assert_close(got[name], expected[name], atol=1e-4, rtol=1e-5)
            for name, judged in single["losses"].items():
                for key in ("sum", "count"):
                    torch.testing.assert_close(
                        together["losses"][name][key][number], judged[key][0], rtol=1e-4, atol=1e-4
                    )


def test_without_the_mask_padding_changes_what_an_image_gets():
    model = detector(padding_masked=False)
    images, mask = torch.zeros(1, 3, 64, 96), torch.zeros(1, 64, 96, dtype=torch.bool)
    images[..., :50, :60] = torch.randn(3, 50, 60)
    mask[:, :50, :60] = True
    with torch.inference_mode():
        padded = model(images, mask)["detections"][0]["boxes"]
        alone = model(images[..., :50, :60])["detections"][0]["boxes"]
    assert padded.shape != alone.shape or (padded - alone).abs().max() > 1e-2
    assert padded[:, 2].max() <= 60
    assert padded[:, 3].max() <= 50


@pytest.mark.parametrize("masks", [False, True])
def test_every_weight_learns(masks):
    sizes = [(64, 96), (64, 96)]
    model = detector(masks=masks, stages=(1, 2, 3), anchor_sizes=((16,), (32,), (64,))).train()
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    for targets in (targets_for(sizes), targets_for(sizes)[1:] * 2):  # also where nothing is shown at all
        model.zero_grad()
        losses = model(images, None, targets)["losses"]
        assert set(losses) == {"proposal_objectness", "proposal_box", "class", "box", *(["mask"] if masks else [])}
        sum(each["sum"].sum() for each in losses.values()).backward()
        without = [name for name, weight in model.named_parameters() if weight.grad is None and weight.requires_grad]
        assert without == []
        assert not model.backbone.pyramid_norms[0].weight.requires_grad


def test_a_detector_learns_where_objects_are():
    torch.manual_seed(0)
    backbone = FocalNet(small_config("srf", depths=(1, 1, 1, 1), pyramid_norms=True, num_classes=0))
    values = {**SMALL, "outputs": 1, "candidates": (30, 30), "proposals": (20, 20), "stages": (0, 1)}
    config = DetectorConfig(**values, anchor_sizes=((16,), (32,)))
    model = Detector(backbone, config, ("square",)).train()
    images = torch.zeros(2, 3, 48, 48)
    images[0, :, 8:24, 16:32], images[1, :, 20:40, 4:24] = 3.0, 3.0
    crowd, labels = torch.tensor([False]), torch.tensor([0])
    targets = [
        {"boxes": torch.tensor([box]), "labels": labels, "crowd": crowd}
        for box in ([16.0, 8, 32, 24], [4.0, 20, 24, 40])
    ]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(80):
        losses = model(images, None, targets)["losses"]
        optimizer.zero_grad()
        sum(each["sum"].sum() / each["count"].sum() for each in losses.values()).backward()
        optimizer.step()
    with torch.inference_mode():
        found = model.eval()(images)["detections"]
    for detected, target in zip(found, targets, strict=True):
        assert detected["scores"][0] > 0.5
        assert box_iou(detected["boxes"][:1], target["boxes"]) > 0.5


@pytest.mark.parametrize("bins", [7, 14])
def test_regions_and_their_gradients_are_those_of_torchvisions_kernel(bins):
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 5, 40 // 2**level, 56 // 2**level, generator=generator) for level in range(3)]
    corners = torch.rand(2, 60, 2, generator=generator) * torch.tensor([400.0, 300.0]) - 20
    sides = torch.exp(torch.randn(2, 60, 2, generator=generator)) * 120
    sides[:, :3, 0] = 0  # no width at all
    boxes = [torch.cat([corner, corner + side], 1) for corner, side in zip(corners, sides, strict=True)]
    ours = [each.clone().requires_grad_() for each in maps]
    theirs = [each.clone().requires_grad_() for each in maps]
    got = align_regions(ours, boxes, None, bins=bins, first_stride=8)
    joined = torch.cat(boxes)
    image = torch.arange(2).repeat_interleave(60)
    levels = levels_of(joined, 8, 3)
    assert set(levels.tolist()) == {0, 1, 2}
    expected = torch.zeros_like(got)
    for level, features in enumerate(theirs):
        chosen = levels == level
        regions = torch.cat([image[chosen, None].float(), joined[chosen]], 1)
        scale = 1 / (8 * 2**level)
        expected[chosen] = roi_align(features, regions, bins, scale, 0, True).permute(0, 2, 3, 1)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
    weight = torch.randn(got.shape, generator=generator)
    (got * weight).sum().backward()
    (expected * weight).sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-3, rtol=1e-3)


def test_regions_end_where_the_image_ends():
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 4, 12, 16, generator=generator)]
    boxes = [torch.tensor([[0.0, 0, 40, 36]]), torch.tensor([[10.0, 5, 64, 48], [0, 0, 64, 48]])]
    sizes = [(36, 40), (48, 64)]
    got = align_regions(maps, boxes, sizes, bins=7, first_stride=4)
    half = align_regions([maps[0].double()], [box.double() for box in boxes], sizes, bins=7, first_stride=4)
    alone = align_regions([maps[0][:1, :, :9, :10]], boxes[:1], None, bins=7, first_stride=4)
    torch.testing.assert_close(got[:1], alone)
    torch.testing.assert_close(got, half.float(), atol=1e-5, rtol=1e-5)  # by torchvision's kernel, image by image
    assert align_regions(maps, [boxes[0][:0]] * 2, None, bins=7, first_stride=4).shape == (0, 7, 7, 4)


def test_anchors_are_not_rounded():
    anchors = Anchors(((32.0,), (64.0,)), (0.5, 1.0, 2.0), (4, 8))([torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 1, 1)])
    assert [len(level) for level in anchors] == [18, 3]
    first = anchors[0].reshape(2, 3, 3, 4)[1, 2]
    middle = (first[:, :2] + first[:, 2:]) / 2
    torch.testing.assert_close(middle, torch.tensor([[8.0, 4.0]]).expand(3, 2))
    width, height = (first[:, 2:] - first[:, :2]).T
    torch.testing.assert_close(height / width, torch.tensor([0.5, 1.0, 2.0]))
    torch.testing.assert_close(width * height, torch.full((3,), 1024.0))


def test_differences_are_limited_on_both_sides():
    coder = Differences((0.1, 0.1, 0.2, 0.2))
    box = torch.tensor([[10.0, 20, 30, 60]])
    target = torch.tensor([[12.0, 18, 40, 50]])
    encoded = coder.encode_single(target, box)
    torch.testing.assert_close(coder.decode_single(encoded, box), target)
    far = coder.decode_single(torch.tensor([[0.0, 0, -1000, 1000]]), box)
    width, height = float(far[0, 2] - far[0, 0]), float(far[0, 3] - far[0, 1])
    assert width == pytest.approx(20 * 16 / 1000, rel=1e-4)
    assert height == pytest.approx(40 * 1000 / 16, rel=1e-4)


def test_suppression_keeps_to_groups_however_many_there_are(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(300, 2, generator=generator) * 50
    boxes = torch.cat([corners, corners + 10 + 20 * torch.rand(300, 2, generator=generator)], 1)
    scores, groups = torch.rand(300, generator=generator), torch.randint(0, 4, (300,), generator=generator)
    kept = suppress_within(boxes, scores, groups, 0.5)
    monkeypatch.setattr("focalnets.models.heads.boxes._MOST_SHIFTED", 1)
    assert torch.equal(kept, suppress_within(boxes, scores, groups, 0.5))
    assert len(suppress_within(boxes[:0], scores[:0], groups[:0], 0.5)) == 0


def test_objects_crowds_and_background_are_told_apart():
    objects = torch.tensor([[0.0, 0, 10, 10], [40, 40, 80, 80], [100, 0, 140, 40]])
    crowd = torch.tensor([False, True, False])
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 17], [45, 45, 60, 60], [200, 200, 210, 210], [110, 10, 130, 20]])
    found = assign_objects(boxes, objects, crowd, least=0.7, most_background=0.3, match_all=False)
    assert found.tolist() == [1, IGNORED, IGNORED, 0, 0]
    found = assign_objects(boxes, objects, crowd, least=0.7, most_background=0.3, match_all=True)
    assert found.tolist() == [1, IGNORED, IGNORED, 0, 3]
    none = assign_objects(boxes, objects[:0], crowd[:0], least=0.5, most_background=0.5, match_all=True)
    assert none.tolist() == [0] * 5


@pytest.mark.parametrize("at_random", [True, False])
def test_samples_are_balanced(at_random):
    found = torch.zeros(1000, dtype=torch.int64)
    found[::10], found[5::10] = 3, IGNORED
    objects, background = sample_balanced(found, 64, 0.25, at_random=at_random)
    assert (len(objects), len(background)) == (16, 48)
    assert set(found[objects].tolist()) == {3}
    assert set(found[background].tolist()) == {0}
    objects, background = sample_balanced(found[:30], 64, 0.25, at_random=at_random)
    assert (len(objects), len(background)) == (3, 24)


def test_a_pyramid_adds_coarser_maps():
    pyramid = FeaturePyramid((3, 5), 4, coarser=2, normalised=True)
    maps = pyramid([torch.randn(1, 3, 9, 12), torch.randn(1, 5, 5, 6)])
    assert [tuple(each.shape) for each in maps] == [(1, 4, 9, 12), (1, 4, 5, 6), (1, 4, 3, 3), (1, 4, 2, 2)]
    assert torch.equal(maps[2], maps[1][..., ::2, ::2])


def test_its_description_survives_json():
    config = detector(class_ids=(3, 7, 90)).head_config
    text = json.loads(json.dumps(config.to_dict()))
    assert DetectorConfig.from_dict(text) == config
    assert config.numbers == (3, 7, 90)
    assert DetectorConfig(outputs=2).numbers == (1, 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"outputs": 0}, "outputs must be a whole number from 1"),
        ({"outputs": 2.0}, "outputs"),
        ({"stages": (0, 2)}, "one after the other"),
        ({"stages": ()}, "at least one entry"),
        ({"anchor_sizes": ((16,), (32,))}, "as many sizes for each of the 4 stages"),
        ({"anchor_sizes": ((16,), (32, 40), (64,), (128,))}, "anchor_sizes needs"),
        ({"anchor_sizes": ((16,), (-1,), (64,), (128,))}, "anchor_sizes must be above 0"),
        ({"anchor_sizes": 3}, "anchor_sizes must be a list"),
        ({"anchor_ratios": ("high",)}, "anchor_ratios must be above 0"),
        ({"candidates": (1000,)}, "candidates must be a list of 2"),
        ({"pyramid_channels": 10**9}, "pyramid_channels must be a whole number"),
        ({"overlap": 1.5}, "overlap must be above 0"),
        ({"score_threshold": float("nan")}, "score_threshold must be from 0"),
        ({"masks": 1}, "masks must be true or false"),
        ({"class_ids": (1, 2)}, "class_ids must be a whole number for each class"),
        ({"colour": 1}, "no field 'colour'"),
        ({"kind": "yolo"}, "head of kind rcnn"),
    ],
)
def test_descriptions_of_what_cannot_be_built_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        DetectorConfig.from_dict({"outputs": 3, **changes})
    with pytest.raises(ConfigError, match="lacks outputs"):
        DetectorConfig.from_dict({})


def test_what_does_not_fit_the_backbone_is_refused():
    backbone = FocalNet(small_config("srf", pyramid_norms=True, num_classes=0))
    with pytest.raises(ConfigError, match="2 class names were given for 3"):
        Detector(backbone, DetectorConfig(outputs=3), ("a", "b"))
    with pytest.raises(ConfigError, match="stages"):
        Detector(backbone, DetectorConfig(outputs=1, stages=(3, 4), anchor_sizes=((8,), (16,))), ("a",))
    with pytest.raises(ConfigError, match="pyramid norms"):
        Detector(FocalNet(small_config("srf")), DetectorConfig(outputs=1), ("a",))


def test_options_without_weights_can_be_changed():
    model = detector()
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        many = model(images)["detections"][0]
        model.set_options(score_threshold=float(many["scores"][3]), detections=2)
        few = model(images)["detections"][0]
    assert torch.equal(few["boxes"], many["boxes"][:2])
