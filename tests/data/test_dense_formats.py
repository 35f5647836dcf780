"""The same images in every format give identical boxes, masks and classes of pixels, however photos are turned."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from tests.data import dense_formats as formats

from focalnets.data.annotated.training import open_annotated_evaluation, task_of_data
from focalnets.errors import ConfigError

WITH_MASKS = {
    "COCO run lengths": formats.write_coco,
    "COCO polygons": functools.partial(formats.write_coco, shapes="polygons"),
    "COCO panoptic": formats.write_panoptic,
    "YOLO polygons": formats.write_yolo,
    "VOC masks": functools.partial(formats.write_voc, masks=True),
    "Labelme polygons": formats.write_labelme,
    "Labelme masks": functools.partial(formats.write_labelme, shapes="masks"),
    "Labelme groups": functools.partial(formats.write_labelme, shapes="parts"),
    "CVAT polygons": formats.write_cvat,
    "CVAT masks": functools.partial(formats.write_cvat, shapes="masks"),
    "a mask an object": formats.write_object_masks,
}
WITH_BOXES = {
    "VOC boxes": formats.write_voc,
    "YOLO boxes": functools.partial(formats.write_yolo, shapes="boxes"),
    "Labelme boxes": functools.partial(formats.write_labelme, shapes="boxes"),
    "CVAT boxes": functools.partial(formats.write_cvat, shapes="boxes"),
}
WITHOUT_CLASSES = {
    "numbers": formats.write_numbered_masks,
    "colours": functools.partial(formats.write_numbered_masks, colours=True),
}
WITH_CLASSES = {
    **WITH_MASKS,
    "class maps": formats.write_class_maps,
    "coloured class maps": functools.partial(formats.write_class_maps, colours=True),
}
STORED = [name for name in (*WITH_CLASSES, *WITH_BOXES, *WITHOUT_CLASSES) if "YOLO" not in name]
"""Formats that state the size of the image, so that annotations may lie on the pixels before they are turned."""


def objects_of(annotated, *, named=True):
    """Class and box of each object, in an order that does not depend on the format."""
    boxes = [thing.box_xyxy for thing in annotated.objects]
    return sorted(
        ((thing.category.name if named else "", tuple(map(float, box)), place))
        for place, (thing, box) in enumerate(zip(annotated.objects, boxes, strict=True))
    )


def check(place, found, *, task, named=True):
    """Compare boxes, and masks where they are known, with what was written."""
    _, data = open_annotated_evaluation(place, task=task)
    assert len(data) == len(found)
    by_name = {data.name_of(number).rpartition("/")[2]: number for number in range(len(data))}
    for example in found:
        picture, annotated = data[by_name[f"{example.name}.png"]]
        assert (np.asarray(picture) == example.pixels).all()
        expected = sorted(
            (name if named else "", tuple(map(float, example.box(place))), place)
            for place, (name, _) in enumerate(example.objects)
        )
        read = objects_of(annotated, named=named)
        assert [each[:2] for each in read] == [each[:2] for each in expected]
        if task == "detect":
            continue
        for (_, _, here), (_, _, there) in zip(read, expected, strict=True):
            mask = annotated.objects[here].mask
            assert mask.dtype == bool
            assert (mask == example.objects[there][1]).all()


@pytest.mark.parametrize("name", list(WITH_MASKS))
def test_masks_are_the_same(tmp_path, name):
    place = WITH_MASKS[name](tmp_path / "data", formats.examples())
    check(place, formats.examples(), task="instance")
    with pytest.raises(ConfigError, match="can train detect, instance"):
        task_of_data(place)


@pytest.mark.parametrize("name", list(WITH_BOXES))
def test_boxes_are_the_same(tmp_path, name):
    place = WITH_BOXES[name](tmp_path / "data", formats.examples())
    check(place, formats.examples(), task="detect")
    assert task_of_data(place) == "detect"


@pytest.mark.parametrize("name", list(WITHOUT_CLASSES))
def test_masks_without_classes_are_the_same(tmp_path, name):
    place = WITHOUT_CLASSES[name](tmp_path / "data", formats.examples())
    check(place, formats.examples(), task="instance", named=False)


@pytest.mark.parametrize("name", list(WITH_CLASSES))
def test_classes_of_pixels_are_the_same(tmp_path, name):
    found = formats.examples()
    labels, data = open_annotated_evaluation(WITH_CLASSES[name](tmp_path / "data", found), task="semantic")
    by_name = {data.name_of(number).rpartition("/")[2]: number for number in range(len(data))}
    for example in found:
        annotated = data.annotation(by_name[f"{example.name}.png"])
        assert not (annotated.semantic == 255).any()
        read = np.array(labels)[annotated.semantic]
        expected = np.full(read.shape, "background", dtype=object)
        for thing, mask in example.objects:
            expected[mask] = thing
        if name == "COCO panoptic":
            land = np.isin(read, formats.LAND)
            assert (read[land] == np.array(formats.LAND)[example.land][land]).all()
            read = np.where(land, "background", read)
        assert (read == expected).all()


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("name", [*WITH_CLASSES, *WITH_BOXES, *WITHOUT_CLASSES])
def test_annotations_of_the_upright_photo_lie_on_it(tmp_path, name, orientation):
    found = formats.examples(2, orientation)
    turned_alike(tmp_path / "data", name, found)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("name", STORED)
def test_annotations_of_the_stored_photo_are_turned_with_it(tmp_path, name, orientation):
    turned_alike(tmp_path / "data", name, formats.examples(2, orientation), stored=True)


def turned_alike(place, name, found, **options):
    write = {**WITH_CLASSES, **WITH_BOXES, **WITHOUT_CLASSES}[name]
    write(place, found, **options)
    if name in WITH_CLASSES and name not in WITH_MASKS:
        labels, data = open_annotated_evaluation(place, task="semantic")
        for number, example in enumerate(found):
            read = np.array(labels)[data.annotation(number).semantic]
            for thing, mask in example.objects:
                assert (read[mask] == thing).all()
            assert (read == "background").sum() == (
                ~np.any([m for _, m in example.objects] or [[[0]]], axis=0)
            ).sum() or (not example.objects)
        return
    check(place, found, task="detect" if name in WITH_BOXES else "instance", named=name not in WITHOUT_CLASSES)
