"""Which images an epoch holds: repeated, balanced, shared by processes, and the same however they are stored."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from focalnets.cli.main import main
from focalnets.errors import ConfigError, DataError
from focalnets.models.config import Preprocessing
from focalnets.training.config import TrainingConfig
from focalnets.training.data import training_loader
from focalnets.training.sampling import SHARDS_AT_ONCE, EpochBatches, Rank, occurrences
from focalnets.training.trainer import open_data

PREPROCESSING = Preprocessing(input_size_px=16, crop_fraction=1.0)
LABELS = [0] * 30 + [1] * 8 + [2] * 2


def epoch_of(epoch=0, **options):
    batches = EpochBatches(40, 8, 3, **options)
    batches.epoch = epoch
    return [key for batch in batches for key in batch]


def test_occurrences_are_counted():
    assert occurrences(torch.tensor([5, 2, 5, 5, 2])).tolist() == [0, 0, 1, 2, 1]


def test_repeated_images_come_in_a_batch_as_different_copies_and_seldom_side_by_side():
    batches = list(EpochBatches(40, 12, 3, repeats=3))
    keys = [key for batch in batches for key in batch]
    assert sorted(keys) == [(0, index, copy) for index in range(40) for copy in range(3)]
    assert all(len({index for _, index, _ in batch}) == 4 for batch in batches)
    neighbours = [a[1] == b[1] for batch in batches for a, b in zip(batch, batch[1:] + batch[:1], strict=True)]
    assert sum(neighbours) < len(neighbours) / 3  # two thirds in order, 2 in 11 by chance
    assert batches == list(EpochBatches(40, 12, 3, repeats=3))
    later = EpochBatches(40, 12, 3, repeats=3)
    later.first_batch = 4
    assert list(later) == batches[4:]


def test_few_images_are_passed_over_until_there_are_enough_batches():
    assert epoch_of(least=5) == epoch_of(least=1) == epoch_of()
    keys = epoch_of(least=12)  # 40 images in batches of 8: three passes give 15 batches
    assert sorted(keys) == [(0, index, copy) for index in range(40) for copy in range(3)]
    assert keys[:40] == epoch_of()
    assert [index for _, index, _ in keys[40:80]] != [index for _, index, _ in keys[:40]]
    few = list(EpochBatches(3, 8, 3, least=4))
    assert [len(batch) for batch in few] == [8] * 4
    assert sorted(Counter(index for batch in few for _, index, _ in batch).values()) == [10, 11, 11]
    later = EpochBatches(3, 8, 3, least=4)
    later.first_batch = 2
    assert list(later) == few[2:]
    assert len(EpochBatches(40, 8, 3, limit=7, least=12)) == 7
    lengths = [1, 100] * 21
    mixed = [{lengths[index] for _, index, _ in batch} for batch in EpochBatches(42, 8, 3, least=40, lengths=lengths)]
    assert sum(len(some) > 1 for some in mixed) <= 2


def test_balanced_classes_come_equally_often():
    counts = Counter(LABELS[index] for _, index, _ in epoch_of(labels=LABELS, class_balance=1.0))
    assert sorted(counts.values()) == [13, 13, 14]
    keys = epoch_of(labels=LABELS, class_balance=1.0)
    assert len(set(keys)) == 40  # copies differ
    often = Counter(index for _, index, _ in keys if LABELS[index] == 1)
    assert max(often.values()) - min(often.values()) <= 1
    assert {index for _, index, _ in keys} != {index for _, index, _ in epoch_of(1, labels=LABELS, class_balance=1.0)}
    half = Counter(LABELS[index] for _, index, _ in epoch_of(labels=LABELS, class_balance=0.5))
    assert 13 < half[0] < 30
    assert 2 < half[2] < 13


@pytest.mark.parametrize("options", [{}, {"repeats": 2}, {"least": 9}, {"labels": LABELS, "class_balance": 0.7}])
def test_shares_of_two_processes_make_the_batches_of_one(options):
    whole = list(EpochBatches(40, 8, 3, **options))
    shares = [list(EpochBatches(40, 8, 3, None, Rank(rank, 2), **options)) for rank in range(2)]
    for batch, first, second in zip(whole, *shares, strict=True):
        assert len(first) == len(second) == 4
        assert sorted(first + second) == sorted(batch)


def test_shards_are_visited_a_few_at_a_time_and_each_image_once():
    shards = [index // 4 for index in range(40)]
    keys = epoch_of(shards=shards)
    assert sorted(index for _, index, _ in keys) == list(range(40))
    visited = [shards[index] for _, index, _ in keys]
    for start in range(0, 40, 4 * SHARDS_AT_ONCE):
        assert len(set(visited[start : start + 4 * SHARDS_AT_ONCE])) <= SHARDS_AT_ONCE
    assert visited != [shards[index] for _, index, _ in epoch_of(1, shards=shards)]


def test_known_orders_never_change():
    # A run must be repeatable with a later version.
    assert [[index for _, index, _ in batch] for batch in EpochBatches(8, 4, seed=0)] == [[6, 1, 7, 5], [4, 3, 0, 2]]


@pytest.mark.parametrize(
    "field", [{"repeats": 0}, {"least_train_batches": 0}, {"class_balance": 1.5}, {"class_balance": -0.1}]
)
def test_settings_out_of_range(field):
    with pytest.raises(ConfigError, match=next(iter(field))):
        TrainingConfig(**field)


def test_folder_table_and_shards_give_identical_batches(write_coloured_images, tmp_path):
    root = write_coloured_images(tmp_path / "images", 5)
    lines = [f"{file.relative_to(root)},{file.parent.name}" for file in sorted(root.rglob("*.png"))]
    (root / "data.csv").write_text("\n".join(["path,label", *lines]))
    assert main(["shard", str(root), str(tmp_path / "shards"), "--samples_per_shard", "4"]) == 0
    config = TrainingConfig(
        batch_size=4, workers=0, repeats=2, class_balance=0.5, seed=5, settings={"augmentation": "light"}
    )
    expected = None
    for place in (root, root / "data.csv", tmp_path / "shards"):
        data = open_data(place, config)
        batches = list(training_loader(config.build_task(), data, config, PREPROCESSING))
        expected = expected or batches
        assert len(batches) == len(expected) == 6
        for batch, other in zip(batches, expected, strict=True):
            assert torch.equal(batch.inputs, other.inputs)
            assert torch.equal(batch.targets, other.targets)


def test_damaged_images_in_shards_are_named(write_coloured_images, tmp_path):
    root = write_coloured_images(tmp_path / "images", 3)
    (root / "red" / "0.png").write_bytes(b"no image")
    assert main(["shard", str(root), str(tmp_path / "shards")]) == 0
    with pytest.raises(DataError, match=r"images-000000\.tar/0000000\d\.png"):
        open_data(tmp_path / "shards", TrainingConfig())
    data = open_data(tmp_path / "shards", TrainingConfig(skip_unreadable=True))
    assert len(data.left_out) == 1
