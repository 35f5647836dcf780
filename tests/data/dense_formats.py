"""Writes the same annotated images in every format: photos, objects with masks, and the class of each pixel."""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
import json
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import yaml
from PIL import Image

from focalnets.data.annotated.scenes import scene_categories
from focalnets.data.images import turned_upright
from focalnets.data.scenes.generator import SceneGenerator
from focalnets.data.scenes.landscapes import LAND
from focalnets.data.scenes.writing import run_lengths

WIDTH, HEIGHT = 96, 64


@dataclasses.dataclass(frozen=True)
class Example:
    """A picture with its objects, upright."""

    name: str
    pixels: np.ndarray
    objects: tuple[tuple[str, np.ndarray], ...]
    land: np.ndarray
    orientation: int = 1

    @property
    def stored(self):
        """The pixels as they lie in the file."""
        return self.turned_back(self.pixels)

    def turned_back(self, pixels):
        """Turn what lies on the upright picture as it lies in the file."""
        back = {6: 8, 8: 6}.get(self.orientation, self.orientation)
        return np.asarray(turned_upright(Image.fromarray(pixels), back))

    def box(self, number, *, stored=False):
        """Left, top, right, bottom of an object."""
        mask = self.objects[number][1]
        mask = self.turned_back(mask) if stored else mask
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@functools.cache
def examples(count=3, orientation=1, overlap=False):
    """Cuts of generated scenes, and one that shows nothing."""
    found = []
    generator = SceneGenerator(image_size_px=WIDTH, clutter=0.6, target_size=(0.2, 0.3))
    for index in range(count - 1):
        scene = generator.scene(index)
        top = (WIDTH - HEIGHT) // 2
        objects = []
        for thing in scene.objects:
            mask = thing.mask[top : top + HEIGHT]
            if mask.sum() >= 4:
                objects.append((thing.class_name, mask))
        image, land = scene.image[top : top + HEIGHT], scene.land[top : top + HEIGHT]
        found.append(Example(f"{index}", image, tuple(objects), land, orientation))
    empty = np.full((HEIGHT, WIDTH, 3), 99, np.uint8)
    found.append(Example(f"{count - 1}", empty, (), np.zeros((HEIGHT, WIDTH), np.uint8), orientation))
    return tuple(found)


def names_in(found):
    """Classes of the objects, sorted."""
    return sorted({name for example in found for name, _ in example.objects})


def outlines(mask):
    """Corners of the borders of a mask: closed ways along the edges of pixels, the object to the right."""
    framed = np.pad(mask, 1)
    steps = {}
    for (dy, dx), (start, end) in {
        (-1, 0): ((0, 0), (1, 0)), (0, 1): ((1, 0), (1, 1)), (1, 0): ((1, 1), (0, 1)), (0, -1): ((0, 1), (0, 0)),
    }.items():  # fmt: skip
        outside = ~np.roll(framed, (-dy, -dx), (0, 1))
        for y, x in zip(*np.nonzero(framed & outside), strict=True):
            steps.setdefault((x - 1 + start[0], y - 1 + start[1]), []).append((x - 1 + end[0], y - 1 + end[1]))
    ways = []
    while steps:
        start = next(iter(steps))
        way, here = [start], start
        while True:
            following = steps[here].pop()
            if not steps[here]:
                del steps[here]
            if following == start:
                break
            way.append(following)
            here = following
        ways.append(np.array(way, dtype=np.int64))
    return ways


def one_way(mask):
    """All borders as a single polygon: each further one is reached and left by the same step."""
    first, *others = outlines(mask)
    points = list(map(tuple, first))
    for other in others:
        points += [points[0], *map(tuple, other), tuple(other[0]), points[0]]
    return np.array(points, dtype=np.int64)


def write_photo(path, example):
    """Write the picture as it is stored, with its orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if example.orientation > 1:
        exif[0x0112] = example.orientation
    Image.fromarray(example.stored).save(path, exif=exif)


def write_coco(root, found, *, shapes="runs", stored=False):
    """COCO json with run lengths or polygons."""
    ids = {name: 3 * number + 2 for number, name in enumerate(names_in(found))}
    images, annotations = [], []
    for number, example in enumerate(found):
        write_photo(root / "images" / f"{example.name}.png", example)
        height, width = (example.stored if stored else example.pixels).shape[:2]
        images.append({"id": number, "file_name": f"{example.name}.png", "width": width, "height": height})
        for place, (name, mask) in enumerate(example.objects):
            mask = example.turned_back(mask) if stored else mask
            left, top, right, bottom = example.box(place, stored=stored)
            shape = run_lengths(mask) if shapes == "runs" else [one_way(mask).ravel().tolist()]
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": ids[name],
                    "bbox": [left, top, right - left, bottom - top],
                    "segmentation": shape,
                }
            )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": identity, "name": name} for name, identity in ids.items()],
    }
    (root / "instances.json").write_text(json.dumps(content))
    return root


def write_panoptic(root, found, *, stored=False):
    """COCO panoptic json with images of numbers."""
    known = {category.name: category for category in scene_categories()}
    images, annotations = [], []
    (root / "panoptic").mkdir(parents=True)
    for number, example in enumerate(found):
        write_photo(root / "images" / f"{example.name}.png", example)
        height, width = (example.stored if stored else example.pixels).shape[:2]
        images.append({"id": number, "file_name": f"{example.name}.png", "width": width, "height": height})
        numbers = example.land.astype(np.int64) + 70_000
        infos = [{"id": 70_000 + n, "category_id": known[LAND[n]].id} for n in np.unique(example.land).tolist()]
        for place, (name, mask) in enumerate(example.objects, start=1):
            numbers[mask] = 300 * place
            infos.append({"id": 300 * place, "category_id": known[name].id, "iscrowd": 0})
        infos = [info for info in infos if (numbers == info["id"]).any()]
        colours = np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], axis=-1).astype(np.uint8)
        colours = example.turned_back(colours) if stored else colours
        Image.fromarray(colours).save(root / "panoptic" / f"{example.name}.png")
        annotations.append({"image_id": number, "file_name": f"{example.name}.png", "segments_info": infos})
    categories = [{"id": each.id, "name": each.name, "isthing": int(each.thing)} for each in scene_categories()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "panoptic.json").write_text(json.dumps(content))
    return root


def write_yolo(root, found, *, shapes="polygons"):
    """YOLO txt with a yaml file."""
    names = names_in(found)
    (root / "labels" / "train").mkdir(parents=True)
    for example in found:
        write_photo(root / "images" / "train" / f"{example.name}.png", example)
        height, width = example.pixels.shape[:2]
        lines = []
        for place, (name, mask) in enumerate(example.objects):
            if shapes == "polygons":
                numbers = (one_way(mask) / [width, height]).ravel()
            else:
                left, top, right, bottom = example.box(place)
                middle = ((left + right) / 2 / width, (top + bottom) / 2 / height)
                numbers = [*middle, (right - left) / width, (bottom - top) / height]
            lines.append(" ".join([str(names.index(name)), *(f"{number:.10f}" for number in numbers)]))
        if lines:  # As usual: images without objects have no file.
            (root / "labels" / "train" / f"{example.name}.txt").write_text("\n".join(lines) + "\n")
    content = {"path": str(root), "train": "images/train", "names": dict(enumerate(names))}
    (root / "data.yaml").write_text(yaml.safe_dump(content))
    return root


def write_voc(root, found, *, masks=False, stored=False):
    """Pascal VOC xml, with masks of objects and classes where wanted."""
    names = names_in(found)
    (root / "Annotations").mkdir(parents=True)
    for example in found:
        write_photo(root / "JPEGImages" / f"{example.name}.png", example)
        height, width = (example.stored if stored else example.pixels).shape[:2]
        objects = []
        for place, (name, _) in enumerate(example.objects):
            left, top, right, bottom = example.box(place, stored=stored)
            corners = zip(("xmin", "ymin", "xmax", "ymax"), (left + 1, top + 1, right, bottom), strict=True)
            inner = "".join(f"<{key}>{value}</{key}>" for key, value in corners)
            objects.append(
                f"<object><name>{escape(name)}</name><difficult>0</difficult><bndbox>{inner}</bndbox></object>"
            )
        size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        text = f"<annotation><filename>{example.name}.png</filename>{size}{''.join(objects)}</annotation>"
        (root / "Annotations" / f"{example.name}.xml").write_text(text)
        if masks:
            for folder, values in (
                ("SegmentationObject", range(1, len(example.objects) + 1)),
                ("SegmentationClass", [names.index(name) + 1 for name, _ in example.objects]),
            ):
                numbers = np.zeros((height, width), np.uint8)
                for value, (_, mask) in zip(values, example.objects, strict=True):
                    numbers[example.turned_back(mask) if stored else mask] = value
                (root / folder).mkdir(exist_ok=True)
                image = Image.fromarray(numbers)
                image.putpalette(list(range(256)) * 3)
                image.save(root / folder / f"{example.name}.png")
    return root


def write_labelme(root, found, *, shapes="polygons", stored=False):
    """Labelme json beside the images; ``parts`` writes the pieces of an object as polygons of one group."""
    for example in found:
        write_photo(root / f"{example.name}.png", example)
        height, width = (example.stored if stored else example.pixels).shape[:2]
        entries = []
        for place, (name, mask) in enumerate(example.objects):
            mask = example.turned_back(mask) if stored else mask
            left, top, right, bottom = example.box(place, stored=stored)
            if shapes == "boxes":
                pieces = [("rectangle", [[right, bottom], [left, top]], None)]
            elif shapes == "masks":
                data = io.BytesIO()
                Image.fromarray(mask[top:bottom, left:right]).save(data, "PNG")
                text = base64.b64encode(data.getvalue()).decode()
                pieces = [("mask", [[left, top], [right - 1, bottom - 1]], text)]
            elif shapes == "parts":  # Columns of pixels, one polygon each.
                pieces = [
                    ("polygon", one_way(strip).tolist(), None)
                    for column in range(left, right)
                    if (strip := mask & (np.arange(width) == column)).any()
                ]
            else:
                pieces = [("polygon", one_way(mask).tolist(), None)]
            for kind, points, text in pieces:
                entry = {"label": name, "points": points, "shape_type": kind, "flags": {}}
                entry |= {"mask": text} if text else {}
                entries.append(entry | {"group_id": place if shapes == "parts" else None})
        content = {
            "version": "5.5.0",
            "flags": {},
            "shapes": entries,
            "imagePath": f"..\\somewhere\\{example.name}.png",
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        (root / f"{example.name}.json").write_text(json.dumps(content))
    return root


def write_cvat(root, found, *, shapes="polygons", stored=False):
    """CVAT xml for images."""
    lines = []
    for number, example in enumerate(found):
        write_photo(root / "images" / f"{example.name}.png", example)
        height, width = (example.stored if stored else example.pixels).shape[:2]
        lines.append(f'<image id="{number}" name="{example.name}.png" width="{width}" height="{height}">')
        for place, (name, mask) in enumerate(example.objects):
            mask = example.turned_back(mask) if stored else mask
            left, top, right, bottom = example.box(place, stored=stored)
            label = f"label={quoteattr(name)}"
            if shapes == "boxes":
                lines.append(f'<box {label} xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}"/>')
            elif shapes == "masks":
                part = mask[top:bottom, left:right].ravel()
                changes = np.flatnonzero(np.diff(part)) + 1
                counts = np.diff([0, *changes, part.size]).tolist()
                counts = [0, *counts] if part[0] else counts
                lines.append(
                    f'<mask {label} rle="{", ".join(map(str, counts))}" left="{left}" top="{top}" '
                    f'width="{right - left}" height="{bottom - top}"/>'
                )
            else:
                points = ";".join(f"{x}.0,{y}.00" for x, y in one_way(mask).tolist())
                lines.append(f'<polygon {label} points="{points}" z_order="0"/>')
        lines.append("</image>")
    labels = "".join(f"<label><name>{escape(name)}</name></label>" for name in names_in(found))
    meta = f"<meta><task><labels>{labels}</labels></task></meta>"
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{meta}{"".join(lines)}'
    (root / "annotations.xml").write_text(text + "</annotations>")
    return root


def write_object_masks(root, found, *, stored=False):
    """A folder of masks for each class, one mask for each object."""
    for example in found:
        write_photo(root / "images" / f"{example.name}.png", example)
        for name in names_in(found):
            (root / "masks" / name).mkdir(parents=True, exist_ok=True)
        for place, (name, mask) in enumerate(example.objects):
            mask = example.turned_back(mask) if stored else mask
            Image.fromarray(mask).save(root / "masks" / name / f"{example.name}_{place}.png")
    return root


def write_numbered_masks(root, found, *, colours=False, stored=False):
    """A mask for each image with another number or colour for each object."""
    for example in found:
        write_photo(root / "images" / f"{example.name}.png", example)
        numbers = np.zeros(example.pixels.shape[:2], np.uint16)
        for place, (_, mask) in enumerate(example.objects, start=1):
            numbers[mask] = 257 * place
        if colours:
            numbers = np.stack([numbers % 256, numbers // 256, np.zeros_like(numbers)], -1).astype(np.uint8)
        numbers = example.turned_back(numbers) if stored else numbers
        (root / "masks").mkdir(parents=True, exist_ok=True)
        Image.fromarray(numbers).save(root / "masks" / f"{example.name}.png")
    return root


def write_class_maps(root, found, *, colours=False, stored=False):
    """A mask for each image with the class of each pixel, and a table of the classes."""
    names = ["background", *names_in(found)]
    palette = [(40 * number % 256, 255 - number, number * 7 % 256) for number in range(len(names))]
    for example in found:
        write_photo(root / "images" / f"{example.name}.png", example)
        numbers = np.zeros(example.pixels.shape[:2], np.uint8)
        for name, mask in example.objects:
            numbers[mask] = names.index(name)
        numbers = np.array(palette, np.uint8)[numbers] if colours else numbers
        numbers = example.turned_back(numbers) if stored else numbers
        (root / "masks").mkdir(parents=True, exist_ok=True)
        Image.fromarray(numbers).save(root / "masks" / f"{example.name}.png")
    if colours:
        rows = [f"{name},{','.join(map(str, colour))}" for name, colour in zip(names, palette, strict=True)]
        (root / "class_dict.csv").write_text("\n".join(["name,r,g,b", *rows]))
    else:
        (root / "classes.json").write_text(json.dumps(names))
    return root
