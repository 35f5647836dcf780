"""Images put together and objects laid on others in training: places stay right, and everything can be repeated."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from focalnets.data.annotated.objects import box_around
from focalnets.errors import ConfigError
from focalnets.models.config import WholeImage
from focalnets.tasks.batch import tensors_of
from focalnets.tasks.table import build_task, settings_of
from focalnets.training.config import TrainingConfig
from focalnets.training.data import training_loader
from focalnets.training.trainer import open_data

SPEC = WholeImage(input_size_px=64)


def config_of(task, **changes):
    given = {"mosaic": 0.5, "copy_paste": 0.5, "workers": 0, "batch_size": 2, "epochs": 4, "image_size": 64, **changes}
    return TrainingConfig(task=task).replace(**given)


def batches_of(config, data, *, epoch=0, first=0):
    loader = training_loader(config.build_task(), data, config, SPEC)
    loader.load_state_dict({"epoch": epoch, "batch": first})
    return [list(tensors_of([batch.inputs, batch.targets])) for batch in loader]


def alike(one, other):
    return len(one) == len(other) and all(
        len(left) == len(right) and all(map(torch.equal, left, right)) for left, right in zip(one, other, strict=True)
    )


def test_boxes_lie_around_masks_whatever_was_mixed():
    config = config_of("instance", mosaic=1.0, copy_paste=1.0, colour_jitter=0.0)
    data, task = open_data("scenes:6", config), config.build_task()
    mixed = task.for_training(data.train, largest_size_px=64)
    prepare = task.transform(SPEC, train=True)
    torch.manual_seed(0)
    distances = []
    for index in range(len(mixed)):
        picture, target = prepare(mixed[index], index)
        assert len(target["labels"]) > 0
        for box, mask, crowd in zip(target["boxes"], target["masks"].numpy(), target["crowd"], strict=True):
            if not crowd and mask.sum() > 4:
                assert mask.shape == picture.shape[1:]
                distances.append((box - torch.tensor(box_around(mask))).abs())
    # Boxes are moved as they are, masks to whole pixels, in which what is thin gets lost where a photo shrinks.
    assert len(distances) > 10
    assert torch.stack(distances).median() < 0.75
    assert torch.stack(distances).quantile(0.95) < 2.0
    assert torch.stack(distances).max() < 6.0


def test_what_is_mixed_depends_on_seed_epoch_and_image_alone():
    config = config_of("instance")
    data = open_data("scenes:8", config)
    whole = batches_of(config, data)
    assert alike(whole, batches_of(config, data))
    assert alike(whole, batches_of(config.replace(workers=1), data))
    assert alike(whole[2:], batches_of(config, data, first=2))
    assert not alike(whole, batches_of(config, data, epoch=1))
    assert not alike(whole, batches_of(config.replace(mosaic=0.0, copy_paste=0.0), data))


def test_the_last_epochs_show_pictures_as_they_are():
    config = config_of("semantic", mosaic=1.0, copy_paste=0.0, mixing_off_epoch=2)
    data = open_data("scenes:6", config)
    plain = config.replace(mosaic=0.0, mixing_off_epoch=None)
    assert not alike(batches_of(config, data, epoch=1), batches_of(plain, data, epoch=1))
    assert alike(batches_of(config, data, epoch=2), batches_of(plain, data, epoch=2))


def test_objects_without_masks_cannot_be_pasted(tmp_path):
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "square"}]}
    for number in range(4):
        Image.new("RGB", (40, 30), (200, 40, 40)).save(tmp_path / f"{number}.png")
        content["images"].append({"id": number, "file_name": f"{number}.png", "width": 40, "height": 30})
        content["annotations"].append(
            {"id": number, "image_id": number, "category_id": 1, "bbox": [5, 5, 10, 10], "area": 100, "iscrowd": 0}
        )
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    config = config_of("detect")
    with pytest.raises(ConfigError, match="copy_paste lays objects with masks"):
        open_data(tmp_path, config)
    assert len(batches_of(config.replace(copy_paste=0.0), open_data(tmp_path, config.replace(copy_paste=0.0)))) > 0


@pytest.mark.parametrize("task", ["detect", "instance", "semantic", "panoptic"])
def test_settings(task):
    section = settings_of(task)
    assert (section().mosaic, section().copy_paste, section().mixing_off_epoch) == (0.0, 0.0, None)
    with pytest.raises(ConfigError, match="mosaic must be from 0 to 1"):
        section(mosaic=1.5)
    with pytest.raises(ConfigError, match="mixing_off_epoch must be a whole number"):
        section(mosaic=0.5, mixing_off_epoch=-1)
    with pytest.raises(ConfigError, match="mixing_off_epoch 4 has no effect"):
        config_of(task, mixing_off_epoch=4)
    with pytest.raises(ConfigError, match="mixing_off_epoch 1 has no effect"):
        config_of(task, mosaic=0.0, copy_paste=0.0, mixing_off_epoch=1)


@pytest.mark.parametrize("task", ["detect", "semantic"])
def test_cards_say_what_was_mixed(task):
    words = build_task(task, settings=settings_of(task)(mosaic=0.5, mixing_off_epoch=3)).recipe_in_words()
    assert words.endswith("mosaic 0.5 (until epoch 3), ")
