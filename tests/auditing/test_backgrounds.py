"""Objects before other backgrounds, for networks that name the object, the background, or both."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from focalnets.auditing.answers import LookedAt, ask
from focalnets.auditing.backgrounds import BACKGROUND_PASSES, background_verdicts, measure_backgrounds
from focalnets.auditing.cutouts import fill, part, take_apart
from focalnets.auditing.object_masks import open_object_masks
from focalnets.data.samples import ImageFolder
from focalnets.data.scenes.generator import SceneGenerator
from focalnets.data.scenes.writing import write_folders
from focalnets.errors import DataError
from focalnets.models.config import Preprocessing
from focalnets.tasks.classify.task import Classify

SIDE = 32
SPEC = Preprocessing(input_size_px=SIDE, crop_fraction=1.0)
CLASSES = ("blue", "red")


class Answerer(nn.Module):
    """Names the colour of the middle, or of the border with a chance that depends on the picture alone."""

    preprocessing, class_names, threshold, origin = SPEC, CLASSES, None, "made here"

    def __init__(self, reliance):
        super().__init__()
        self.reliance, self.weight = reliance, nn.Parameter(torch.ones(()))

    def forward(self, images):
        middle = images[:, :, SIDE // 2 - 2 : SIDE // 2 + 2, SIDE // 2 - 2 : SIDE // 2 + 2].mean((2, 3))
        border = images[:, :, :2].mean((2, 3))
        # The object carries a number in its colours, so the same object is answered by the same rule everywhere.
        chance = (middle[:, 1] * 997).frac().abs()
        seen = torch.where((chance < self.reliance)[:, None], border, middle)
        return torch.stack([seen[:, 2] - seen[:, 0], seen[:, 0] - seen[:, 2]], 1) * self.weight


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Squares of a class's colour before backgrounds of the same colour, darker; masks in a folder beside them."""
    root, random = tmp_path_factory.mktemp("squares"), np.random.default_rng(0)
    samples = []
    for number in range(120):
        label = number % 2
        colour = np.array((60, 0, 200) if label == 0 else (200, 0, 60))
        pixels = np.broadcast_to(colour // 2 + 20, (SIDE, SIDE, 3)).copy()
        pixels[10:22, 10:22] = colour + np.array([0, random.integers(0, 200), 0])
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[10:22, 10:22] = 255
        for folder, array in (("val", pixels.astype(np.uint8)), ("masks", mask)):
            path = root / folder / CLASSES[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
        samples.append((root / "val" / CLASSES[label] / f"{number}.png", label))
    return root, ImageFolder(samples, CLASSES)


def measure(network, data, **options):
    root, images = data
    masks = open_object_masks(
        root / "masks", [file for file, _ in images.samples], [CLASSES[label] for _, label in images.samples]
    )
    parted = take_apart(images, masks, masks.numbers, SPEC)
    assert len(parted) == len(masks) == 120
    answers = ask(Classify(), network, LookedAt(images))
    return measure_backgrounds(
        Classify(), network, parted, answers, without=0, **{"gap": 0.05, "alpha": 0.05, "least": 30, **options}
    )


@pytest.mark.parametrize("reliance", [0.0, 0.4, 1.0])
def test_reliance_is_what_was_put_in(reliance, data):
    shown = []
    found = measure(Answerer(reliance), data, on_progress=lambda *step: shown.append(step))
    assert shown[-1][0] == BACKGROUND_PASSES * 120
    assert found.pull.pairs == found.swapped == 120
    assert found.pull.value.value == pytest.approx(reliance, abs=0.12)
    assert found.pull_found == (reliance > 0)
    assert found.gap.value == pytest.approx(found.pull.value.value)
    assert found.pasting.value == 0.0
    shares = {view.key: view.recognised.value for view in found.views}
    assert shares["same"] == 1.0
    assert shares["background"] == 1.0  # what is left has the class's colour
    verdicts = background_verdicts(found, images=120, least=30)
    assert {verdict.kind for verdict in verdicts} == ({"found"} if reliance else {"nothing"})
    assert found.data[0] == 1.0
    assert len(found.examples[0]) == len(found.views)
    json.dumps(found.to_dict())


def test_few_pairs_are_too_few(data):
    found = measure(Answerer(1.0), data, least=200)
    assert found.pull is None
    (verdict,) = background_verdicts(found, images=120, least=200)
    assert verdict.kind == "too few"


def test_what_is_filled_shows_nothing_of_the_object():
    random = np.random.default_rng(1)
    picture = random.integers(90, 110, (40, 50, 3)).astype(np.uint8)
    opacity = np.zeros((40, 50), np.float32)
    opacity[12:20, 15:30] = 1
    picture[12:20, 15:30] = 255
    found = part(picture, opacity)
    assert 85 < found.background[12:20, 15:30].min() <= found.background[12:20, 15:30].max() < 115
    far = np.ones((40, 50), bool)
    far[10:22, 13:32] = False
    assert np.array_equal(found.background[far], picture[far])
    assert np.array_equal(found.on(found.background)[opacity == 1], picture[opacity == 1])
    assert part(picture, np.zeros((40, 50), np.float32)) is None
    assert part(picture, np.ones((40, 50), np.float32)) is None


def test_filling_follows_a_slope():
    slope = np.broadcast_to(np.linspace(0, 255, 64)[None, :, None], (64, 64, 3)).astype(np.uint8)
    known = np.ones((64, 64), bool)
    known[20:44, 20:44] = False
    assert np.abs(fill(slope, known).astype(int) - slope)[~known].max() < 40


def test_scenes_give_the_masks_of_what_they_are_named_after(tmp_path):
    generator = SceneGenerator(("kite", "rocket"), image_size_px=64, target_size=(0.3, 0.4))
    root = write_folders(generator, tmp_path / "scenes", train=1, val=4)
    files = sorted((root / "val").rglob("*.png"))
    masks = open_object_masks(root / "annotations_val.json", files, [file.parent.name for file in files])
    assert masks.numbers == [0, 1, 2, 3]
    for number, file in enumerate(files):
        assert np.array_equal(masks.read(number), generator.scene(int(file.stem[6:])).target.mask)


def test_masks_that_do_not_fit_are_refused(data, tmp_path):
    root, _ = data
    with pytest.raises(DataError, match="holds masks of none of the 1 images"):
        open_object_masks(root / "masks", [tmp_path / "other.png"], ["blue"])
    with pytest.raises(DataError, match="there is no file or folder"):
        open_object_masks(tmp_path / "nowhere", [], [])


def test_masks_of_another_size_are_refused_and_turned_as_their_photo(tmp_path):
    for name in ("photos", "masks"):
        (tmp_path / name / "cat").mkdir(parents=True)
    photo, mask = tmp_path / "photos" / "cat" / "1.jpg", tmp_path / "masks" / "cat" / "1.png"
    exif = Image.Exif()
    exif[274] = 6  # to be turned by a quarter
    Image.new("RGB", (40, 20)).save(photo, exif=exif)
    drawn = np.zeros((20, 40), np.uint8)
    drawn[:5, :10] = 1
    Image.fromarray(drawn).save(mask)
    masks = open_object_masks(tmp_path / "masks", [photo], ["cat"])
    assert np.array_equal(masks.read(0), np.rot90(drawn, -1) > 0)
    Image.fromarray(drawn[:10]).save(mask)
    with pytest.raises(DataError, match="has 40 x 10 pixels"):
        open_object_masks(tmp_path / "masks", [photo], ["cat"])
