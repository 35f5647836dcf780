"""What reaches the network: every image in turn, changes that depend on seed, epoch and index alone."""

from __future__ import annotations

import pytest
import torch

from focalnets.errors import DataError
from focalnets.models.config import Preprocessing
from focalnets.training.config import TrainingConfig
from focalnets.training.data import training_loader, validation_loader
from focalnets.training.sampling import EpochBatches
from focalnets.training.trainer import open_data

PREPROCESSING = Preprocessing(input_size_px=16, crop_fraction=1.0)


@pytest.fixture(scope="module")
def config():
    return TrainingConfig(batch_size=7, workers=0, settings={"augmentation": "strong"})


@pytest.fixture(scope="module")
def data(coloured_images, config):
    return open_data(coloured_images, config)


def test_an_epoch_shows_each_image_once_in_another_order():
    sampler = EpochBatches(20, 5, seed=3)
    epochs = []
    for epoch in range(2):
        sampler.epoch = epoch
        batches = list(sampler)
        assert [len(batch) for batch in batches] == [5] * 4 == [5] * len(sampler)
        assert {held for batch in batches for held, _, _ in batch} == {epoch}
        epochs.append([index for batch in batches for _, index, _ in batch])
        assert sorted(epochs[-1]) == list(range(20))
    assert epochs[0] != epochs[1]


def test_incomplete_batches_are_left_out_unless_alone():
    assert [len(batch) for batch in EpochBatches(12, 5, seed=0)] == [5, 5]
    assert [len(batch) for batch in EpochBatches(3, 5, seed=0)] == [3]
    assert len(list(EpochBatches(20, 5, seed=0, limit=2))) == 2


def test_batches_do_not_depend_on_workers_or_on_where_one_begins(data, config):
    def batches(workers, state=None):
        loader = training_loader(
            config.replace(workers=workers).build_task(), data, config.replace(workers=workers), PREPROCESSING
        )
        if state is not None:
            loader.load_state_dict(state)
        iterator = iter(loader)
        first = next(iterator)
        state = loader.state_dict()
        return [first, *iterator], state

    torch.manual_seed(0)
    expected, state = batches(0)
    torch.manual_seed(1)
    parallel, _ = batches(2)
    assert len(expected) == len(parallel) == 6
    for batch, other in zip(expected, parallel, strict=True):
        assert torch.equal(batch.inputs, other.inputs)
        assert torch.equal(batch.targets, other.targets)
    assert state == {"epoch": 0, "batch": 1}
    rest, state = batches(0, state)
    assert torch.equal(rest[0].inputs, expected[1].inputs)
    assert len(rest) == 5


def test_reading_leaves_the_random_numbers_of_the_network_alone(data, config):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    next(iter(training_loader(config.build_task(), data, config, PREPROCESSING)))
    assert torch.equal(torch.get_rng_state(), before)


def test_images_change_from_epoch_to_epoch(data, config):
    loader = training_loader(
        config.replace(batch_size=48).build_task(), data, config.replace(batch_size=48), PREPROCESSING
    )
    first = next(iter(loader)).inputs
    assert torch.equal(next(iter(loader)).inputs, first)
    loader.set_epoch(1)
    second = next(iter(loader)).inputs
    assert not torch.equal(first.sum(0), second.sum(0))


def test_validation_shows_each_image_once(data, config):
    shown = [
        label
        for batch in validation_loader(config.build_task(), data, config, PREPROCESSING)
        for label in batch.targets.tolist()
    ]
    assert shown == [label for _, label in data.val.samples]


def test_a_limited_validation_sees_every_class(data, config):
    loader = validation_loader(
        config.replace(limit_val_batches=1, batch_size=6).build_task(),
        data,
        config.replace(limit_val_batches=1, batch_size=6),
        PREPROCESSING,
    )
    assert sorted(label for batch in loader for label in batch.targets.tolist()) == [0, 0, 1, 1, 2, 2]


def test_unreadable_files_are_refused_or_left_out(write_coloured_images, tmp_path, config):
    root = write_coloured_images(tmp_path / "images", 6)
    (root / "red" / "text.jpg").write_text("no image")
    whole = (root / "red" / "0.png").read_bytes()
    (root / "red" / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"1 of 20 images .*text\.jpg.*--skip_unreadable"):
        open_data(root, config)
    data = open_data(root, config.replace(skip_unreadable=True))
    assert sorted(file.rpartition("/")[2] for file, _ in data.left_out) == ["cut.png", "text.jpg"]
    assert len(data.train) + len(data.val) == 18


def test_fingerprint_tells_other_images(write_coloured_images, tmp_path, config):
    root = write_coloured_images(tmp_path / "images", 4)
    before = open_data(root, config).fingerprint
    assert open_data(root, config).fingerprint == before
    (root / "red" / "0.png").write_bytes((root / "blue" / "1.png").read_bytes())
    assert open_data(root, config).fingerprint != before
