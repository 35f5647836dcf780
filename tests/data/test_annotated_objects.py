"""Objects of annotated images: boxes, masks, categories and crowds of every layout, and moving them together."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.annotated_files import box, coco, mask_folders, mask_image, photo
from torchvision import tv_tensors
from torchvision.ops import masks_to_boxes
from torchvision.transforms import v2

from focalnets.data.annotated import images as images_module
from focalnets.data.annotated import polygons as polygons_module
from focalnets.data.annotated.coco import annotation_mask, open_coco
from focalnets.data.annotated.encoded_masks import encode_segmentation
from focalnets.data.annotated.images import AnnotatedImage
from focalnets.data.annotated.objects import (
    AnnotatedObject,
    Category,
    box_around,
    boxes_around_numbers,
    filled_box,
    turned_box,
    turned_mask,
)
from focalnets.data.annotated.open import open_annotated_images
from focalnets.data.annotated.polygons import PolygonMask
from focalnets.data.scenes.generator import DISTRACTOR_CLASSES, SCENE_CLASSES
from focalnets.data.scenes.writing import run_lengths
from focalnets.errors import DataError

SQUARE = [2, 1, 7, 1, 7, 5, 2, 5]


@pytest.fixture
def gaps(tmp_path):
    """Three images, the last one without objects; categories whose ids leave gaps, not in their order."""
    for name in "abc":
        photo(tmp_path / f"{name}.png")
    return coco(
        tmp_path / "a.json",
        [(31, "a.png", 12, 8), (7, "b.png", 12, 8), (90, "c.png", 12, 8)],
        [
            {"id": 1, "image_id": 31, "category_id": 44, "bbox": [2, 1, 5, 4], "segmentation": [SQUARE], "area": 20.5},
            {"id": 2, "image_id": 7, "category_id": 3, "bbox": [4.5, 2, 3, 4], "iscrowd": 0},
            {
                "id": 3, "image_id": 31, "category_id": 3, "bbox": [0, 0, 3, 8], "iscrowd": 1,
                "segmentation": run_lengths(box(0, 0, 3, 8).astype(bool)),
            },
        ],
        [(44, "cat", "animal"), (3, "car", "thing"), (17, "boat", "thing")],
    )  # fmt: skip


def test_coco_objects_keep_what_the_file_says(gaps):
    found = open_annotated_images(gaps, everything=True)
    assert [(category.id, category.name) for category in found.categories] == [(3, "car"), (17, "boat"), (44, "cat")]
    assert list(found.names) == ["a.png", "b.png", "c.png"]
    first, second, empty = found
    cat, crowd = first.objects
    assert (cat.label, cat.category, cat.crowd, cat.area_px) == (2, Category(44, "cat", "animal"), False, 20.5)
    assert (crowd.label, crowd.category.id, crowd.crowd, crowd.area_px) == (0, 3, True, None)
    assert (cat.mask == box(2, 1, 7, 5).astype(bool)).all()
    assert (crowd.mask == box(0, 0, 3, 8).astype(bool)).all()
    assert first.boxes.tolist() == [[2, 1, 7, 5], [0, 0, 3, 8]]
    assert first.labels.tolist() == [2, 0]
    assert first.crowd.tolist() == [False, True]
    assert first.has_mask.tolist() == [True, True]
    assert (first.masks.numpy() == np.stack([cat.mask, crowd.mask])).all()
    assert (first.mask == (cat.mask | crowd.mask)).all()
    assert second.objects[0].mask is None
    assert second.has_mask.tolist() == [False]
    assert second.boxes.tolist() == [[4.5, 2, 7.5, 6]]
    assert (second.masks[0].numpy() == box(4, 2, 7, 6)).all()
    assert (tuple(empty.boxes.shape), tuple(empty.masks.shape)) == ((0, 4), (0, 8, 12))
    assert not empty.mask.any()
    for image in (first, second, empty):
        assert image.boxes.dtype == torch.float32
        assert image.boxes.format is tv_tensors.BoundingBoxFormat.XYXY
        assert image.boxes.canvas_size == (8, 12)
        assert (image.masks.dtype, image.labels.dtype, image.crowd.dtype) == (torch.bool, torch.int64, torch.bool)


def test_a_category_is_a_view_with_the_labels_of_the_whole(gaps):
    cars = open_annotated_images(gaps, category="Car")
    assert list(cars.names) == ["a.png", "b.png"]
    assert [image.labels.tolist() for image in cars] == [[0], [0]]
    assert len(cars.categories) == 3
    things = open_annotated_images(gaps, category="thing", everything=True)
    assert [len(image.objects) for image in things] == [1, 1, 0]
    assert list(open_annotated_images(gaps).names) == ["a.png", "b.png"]


def test_categories_that_are_not_listed_are_named_by_their_id(tmp_path):
    photo(tmp_path / "a.png")
    things = [{"image_id": 1, "bbox": [1, 1, 2, 2], "category_id": identity} for identity in (9, "x", 2, 9)]
    things.append({"image_id": 1, "bbox": [1, 1, 2, 2]})
    found = open_coco(coco(tmp_path / "a.json", [(1, "a.png", 12, 8)], things, ()))
    assert [(each.id, each.name) for each in found.categories] == [(2, "2"), (9, "9"), ("x", "x"), (None, "object")]
    assert found[0].labels.tolist() == [1, 2, 0, 1, 3]


def test_boxes_come_from_masks_where_they_are_not_given(tmp_path):
    photo(tmp_path / "a.png")
    shapes = [[[2.5, 1, 7, 1, 7, 5.25]], run_lengths(box(3, 2, 6, 7).astype(bool)), [[-3, -3, 50, -3, 50, 50]]]
    things = [{"image_id": 1, "category_id": 1, "segmentation": shape} for shape in shapes]
    found = open_coco(coco(tmp_path / "a.json", [(1, "a.png", 12, 8)], things))
    assert found[0].boxes.tolist() == [[2.5, 1, 7, 5.25], [3, 2, 6, 7], [0, 0, 12, 8]]


def test_flip_and_resize_move_image_boxes_and_masks_together(gaps):
    image = open_annotated_images(gaps)[0]
    sample = image.sample()
    assert set(sample) == {"image", "boxes", "labels", "crowd", "masks", "has_mask"}
    assert set(image.sample(masks=False)) == {"image", "boxes", "labels", "crowd"}
    flipped = v2.RandomHorizontalFlip(p=1.0)(sample)
    assert (np.asarray(flipped["image"]) == np.asarray(image.image)[:, ::-1]).all()
    assert flipped["boxes"].tolist() == [[5, 1, 10, 5], [9, 0, 12, 8]]
    assert (flipped["masks"].numpy() == image.masks.numpy()[:, :, ::-1]).all()
    both = v2.Compose([v2.RandomHorizontalFlip(p=1.0), v2.Resize((16, 36)), v2.ToImage()])(sample)
    assert tuple(both["image"].shape) == (3, 16, 36)
    assert tuple(both["masks"].shape) == (2, 16, 36)
    assert both["masks"].dtype == torch.bool
    assert both["boxes"].canvas_size == (16, 36)
    assert both["boxes"].tolist() == [[15, 2, 30, 10], [27, 0, 36, 16]]
    assert (masks_to_boxes(both["masks"]) + torch.tensor([0, 0, 1, 1]) == both["boxes"]).all()
    assert both["labels"].tolist() == [2, 0]
    assert both["crowd"].tolist() == [False, True]


@pytest.mark.parametrize("ending", ["jpg", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_and_masks_follow_turned_photos(tmp_path, orientation, ending):
    photo(tmp_path / f"a.{ending}", orientation=orientation)
    things = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 5]},
        {"id": 2, "image_id": 1, "category_id": 1, "segmentation": run_lengths(box(1, 2, 4, 7).astype(bool))},
        {"id": 3, "image_id": 1, "category_id": 1, "segmentation": [[1, 2, 4, 2, 4, 7, 1, 7]]},
    ]
    image = open_coco(coco(tmp_path / "a.json", [(1, f"a.{ending}", 12, 8)], things))[0]
    turn = orientation if orientation >= 5 else 1  # Only the size tells that the file's pixels were annotated.
    expected = turned_mask(box(1, 2, 4, 7).astype(bool), turn)
    assert image.image.size == expected.shape[::-1]
    assert image.boxes.canvas_size == expected.shape
    for thing, mask in zip(image.objects, image.masks.numpy(), strict=True):
        assert (mask == expected).all()
        assert thing.box_xyxy == box_around(expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_box_is_the_box_of_the_turned_mask(orientation):
    rng = np.random.default_rng(orientation)
    for _ in range(30):
        (left, right), (top, bottom) = np.sort(rng.choice(13, 2, False)), np.sort(rng.choice(9, 2, False))
        mask = box(left, top, right, bottom).astype(bool)
        stated = tuple(map(float, (left, top, right, bottom)))
        turned = turned_mask(mask, orientation)
        assert turned_box(stated, (12, 8), orientation) == box_around(turned)
        again = np.zeros(turned.shape, bool)
        again[filled_box(box_around(turned), *turned.shape)] = True
        assert (again == turned).all()


def test_pedestrians_are_one_object_each(tmp_path):
    root = tmp_path / "PennFudanPed"
    photo(root / "PNGImages" / "a.png")
    mask_image(root / "PedMasks" / "a_mask.png", box(0, 0, 3, 3) + box(4, 1, 6, 7, value=2) + box(9, 0, 12, 8, value=3))
    image = open_annotated_images(root)[0]
    assert [thing.category for thing in image.objects] == [Category(1, "pedestrian")] * 3
    assert image.labels.tolist() == [0, 0, 0]
    assert image.boxes.tolist() == [[0, 0, 3, 3], [4, 1, 6, 7], [9, 0, 12, 8]]
    assert (image.masks[1].numpy() == box(4, 1, 6, 7)).all()
    assert (image.mask == image.masks.numpy().any(0)).all()


def test_class_maps_are_one_object_a_class(tmp_path):
    photo(tmp_path / "images" / "a.png")
    mask_image(
        tmp_path / "masks" / "a.png", box(0, 0, 2, 2, value=2) + box(8, 5, 10, 7, value=2) + box(4, 0, 5, 8, value=255)
    )
    bare = open_annotated_images(tmp_path)
    assert bare.categories == () or list(bare.categories) == []
    assert [(thing.category.id, thing.category.name, thing.label, thing.crowd) for thing in bare[0].objects] == [
        (2, "2", -1, False), (255, "255", -1, False),
    ]  # fmt: skip
    (tmp_path / "classes.json").write_text('["background", "tree", "car"]')
    named = open_annotated_images(tmp_path)
    assert [(category.id, category.name) for category in named.categories] == [(1, "tree"), (2, "car")]
    car, ignored = named[0].objects
    assert (car.category, car.label, car.crowd, car.box_xyxy) == (Category(2, "car"), 1, False, (0, 0, 10, 7))
    assert (ignored.category.id, ignored.label, ignored.crowd) == (255, -1, True)
    assert (named[0].mask == (bare[0].mask)).all()
    assert [thing.label for thing in open_annotated_images(tmp_path, category="car")[0].objects] == [1]
    assert open_annotated_images(tmp_path, category="tree")[0].objects == []
    (tmp_path / "classes.json").write_text('["sky", "tree", "car"]')
    whole = open_annotated_images(tmp_path, everything=True)
    assert [category.name for category in whole.categories] == ["sky", "tree", "car"]
    assert [(thing.category.name, thing.crowd) for thing in whole[0].objects] == [
        ("sky", False), ("car", False), ("255", True),
    ]  # fmt: skip
    assert whole[0].mask.all()
    assert whole[0].masks.sum().item() == 96


def test_masks_that_tell_nothing_apart_are_one_object(tmp_path):
    photo(tmp_path / "images" / "a.png")
    coloured = np.stack([box(1, 1, 4, 4, value=200), box(3, 3, 8, 6, value=90), box(0, 0, 0, 0)], axis=-1)
    (tmp_path / "masks").mkdir()
    Image.fromarray(coloured).save(tmp_path / "masks" / "a.png")
    (thing,) = open_annotated_images(tmp_path)[0].objects
    assert (thing.category, thing.label, thing.box_xyxy) == (Category(None, "object"), -1, (1, 1, 8, 6))
    (tmp_path / "masks" / "a.png").unlink()
    Image.fromarray(box(1, 1, 4, 4).astype(np.float32) / 3).save(tmp_path / "masks" / "a.tif")
    (thing,) = open_annotated_images(tmp_path)[0].objects
    assert (thing.category.name, thing.mask.sum()) == ("object", 9)


def test_masks_of_too_many_numbers_are_refused(tmp_path):
    photo(tmp_path / "images" / "a.png", 300, 300)
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.arange(90_000, dtype=np.int32).reshape(300, 300)).save(tmp_path / "masks" / "a.tif")
    with pytest.raises(DataError, match="cannot be one of objects or classes: there are more than 65536 numbers"):
        open_annotated_images(tmp_path)[0]


@pytest.mark.parametrize("at_once", [5, 64, 1 << 20])
def test_boxes_around_numbers_are_those_around_each(monkeypatch, at_once):
    monkeypatch.setattr("focalnets.data.annotated.objects._PIXELS_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    for _ in range(40):
        numbers = rng.integers(0, rng.integers(2, 9), rng.integers(1, 20, 2)).repeat(2, 0).repeat(3, 1).astype(np.uint8)
        expected = {int(number): box_around(numbers == number) for number in np.unique(numbers) if number}
        assert boxes_around_numbers(numbers) == expected


def test_scenes_give_the_target_or_everything():
    (target,) = open_annotated_images("scenes:4")[2].objects
    found = open_annotated_images("scenes:4", everything=True)
    assert [category.name for category in found.categories] == [*SCENE_CLASSES, *DISTRACTOR_CLASSES]
    assert [category.id for category in found.categories] == list(range(1, len(found.categories) + 1))
    whole = found[2]
    assert len(whole.objects) > 3
    assert {thing.category.supercategory for thing in whole.objects} == {"target", "distractor"}
    assert whole.objects[-1].category == target.category
    assert (whole.objects[-1].mask == target.mask).all()
    for thing in whole.objects:
        assert found.categories[thing.label] == thing.category
        assert thing.box_xyxy == box_around(thing.mask)
        assert thing.area_px == thing.mask.sum()
    trees = open_annotated_images("scenes:4", category="tree", everything=True)
    assert len(trees) == 4
    assert {thing.category.name for image in trees for thing in image.objects} == {"tree"}


def test_annotated_images_can_be_sent_to_other_processes(gaps, tmp_path):
    for images in (
        open_annotated_images(gaps).limited(1),
        open_annotated_images(mask_folders(tmp_path / "masks"), category="2"),
        open_annotated_images("scenes:2"),
    ):
        sent = pickle.loads(pickle.dumps(images))
        assert (sent[0].mask == images[0].mask).all()
        assert sent[0].boxes.tolist() == images[0].boxes.tolist()


def test_run_lengths_are_those_of_pycocotools():
    drawing = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for _ in range(60):
        height, width = rng.integers(1, 60, 2)
        mask = rng.random((height, width)) < rng.random()
        mask = mask if rng.random() < 0.5 else np.kron(mask, np.ones((9, 7))).astype(bool)
        text = drawing.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
        for counts in (text, run_lengths(mask)["counts"]):
            drawn = encode_segmentation({"size": list(mask.shape), "counts": counts}, *mask.shape).decode()
            assert drawn.flags.c_contiguous
            assert (drawn == mask).all()


def drawn_by(drawing, polygons, height, width):
    """Polygons as pycocotools draws them."""
    counts = drawing.merge(drawing.frPyObjects(polygons, height, width))["counts"].decode()
    return encode_segmentation({"size": [height, width], "counts": counts}, height, width).decode()


def test_polygons_are_those_of_pycocotools_however_many():
    drawing = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for count in (1, 2, 16, 17, 300):
        polygons = [(rng.random(2) * 60 + rng.random((4, 2)) * 20 - 10).ravel().tolist() for _ in range(count)]
        expected = drawn_by(drawing, polygons, 50, 70)
        assert (annotation_mask({"segmentation": polygons}, 50, 70) == expected).all()


def test_polygons_are_those_of_pycocotools_wherever_their_corners_lie():
    drawing = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(1)
    for number in range(600):
        height, width = (int(side) for side in rng.integers(1, 90, 2))
        corners = rng.normal(0, (1, 5, 30, 200)[number % 4], (rng.integers(3, 12), 2)) + rng.random(2) * [width, height]
        if number % 3:  # Whole and half pixels lie on the borders between steps.
            corners = np.round(corners * (number % 3)) / (number % 3)
        if number % 5 == 0:
            corners[1] = corners[0]
        expected = drawn_by(drawing, [corners.ravel().tolist()], height, width)
        assert (PolygonMask(height, width, [corners]).decode() == expected).all(), corners


def test_long_outlines_are_drawn_in_pieces(monkeypatch):
    corners = np.random.default_rng(2).random((50, 2)) * 60
    whole = PolygonMask(60, 60, [corners]).decode()
    monkeypatch.setattr(polygons_module, "_STEPS_AT_ONCE", 100)
    assert (PolygonMask(60, 60, [corners]).decode() == whole).all()


def test_masks_too_large_are_refused(monkeypatch):
    monkeypatch.setattr(images_module, "_MOST_BYTES", 100)
    thing = AnnotatedObject(Category(1, "dot"), 0, (0, 0, 2, 2))
    image = AnnotatedImage("a", Image.new("RGB", (5, 6)), [thing] * 4)
    assert image.mask.sum() == 4
    assert len(image.boxes) == 4
    with pytest.raises(DataError, match="masks of the 4 objects in 'a' take"):
        _ = image.masks
