"""Annotated images: every layout, turned photos, and every mistake as one sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from tests.data.annotated_files import box, coco, mask_folders, mask_image, photo

from focalnets.data.annotated.coco import annotation_mask
from focalnets.data.annotated.open import open_annotated_images
from focalnets.data.annotated.scenes import FIRST_SCENE, SCENE_TARGET_SIZE
from focalnets.data.scenes.generator import SceneGenerator
from focalnets.data.scenes.writing import run_lengths, write_folders
from focalnets.demo.classification.settings import full
from focalnets.errors import DataError, ImageError

SQUARE = [2, 1, 7, 1, 7, 5, 2, 5]


def test_scenes_are_those_of_the_demonstration_but_none_that_it_uses():
    scenes = open_annotated_images("scenes:16")
    assert len(scenes) == 16
    assert len(open_annotated_images("scenes")) == 400
    assert full().target_size == SCENE_TARGET_SIZE
    assert full().picture_px == 192
    drawn = SceneGenerator(target_size=SCENE_TARGET_SIZE).scene(FIRST_SCENE + 3)
    assert (np.asarray(scenes[3].image) == drawn.image).all()
    assert (scenes[3].mask == drawn.target.mask).all()
    with pytest.raises(IndexError):
        scenes[16]


def test_scenes_by_category():
    kites = open_annotated_images("scenes:16", category="kite")
    assert len(kites) == 2
    assert kites[0].mask.any()
    trees = open_annotated_images("scenes:3", category="tree")
    assert [image.mask.shape for image in trees] == [(192, 192)] * 3
    with pytest.raises(DataError, match="scenes hold no 'dragon'; choose from"):
        open_annotated_images("scenes:3", category="dragon")
    with pytest.raises(DataError, match="ask for more"):
        open_annotated_images("scenes:1", category=next(n for n in ("kite", "umbrella") if n != _first_class()))
    for wrong in ("scenes:", "scenes:0", "scenes:-3", "scenes:many"):
        with pytest.raises(DataError, match="scenes:COUNT"):
            open_annotated_images(wrong)


def _first_class():
    generator = SceneGenerator()
    return generator.classes[generator.label(FIRST_SCENE)]


@pytest.mark.parametrize(
    ("images", "masks", "suffix"),
    [("images", "masks", ""), ("PNGImages", "PedMasks", "_mask"), ("images", "masks", "_mask")],
)
def test_folders_of_masks(tmp_path, images, masks, suffix):
    found = open_annotated_images(mask_folders(tmp_path, images=images, masks=masks, suffix=suffix))
    assert list(found.names) == ["0.png", "1.png", "2.png", "3.png"]
    for index, one in enumerate(found):
        assert one.image.size == (12, 8)
        assert (one.mask == box(1 + index, 2, 5 + index, 6).astype(bool)).all()
    assert list(found.limited(2).names) == ["0.png", "2.png"]
    assert (found.limited(2)[1].mask == found[2].mask).all()
    assert found.limited(9) is found


def test_held_out_images_and_class_maps(tmp_path):
    for split in ("train", "val"):
        photo(tmp_path / split / "images" / f"{split}.jpg")
        mask_image(tmp_path / split / "masks" / f"{split}.png", box(0, 0, 3, 3) + 2 * box(4, 0, 6, 2))
    (tmp_path / "classes.json").write_text('["sky", "tree", "Car"]')
    found = open_annotated_images(tmp_path, category="car")
    assert list(found.names) == ["val.jpg"]
    assert (found[0].mask == box(4, 0, 6, 2).astype(bool)).all()
    assert open_annotated_images(tmp_path, category="1")[0].mask.sum() == 9
    with pytest.raises(DataError, match="0 for sky; name the category that is to be found: sky, tree, Car"):
        open_annotated_images(tmp_path)
    with pytest.raises(DataError, match="knows no category 'boat'; choose from sky, tree, Car"):
        open_annotated_images(tmp_path, category="boat")
    (tmp_path / "classes.json").write_text('["background", "tree", "car"]')
    assert open_annotated_images(tmp_path)[0].mask.sum() == 13
    for broken, words in (("[", "is no json"), ("{}", "list of names")):
        (tmp_path / "classes.json").write_text(broken)
        with pytest.raises(DataError, match=words):
            open_annotated_images(tmp_path, category="car")
    (tmp_path / "classes.json").unlink()
    (tmp_path / "classes.txt").write_text("sky\ntree\ncar\n")
    assert open_annotated_images(tmp_path, category="tree")[0].mask.sum() == 9


def test_masks_of_every_kind_of_png(tmp_path):
    mask = box(3, 1, 9, 4, value=200)
    photo(tmp_path / "images" / "a.png")
    target = tmp_path / "masks" / "a.png"
    palette = Image.fromarray(mask)
    palette.putpalette([0, 0, 0] * 256)  # All colours are black: only the numbers tell.
    for image in (
        Image.fromarray(mask), palette, Image.fromarray(mask).convert("RGB"), Image.fromarray(mask).convert("LA"),
        Image.fromarray(mask > 0), Image.fromarray(mask.astype(np.uint16) * 100),
    ):  # fmt: skip
        target.parent.mkdir(exist_ok=True)
        image.save(target)
        assert (open_annotated_images(tmp_path)[0].mask == (mask > 0)).all(), image.mode


def turned(stored, orientation):
    """A mask drawn on the pixels in the file as it lies on the upright photo."""
    return {
        1: lambda m: m, 2: np.fliplr, 3: lambda m: np.rot90(m, 2), 4: np.flipud, 5: np.transpose,
        6: lambda m: np.rot90(m, -1), 7: lambda m: np.rot90(m, 2).T, 8: np.rot90,
    }[orientation](stored)  # fmt: skip


@pytest.mark.parametrize("ending", ["jpg", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_follow_turned_photos(tmp_path, orientation, ending):
    photo(tmp_path / "images" / f"a.{ending}", orientation=orientation)
    stored = box(1, 2, 4, 5)
    upright = turned(stored, orientation)
    mask_image(tmp_path / "masks" / "a.png", upright)
    one = open_annotated_images(tmp_path)[0]
    assert one.mask.shape == (one.image.height, one.image.width) == upright.shape
    assert (one.mask == upright).all()
    if orientation >= 5:  # Drawn on the pixels as they lie in the file, which only the size can tell.
        mask_image(tmp_path / "masks" / "a.png", stored)
        assert (open_annotated_images(tmp_path)[0].mask == upright).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_with_an_orientation_of_their_own_are_turned_once(tmp_path, orientation):
    stored = box(1, 2, 4, 5)
    upright = turned(stored, orientation)
    photo(tmp_path / "images" / "a.png", width=upright.shape[1], height=upright.shape[0])
    for ending in ("png", "tif"):
        exif = Image.Exif()
        exif[0x0112] = orientation
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(stored).save(tmp_path / "masks" / f"a.{ending}", exif=exif)
        assert (open_annotated_images(tmp_path)[0].mask == upright).all()
        (tmp_path / "masks" / f"a.{ending}").unlink()


def test_mistakes_in_folders_of_masks(tmp_path):
    root = mask_folders(tmp_path / "data")
    (root / "masks" / "2.png").unlink()
    with pytest.raises(DataError, match=r"1 of the 4 images .* have no mask .* the first is '2.png'"):
        open_annotated_images(root)
    mask_image(root / "masks" / "2.png", box(0, 0, 2, 2, width=11))
    with pytest.raises(DataError, match=r"2.png' has 11 x 8 pixels but .* 12 x 8"):
        open_annotated_images(root)
    Image.fromarray(box(0, 0, 2, 2)).save(root / "masks" / "2.jpg")
    (root / "masks" / "2.png").unlink()
    with pytest.raises(ImageError, match="is a JPEG"):
        open_annotated_images(root)[2]
    (root / "masks" / "2.jpg").unlink()
    mask_image(root / "masks" / "2.png", box(0, 0, 2, 2))
    whole = (root / "masks" / "2.png").read_bytes()
    (root / "masks" / "2.png").write_bytes(whole[:45])
    with pytest.raises(ImageError, match=r"2\.png' is damaged"):
        open_annotated_images(root)[2]
    (root / "masks" / "2.png").write_text("no image")
    with pytest.raises(ImageError, match="no image"):
        open_annotated_images(root)
    mask_image(root / "masks" / "2.png", box(0, 0, 2, 2), mode="RGB")
    with pytest.raises(DataError, match="holds colours"):
        open_annotated_images(root, category="1")[2]
    with pytest.raises(DataError, match="give the number"):
        open_annotated_images(root, category="cat")
    with pytest.raises(DataError, match="shows pedestrians only"):
        open_annotated_images(mask_folders(tmp_path / "p", images="PNGImages", masks="PedMasks"), category="car")
    (tmp_path / "empty" / "images").mkdir(parents=True)
    (tmp_path / "empty" / "masks").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        open_annotated_images(tmp_path / "empty")
    with pytest.raises(DataError, match="there is no file or folder 'nowhere'; expected `scenes`"):
        open_annotated_images("nowhere")
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="holds no images with masks or boxes"):
        open_annotated_images(tmp_path / "other")


def test_coco_polygons_run_lengths_and_boxes(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        photo(tmp_path / "images" / "val" / name)
    lengths = run_lengths(box(0, 0, 3, 8).astype(bool))
    file = coco(
        tmp_path / "annotations" / "instances_val.json",
        [(1, "a.jpg", 12, 8), (2, "b.jpg", 12, 8), (3, "c.jpg", 12, 8)],
        [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [SQUARE, [9, 1, 11, 1, 11, 3, 9, 3]]},
            {"id": 2, "image_id": 1, "category_id": 2, "segmentation": lengths, "iscrowd": 1},
            {"id": 3, "image_id": 2, "category_id": 2, "bbox": [4, 2, 3, 4]},
        ],
    )
    found = open_annotated_images(file)
    assert list(found.names) == ["a.jpg", "b.jpg"]  # nothing is annotated in the third
    square, small = box(2, 1, 7, 5).astype(bool), box(9, 1, 11, 3).astype(bool)
    assert (found[0].mask == (square | small | box(0, 0, 3, 8).astype(bool))).all()
    assert (found[1].mask == box(4, 2, 7, 6).astype(bool)).all()
    assert (open_annotated_images(file, category="cat")[0].mask == (square | small)).all()
    assert list(open_annotated_images(file, category="Thing").names) == ["a.jpg", "b.jpg"]
    assert len(open_annotated_images(file.parent)) == 2
    assert len(open_annotated_images(tmp_path)) == 2
    assert len(open_annotated_images(file, images=tmp_path / "images" / "val")) == 2


def test_compressed_run_lengths_and_polygons_by_hand():
    # As pycocotools writes them.
    columns = box(1, 1, 2, 4, width=5, height=4) + box(3, 1, 4, 4, width=5, height=4)
    assert (annotation_mask({"segmentation": {"size": [4, 5], "counts": "5350O"}}, 4, 5) == columns.astype(bool)).all()
    large = box(5, 10, 50, 80, width=70, height=90) | box(60, 20, 61, 30, width=70, height=90)
    large |= box(64, 0, 65, 90, width=70, height=90)
    counts = f"\\>V2d{'0' * 88}^l0TNX]O`2h3"
    assert (annotation_mask({"segmentation": {"size": [90, 70], "counts": counts}}, 90, 70) == large.astype(bool)).all()
    triangle = annotation_mask({"segmentation": [[0, 0, 4, 0, 0, 4]]}, 5, 5)
    assert triangle.sum(1).tolist() == [3, 2, 1, 0, 0]
    outside = annotation_mask({"segmentation": [[-9, -9, 99, -9, 99, 99, -9, 99]]}, 3, 4)
    assert outside.all()


@pytest.mark.parametrize("ending", ["jpg", "tif"])
def test_coco_masks_follow_turned_photos(tmp_path, ending):
    photo(tmp_path / f"a.{ending}", orientation=6)  # 12 x 8 in the file, 8 x 12 upright
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [SQUARE]}
    file = coco(tmp_path / "stored.json", [(1, f"a.{ending}", 12, 8)], [annotation])
    one = open_annotated_images(file)[0]
    assert one.image.size == (8, 12)
    assert (one.mask == np.rot90(box(2, 1, 7, 5), -1).astype(bool)).all()
    file = coco(tmp_path / "upright.json", [(1, f"a.{ending}", 8, 12)], [annotation])
    assert (open_annotated_images(file)[0].mask == box(2, 1, 7, 5, width=8, height=12).astype(bool)).all()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no json or incomplete"),
        ("[]", "holds no list 'images'"),
        ('{"images": []}', "holds no list 'annotations'"),
        ('{"images": [], "annotations": []}', "lists no images"),
        ('{"images": [{"id": 1}], "annotations": []}', "has no file_name"),
        ('{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 2}]}', "belongs to no image"),
        ('{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}', "shows an object"),
    ],
)
def test_files_that_are_not_coco(tmp_path, content, words):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=words):
        open_annotated_images(tmp_path / "a.json")


def test_mistakes_around_coco_files(tmp_path):
    annotation = {"id": 7, "image_id": 1, "category_id": 1, "bbox": [1, 1, 3, 3]}
    file = coco(tmp_path / "a.json", [(1, "a.jpg", 12, 8)], [annotation])
    with pytest.raises(DataError, match=r"images of .* where 'a.jpg' was looked for; name their folder"):
        open_annotated_images(file)
    with pytest.raises(DataError, match="are not in 'gone'"):
        open_annotated_images(file, images="gone")
    photo(tmp_path / "a.jpg", width=13)
    with pytest.raises(DataError, match=r"13 x 8 pixels but .* says 12 x 8"):
        open_annotated_images(file)
    photo(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="has no category 'dog'; choose from cat, car"):
        open_annotated_images(file, category="dog")
    with pytest.raises(DataError, match=r"No image .* shows an object of category 'car'"):
        open_annotated_images(file, category="car")
    coco(tmp_path / "a.json", [(1, "a.jpg", 12, 8), (2, "b.jpg", 12, 8)], [annotation, annotation | {"image_id": 2}])
    with pytest.raises(DataError, match=r"lists the image 'b.jpg'"):
        open_annotated_images(file)
    coco(tmp_path / "b.json", [(1, "a.jpg", 12, 8)], [annotation])
    with pytest.raises(DataError, match=r"holds a.json, b.json; name one"):
        open_annotated_images(tmp_path)


@pytest.mark.parametrize(
    "annotation",
    [
        {},
        {"bbox": [1, 2, 3]},
        {"bbox": "wide"},
        {"bbox": [1, 2, float("nan"), 3]},
        {"segmentation": [[1, 2, 3]]},
        {"segmentation": [["a", "b", "c", "d", "e", "f"]]},
        {"segmentation": {"size": [8, 12]}},
        {"segmentation": {"size": [9, 12], "counts": [108]}},
        {"segmentation": {"size": [8, 12], "counts": [95]}},
        {"segmentation": {"size": [8, 12], "counts": [-1, 97]}},
        {"segmentation": {"size": [8, 12], "counts": "\u00e9"}},
        {"segmentation": {"size": [8, 12], "counts": "P"}},
        {"segmentation": {"size": [8, 12], "counts": [float("inf")]}},
    ],
)
def test_broken_annotations_are_one_sentence(annotation):
    with pytest.raises(DataError, match=r"^Annotation 5 is not as COCO has it \(.+\); correct or remove it\.$"):
        annotation_mask({"id": 5, **annotation}, 8, 12)


def test_written_scenes_are_read_as_coco(tmp_path):
    generator = SceneGenerator(image_size_px=64)
    write_folders(generator, tmp_path / "scenes", train=1, val=2)
    found = open_annotated_images(tmp_path / "scenes" / "annotations_val.json", category="target")
    assert len(found) == 2
    assert (found[1].mask == generator.scene(1_000_001).target.mask).all()
    assert (
        json.loads((tmp_path / "scenes" / "annotations_val.json").read_text())["images"][1]["file_name"]
        == found.names[1]
    )
