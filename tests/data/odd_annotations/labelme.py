"""Places of Labelme's json files."""

from __future__ import annotations

import base64
import io
import json
import zlib

import numpy as np
from PIL import Image

TASK = "instance"
PHOTO = "a.png"
NOT_LABELME = r"is not as Labelme has it \(.*"
_SHAPE = {"label": "cat", "points": [[1, 1], [5, 1], [5, 5]], "shape_type": "polygon", "group_id": None, "flags": {}}
_GOOD = {"shapes": [_SHAPE], "imagePath": "a.png", "imageData": None, "imageHeight": 8, "imageWidth": 12}


def _file(**changes):
    content = {key: value for key, value in {**_GOOD, **changes}.items() if value != "<missing>"}
    return {"a.json": json.dumps(content)}


def _shape(**changes):
    return _file(shapes=[{key: value for key, value in {**_SHAPE, **changes}.items() if value != "<missing>"}])


def _raw(text):
    """A place of two files, of which the first is as it should be."""
    return {"0.json": json.dumps({**_GOOD, "imagePath": "0.png"}), "0.png": None, "a.json": text}


def _png(width=3, height=2, mode="L", kind="PNG"):
    data = io.BytesIO()
    Image.fromarray(np.full((height, width), 255, np.uint8)).convert(mode).save(data, kind)
    return base64.b64encode(data.getvalue()).decode()


def _bomb():
    """A PNG that says it has 60000 x 60000 pixels."""
    data = bytearray(base64.b64decode(_png()))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return base64.b64encode(bytes(data)).decode()


def _mask(mask, points=((1, 1), (3, 2))):
    return _shape(shape_type="mask", points=[list(point) for point in points], mask=mask)


def odd_files():
    """Names of the places with their files and what is said of them; None where they read."""
    huge = 10**400
    pairs = NOT_LABELME + "pairs of finite numbers"
    return {
        # No json of Labelme.
        "empty": (_raw(""), "is no json or incomplete"),
        "half": (_raw(json.dumps(_GOOD)[:50]), "is no json or incomplete"),
        "a list": (_raw("[]"), NOT_LABELME + "a json object"),
        "a number": (_raw("17"), NOT_LABELME + "a json object"),
        "deep": (_raw("[" * 200_000), "is no json or incomplete"),
        "binary": (_raw(bytes(range(256))), "cannot be read"),
        "zeros": (_raw(b"\0" * 50), "is no json or incomplete"),
        "a number of 5000 digits": (_raw(json.dumps(_GOOD).replace("12", "9" * 5000)), "is no json or incomplete"),
        "shapes missing": (_raw(json.dumps({**_GOOD, "shapes": None})), NOT_LABELME + "shapes needs a list"),
        "shapes an object": (_file(shapes={"a": 1}), NOT_LABELME + "shapes needs a list"),
        "shapes of numbers": (_file(shapes=[1]), NOT_LABELME + "shapes needs a list"),
        "very many shapes": (_file(shapes=[{}] * 100_001), NOT_LABELME + "more than the limit of 100,000"),
        # The image.
        "width a text": (_file(imageWidth="12"), NOT_LABELME + "whole numbers from 1 up"),
        "width negative": (_file(imageWidth=-12), NOT_LABELME + "whole numbers from 1 up"),
        "width a half": (_file(imageWidth=12.5), NOT_LABELME + "whole numbers from 1 up"),
        "width true": (_file(imageWidth=True), NOT_LABELME + "whole numbers from 1 up"),
        "width NaN": (_file(imageWidth=float("nan")), NOT_LABELME + "whole numbers from 1 up"),
        "width alone": (_file(imageHeight="<missing>"), NOT_LABELME + "whole numbers from 1 up"),
        "width of 400 digits": (_file(imageWidth=huge), NOT_LABELME + "megapixels"),
        "very large": (_file(imageWidth=2**31, imageHeight=2**31), NOT_LABELME + "megapixels"),
        "another size": (_file(imageWidth=13), "has 13 x 8 pixels but .* 12 x 8"),
        "image path a number": (_file(imagePath=7), NOT_LABELME + "imagePath needs a text"),
        "image path a list": (_file(imagePath=["a.png"]), NOT_LABELME + "imagePath needs a text"),
        "image missing": ({"b.json": json.dumps({**_GOOD, "imagePath": "b.png"})}, "image 'b.png' of .* is neither"),
        "image of the system": (
            {"b.json": json.dumps({**_GOOD, "imagePath": "/etc/passwd"})}, "image 'passwd' of .* is neither"
        ),
        "image with a zero": ({"b.json": json.dumps({**_GOOD, "imagePath": "b\0.png"})}, "is neither beside it"),
        "image with a long name": ({"b.json": json.dumps({**_GOOD, "imagePath": "b" * 5000})}, "is neither beside it"),
        # Shapes.
        "label missing": (_shape(label="<missing>"), NOT_LABELME + "needs a label"),
        "label a number": (_shape(label=5), NOT_LABELME + "needs a label"),
        "label empty": (_shape(label="  "), NOT_LABELME + "needs a label"),
        "label too long": (_shape(label="x" * 500), NOT_LABELME + "at most 200 letters"),
        "label a list": (_shape(label=["cat"]), NOT_LABELME + "needs a label"),
        "kind unknown": (_shape(shape_type="heptagon"), NOT_LABELME + "shape_type needs one of"),
        "kind a number": (_shape(shape_type=3), NOT_LABELME + "shape_type needs one of"),
        "group a list": (_shape(group_id=[1]), NOT_LABELME + "group_id needs"),
        "group true": (_shape(group_id=True), NOT_LABELME + "group_id needs"),
        "group a half": (_shape(group_id=1.5), NOT_LABELME + "group_id needs"),
        "points missing": (_shape(points="<missing>"), pairs),
        "points empty": (_shape(points=[]), pairs),
        "points a text": (_shape(points="1,1"), pairs),
        "points of numbers": (_shape(points=[1, 1, 5, 1, 5, 5]), pairs),
        "points of three": (_shape(points=[[1, 1, 1]] * 3), pairs),
        "points of texts": (_shape(points=[["1", "1"]] * 3), pairs),
        "points of nulls": (_shape(points=[[None, None]] * 3), pairs),
        "points of truth": (_shape(points=[[True, False]] * 3), pairs),
        "points NaN": (_shape(points=[[1, float("nan")], [5, 1], [5, 5]]), pairs),
        "points infinite": (_shape(points=[[1, float("inf")], [5, 1], [5, 5]]), pairs),
        "points of 400 digits": (_shape(points=[[1, huge], [5, 1], [5, 5]]), pairs),
        "points 1e308": (_shape(points=[[1, 1e308], [5, 1], [5, 5]]), NOT_LABELME + "px away"),
        "polygon of two corners": (_shape(points=[[1, 1], [5, 5]]), NOT_LABELME + "at least three corners"),
        "polygon of long edges": (_shape(points=[[0, 0], [1e6, 1e6]] * 4), NOT_LABELME + "its outline is"),
        "rectangle of one point": (_shape(shape_type="rectangle", points=[[1, 1]]), NOT_LABELME + "needs two points"),
        "circle of one point": (_shape(shape_type="circle", points=[[1, 1]]), NOT_LABELME + "needs two points"),
        "circle of three points": (_shape(shape_type="circle"), NOT_LABELME + "a circle needs two points"),
        "circle very large": (_shape(shape_type="circle", points=[[0, 0], [9e5, 0]]), NOT_LABELME + "a circle has"),
        "mask missing": (_mask(None), NOT_LABELME + "a PNG in base64"),
        "mask a number": (_mask(5), NOT_LABELME + "a PNG in base64"),
        "mask no base64": (_mask("*?!"), NOT_LABELME + "a PNG in base64"),
        "mask empty": (_mask(""), NOT_LABELME + "the mask is empty"),
        "mask no picture": (_mask(base64.b64encode(b"hello").decode()), NOT_LABELME + "no image"),
        "mask half": (_mask(_png()[:60]), NOT_LABELME),
        "mask a JPEG": (_mask(_png(kind="JPEG")), NOT_LABELME + "a mask needs a PNG"),
        "mask of another size": (_mask(_png(4, 4)), NOT_LABELME + "of 4 x 4"),
        "mask that swells": (_mask(_bomb()), NOT_LABELME + "of 60000 x 60000"),
        "mask of three points": (_mask(_png(), ((1, 1), (3, 2), (4, 4))), NOT_LABELME + "needs two points"),
        # Odd, but sensible: these are read.
        "as it should be": (_file(), None),
        "no size": (_file(imageWidth=None, imageHeight=None), None),
        "no image path": (_file(imagePath="<missing>"), None),
        "a path of Windows": (_file(imagePath="C:\\photos\\a.png"), None),
        "a path above": (_file(imagePath="../../a.png"), None),
        "kind missing": (_shape(shape_type="<missing>"), None),
        "kind null": (_shape(shape_type=None), None),
        "rectangle": (_shape(shape_type="rectangle", points=[[5, 5], [1, 1]]), None),
        "rectangle of four points": (_shape(shape_type="rectangle", points=[[1, 1], [5, 1], [5, 5], [1, 5]]), None),
        "circle": (_shape(shape_type="circle", points=[[4, 4], [4, 7]]), None),
        "circle of nothing": (_shape(shape_type="circle", points=[[4, 4], [4, 4]]), None),
        "mask": (_mask(_png()), None),
        "mask of colours": (_mask(_png(mode="RGB")), None),
        "mask of bits": (_mask(_png(mode="1")), None),
        "mask beside the image": (_mask(_png(), ((20, 20), (22, 21))), None),
        "mask over the border": (_mask(_png(), ((-1, -1), (1, 0))), None),
        "polygon far away": (_shape(points=[[9e5, 9e5], [9e5 + 9, 9e5], [9e5, 9e5 + 9]]), None),
        "polygon of a point": (_shape(points=[[2, 2]] * 3), None),
        "lines and points beside it": (
            _file(shapes=[_SHAPE, {**_SHAPE, "shape_type": "line"}, {**_SHAPE, "shape_type": "point"}]), None
        ),
        "background": (_file(shapes=[_SHAPE, {**_SHAPE, "label": "_background_"}]), None),
        "to ignore": (_file(shapes=[_SHAPE, {**_SHAPE, "label": "__ignore__"}]), None),
        "groups by text": (_file(shapes=[{**_SHAPE, "group_id": "a"}] * 2), None),
        "a byte order mark": ({"a.json": "\ufeff" + _file()["a.json"]}, None),
    }  # fmt: skip
