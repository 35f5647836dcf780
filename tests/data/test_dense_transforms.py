"""Annotated photos as networks take them: boxes, masks and maps follow the picture; padding; pictures of several."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from focalnets.data.annotated.images import IGNORED
from focalnets.data.annotated.objects import box_around
from focalnets.data.annotated.training import open_annotated_training
from focalnets.data.dense.batches import collate_padded
from focalnets.data.dense.mixing import MixedData, copy_paste, four_in_one
from focalnets.data.dense.transforms import DenseAugmentation, DenseTransform
from focalnets.data.dense.windows import Window
from focalnets.errors import ConfigError
from focalnets.models.config import WholeImage


@pytest.fixture(scope="module")
def scenes():
    return open_annotated_training("scenes:8", task="panoptic", val_fraction=0.2).train


def test_evaluation_keeps_everything_in_its_place(scenes):
    item = scenes[0]
    picture, target = DenseTransform(WholeImage(input_size_px=96), masks=True, semantic=True)(item, 5)
    assert picture.shape == (3, 96, 96)
    assert picture.dtype == torch.float32
    assert target["image_id"] == 5
    assert target["size"].tolist() == [192, 192]
    assert target["scale"].tolist() == [0.5, 0.5]
    assert torch.allclose(target["boxes"] * 2, torch.as_tensor(item[1].boxes))
    assert target["labels"].tolist() == item[1].labels.tolist()
    assert target["area"].tolist() == [float(thing.mask.sum()) for thing in item[1].objects]
    assert (target["semantic"].numpy() == item[1].semantic[1::2, 1::2]).all()
    for thing, mask in zip(item[1].objects, target["masks"], strict=True):
        assert (mask.numpy() == thing.mask[1::2, 1::2]).all()


def test_random_changes_move_boxes_masks_and_maps_alike(scenes):
    torch.manual_seed(0)
    change = DenseAugmentation(scale=(0.5, 2.0), crop_px=(80, 112), vertical_flip=0.5, colour_jitter=0.3)
    transform = DenseTransform(WholeImage(input_size_px=128), change, masks=True, semantic=True)
    seen = 0
    for _ in range(6):
        for number in range(len(scenes)):
            picture, target = transform(scenes[number], number)
            height, width = picture.shape[1:]
            assert height <= 80
            assert width <= 112
            assert target["semantic"].shape == (height, width)
            for box, mask, label, crowd in zip(
                target["boxes"], target["masks"], target["labels"], target["crowd"], strict=True
            ):
                assert mask.any() or crowd
                if not crowd:
                    seen += 1
                    assert lies_in(mask.numpy(), box.tolist())
                    assert set(target["semantic"][mask].tolist()) == {int(label)}
    assert seen > 50


def lies_in(mask, box):
    """Whether a mask fills its box, up to a pixel on each side and tips that are thinner than a pixel."""
    left, top, right, bottom = box_around(mask)
    inside = left >= box[0] - 1 and top >= box[1] - 1 and right <= box[2] + 1 and bottom <= box[3] + 1
    return inside and max(left - box[0], top - box[1], box[2] - right, box[3] - bottom) <= 4


def test_equal_random_numbers_give_equal_items(scenes):
    transform = DenseTransform(WholeImage(input_size_px=96), DenseAugmentation(scale=(0.5, 2.0), crop_px=(64, 64)))
    items = []
    for _ in range(2):
        torch.manual_seed(3)
        items.append(transform(scenes[1], 1))
    assert (items[0][0] == items[1][0]).all()
    assert (items[0][1]["boxes"] == items[1][1]["boxes"]).all()


@pytest.mark.parametrize(
    "wrong", [{"scale": (0.0, 1.0)}, {"scale": (2.0, 1.0)}, {"crop_px": (0, 5)}, {"horizontal_flip": 2.0}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError):
        DenseAugmentation(**wrong)


def test_windows_take_the_pixels_in_the_middle():
    numbers = np.arange(24).reshape(4, 6)
    assert Window(0, 0, 6, 4, (3, 2)).of_map(numbers).tolist() == [[7, 9, 11], [19, 21, 23]]
    assert Window(2, 1, 2, 2, (2, 2), mirrored=True).of_map(numbers).tolist() == [[9, 8], [15, 14]]
    assert Window(2, 1, 2, 2, (2, 2), upside_down=True).of_map(numbers).tolist() == [[14, 15], [8, 9]]
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [5.0, 0.0, 6.0, 1.0], [3.0, 3.0, 3.0, 3.0]])
    assert Window(2, 0, 2, 4, (2, 4)).visible(boxes).tolist() == [0.5, 0.0, 0.0]


def test_batches_are_padded_with_a_mask():
    items = [(torch.ones(3, 40, 64), "a"), (torch.ones(3, 64, 50), "b")]
    inputs, targets, mask = collate_padded(items)
    assert inputs.shape == (2, 3, 64, 64)
    assert targets == ["a", "b"]
    assert mask.sum(dim=(1, 2)).tolist() == [40 * 64, 64 * 50]
    assert (inputs.mean(dim=1).bool() == mask).all()
    whole, _, none = collate_padded([(torch.ones(3, 64, 32), "a")] * 2)
    assert none is None
    assert whole.shape == (2, 3, 64, 32)


def test_four_in_one_keeps_maps_and_masks_together(scenes):
    torch.manual_seed(1)
    picture, mixed = four_in_one([scenes[number] for number in range(4)])
    assert picture.size == mixed.size == (192, 192)
    assert not (mixed.semantic == IGNORED).any()
    assert len(mixed.objects) > 4
    for thing in mixed.objects:
        mask = thing.mask
        if mask.any():
            assert set(mixed.semantic[mask].tolist()) == {thing.label}
            assert lies_in(mask, thing.box_xyxy)


def test_pasted_objects_hide_what_is_below(scenes):
    torch.manual_seed(2)
    before = scenes[0][1]
    picture, mixed = copy_paste(scenes[0], scenes[3])
    assert len(mixed.objects) > 0
    assert (np.asarray(picture) != np.asarray(scenes[0][0])).any()
    assert (np.asarray(scenes[0][0]) == np.asarray(before.image)).all()
    total = np.zeros((192, 192), int)
    for thing in mixed.objects:
        total += thing.mask
        assert set(mixed.semantic[thing.mask].tolist()) == {thing.label}
        assert thing.box_xyxy == pytest.approx(box_around(thing.mask))
    assert total.max() == 1


def test_mixed_data_are_data(scenes):
    torch.manual_seed(0)
    mixed = MixedData(scenes, mosaic=1.0, copy_paste=1.0)
    assert len(mixed) == len(scenes)
    picture, annotated = mixed[2]
    assert picture.size == annotated.size
    plain = MixedData(scenes)
    assert (np.asarray(plain[2][0]) == np.asarray(scenes[2][0])).all()
    with pytest.raises(ConfigError, match="mosaic is a probability"):
        MixedData(scenes, mosaic=1.5)
