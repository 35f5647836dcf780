"""Objects and ground: segments from queries and annotations, and panoptic quality as published."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.data import dense_formats
from torchmetrics.detection import PanopticQuality

import focalnets
from focalnets.data.annotated.training import open_annotated_training
from focalnets.errors import ConfigError
from focalnets.models.config import FocalNetConfig, WholeImage
from focalnets.tasks.panoptic.metrics import PanopticMetrics, match_segments
from focalnets.tasks.panoptic.results import Panoptic
from focalnets.tasks.panoptic.segments import Segments, segments_of_annotation, segments_of_queries
from focalnets.tasks.panoptic.settings import PanopticSettings
from focalnets.tasks.panoptic.task import PanopticTask

CLASSES, STUFF = 4, frozenset({2, 3})


def drawn_segments(generator, height=24, width=30):
    """Rectangles of random classes over each other; each kind of ground once."""
    ids, labels = np.zeros((height, width), np.int32), []
    for label in (2, 3, 0, 0, 1, 1):
        top, left = generator.integers(0, height - 6), generator.integers(0, width - 6)
        labels.append(label)
        ids[top : top + generator.integers(5, 12), left : left + generator.integers(5, 14)] = len(labels)
    there = np.unique(ids[ids > 0])
    renumbered = np.zeros(len(labels) + 1, np.int32)
    renumbered[there] = range(1, len(there) + 1)
    kept = tuple(labels[number - 1] for number in there)
    return Segments(renumbered[ids], kept, (1.0,) * len(kept))


def shaken(segments, generator):
    """The same segments a few pixels away, some of another class."""
    ids = np.roll(segments.ids, generator.integers(-2, 3, 2), (0, 1))
    labels = tuple(label if generator.random() < 0.8 else (label + 1) % 2 for label in segments.labels)
    return Segments(ids, labels, segments.scores)


def test_quality_is_that_of_torchmetrics():
    generator = np.random.default_rng(4)
    ours = PanopticMetrics(CLASSES, STUFF)
    # There a pixel has a class and a number; ground has the number 0, and 9 is nothing.
    theirs = PanopticQuality(things={0, 1, 9}, stuffs={2, 3}, allow_unknown_preds_category=True, return_per_class=False)
    for _ in range(12):
        truth = drawn_segments(generator)
        answer = shaken(truth, generator)
        # Nothing of the data is left open, which the two treat alike then.
        truth = Segments(np.where(truth.ids == 0, len(truth.labels) + 1, truth.ids), (*truth.labels, 9), ())
        answer = Segments(np.where(answer.ids == 0, len(answer.labels) + 1, answer.ids), (*answer.labels, 9), ())
        known = Segments(truth.ids, tuple(0 if each == 9 else each for each in truth.labels), ())
        said = Segments(answer.ids, tuple(0 if each == 9 else each for each in answer.labels), ())
        ours.update(said, known)
        pairs = []
        for segments in (said, known):
            labels = segments.classes(0)
            numbers = np.where(np.isin(labels, (2, 3)), 0, segments.ids)
            pairs.append(torch.from_numpy(np.stack([labels, numbers], -1))[None])
        theirs.update(*pairs)
    per_class = [value for value in ours.overlap.tolist() if value]
    assert len(per_class) == CLASSES
    values = ours.compute()
    expected = quality_of_seen(theirs)
    assert float(values["pq"]) == pytest.approx(expected, abs=1e-6)


def quality_of_seen(metric):
    """Mean over the classes that occur, as ours takes it."""
    matched, spurious, missed = metric.true_positives, metric.false_positives, metric.false_negatives
    there = (matched + spurious + missed) > 0
    quality = metric.iou_sum / (matched + 0.5 * spurious + 0.5 * missed)
    return float(quality[there].mean())


def test_matches_are_told_apart():
    truth = Segments(np.array([[1, 1, 1, 2, 2, 0, 0, 0]], np.int32), (0, 1), (1.0, 1.0))
    answer = Segments(np.array([[1, 1, 2, 2, 2, 3, 3, 3]], np.int32), (0, 0, 1), (0.9, 0.8, 0.7))
    found = match_segments(answer, truth)
    assert found.pairs == ((0, 0, pytest.approx(2 / 3)),)
    assert found.spurious == (1,)  # segment 3 lies where the data says nothing
    assert found.missed == (1,)


def test_the_surest_query_takes_a_pixel_and_ground_is_one_segment():
    masks = torch.full((4, 4, 8), -9.0)
    masks[0, :, :4] = 9  # an object
    masks[1, :, 4:6] = masks[2, :, 6:] = 9  # ground in two parts
    masks[3, :, :4] = 5  # the object again, less sure
    classes = torch.full((4, CLASSES + 1), -9.0)
    classes[0, 1], classes[1, 2], classes[2, 2], classes[3, 1] = 9, 9, 8, -7
    found = segments_of_queries(classes, masks, (8, 16), stuff=STUFF)
    assert sorted(found.labels) == [1, 2]
    assert found.areas().sum() == 8 * 16
    assert len(np.unique(found.ids[:, :7])) == 1
    assert len(np.unique(found.ids[:, 9:])) == 1
    nothing = segments_of_queries(classes, masks, (8, 16), stuff=STUFF, threshold=1.0)
    assert nothing.labels == ()
    assert not nothing.ids.any()


def test_annotations_share_out_the_pixels():
    data = open_annotated_training("scenes:4", task="panoptic")
    categories = data.train.categories
    stuff = frozenset(label for label, each in enumerate(categories) if not each.thing)
    _, annotated = data.train[0]
    found = segments_of_annotation(annotated, stuff)
    assert found.areas().sum() == annotated.semantic.size
    assert (found.classes(255) == annotated.semantic).mean() > 0.99
    things = sum(not thing.crowd for thing in annotated.objects)
    assert 0 < sum(label not in stuff for label in found.labels) <= things
    for first, second in itertools.combinations([label for label in found.labels if label in stuff], 2):
        assert first != second


def test_a_perfect_answer_has_quality_one():
    truth = drawn_segments(np.random.default_rng(1))
    metrics = PanopticMetrics(CLASSES, STUFF)
    metrics.update(truth, truth)
    assert all(float(value) == 1.0 for value in metrics.compute().values())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"stuff": [9]}, "stuff must be numbers of classes from 0 to 1"),
        ({"channels": 32}, "multiple of 32 from 64 up"),
        ({"queries": 10**9}, "queries must be a whole number from 1 to 1,000"),
        ({"kind": "mlp"}, "a panoptic head is of kind mask2former"),
        ({"outputs": 3}, "3 outputs but 2 labels"),
        ({"reduce_zero_label": 1}, "reduce_zero_label must be true or false"),
    ],
)
def test_descriptions_of_heads_that_cannot_be_are_refused(change, sentence):
    pytest.importorskip("transformers")
    from focalnets.models.heads.panoptic import build_panoptic

    backbone = focalnets.FocalNet(FocalNetConfig(depths=(1, 1, 1, 1), embed_dim=8, pyramid_norms=True, num_classes=0))
    head = {"kind": "mask2former", "outputs": 2, "stuff": [], "channels": 64, "queries": 4, "layers": 2}
    assert build_panoptic(backbone, ("a", "b"), head).describe_head() == {**head, "reduce_zero_label": False}
    with pytest.raises(ConfigError, match=sentence):
        build_panoptic(backbone, ("a", "b"), {**head, **change})


def test_panoptic_files_of_coco_train_panoptic(tmp_path):
    found = dense_formats.examples()
    dense_formats.write_panoptic(tmp_path / "data", found)
    task = PanopticTask(settings=PanopticSettings(reduce_zero_label=True))
    data = task.open(tmp_path / "data", val_fraction=0.3, seed=0)
    assert "COCO panoptic" in data.description
    everything = PanopticTask().open(tmp_path / "data", val_fraction=0.3, seed=0)
    assert data.labels == everything.labels[1:]
    chosen = PanopticTask().choose_settings(everything, image_size=None)["stuff"]
    ids = [category.id for category in everything.train.categories]
    assert PanopticTask().numbers_of_classes(everything) == {"class_ids": ",".join(map(str, ids))}
    things = [category.thing for category in everything.train.categories]
    assert chosen == ",".join(str(number) for number, thing in enumerate(things) if not thing)
    suited = dataclasses.replace(PanopticTask(), settings=PanopticSettings(stuff=chosen))
    _, target = suited.transform(WholeImage(input_size_px=32), train=True)(everything.train[0], 0)
    assert len(target["masks"]) == len(target["labels"])
    assert target["semantic"].shape == target["masks"].shape[1:]


def test_segments_are_written_with_the_numbers_of_the_data(tmp_path):
    pytest.importorskip("transformers")
    backbone = focalnets.FocalNet(FocalNetConfig(depths=(1, 1, 1, 1), embed_dim=8, pyramid_norms=True, num_classes=0))
    options = {"channels": 64, "queries": 4, "decoder_layers": 2, "stuff": "1", "class_ids": "7,90"}
    task = PanopticTask(settings=PanopticSettings(**options))
    head = task.head(task.build(backbone, ("cat", "grass"), pretrained=False))
    assert head["class_ids"] == [7, 90]
    suited = PanopticTask().suited_to(task.rebuild_dense(backbone, ("cat", "grass"), head))
    assert suited.settings.ids() == (7, 90)
    found = Segments(np.repeat([1, 2], 8).reshape(4, 4).astype(np.int32), (1, 0), (0.9, 0.8))
    result = Panoptic.of_segments(
        Path("a.png"), ("cat", "grass"), found, stuff=frozenset({1}), class_ids=suited.settings.ids()
    )
    suited.write_results([result], tmp_path)
    content = json.loads((tmp_path / "panoptic.json").read_text())
    assert [info["category_id"] for info in content["annotations"][0]["segments_info"]] == [90, 7]
    assert [(each["id"], each["isthing"]) for each in content["categories"]] == [(7, 1), (90, 0)]
