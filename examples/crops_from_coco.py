"""Cut the annotated objects out of COCO images into folders of classes, as `focalnets train` reads them.

    python examples/crops_from_coco.py train2017/ instances_train2017.json objects/train --classes animal food vehicle
    python examples/crops_from_coco.py val2017/ instances_val2017.json objects/val --classes animal food vehicle
    focalnets train objects --pretrained focalnet_pico.imagenette --image_size 128 --output runs/objects

A class is a category ("dog") or a supercategory ("animal"). Crops are square, as large as the longer side of the box
with a margin, and end at the edge of the image. Crowds and small objects are left out.
"""

from __future__ import annotations

import argparse
import collections
import json
from pathlib import Path

from focalnets.data.images import read_image


def main() -> None:
    """Read the options and cut."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder of the images")
    parser.add_argument("annotations", type=Path, help="instances_*.json")
    parser.add_argument("output", type=Path, help="folder for one folder a class")
    parser.add_argument("--classes", nargs="+", required=True, help="categories or supercategories")
    parser.add_argument("--smallest", type=float, default=48, help="shortest side of a box [px] (default: %(default)s)")
    parser.add_argument("--most", type=int, default=150, help="most crops of a class (default: %(default)s)")
    parser.add_argument(
        "--margin", type=float, default=0.1, help="around a box, as a fraction of it (default: %(default)s)"
    )
    arguments = parser.parse_args()
    counts = cut(**vars(arguments))
    print(", ".join(f"{count} {name}" for name, count in counts.items()), "in", arguments.output)


def cut(
    images: Path, annotations: Path, output: Path, classes: list[str], smallest: float, most: int, margin: float
) -> dict[str, int]:
    """Write the crops as JPEG files; returns their number by class."""
    content = json.loads(annotations.read_text(encoding="utf-8"))
    names = {category["id"]: {category["name"], category.get("supercategory")} for category in content["categories"]}
    known = set().union(*names.values()) - {None}
    if unknown := sorted(set(classes) - known):
        raise SystemExit(f"{annotations} has no class {', '.join(unknown)}; it has {', '.join(sorted(known))}.")
    files = {image["id"]: image["file_name"] for image in content["images"]}
    by_image: dict[int, list[tuple[str, int, list[float]]]] = collections.defaultdict(list)
    counts = dict.fromkeys(classes, 0)
    for annotation in content["annotations"]:
        for name in classes:
            fits = min(annotation["bbox"][2:]) >= smallest and not annotation.get("iscrowd") and counts[name] < most
            if name in names[annotation["category_id"]] and fits:
                counts[name] += 1
                by_image[annotation["image_id"]].append((name, annotation["id"], annotation["bbox"]))
    for image, objects in by_image.items():
        picture = read_image(images / files[image])
        for name, identity, (x, y, width, height) in objects:
            half = max(width, height) * (1 + margin) / 2
            left, top = max(0, x + width / 2 - half), max(0, y + height / 2 - half)
            right, bottom = min(picture.width, x + width / 2 + half), min(picture.height, y + height / 2 + half)
            folder = output / name
            folder.mkdir(parents=True, exist_ok=True)
            box = (round(left), round(top), round(right), round(bottom))
            picture.crop(box).save(folder / f"{Path(files[image]).stem}-{identity}.jpg", quality=92)
    return counts


if __name__ == "__main__":
    main()
