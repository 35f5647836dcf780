"""Generated scenes: determinism, what objects say against what is painted, and that only shape gives the class away."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from focalnets.data.folders import open_image_folders
from focalnets.data.scenes.dataset import SceneDataset
from focalnets.data.scenes.generator import DISTRACTOR_CLASSES, SCENE_CLASSES, Scene, SceneGenerator
from focalnets.data.scenes.shapes import TARGETS, render
from focalnets.data.scenes.writing import run_lengths, write_folders
from focalnets.data.transforms import evaluation_transform
from focalnets.errors import ConfigError, DataError, UnknownNameError
from focalnets.models.config import Preprocessing


@pytest.fixture(scope="module")
def generator() -> SceneGenerator:
    return SceneGenerator(image_size_px=128)


@pytest.fixture(scope="module")
def scenes(generator: SceneGenerator) -> list[Scene]:
    return [generator.scene(index) for index in range(96)]


def digest(scene: Scene) -> str:
    state = hashlib.sha256(scene.image.tobytes())
    for thing in scene.objects:
        state.update(thing.class_name.encode() + bytes(thing.box_xyxy) + thing.mask.tobytes())
    return state.hexdigest()


def test_shapes_and_types(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert (scene.image.shape, scene.image.dtype) == ((128, 128, 3), np.uint8)
        for thing in scene.objects:
            assert (thing.mask.shape, thing.mask.dtype) == ((128, 128), np.bool_)
            assert thing.class_name in (SCENE_CLASSES if thing.category == "target" else DISTRACTOR_CLASSES)


def test_order_does_not_matter(generator: SceneGenerator, scenes: list[Scene]) -> None:
    for index in (7, 3, 90):
        assert digest(generator.scene(index)) == digest(scenes[index])


def test_another_process_draws_the_same(scenes: list[Scene]) -> None:
    script = (
        "import pickle, sys; from focalnets.data.scenes.generator import SceneGenerator\n"
        "sys.stdout.buffer.write(pickle.dumps(SceneGenerator(image_size_px=128).scene(11)))\n"
        "assert 'torch' not in sys.modules"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    assert digest(pickle.loads(output)) == digest(scenes[11])


def test_seed_and_index_matter(generator: SceneGenerator, scenes: list[Scene]) -> None:
    assert len({digest(scene) for scene in scenes}) == len(scenes)
    other = SceneGenerator(image_size_px=128, seed=1)
    assert digest(other.scene(0)) != digest(scenes[0])


def test_labels_are_balanced_and_known_without_drawing(generator: SceneGenerator, scenes: list[Scene]) -> None:
    assert set(Counter(scene.label for scene in scenes).values()) == {len(scenes) // len(SCENE_CLASSES)}
    assert [generator.label(index) for index in range(96)] == [scene.label for scene in scenes]
    orders = {tuple(generator.label(index) for index in range(start, start + 8)) for start in range(0, 80, 8)}
    assert len(orders) > 5, "the order within a block must vary"


def test_boxes_agree_with_masks(scenes: list[Scene]) -> None:
    for scene in scenes:
        total = np.zeros((128, 128), dtype=int)
        for thing in scene.objects:
            rows, columns = np.nonzero(thing.mask)
            assert thing.box_xyxy == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            total += thing.mask
        assert total.max() <= 1, "each pixel shows one object at most"


def test_there_is_one_target_small_and_whole(generator: SceneGenerator, scenes: list[Scene]) -> None:
    for scene in scenes:
        assert [thing.category for thing in scene.objects].count("target") == 1
        target = scene.target
        assert target.class_name == generator.classes[scene.label]
        left, top, right, bottom = target.box_xyxy
        # Thin ends, less than half a pixel wide, are in the picture but not in the mask.
        assert 0.055 * 128 <= max(right - left, bottom - top) <= 0.14 * 128 + 2
        assert left > 0
        assert top > 0
        assert right < 128
        assert bottom < 128


def test_mask_covers_what_the_target_changed(generator: SceneGenerator) -> None:
    # Everything but the last brush stroke is the same up to the target, so two classes' scenes differ only around it.
    one, other = (SceneGenerator([name], image_size_px=128, clutter=0.0) for name in ("balloon", "airship"))
    for index in range(8):
        first, second = one.scene(index), other.scene(index)
        both = first.target.mask | second.target.mask
        changed = (np.abs(first.image.astype(int) - second.image.astype(int)) > 24).any(axis=-1)
        rim = np.zeros_like(both)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                rim |= np.roll(both, (dy, dx), (0, 1))
        assert not (changed & ~rim).any()
        assert (changed & both).sum() > 0.5 * both.sum()


def test_size_setting_is_kept() -> None:
    scene = SceneGenerator(["balloon"], image_size_px=256, target_size=(0.4, 0.4)).scene(0)
    left, top, right, bottom = scene.target.box_xyxy
    assert abs(max(right - left, bottom - top) - 0.4 * 256) <= 2


def test_clutter_setting() -> None:
    counts = {
        clutter: sum(len(SceneGenerator(image_size_px=64, clutter=clutter).scene(index).objects) for index in range(10))
        for clutter in (0.0, 1.0, 2.0)
    }
    assert counts[0.0] == 10
    assert counts[0.0] < counts[1.0] < counts[2.0]


def nearest_mean_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Half of the examples make class means, the other half is named after the nearest."""
    half = len(labels) // 2
    means = np.stack([features[:half][labels[:half] == label].mean(axis=0) for label in range(len(SCENE_CLASSES))])
    distances = ((features[half:, None] - means) ** 2).sum(axis=-1)
    return float((distances.argmin(axis=1) == labels[half:]).mean())


def test_shape_tells_the_class_but_surroundings_and_colours_do_not() -> None:
    generator = SceneGenerator(image_size_px=96)
    scenes = [generator.scene(index) for index in range(320)]
    labels = np.array([scene.label for scene in scenes])
    surroundings = np.stack(
        [np.asarray(Image.fromarray(scene.image).resize((6, 6), Image.Resampling.BOX)).ravel() for scene in scenes]
    ).astype(float)
    colours = np.stack([scene.image[scene.target.mask].mean(axis=0) for scene in scenes])
    silhouettes = []
    for scene in scenes:
        left, top, right, bottom = scene.target.box_xyxy
        cut = Image.fromarray(scene.target.mask[top:bottom, left:right].astype(np.uint8) * 255)
        proportions = np.array([right - left, bottom - top]) * 128.0 / max(right - left, bottom - top)
        silhouettes.append(np.concatenate([np.asarray(cut.resize((12, 12))).ravel(), proportions]))
    # Chance is 1/8; with 160 tests its 3 sigma limit is 0.2.
    assert nearest_mean_accuracy(surroundings, labels) < 0.22
    assert nearest_mean_accuracy(colours, labels) < 0.3
    assert nearest_mean_accuracy(np.stack(silhouettes).astype(float), labels) > 0.5


def test_targets_stand_out(scenes: list[Scene]) -> None:
    contrasts = []
    for scene in scenes:
        left, top, right, bottom = scene.target.box_xyxy
        region = slice(max(top - 3, 0), bottom + 3), slice(max(left - 3, 0), right + 3)
        image, mask = scene.image[region].astype(float), scene.target.mask[region]
        contrasts.append(np.linalg.norm(image[mask] - image[~mask].mean(axis=0), axis=1).mean())
    assert min(contrasts) > 35


@pytest.mark.parametrize("name", SCENE_CLASSES)
def test_render_is_cut_to_the_shape(name: str) -> None:
    colours = ((250.0, 0.0, 0.0), (0.0, 250.0, 0.0), (0.0, 0.0, 250.0))
    patches = TARGETS[name][0](colours, np.random.default_rng(0))
    sprite = render(patches, 40.0, rotation=0.3, haze=((0.0, 0.0, 0.0), 0.0))
    assert sprite.dtype == np.float32
    assert max(sprite.shape[:2]) == 40
    alpha = sprite[..., 3]
    assert (alpha.min(), alpha.max()) == (0.0, 1.0)
    assert sprite[..., :3].max(axis=-1)[alpha == 0].max() == 0, "colours are premultiplied"
    assert all(edge.any() for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]))


def test_fewer_classes() -> None:
    generator = SceneGenerator(["rocket", "kite"], image_size_px=64)
    assert {generator.classes[generator.scene(index).label] for index in range(2)} == {"kite", "rocket"}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"classes": ["kite", "cow"]}, UnknownNameError, "'cow'"),
        ({"classes": []}, ConfigError, "at least one"),
        ({"classes": ["kite", "kite"]}, ConfigError, "once"),
        ({"image_size_px": 16}, ConfigError, "image_size_px"),
        ({"image_size_px": 64.0}, ConfigError, "image_size_px"),
        ({"seed": -1}, ConfigError, "seed"),
        ({"target_size": (0.2, 0.1)}, ConfigError, "target_size"),
        ({"target_size": (0.2, 0.9)}, ConfigError, "target_size"),
        ({"clutter": -1.0}, ConfigError, "clutter"),
    ],
)
def test_bad_settings(options: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        SceneGenerator(**options)
    assert str(caught.value).endswith(".")


def decode(lengths: dict) -> np.ndarray:
    height, width = lengths["size"]
    values = np.repeat(np.arange(len(lengths["counts"])) % 2, lengths["counts"])
    return values.reshape(width, height).T.astype(bool)


@pytest.mark.parametrize("fill", [0.0, 0.3, 1.0])
def test_run_lengths(fill: float) -> None:
    mask = np.random.default_rng(0).random((7, 5)) < fill
    lengths = run_lengths(mask)
    assert sum(lengths["counts"]) == 35
    np.testing.assert_array_equal(decode(lengths), mask)


def test_run_lengths_by_hand() -> None:
    assert run_lengths(np.array([[1, 0], [1, 1]], dtype=bool)) == {"size": [2, 2], "counts": [0, 2, 1, 1]}


def test_write_folders(tmp_path: Path, generator: SceneGenerator) -> None:
    calls: list[tuple[int, int]] = []
    root = write_folders(
        generator, tmp_path / "a" / "scenes", train=16, val=8, progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(done, 24) for done in range(1, 25)]
    assert sorted(entry.name for entry in root.parent.iterdir()) == ["scenes"]
    folders = open_image_folders(root)
    assert folders.classes == SCENE_CLASSES
    assert (len(folders.train), len(folders.val)) == (16, 8)
    for side, samples in (("train", folders.train), ("val", folders.val)):
        coco = json.loads((root / f"annotations_{side}.json").read_text())
        assert len(coco["images"]) == len(samples)
        names = {category["id"]: category["name"] for category in coco["categories"]}
        for entry in coco["images"]:
            path = root / entry["file_name"]
            scene = generator.scene(int(path.stem.split("_")[1]))
            np.testing.assert_array_equal(np.asarray(Image.open(path)), scene.image)
            assert path.parent.name == generator.classes[scene.label]
            categories = np.asarray(Image.open(root / "masks" / entry["file_name"]))
            annotations = [item for item in coco["annotations"] if item["image_id"] == entry["id"]]
            assert len(annotations) == len(scene.objects)
            for item, thing in zip(annotations, scene.objects, strict=True):
                assert names[item["category_id"]] == thing.class_name
                x, y, width, height = item["bbox"]
                assert (x, y, x + width, y + height) == thing.box_xyxy
                assert item["area"] == thing.mask.sum()
                np.testing.assert_array_equal(decode(item["segmentation"]), thing.mask)
                assert (categories[thing.mask] == item["category_id"]).all()
            assert (categories > 0).sum() == sum(item["area"] for item in annotations)


def test_write_folders_never_overwrites(tmp_path: Path, generator: SceneGenerator) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mine.txt").write_text("x")
    with pytest.raises(DataError, match="not empty"):
        write_folders(generator, tmp_path / "kept", train=1, val=1)
    (tmp_path / "empty").mkdir()
    assert write_folders(generator, tmp_path / "empty", train=1, val=0) == tmp_path / "empty"


def test_interrupted_writing_leaves_nothing(tmp_path: Path, generator: SceneGenerator) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folders(generator, tmp_path / "scenes", train=3, val=3, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cache", [False, True])
def test_scene_dataset(generator: SceneGenerator, scenes: list[Scene], cache: bool) -> None:
    transform = evaluation_transform(Preprocessing(input_size_px=64, crop_fraction=1.0))
    dataset = SceneDataset(generator, range(5, 15), transform, cache=cache)
    assert len(dataset) == 10
    for _ in range(2):
        image, label = dataset[2]
        assert label == scenes[7].label
        torch.testing.assert_close(image, transform(Image.fromarray(scenes[7].image)), rtol=0, atol=0)
    assert SceneDataset(generator, [3])[0][0].size == (128, 128)
    assert pickle.loads(pickle.dumps(dataset))[2][1] == label
