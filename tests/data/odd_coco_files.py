"""Odd, broken and hostile COCO files, each made on the spot, with what must be said of it; None where it reads."""

from __future__ import annotations

import copy
import json

import numpy as np

WIDTH, HEIGHT = 12, 8
PIXELS = WIDTH * HEIGHT

_GOOD = {
    "images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
    "categories": [{"id": 3, "name": "cat", "supercategory": "animal"}],
    "annotations": [{"id": 5, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}],
}
NOT_COCO = r"Annotation 5 is not as COCO has it \(.*"


def _changed(**parts):
    """The good file with other entries: ``image``, ``category`` and ``annotation`` change keys of the first one."""
    content = copy.deepcopy(_GOOD)
    for name, place in (("image", "images"), ("category", "categories"), ("annotation", "annotations")):
        changes = parts.pop(name, {})
        content[place][0].update(changes)
        for key, value in changes.items():
            if value == "<missing>":
                del content[place][0][key]
    return json.dumps({**content, **parts})


def _shape(**annotation):
    return _changed(annotation=annotation)


def _runs(counts, size=(HEIGHT, WIDTH)):
    return _shape(segmentation={"size": list(size), "counts": counts})


def _again(place, **changes):
    return _changed(**{place: [_GOOD[place][0], {**_GOOD[place][0], **changes}]})


def _zigzag(corners):
    return np.stack([np.arange(corners) % 50, np.arange(corners) * 7 % 40], 1).ravel().tolist()


def odd_files():
    """Names of the files with their text and what is said of them."""
    huge = 10**400
    return {
        # No COCO file at all.
        "nothing": ("", "is no json or incomplete"),
        "half": (_changed()[:120], "is no json or incomplete"),
        "a number": ("17", "holds no list 'images'"),
        "a list": ("[]", "holds no list 'images'"),
        "deep lists": ("[" * 200_000, "is no json or incomplete"),
        "deep lists in an entry": (_changed().replace("12, ", "[" * 100_000 + "]" * 100_000 + ", "), "is no json"),
        "deep lists that json still reads": (
            _shape(segmentation=json.loads("[" * 300 + "]" * 300)), NOT_COCO + "a polygon needs"
        ),
        "a number of 5000 digits": (_changed().replace("12, ", "9" * 5000 + ", "), "is no json or incomplete"),
        "images no list": (_changed(images={"1": "a.png"}), "holds no list 'images'"),
        "images of numbers": (_changed(images=[1, 2]), "holds no list 'images'"),
        "no images": (_changed(images=[]), "lists no images"),
        "annotations missing": (json.dumps({"images": _GOOD["images"]}), "holds no list 'annotations'"),
        "annotations null": (_changed(annotations=None), "holds no list 'annotations'"),
        "annotations of lists": (_changed(annotations=[[]]), "holds no list 'annotations'"),
        "categories a text": (_changed(categories="cat"), "holds no list 'categories'"),
        "categories of numbers": (_changed(categories=[3]), "holds no list 'categories'"),
        # Ids and names.
        "image without id": (_changed(image={"id": "<missing>"}), "no file_name or no id"),
        "image id a list": (_changed(image={"id": [1]}), "no file_name or no id"),
        "image id NaN": (_changed(image={"id": float("nan")}), "no file_name or no id"),
        "image id true": (_changed(image={"id": True}), "no file_name or no id"),
        "image id twice": (_again("images", file_name="b.png"), "Two images .* have the id 1"),
        "file name missing": (_changed(image={"file_name": "<missing>"}), "no file_name or no id"),
        "file name a number": (_changed(image={"file_name": 7}), "no file_name or no id"),
        "file name empty": (_changed(image={"file_name": ""}), "no file_name or no id"),
        "file name absolute": (_changed(image={"file_name": "/etc/passwd"}), "expected a path below the folder"),
        "file name above": (_changed(image={"file_name": "../a.png"}), "expected a path below the folder"),
        "file name above, inside": (_changed(image={"file_name": "b/../../a.png"}), "expected a path below the folder"),
        "file name with a zero": (_changed(image={"file_name": "a\0.png"}), "expected a path below the folder"),
        "file name too long": (_changed(image={"file_name": "a" * 5000}), "was looked for; name their folder"),
        "file name no text": (_changed(image={"file_name": "\ud800.png"}), "was looked for; name their folder"),
        "file name with a new line": (_changed(image={"file_name": "a\nb.png"}), "was looked for; name their folder"),
        "file name a folder": (_changed(image={"file_name": "."}), "was looked for; name their folder"),
        "category without id": (_changed(category={"id": "<missing>"}), "A category in .* has no id or no name"),
        "category id a list": (_changed(category={"id": [3]}), "A category in .* has no id or no name"),
        "category id a float": (_changed(category={"id": 3.5}), "A category in .* has no id or no name"),
        "category without name": (_changed(category={"name": "<missing>"}), "A category in .* has no id or no name"),
        "category name a list": (_changed(category={"name": ["cat"]}), "A category in .* has no id or no name"),
        "category id twice": (_again("categories", name="dog"), "Two categories in .* have the id 3"),
        "image_id missing": (_shape(image_id="<missing>"), "belongs to no image"),
        "image_id a list": (_shape(image_id=[1]), "belongs to no image"),
        "image_id unknown": (_shape(image_id=2), "Annotation 5 in .* belongs to no image"),
        "category_id missing": (_shape(category_id="<missing>"), "not among the categories"),
        "category_id a list": (_shape(category_id=[3]), "not among the categories"),
        "category_id a dict": (_shape(category_id={"id": 3}), "not among the categories"),
        "category_id true": (_shape(category_id=True), "not among the categories"),
        "category_id unknown": (_shape(category_id=4), "not among the categories"),
        "category_id 2^64": (_shape(category_id=2**64 + 3), "not among the categories"),
        "annotation id deep": (
            _shape(id=json.loads("[" * 300 + "]" * 300), bbox=None), r"Annotation \[.* is not as COCO has it"
        ),
        # Sizes.
        "width a text": (_changed(image={"width": "12"}), "expected whole numbers from 1 up"),
        "width negative": (_changed(image={"width": -12, "height": -8}), "expected whole numbers from 1 up"),
        "width 0": (_changed(image={"width": 0}), "expected whole numbers from 1 up"),
        "width infinite": (_changed(image={"width": float("inf")}), "expected whole numbers from 1 up"),
        "width alone": (_changed(image={"height": "<missing>"}), "expected whole numbers from 1 up"),
        "width 2^31": (_changed(image={"width": 2**31, "height": 2**31}), "expected whole numbers from 1 up"),
        "width 1e308": (_changed(image={"width": 1e308}), "expected whole numbers from 1 up"),
        "width of 400 digits": (_changed(image={"width": huge}), "expected whole numbers from 1 up"),
        "width another": (_changed(image={"width": 13}), "has 12 x 8 pixels but .* says 13 x 8"),
        # Boxes, areas, crowds.
        "bbox missing": (_shape(bbox="<missing>"), NOT_COCO + "bbox needs four finite numbers"),
        "bbox of three": (_shape(bbox=[1, 2, 3]), NOT_COCO + "bbox needs four finite numbers"),
        "bbox of five": (_shape(bbox=[1, 2, 3, 4, 5]), NOT_COCO + "bbox needs four finite numbers"),
        "bbox a dict": (_shape(bbox={"x": 1}), NOT_COCO + "bbox needs four finite numbers"),
        "bbox of texts": (_shape(bbox=["1", "2", "3", "4"]), NOT_COCO + "bbox needs four finite numbers"),
        "bbox of booleans": (_shape(bbox=[True, True, True, True]), NOT_COCO + "bbox needs four finite numbers"),
        "bbox with NaN": (_shape(bbox=[1, 2, float("nan"), 3]), NOT_COCO + "bbox needs four finite numbers"),
        "bbox infinite": (_shape(bbox=[1, 2, float("inf"), 3]), NOT_COCO + "bbox needs four finite numbers"),
        "bbox 1e308": (_shape(bbox=[1e308, 1e308, 1e308, 1e308]), NOT_COCO + "bbox lies or reaches"),
        "bbox of 400 digits": (_shape(bbox=[huge, 2, 3, 4]), NOT_COCO + "bbox needs four finite numbers"),
        "bbox turned round": (_shape(bbox=[5, 5, -3, 2]), NOT_COCO + "bbox needs four finite numbers"),
        "bbox wrong beside a mask": (_shape(bbox=[1], segmentation=[[1, 1, 5, 1, 5, 5]]), NOT_COCO + "bbox needs"),
        "area a text": (_shape(area="large"), NOT_COCO + "area needs a number"),
        "area negative": (_shape(area=-1), NOT_COCO + "area needs a number"),
        "area NaN": (_shape(area=float("nan")), NOT_COCO + "area needs a number"),
        "iscrowd 2": (_shape(iscrowd=2), NOT_COCO + "iscrowd needs 0 or 1"),
        "iscrowd a list": (_shape(iscrowd=[1]), NOT_COCO + "iscrowd needs 0 or 1"),
        # Polygons.
        "polygon 1e308": (_shape(segmentation=[[1e308, 1e308, -1e308, 1e308, 0, 0]]), NOT_COCO + "a corner"),
        "polygon 2^31": (_shape(segmentation=[[2**31, 0, 0, 2**31, 5, 5]]), NOT_COCO + "a corner"),
        "polygon of 400 digits": (_shape(segmentation=[[huge, 0, 0, 5, 5, 5]]), NOT_COCO + "a polygon needs"),
        "polygon NaN": (_shape(segmentation=[[1, 2, float("nan"), 4, 5, 6]]), NOT_COCO + "a polygon needs"),
        "polygon infinite": (_shape(segmentation=[[1, 2, -float("inf"), 4, 5, 6]]), NOT_COCO + "a polygon needs"),
        "polygon of two corners": (_shape(segmentation=[[1, 2, 3, 4]]), NOT_COCO + "a polygon needs"),
        "polygon of an odd number": (_shape(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), NOT_COCO + "a polygon needs"),
        "polygon empty": (_shape(segmentation=[[]]), NOT_COCO + "a polygon needs"),
        "polygon of pairs": (_shape(segmentation=[[[1, 2], [3, 4], [5, 6]]]), NOT_COCO + "a polygon needs"),
        "polygon of texts": (_shape(segmentation=[list("abcdef")]), NOT_COCO + "a polygon needs"),
        "polygon of nulls": (_shape(segmentation=[[None] * 6]), NOT_COCO + "a polygon needs"),
        "polygon not in a list": (_shape(segmentation=[1, 2, 3, 4, 5, 6]), NOT_COCO + "a polygon needs"),
        "polygon a text": (_shape(segmentation="1 2 3 4 5 6"), NOT_COCO + "segmentation needs"),
        "polygon true": (_shape(segmentation=True), NOT_COCO + "segmentation needs"),
        "polygon of long edges": (_shape(segmentation=[[0, 0, 1e6, 1e6] * 3]), NOT_COCO + "its outline is"),
        "polygon far away": (_shape(segmentation=[[9e5, 9e5, 9e5 + 5, 9e5, 9e5, 9e5 + 5]]), None),
        "polygon of very many corners": (_shape(segmentation=[_zigzag(100_000)]), None),
        "polygon of too many corners": (_shape(segmentation=[[0, 0, 900, 900] * 3000]), NOT_COCO + "its outline is"),
        "very many polygons": (_shape(segmentation=[[1, 1, 3, 1, 3, 3]] * 20_000), None),
        "polygon of a point": (_shape(segmentation=[[2, 2] * 3]), None),
        "polygon all around": (_shape(segmentation=[[-99, -99, 99, -99, 99, 99, -99, 99]]), None),
        # Run lengths.
        "run lengths without counts": (_shape(segmentation={"size": [8, 12]}), NOT_COCO + "counts of run lengths"),
        "run lengths without size": (_shape(segmentation={"counts": [PIXELS]}), NOT_COCO + "its run lengths must be"),
        "run lengths of another size": (_runs([PIXELS], (12, 8)), NOT_COCO + "its run lengths must be of size"),
        "run lengths of size 0": (_runs([0], (0, 0)), NOT_COCO + "its run lengths must be of size"),
        "run lengths of size 2^32": (_runs([PIXELS], (2**32 + 8, 12)), NOT_COCO + "its run lengths must be of size"),
        "run lengths, size a list": (_runs([PIXELS], ([8], [12])), NOT_COCO + "its run lengths must be of size"),
        "run lengths empty": (_runs([]), NOT_COCO + "its run lengths must be whole numbers"),
        "run lengths too short": (_runs([PIXELS - 1]), NOT_COCO + "its run lengths cover 95 pixels"),
        "run lengths too long": (_runs([PIXELS, 1]), NOT_COCO + "its run lengths cover 97 pixels"),
        "run lengths negative": (_runs([-1, PIXELS + 1]), NOT_COCO + "its run lengths must be whole numbers"),
        "run lengths that wrap in 32 bits": (_runs([2**32, PIXELS]), NOT_COCO + "its run lengths must be whole"),
        "run lengths that wrap in 64 bits": (_runs([2**63 - 1, 2**63 - 1, PIXELS + 2]), NOT_COCO + "its run lengths"),
        "run lengths that wrap to what is right": (_runs([2**64, PIXELS]), NOT_COCO + "its run lengths must be whole"),
        "run lengths of halves": (_runs([0.5, PIXELS - 0.5]), NOT_COCO + "its run lengths must be whole numbers"),
        "run lengths with NaN": (_runs([float("nan"), PIXELS]), NOT_COCO + "counts of run lengths needs"),
        "run lengths infinite": (_runs([float("inf")]), NOT_COCO + "counts of run lengths needs"),
        "run lengths of texts": (_runs(["96"]), NOT_COCO + "counts of run lengths needs"),
        "run lengths of lists": (_runs([[96]]), NOT_COCO + "counts of run lengths needs"),
        "run lengths of 400 digits": (_runs([huge]), NOT_COCO + "counts of run lengths needs"),
        "run lengths of very many zeros": (_runs([0] * 100_000 + [PIXELS]), NOT_COCO + "its run lengths must be whole"),
        "run lengths as floats": (_runs([6.0, 2.0, PIXELS - 8.0]), None),
        "text empty": (_runs(""), NOT_COCO + "its compressed run lengths"),
        "text that ends too early": (_runs("P"), NOT_COCO + "its compressed run lengths end too early"),
        "text of foreign letters": (_runs("5350~"), NOT_COCO + "its compressed run lengths hold letters"),
        "text beyond ASCII": (_runs("\u00e9\ud83d\ude00"), NOT_COCO + "its compressed run lengths hold letters"),
        "text with a zero": (_runs("53\x000O"), NOT_COCO + "its compressed run lengths hold letters"),
        "text that goes negative": (_runs("OOO"), NOT_COCO + "its run lengths must be whole numbers"),
        "text of another size": (_runs("5350O"), NOT_COCO + "its run lengths cover"),
        "text that decodes beyond": (_runs("ooooo0" * 3), NOT_COCO + "its run lengths must be whole numbers"),
        "text of long numbers": (_runs("o" * 100 + "0"), NOT_COCO + "its compressed run lengths are longer"),
        "text of very many numbers": (_runs("0" * 100_000), NOT_COCO + "its compressed run lengths are longer"),
        # Odd, but sensible: these are read.
        "as it should be": (_changed(), None),
        "with a byte order mark": ("\ufeff" + _changed(), None),
        "no size": (_changed(image={"width": None, "height": None}), None),
        "size 0": (_changed(image={"width": 0, "height": 0}), None),
        "size as floats": (_changed(image={"width": 12.0, "height": 8.0}), None),
        "no categories": (_changed(categories=[]), None),
        "no category at all": (json.dumps({**json.loads(_shape(category_id="<missing>")), "categories": []}), None),
        "ids as texts": (
            _changed(image={"id": "x"}, category={"id": "c"}, annotation={"image_id": "x", "category_id": "c"}), None
        ),
        "annotation ids missing": (_shape(id="<missing>"), None),
        "annotation ids twice": (_again("annotations", bbox=[2, 2, 2, 2]), None),
        "iscrowd true": (_shape(iscrowd=True), None),
        "bbox beside the image": (_shape(bbox=[100, 100, 5, 5]), None),
        "bbox of no area": (_shape(bbox=[2, 2, 0, 0]), None),
        "mask without bbox": (_shape(bbox="<missing>", segmentation={"size": [8, 12], "counts": [9, 3, 84]}), None),
        "empty mask without bbox": (_shape(bbox=[], segmentation={"size": [8, 12], "counts": [96]}), None),
        "empty runs in between": (_runs([3, 0, 4, 2, 0, 0, 87]), None),
    }  # fmt: skip
