"""Odd COCO files: read as data for detection, and through ``localize``."""

from __future__ import annotations

import copy
import itertools
import json
import random
from pathlib import Path

import pytest
from tests.campaigns.json_changes import changed_json
from tests.campaigns.odd_images import changed, encoded, picture
from tests.campaigns.running import Case, Tally, campaign, random_for
from tests.data.annotated_files import box, mask_image
from tests.data.odd_coco_files import HEIGHT, WIDTH, odd_files

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

NAMED = {name: text for name, (text, _) in odd_files().items()}
NAMES = list(NAMED)
AT_LEAST = 160

GOOD = {
    "info": {"year": 2020}, "licenses": [],
    "images": [
        {"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}, {"id": 2, "file_name": "b.png", "width": 40,
        "height": 30}
    ],
    "categories": [{"id": 3, "name": "cat", "supercategory": "animal"}, {"id": 7, "name": "car"}],
    "annotations": [
        {"id": 5, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0},
        {"id": 6, "image_id": 2, "category_id": 7, "bbox": [4, 5, 20, 10], "area": 90.5, "iscrowd": 0,
        "segmentation": [[4, 5, 24, 5, 24, 15, 4, 15], [1, 1, 3, 1, 3, 3]]},
        {"id": 8, "image_id": 2, "category_id": 3, "bbox": [0, 0, 40, 30], "area": 20, "iscrowd": 1,
        "segmentation": {"size": [30, 40], "counts": [100, 20, 1080]}},
        {"id": 9, "image_id": 1, "category_id": 3, "bbox": [0, 0, 2, 2], "area": 4, "iscrowd": 1,
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": "93d2"}},
    ],
}  # fmt: skip


def test_odd_coco_files(servers, scratch, conclude):
    tally = Tally("odd COCO files and masks", "test_coco_files.py")
    order = list(range(len(NAMES) + 80))
    random_for("order of COCO files").shuffle(order)
    numbers = itertools.chain(order, itertools.count(len(order)))
    campaign(servers, scratch, tally, runs_for, numbers, at_least=AT_LEAST, fraction=0.06)
    conclude(tally, AT_LEAST)


def runs_for(number: int, folder: Path):
    draw = random_for("COCO file", number)
    (folder / "a.png").write_bytes(encoded(picture(size=(WIDTH, HEIGHT)), "PNG"))
    (folder / "b.png").write_bytes(encoded(picture(size=(40, 30)), "PNG"))
    place = folder / "odd.json"
    if number < len(NAMES):
        name = NAMES[number]
        place.write_text(NAMED[name], encoding="utf-8", errors="surrogatepass")
    elif draw.random() < 0.6:
        name = "changed"
        place.write_bytes(_changed_entry(draw))
    else:
        place, name = _masks(folder / "masks", draw)
    yield Case(
        number=number, name=f"{name}, reading", folder=folder, statuses=(0, 2),
        call="tests.campaigns.calls:read_annotated", given=[str(place)],
    )  # fmt: skip
    if number % 4 == 0:
        yield Case(
            number=number, name=f"{name}, localize", folder=folder, statuses=(0, 2),
            arguments=["localize", str(place), "--limit", "1", "--size", "32", "--resamples", "10", "--quiet"],
        )  # fmt: skip


def _changed_entry(draw: random.Random) -> bytes:
    """The good file with one part changed, so that often the change is deep inside."""
    if draw.random() < 0.4:
        return changed_json(GOOD, draw)
    content = copy.deepcopy(GOOD)
    entries = content[draw.choice(("images", "categories", "annotations", "annotations"))]
    place = draw.randrange(len(entries))
    entries[place] = "@"
    text = json.dumps(content).encode()
    return text.replace(
        b'"@"',
        changed_json(
            GOOD[
                "annotations"
                if entries is content["annotations"]
                else "images"
                if entries is content["images"]
                else "categories"
            ][place],
            draw,
        ),
    )


def _masks(root: Path, draw: random.Random) -> tuple[Path, str]:
    """Folders of images and masks in which something is odd."""
    for number in range(2):
        image = root / "images" / f"{number}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(encoded(picture(size=(12, 8)), "PNG"))
        mask_image(root / "masks" / f"{number}.png", box(1, 2, 5, 6, value=number + 1))
    kind = draw.choice(("names", "mask", "mode", "name", "size", "missing", "text"))
    mask = root / "masks" / "0.png"
    if kind == "names":
        (root / "classes.json").write_bytes(changed_json(["background", "cat", "car"], draw))
    elif kind == "text":
        (root / "classes.txt").write_bytes(
            draw.choice((b"", b"\xff", b"\n\n\n", b"a\0b\n", b"a\n" * 70_000, b"\xef\xbb\xbfcat\n"))
        )
    elif kind == "mask":
        mask.write_bytes(changed(mask.read_bytes(), draw)[0])
    elif kind == "mode":
        mode = draw.choice(("1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I", "F", "I;16"))
        ending = draw.choice(("PNG", "TIFF", "WEBP", "JPEG"))
        mask.unlink()
        try:
            mask.with_suffix(f".{ending.lower()}").write_bytes(encoded(picture(mode, (12, 8)), ending))
        except (OSError, ValueError):
            mask.write_bytes(b"")
    elif kind == "name":
        mask.rename(mask.with_name(draw.choice(("0_mask.png", "a.png", ".png", "0.PNG", "0.png.png", "0\n.png"))))
    elif kind == "size":
        mask_image(mask, box(1, 2, 5, 6, width=draw.choice((8, 13)), height=draw.choice((12, 8))))
    else:
        mask.unlink()
    return root, f"masks, {kind}"
