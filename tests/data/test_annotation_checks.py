"""What is found in annotations before training."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from PIL import Image
from tests.data import dense_formats
from tests.data.annotated_files import coco, mask_image, photo

from focalnets.cli.main import main
from focalnets.data.annotated.scene_writing import write_annotated_scenes
from focalnets.data.annotated.training import open_annotated_training
from focalnets.data.checks.anchors import best_overlaps
from focalnets.data.checks.annotated import check_annotations
from focalnets.data.checks.samples import draw_annotations
from focalnets.data.scenes.generator import SceneGenerator
from focalnets.data.scenes.landscapes import LAND
from focalnets.errors import DataError


def test_what_is_wrong_is_found(tmp_path):
    for part in ("train", "val"):
        for number in range(3):
            photo(tmp_path / part / f"{number}.png")
        images = [(number, f"{number}.png", 12, 8) for number in range(3)] + [(9, "gone.png", 12, 8)]
        annotations = [
            {"image_id": 0, "category_id": 1, "bbox": [1, 1, 4, 4]},
            {"image_id": 0, "category_id": 1, "bbox": [1, 1, 4, 4]},
            {"image_id": 0, "category_id": 77, "bbox": [1, 1, 4, 4]},
            {"image_id": 1, "category_id": 1, "bbox": [9, 1, 30, 4]},
            {"image_id": 1, "category_id": 2 if part == "train" else 1, "bbox": [2, 2, 0, 4]},
            {"image_id": 50, "category_id": 1, "bbox": [1, 1, 4, 4]},
        ]
        coco(tmp_path / f"{part}.json", images, annotations)
    found = check_annotations(tmp_path)
    kinds = {finding.kind: finding.count for finding in found.findings}
    assert kinds == {
        "unknown-category": 2, "annotation-without-image": 4, "duplicate": 2, "outside": 2, "no-area": 2,
        "no-object": 2, "only-in-train": 1, "few-objects": 2,
    }  # fmt: skip
    assert found.findings[0].severity == "error"
    assert found.images == {"train": 3, "val": 3}
    assert found.objects["train"] == {"cat": 3, "car": 1}
    json.dumps([finding.to_dict() for finding in found.findings])


def test_good_data_have_no_errors(tmp_path):
    place = dense_formats.write_yolo(tmp_path / "data", dense_formats.examples())
    found = check_annotations(place)
    assert {finding.severity for finding in found.findings} <= {"note", "warning"}
    assert found.anchors is not None
    with pytest.raises(DataError, match="cannot train panoptic"):
        check_annotations(place, "panoptic")


def test_classes_of_pixels_that_one_part_alone_shows_are_named(tmp_path):
    for part, shown in (("train", (0, 1, 2)), ("val", (0, 1, 3))):
        for number in range(2):
            photo(tmp_path / part / "images" / f"{number}.png")
            mask_image(tmp_path / part / "masks" / f"{number}.png", np.resize(shown, (8, 12)))
    (tmp_path / "classes.json").write_text(json.dumps(["sky", "road", "tree", "car", "bus"]))
    found = check_annotations(tmp_path)
    said = {finding.kind: (finding.severity, finding.examples) for finding in found.findings}
    assert said == {
        "only-in-train": ("warning", ("tree",)),
        "only-in-val": ("warning", ("car",)),
        "unused-classes": ("note", ("bus",)),
    }
    assert found.objects["val"] == {"sky": 2, "road": 2, "tree": 0, "car": 2, "bus": 0}


def test_ground_is_counted_by_images(tmp_path):
    place = dense_formats.write_panoptic(tmp_path / "data", dense_formats.examples())
    found = check_annotations(place, "panoptic")
    never = next(finding.examples for finding in found.findings if finding.kind == "unused-classes")
    assert {"sky", "meadow"} & set(found.classes)
    assert not {name for name, count in found.objects["all"].items() if count} & set(never)
    assert max(found.objects["all"][name] for name in LAND) == 3


def test_objects_without_end_are_checked_in_no_time(tmp_path):
    photo(tmp_path / "images" / "a.png", 300, 200)
    mask_image(tmp_path / "masks" / "a.png", np.zeros((200, 300)))
    Image.fromarray(np.arange(60_000, dtype=np.uint16).reshape(200, 300)).save(tmp_path / "masks" / "a.png")
    begun = time.process_time()
    found = check_annotations(tmp_path, "detect")
    assert found.objects["all"]["object"] == 59_999
    assert not any(finding.kind == "duplicate" for finding in found.findings)
    assert time.process_time() - begun < 20


@pytest.mark.parametrize("count", [3, 700])
def test_objects_in_the_same_place_are_counted_once_each(tmp_path, count):
    photo(tmp_path / "0.png", 900, 20)
    places = [(float(place), 1.0, 4.0, 4.0) for place in range(count)]
    boxes = [*places, (places[0][0] + 0.3, 0.7, 4.0, 4.0), (places[1][0], 1.0, 4.9, 4.0), places[-1], places[-1]]
    annotations = [{"image_id": 0, "category_id": 1, "bbox": list(box)} for box in boxes]
    annotations.append({"image_id": 0, "category_id": 2, "bbox": list(places[0])})
    coco(tmp_path / "a.json", [(0, "0.png", 900, 20)], annotations)
    kinds = {finding.kind: finding.count for finding in check_annotations(tmp_path).findings}
    assert kinds["duplicate"] == 3


def test_the_command_checks_annotations_and_draws_samples(tmp_path, capsys):
    place = dense_formats.write_labelme(tmp_path / "data", dense_formats.examples())
    sheet = tmp_path / "samples.png"
    assert main(["check", str(place), "--samples", str(sheet), "--json", str(tmp_path / "found.json")]) == 0
    said = capsys.readouterr().out
    assert "Labelme json for detect: 3 images in all" in said
    assert "a detector is trained with: shorter side" in said
    assert json.loads((tmp_path / "found.json").read_text())["format"] == "Labelme json"
    with Image.open(sheet) as drawn:
        assert drawn.size[0] == 3 * 368 + 8
    broken = json.loads((place / "0.json").read_text())
    (place / "0.json").write_text(json.dumps({**broken, "imageWidth": -1}))
    assert main(["check", str(place)]) == 1
    assert "error" in capsys.readouterr().out


def test_drawings_show_boxes_masks_and_classes_of_pixels():
    for task in ("instance", "semantic"):
        data = open_annotated_training("scenes:2", task=task, val_fraction=0.5).train
        annotated = data.annotation(0)
        drawn = np.asarray(draw_annotations(annotated, data.categories))
        changed = (drawn != np.asarray(annotated.image)).any(axis=-1)
        assert drawn.shape == (192, 192, 3)
        assert changed.mean() > (0.9 if task == "semantic" else 0.02)
        assert all(changed[thing.mask].mean() > 0.9 for thing in annotated.objects)


def test_anchors_are_those_that_training_chooses():
    from focalnets.tasks.detect.task import Detect

    proposal = check_annotations("scenes:30", "detect").anchors
    task = Detect(model="fasterrcnn_focalnet_pico")
    chosen = task.choose_settings(task.open("scenes:30", val_fraction=0.2, seed=0), image_size=None)
    assert chosen["image_size"] == proposal.image_size_px
    assert chosen["anchor_sizes"] == ",".join(f"{size:g}" for size in proposal.sizes_px)
    assert chosen["anchor_ratios"] == ",".join(f"{ratio:.3g}" for ratio in proposal.ratios)
    assert 0 < proposal.usual_overlap < proposal.overlap < 1


def test_the_best_anchor_counts():
    tall = best_overlaps(np.array([[10.0, 20.0]]), np.array([np.sqrt(200.0)]), np.array([2.0]))
    assert tall == pytest.approx([1.0])


def test_written_scenes_are_read_back(tmp_path):
    generator = SceneGenerator(image_size_px=64)
    root = write_annotated_scenes(generator, tmp_path / "scenes", train=2, val=1)
    data = open_annotated_training(root, task="panoptic")
    assert (len(data.train), len(data.val)) == (2, 1)
    scene, (_, read) = generator.scene(1), data.train[1]
    assert (np.asarray(read.image) == scene.image).all()
    masks = {thing.box_xyxy: thing.mask for thing in read.objects}
    for thing in scene.objects:
        assert (masks[tuple(map(float, thing.box_xyxy))] == thing.mask).all()
        assert {data.labels[label] for label in np.unique(read.semantic[thing.mask])} == {thing.class_name}
    assert "COCO json" in open_annotated_training(root, task="instance").description
    semantic = open_annotated_training(root / "semantic", task="semantic")
    assert semantic.labels[-1] == "water"
    with pytest.raises(DataError, match="exists already"):
        write_annotated_scenes(generator, root, train=1, val=1)
