"""Places of COCO's panoptic format."""

from __future__ import annotations

import copy
import io
import json

import numpy as np
from PIL import Image

TASK = "panoptic"
PHOTO = "images/a.png"
WIDTH, HEIGHT = 12, 8
NOT_COCO = r"The annotation of image 1 .* is not as COCO has it \(.*"
_GOOD = {
    "images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
    "categories": [{"id": 3, "name": "cat", "isthing": 1}, {"id": 90, "name": "sky", "isthing": 0}],
    "annotations": [
        {
            "image_id": 1,
            "file_name": "a.png",
            "segments_info": [{"id": 300, "category_id": 3, "area": 15}, {"id": 70_000, "category_id": 90}],
        }
    ],
}


def _png(values, mode=None, kind="PNG"):
    data = io.BytesIO()
    image = Image.fromarray(values)
    (image if mode is None else image.convert(mode)).save(data, kind)
    return data.getvalue()


def _numbers(width=WIDTH, height=HEIGHT):
    numbers = np.full((height, width), 70_000)
    numbers[2:5, 3:8] = 300
    return np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], -1).astype(np.uint8)


def _place(content, mask=None):
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    return {"panoptic_train.json": text, "panoptic_train/a.png": _png(_numbers()) if mask is None else mask}


def _changed(part=None, **changes):
    """The good file with other entries: of the whole, or of the first entry of a list."""
    content = copy.deepcopy(_GOOD)
    place = content if part is None else content[part][0]
    place.update(changes)
    for key in [key for key, value in place.items() if value == "<missing>"]:
        del place[key]
    return _place(content)


def _segment(**changes):
    content = copy.deepcopy(_GOOD)
    place = content["annotations"][0]["segments_info"][0]
    place.update(changes)
    for key in [key for key, value in place.items() if value == "<missing>"]:
        del place[key]
    return _place(content)


def odd_files():
    """Names of the places with their files and what is said of them; None where they read."""
    huge = 10**400
    ids = NOT_COCO + "id of a segment needs a whole number from 1"
    area = NOT_COCO + "area needs a number"
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    large = copy.deepcopy(_GOOD)
    large["images"][0] |= {"width": 300, "height": 300}
    good = json.dumps(_GOOD)
    return {
        # The json file.
        "half": (_place(good[:-40]), "is no json or incomplete"),
        "deep": (_place(good[:-2] + ', "x": ' + "[" * 100_000), "is no json or incomplete"),
        "a number of 5000 digits": (_place(good.replace("300", "9" * 5000)), "is no json or incomplete"),
        "no UTF-8": (_place(good.encode() + b"\xff"), "cannot be read"),
        "images missing": (_changed(images="<missing>"), "holds no list 'images'"),
        "images an object": (_changed(images={"a": 1}), "holds no list 'images'"),
        "no images": (_changed(images=[]), "lists no images"),
        "annotations of numbers": (_changed(annotations=[1, {"segments_info": []}]), "holds no list 'annotations'"),
        "categories missing": (_changed(categories="<missing>"), "lists no categories"),
        "categories empty": (_changed(categories=[]), "lists no categories"),
        "categories a text": (_changed(categories="cat"), "holds no list 'categories'"),
        "category without id": (_changed("categories", id="<missing>"), "A category in .* has no id or no name"),
        "category without name": (_changed("categories", name="<missing>"), "A category in .* has no id or no name"),
        "category twice": (_changed("categories", id=90), "Two categories in .* have the id 90"),
        "image without id": (_changed("images", id="<missing>"), "no file_name or no id"),
        "image without name": (_changed("images", file_name="<missing>"), "no file_name or no id"),
        "image of the system": (_changed("images", file_name="/etc/passwd"), "a path below the folder"),
        "image above": (_changed("images", file_name="../a.png"), "a path below the folder"),
        "image twice": (_changed(images=_GOOD["images"] * 2), "Two images in .* have the id 1"),
        "image that is missing": (_changed("images", file_name="b.png"), "was looked for; name their folder"),
        "width negative": (_changed("images", width=-12), "expected whole numbers from 1 up"),
        "width NaN": (_changed("images", width=float("nan")), "expected whole numbers from 1 up"),
        "width 2^31": (_changed("images", width=2**31, height=2**31), "expected whole numbers from 1 up"),
        "width of 400 digits": (_changed("images", width=huge), "expected whole numbers from 1 up"),
        # Annotations.
        "image_id missing": (_changed("annotations", image_id="<missing>"), "belongs to no image"),
        "image_id a list": (_changed("annotations", image_id=[1]), "belongs to no image"),
        "image_id unknown": (_changed("annotations", image_id=7), "belongs to no image"),
        "image_id twice": (_changed(annotations=_GOOD["annotations"] * 2), "belongs to no image"),
        "mask without name": (_changed("annotations", file_name="<missing>"), NOT_COCO + "file_name needs a path"),
        "mask named by a number": (_changed("annotations", file_name=5), NOT_COCO + "file_name needs a path"),
        "mask of the system": (_changed("annotations", file_name="/etc/passwd"), NOT_COCO + "file_name needs a path"),
        "mask above": (_changed("annotations", file_name="../images/a.png"), NOT_COCO + "file_name needs a path"),
        "mask with a zero": (_changed("annotations", file_name="a\0.png"), NOT_COCO + "file_name needs a path"),
        "mask that is missing": (_changed("annotations", file_name="b.png"), "masks of .* are neither in"),
        "mask with a long name": (_changed("annotations", file_name="b" * 5000), "masks of .* are neither in"),
        "segments missing": (
            _changed(annotations=[{"image_id": 1, "file_name": "a.png", "segments_info": None}]), NOT_COCO + "a list"
        ),
        "segments an object": (_changed("annotations", segments_info={"a": 1}), NOT_COCO + "segments_info needs a"),
        "segments of numbers": (_changed("annotations", segments_info=[1]), NOT_COCO + "segments_info needs a list"),
        "very many segments": (_changed("annotations", segments_info=[{}] * 65_537), NOT_COCO + "more than the limit"),
        "no annotation at all": (
            _place(good.replace('"annotations": [', '"annotations": [], "x": [')), "annotates no image"
        ),
        # Segments.
        "id missing": (_segment(id="<missing>"), ids),
        "id 0": (_segment(id=0), ids),
        "id negative": (_segment(id=-300), ids),
        "id a text": (_segment(id="300"), ids),
        "id a half": (_segment(id=300.5), ids),
        "id true": (_segment(id=True), ids),
        "id NaN": (_segment(id=float("nan")), ids),
        "id 2^24": (_segment(id=2**24), ids),
        "id of 400 digits": (_segment(id=huge), ids),
        "id twice": (_segment(id=70_000), NOT_COCO + "two segments have the id 70000"),
        "category missing": (_segment(category_id="<missing>"), NOT_COCO + "category_id None is not among"),
        "category unknown": (_segment(category_id=4), NOT_COCO + "category_id 4 is not among"),
        "category a list": (_segment(category_id=[3]), NOT_COCO + "is not among"),
        "category true": (_segment(category_id=True), NOT_COCO + "is not among"),
        "iscrowd 2": (_segment(iscrowd=2), NOT_COCO + "iscrowd needs 0 or 1"),
        "iscrowd a list": (_segment(iscrowd=[1]), NOT_COCO + "iscrowd needs 0 or 1"),
        "area a text": (_segment(area="large"), area),
        "area negative": (_segment(area=-1), area),
        "area NaN": (_segment(area=float("nan")), area),
        "area infinite": (_segment(area=float("inf")), area),
        "area of 400 digits": (_segment(area=huge), area),
        # Masks.
        "mask empty": (_place(_GOOD, b""), "is empty"),
        "mask half": (_place(_GOOD, _png(_numbers())[:70]), "damaged|no image"),
        "mask text": (_place(_GOOD, b"hello"), "no image"),
        "mask a JPEG": (_place(_GOOD, _png(_numbers(), kind="JPEG")), "is a JPEG"),
        "mask of another size": (_place(_GOOD, _png(_numbers(13, 8))), "has 13 x 8 pixels but .* 12 x 8"),
        "mask of noise": (
            {**_place(large, _png(noise)), "images/a.png": _png(noise)}, "cannot be one of segments: there are more"
        ),
        # Odd, but sensible: these are read.
        "as it should be": (_place(_GOOD), None),
        "mask in grey": (_place(_GOOD, _png(_numbers(), "L")), None),
        "mask with transparency": (_place(_GOOD, _png(_numbers(), "RGBA")), None),
        "segments that are not there": (_segment(id=5), None),
        "no segments": (_changed("annotations", segments_info=[]), None),
        "a crowd": (_segment(iscrowd=1), None),
        "no area": (_segment(area=None), None),
        "all things": (_changed("categories", isthing="<missing>"), None),
        "ids of text": (
            _place(good.replace('"id": 1,', '"id": "x",').replace('"image_id": 1', '"image_id": "x"')), None
        ),
        "a byte order mark": (_place("\ufeff" + json.dumps(_GOOD)), None),
    }  # fmt: skip
