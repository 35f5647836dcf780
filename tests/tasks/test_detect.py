"""Finding objects: what is chosen for data, what counts as found, results in files, and settings that are refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.tasks.squares import write_squares

from focalnets.data.annotated.encoded_masks import EncodedMask
from focalnets.data.checks.anchors import ObjectSizes, choose_anchors, choose_image_size, fit_of_anchors
from focalnets.errors import ConfigError
from focalnets.models.config import WholeImage
from focalnets.models.heads.table import DENSE_NETWORKS
from focalnets.tasks.detect.matching import (
    CORRECT,
    DOUBLED,
    PASSED_OVER,
    SPURIOUS,
    WRONG_CLASS,
    ObjectCounts,
    match,
)
from focalnets.tasks.detect.metrics import AveragePrecision
from focalnets.tasks.detect.networks import stages_of
from focalnets.tasks.detect.results import DetectedObject, Detections
from focalnets.tasks.detect.run_lengths import drawn_in_box, encode_mask, encode_part, text_of_runs
from focalnets.tasks.detect.settings import DetectSettings
from focalnets.tasks.detect.task import Detect
from focalnets.tasks.instance.task import Instance


def boxes_of(*boxes):
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)


def test_what_detections_are():
    objects = boxes_of([0, 0, 10, 10], [20, 20, 40, 40], [50, 50, 90, 90])
    classes, crowd = torch.tensor([0, 1, 0]), torch.tensor([False, False, True])
    found = boxes_of([0, 0, 10, 9], [0, 0, 9, 10], [20, 20, 40, 39], [60, 60, 70, 70], [70, 0, 80, 10])
    matched = match(found, torch.tensor([0, 0, 0, 0, 1]), objects, classes, crowd)
    assert matched.kinds.tolist() == [CORRECT, DOUBLED, WRONG_CLASS, PASSED_OVER, SPURIOUS]
    assert matched.objects.tolist() == [0, 0, 1, -1, -1]
    assert matched.missed.tolist() == [False, True, False]
    nothing = match(boxes_of(), torch.zeros(0, dtype=torch.int64), objects, classes, crowd)
    assert nothing.missed.tolist() == [True, True, False]
    alone = match(found, torch.zeros(5, dtype=torch.int64), boxes_of(), classes[:0], crowd[:0])
    assert set(alone.kinds.tolist()) == {SPURIOUS}


def test_counts_begin_at_a_score():
    counts = ObjectCounts(2, 0.5)
    known = {"boxes": boxes_of([0, 0, 10, 10], [20, 20, 40, 40]), "labels": torch.tensor([0, 1]),
             "crowd": torch.tensor([False, False])}  # fmt: skip
    found = {"boxes": boxes_of([0, 0, 10, 10], [20, 20, 40, 40], [60, 60, 70, 70]),
             "scores": torch.tensor([0.9, 0.4, 0.8]), "labels": torch.tensor([0, 1, 1])}  # fmt: skip
    counts.update([found], [known])
    assert {name: float(value) for name, value in counts.compute().items()} == {
        "missed": 1, "spurious": 1, "doubled": 0,
    }  # fmt: skip
    assert counts.correct.tolist() == [1, 0]


def random_masks(generator, count, height=40, width=50):
    masks = np.zeros((count, height, width), dtype=bool)
    for mask in masks:
        left, top = generator.integers(0, width - 12), generator.integers(0, height - 12)
        mask[top : top + generator.integers(3, 12), left : left + generator.integers(3, 12)] = True
        mask &= generator.random(mask.shape) < 0.9
    return masks


def box_of(mask):
    rows, columns = np.nonzero(mask)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_average_precision_is_that_of_torchmetrics_on_whole_masks():
    from torchmetrics.detection import MeanAveragePrecision

    generator = np.random.default_rng(0)
    ours = AveragePrecision(masks=True, detections=100)
    theirs = MeanAveragePrecision(iou_type=("bbox", "segm"), class_metrics=True, backend="faster_coco_eval")
    for _ in range(6):
        known, found = random_masks(generator, 5), random_masks(generator, 4)
        found[:3] = known[:3] & (generator.random(known[:3].shape) < 0.95)
        labels = torch.from_numpy(generator.integers(0, 2, 5))
        named = torch.cat([labels[:3], torch.tensor([1])])
        crowd = torch.tensor([False, False, False, False, True])
        scores = torch.from_numpy(generator.random(4)).float()
        boxes, areas = boxes_of(*map(box_of, known)), torch.tensor([float(mask.sum()) for mask in known])
        prediction = {"boxes": boxes_of(*map(box_of, found)), "scores": scores, "labels": named}
        target = {"boxes": boxes, "labels": labels, "area": areas}
        ours.update([prediction | {"masks": list(map(encode_mask, found))}],
                    [target | {"crowd": crowd, "masks": list(map(encode_mask, known))}])  # fmt: skip
        theirs.update([prediction | {"masks": torch.from_numpy(found)}],
                      [target | {"iscrowd": crowd.long(), "masks": torch.from_numpy(known)}])  # fmt: skip
    expected, figures = theirs.compute(), {name: float(value) for name, value in ours.compute().items()}
    for name, other in (("map", "bbox_map"), ("map50", "bbox_map_50"), ("mask_map", "segm_map"),
                        ("mask_map75", "segm_map_75"), ("mask_map_small", "segm_map_small")):  # fmt: skip
        assert figures[name] == pytest.approx(float(expected[other]), abs=1e-6)
    assert 0 < figures["mask_map"] < 1
    by_class = ours.by_class(3)
    assert by_class["map"][:2] == pytest.approx(expected["bbox_map_per_class"].tolist(), abs=1e-6)
    assert by_class["mask_map50"][2] is None


def test_average_precision_of_data_without_objects_is_zero():
    metric = AveragePrecision(masks=False, detections=100)
    empty = {"boxes": boxes_of(), "labels": torch.zeros(0, dtype=torch.int64), "crowd": torch.zeros(0).bool(),
             "area": torch.zeros(0)}  # fmt: skip
    metric.update(
        [{"boxes": boxes_of([0, 0, 4, 4]), "scores": torch.ones(1), "labels": torch.zeros(1).long()}], [empty]
    )
    assert set(map(float, metric.compute().values())) == {0.0}
    assert metric.by_class(2) == {"map": [None, None], "map50": [None, None]}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_run_lengths_are_those_of_coco(share):
    drawing = pytest.importorskip("pycocotools.mask")
    generator = np.random.default_rng(1)
    for height, width in ((1, 1), (7, 5), (30, 41), (3, 700)):
        mask = generator.random((height, width)) < share
        mask[:, : width // 3] |= share > 0.5  # columns that are full
        encoded = encode_mask(mask)
        assert np.array_equal(encoded.decode(), mask)
        theirs = drawing.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
        assert text_of_runs(encoded.runs).encode() == theirs
        part = encode_part(mask[height // 2 :, width // 3 :], width // 3, height // 2, (width, height)).decode()
        assert np.array_equal(part[height // 2 :, width // 3 :], mask[height // 2 :, width // 3 :])
        assert not part[: height // 2].any()
        assert not part[:, : width // 3].any()


def test_masks_are_drawn_in_their_boxes_as_published():
    from tests.weights.published_detector import paste

    generator = torch.Generator().manual_seed(0)
    size, wrong, pixels = (90, 70), 0, 0
    for _ in range(20):
        rough = torch.rand(1, 1, 28, 28, generator=generator)
        mask = torch.nn.functional.avg_pool2d(rough, 5, 1, 2)[0, 0]
        corners = torch.rand(2, 2, generator=generator).sort(0)[0] * torch.tensor([100.0, 80.0]) - 5
        box = corners.flatten()
        got = drawn_in_box(mask, box, size).decode()
        expected = paste(mask[None].numpy(), box[None].numpy(), size[::-1])[0]
        wrong, pixels = wrong + int((got != expected).sum()), pixels + got.size
    assert wrong <= 1e-4 * pixels
    assert not drawn_in_box(mask, torch.tensor([200.0, 200, 220, 220]), size).decode().any()
    assert not drawn_in_box(mask, torch.tensor([10.0, 10, 10, 30]), size).decode().any()


def test_sizes_and_anchors_fit_the_objects():
    generator = np.random.default_rng(0)
    large = np.exp(generator.normal(np.log(100), 0.2, (300, 2)))
    small = np.exp(generator.normal(np.log(36), 0.2, (10, 2))) * [1, 2]
    photos = np.array([[640, 480]] * 310)
    objects = ObjectSizes(np.concatenate([large, small]), photos, np.array([0] * 300 + [1] * 10))
    for side, expected in ((200.0, 256), (40.0, 288), (28.0, 416), (2.0, 480)):
        alike = dataclasses.replace(objects, boxes=np.full((310, 2), side))
        assert choose_image_size(alike, 256) == expected
    seen = objects.as_seen(WholeImage(input_size_px=240))
    np.testing.assert_allclose(seen, objects.boxes / 2)
    sizes, ratios = choose_anchors(seen, objects.weights(), 3)
    usual = fit_of_anchors(seen, objects.weights(), (32, 64, 128), (0.5, 1.0, 2.0))
    assert fit_of_anchors(seen, objects.weights(), sizes, ratios) > usual
    assert list(ratios) == sorted(ratios)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"anchor_sizes": "24,high"}, "anchor_sizes must be numbers"),
        ({"anchor_sizes": "24,-3"}, "anchor_sizes must be numbers"),
        ({"anchor_ratios": "0"}, "anchor_ratios must be numbers"),
        ({"class_ids": "1,1"}, "class_ids must be different"),
        ({"class_ids": "1,a"}, "class_ids must be different"),
        ({"score_threshold": 1.5}, "score_threshold must be"),
        ({"overlap": 0.0}, "overlap must be above 0"),
        ({"detections": 0}, "detections must be a whole number"),
        ({"proposals": 0}, "proposals must be a whole number"),
        ({"frozen_stages": -1}, "frozen_stages"),
    ],
)
def test_settings_out_of_range_are_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        DetectSettings(**values)


def test_settings_as_text():
    settings = DetectSettings(anchor_sizes="16+24, 32+48", anchor_ratios="0.5,1", class_ids="3,7")
    assert settings.sizes() == ((16.0, 24.0), (32.0, 48.0))
    assert settings.ratios() == (0.5, 1.0)
    assert settings.ids() == (3, 7)


def test_classes_keep_the_numbers_of_the_data_and_anchors_are_chosen(tmp_path):
    task = Detect(model="fasterrcnn_focalnet_pico")
    data = task.open(write_squares(tmp_path / "squares"), val_fraction=0.2, seed=0)
    chosen = task.choose_settings(data, image_size=None)
    assert chosen["class_ids"] == "3,7"
    assert chosen["image_size"] == 256
    assert len(chosen["anchor_sizes"].split(",")) == 4
    published = Detect(model="fasterrcnn_focalnet_tiny_lrf")
    assert published.choose_settings(data, image_size=None) == {"class_ids": "3,7"}
    fixed = Detect(model="fasterrcnn_focalnet_pico", settings=DetectSettings(anchor_sizes="8,16,32", class_ids="1,2"))
    assert fixed.choose_settings(data, image_size=64) == {}


def test_rows_of_the_table_fit_their_tasks():
    for name, row in DENSE_NETWORKS.items():
        if row.task in ("detect", "instance"):
            task = {"detect": Detect, "instance": Instance}[row.task](model=name)
            settings = task.chosen()
            assert set(row.head) <= set(settings)
            assert stages_of(task.settings, settings) in (None, (1, 2, 3))


def detections():
    mask = EncodedMask(20, 30, np.array([45, 10, 545], dtype=np.uint32))
    objects = (
        DetectedObject(
            class_name="cat", class_index=0, class_id=17, score=0.9, box=(1.0, 2.0, 11.0, 12.0), mask_data=mask
        ),
        DetectedObject(class_name="dog", class_index=1, class_id=90, score=0.3, box=(5.0, 5.0, 20.0, 15.0)),
    )
    return Detections(path=Path("000000000139.jpg"), size=(30, 20), class_names=("cat", "dog"), objects=objects)


def test_results_as_coco_has_them(tmp_path):
    result = detections()
    assert Detect().write_results([result], tmp_path) == ["coco_results.json"]
    first, second = json.loads((tmp_path / "coco_results.json").read_text())
    assert first["image_id"] == 139
    assert (first["category_id"], first["bbox"]) == (17, [1.0, 2.0, 10.0, 10.0])
    assert first["segmentation"]["size"] == [20, 30]
    assert "segmentation" not in second
    assert json.loads(json.dumps(result.to_dict()))["objects"][1]["class_id"] == 90
    assert result.objects[0].area_px == 10
    assert result.objects[0].mask.sum() == 10
    assert result.objects[1].area_px == 150


def test_tables_and_pictures_of_results():
    result = detections()
    nothing = dataclasses.replace(result, objects=())
    heading, rows = Detect().result_table([result, nothing])
    assert [row[1] for row in rows] == ["cat", "dog", None]
    assert len(heading) == len(rows[2])
    assert list(Detect().row(result).values())[1:] == ["1 cat", 0.9]
    assert list(Detect(shown_from=0.2).row(result).values())[1] == "1 cat, 1 dog"
    photo = Image.new("RGB", (30, 20), (128, 128, 128))
    drawn = Detect().draw(photo, result)
    assert drawn.size == photo.size
    assert np.any(np.asarray(drawn) != np.asarray(photo))
    assert np.array_equal(np.asarray(Detect().draw(photo, nothing)), np.asarray(photo))
    with pytest.raises(ConfigError, match="shown_from"):
        Detect(shown_from=2)
