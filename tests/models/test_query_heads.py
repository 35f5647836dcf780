"""Heads of queries from transformers: images alone and in a batch, what learns, and descriptions that are refused."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

import focalnets
from focalnets.errors import ConfigError
from focalnets.models.config import FocalNetConfig
from focalnets.models.heads.mask_query_detector import MaskQueryDetector
from focalnets.models.heads.query_config import QueryHeadConfig
from focalnets.models.heads.query_detector import QueryDetector

pytest.importorskip("transformers")

SMALL = {
    "rtdetr": {"channels": 32, "queries": 30, "layers": 2},
    "dfine": {"channels": 32, "queries": 30, "layers": 2},
    "mask2former": {"channels": 64, "queries": 8, "layers": 2, "stages": (0, 1, 2, 3)},
}
KINDS = tuple(SMALL)


def backbone():
    fields = {"depths": (1, 1, 1, 1), "focal_levels": (2, 2, 2, 2), "embed_dim": 8, "num_classes": 0}
    return focalnets.FocalNet(FocalNetConfig(pyramid_norms=True, **fields))


def network(kind, **changes):
    torch.manual_seed(0)
    values = {"kind": kind, "outputs": 2, "score_threshold": 0.0, **SMALL[kind], **changes}
    config = QueryHeadConfig(**values)
    return (MaskQueryDetector if config.masks else QueryDetector)(backbone(), config, ("cat", "dog"))


def target(boxes, labels, crowd=(), size=(64, 96)):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(), strict=True):
        mask[top:bottom, left:right] = True
    flags = torch.tensor(crowd or [False] * len(boxes), dtype=torch.bool)
    return {"boxes": boxes, "labels": torch.tensor(labels, dtype=torch.int64), "crowd": flags, "masks": masks}


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_gets_the_same_alone_and_in_a_padded_batch(kind):
    model = network(kind).eval()
    images = [torch.randn(3, 64, 96), torch.randn(3, 96, 37), torch.randn(3, 20, 20)]
    known = [target([[2, 2, 17, 18]], [1], size=tuple(image.shape[1:])) for image in images]
    padded, mask = torch.zeros(3, 3, 96, 96), torch.zeros(3, 96, 96, dtype=torch.bool)
    for number, image in enumerate(images):
        padded[number, :, : image.shape[1], : image.shape[2]] = image
        mask[number, : image.shape[1], : image.shape[2]] = True
    with torch.inference_mode():
        together = model(padded, mask, known)
        for number, image in enumerate(images):
            # Alone it is padded up to a multiple of 32 too, as the task does it.
            sides = [-(-side // 32) * 32 for side in image.shape[1:]]
            alone_mask = torch.zeros(1, *sides, dtype=torch.bool)
            alone_mask[0, : image.shape[1], : image.shape[2]] = True
            canvas = F.pad(image, (0, sides[1] - image.shape[2], 0, sides[0] - image.shape[1]))[None]
            alone = model(canvas, alone_mask, known[number : number + 1])
            one, other = alone["detections"][0], together["detections"][number]
            torch.testing.assert_close(one["scores"], other["scores"], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(one["boxes"], other["boxes"], atol=1e-2, rtol=1e-4)
            assert one["boxes"][:, 2].max() <= image.shape[2]
            assert one["boxes"][:, 3].max() <= image.shape[1]
            for name, judged in alone["losses"].items():
                torch.testing.assert_close(
                    judged["sum"][0], together["losses"][name]["sum"][number], atol=1e-4, rtol=1e-3
                )


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_that_learns_gets_a_gradient(kind):
    model = network(kind).train()
    empty, crowd = target([], []), target([[0, 0, 40, 40], [50, 20, 90, 60]], [0, 1], [True, False])
    for known in ([empty, empty], [empty, crowd]):
        model.zero_grad()
        losses = model(torch.randn(2, 3, 64, 96), None, known)["losses"]
        assert all(judged["count"].tolist() == [1] for judged in losses.values())
        sum(judged["sum"].sum() for judged in losses.values()).backward()
        without = [name for name, each in model.named_parameters() if each.requires_grad and each.grad is None]
        assert not [name for name in without if not _needs_objects(name, known)]


def _needs_objects(name, known):
    """Boxes and masks are learnt from objects alone."""
    return not any(len(each["labels"]) for each in known) and "class" not in name


@pytest.mark.parametrize("kind", ["rtdetr", "dfine"])
def test_an_object_is_learnt(kind):
    model = network(kind).train()
    image = torch.zeros(1, 3, 64, 96)
    image[:, :, 16:48, 20:60] = 2.0
    known = [target([[20, 16, 60, 48]], [1])]
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    wrong = []
    for _ in range(30):
        torch.manual_seed(1)  # The same noise each time.
        optimizer.zero_grad()
        losses = {name: judged["sum"].sum() for name, judged in model(image, None, known)["losses"].items()}
        sum(losses.values()).backward()
        optimizer.step()
        wrong.append(sum(losses.values()).item())
    assert min(wrong[-5:]) < 0.97 * wrong[0]


def test_masks_of_queries_become_objects():
    model = network("mask2former").eval()
    drawn = torch.full((8, 16, 24), -9.0)
    drawn[3, 4:12, 5:15] = 9.0
    classes = torch.full((8, 3), 0.0)
    classes[:, 2] = 9.0
    classes[3] = torch.tensor([9.0, 0.0, 0.0])
    found = model._detections(classes, drawn, (64, 95))
    assert found["labels"][0] == 0
    assert found["scores"][0] > 0.99
    torch.testing.assert_close(found["boxes"][0], torch.tensor([20.0, 16.0, 60.0, 48.0]))
    assert found["whole_masks"].shape[1:] == (16, 24)


def test_descriptions_of_heads():
    config = QueryHeadConfig(kind="dfine", outputs=2, class_ids=(3, 90))
    assert QueryHeadConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.numbers == (3, 90)
    assert (config.channels, config.queries, config.layers) == (256, 300, 6)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "detr"}, "There is no head"),
        ({"kind": "mask2former", "channels": 32, "stages": (0, 1, 2, 3)}, "multiple of 32 from 64 up, got 32"),
        ({"kind": "mask2former", "channels": 64}, "Mask2Former stands on the stages 0 to 3"),
        ({"channels": 40}, "multiple of 16"),
        ({"queries": 0}, "queries must be a whole number"),
        ({"queries": 10**9}, "queries must be a whole number from 1 to 10,000"),
        ({"layers": 1}, "at least 2"),
        ({"stages": (1, 3)}, "one after the other"),
        ({"stages": (2,)}, "at least two"),
        ({"class_ids": (1,)}, "class_ids"),
        ({"score_threshold": float("nan")}, "score_threshold"),
        ({"colour": 1}, "no field"),
    ],
)
def test_descriptions_that_cannot_be_are_refused(change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        QueryHeadConfig.from_dict({"kind": "rtdetr", "outputs": 2, **change})
