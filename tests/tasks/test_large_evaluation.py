"""Every task measured on images at the size that they have, held against the ordinary evaluation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from tests.large.test_contexts import draw, semantic
from tests.tasks.annotated_places import write_class_maps
from tests.tasks.test_large import detector

import focalnets
from focalnets.cli.main import main
from focalnets.data.annotated.images import AnnotatedImage
from focalnets.data.annotated.objects import AnnotatedObject, Category
from focalnets.errors import ConfigError, DataError
from focalnets.large.looking import LargeOptions
from focalnets.models.config import WholeImage
from focalnets.tasks.large_evaluation import evaluate_large
from focalnets.tasks.report import evaluate_in_passes
from focalnets.tasks.running import evaluate
from focalnets.tasks.table import build_task
from focalnets.tasks.task import Task
from focalnets.weights.checkpoint import save_checkpoint

SIZE = 96
"""Side of images that no resizing changes."""


class Pictures:
    """Items (picture, what is known of it)."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def pictures(count, known, side=SIZE):
    return Pictures([(Image.fromarray(draw(side, side, seed)), known(seed)) for seed in range(count)])


def of_whole_images(network):
    network.preprocessing = WholeImage(input_size_px=SIZE)
    return network


def classes_of(seed, side=SIZE):
    labels = np.random.default_rng(seed).integers(0, 5, (side // 16, side // 16)).repeat(16, 0).repeat(16, 1)
    labels[:3] = 255
    picture = Image.fromarray(draw(side, side, seed))
    return AnnotatedImage(f"image {seed}", picture, semantic_data=labels)


def objects_of(network, seed):
    """What the network itself finds, two of three, so that something is right, missed and spurious."""
    (found,) = focalnets.api.Trained(build_task("detect"), network).predict(Image.fromarray(draw(SIZE, SIZE, seed)))
    category = Category(1, "cat")
    objects = [
        AnnotatedObject(category, thing.class_index, thing.box, area_px=thing.area_px)
        for number, thing in enumerate(found.value.objects)
        if number % 3
    ]
    return AnnotatedImage(f"image {seed}", Image.fromarray(draw(SIZE, SIZE, seed)), objects)


def same_figures(ours, theirs, tolerance):
    assert ours.metrics.keys() == theirs.metrics.keys()
    for name, value in theirs.metrics.items():
        assert ours.metrics[name] == pytest.approx(value, abs=tolerance), name


def test_class_maps_as_a_whole_have_the_figures_of_the_ordinary_evaluation():
    network, task = of_whole_images(semantic()), build_task("semantic")
    data = pictures(3, classes_of)
    usual = evaluate(task, network, data, batch_size=1)
    whole = evaluate_large(task, network, data, LargeOptions(context="image"))
    same_figures(whole, usual, 2e-4)
    assert [each.index for each in whole.worst] == [each.index for each in usual.worst]
    for ours, theirs in zip(whole.worst, usual.worst, strict=True):
        assert (ours.wrong, ours.confidence) == pytest.approx((theirs.wrong, theirs.confidence), abs=0.02)
    assert whole.preprocessing["look"] == {"context": "image", "dtype": "float32"}
    assert whole.loss is None
    tiles = evaluate_large(task, network, data, LargeOptions(context="tile", tile_px=32, overlap_px=16))
    assert tiles.preprocessing["look"]["tile_px"] == 32
    assert tiles.metrics != whole.metrics
    assert "context tile, tiles of 32 px" in task.summary(tiles)[0]
    assert "loss" not in task.summary(tiles)[0]


def test_objects_as_a_whole_have_the_figures_of_the_ordinary_evaluation():
    pytest.importorskip("faster_coco_eval")
    network, task = of_whole_images(detector(masks=False)), build_task("detect")
    data = pictures(2, lambda seed: objects_of(network, seed))
    usual = evaluate(task, network, data, batch_size=1)
    whole = evaluate_large(task, network, data, LargeOptions(context="image", tile_px=128, overlap_px=32))
    assert usual.metrics["map50"] > 0.2
    assert usual.objects > 5
    same_figures(whole, usual, 0.02)
    assert whole.classes[0].objects == usual.classes[0].objects
    assert len(whole.mistakes) == len(usual.mistakes)


def test_more_than_a_hundred_objects_count():
    pytest.importorskip("faster_coco_eval")
    task, look = build_task("detect"), build_task("detect").large(detector(masks=False)).for_measuring()
    boxes = [
        (16.0 * column, 16.0 * row, 16.0 * column + 9, 16.0 * row + 9) for row in range(20) for column in range(20)
    ]
    category = Category(1, "cat")
    known = AnnotatedImage(
        "large", Image.new("RGB", (320, 320)), [AnnotatedObject(category, 0, box, area_px=81.0) for box in boxes]
    )
    from focalnets.large.merging import WindowObject
    from focalnets.large.windows import cut_windows

    (window,) = cut_windows(320, 320, 320, 32, 32)
    metrics = look.metrics(("cat", "dog"))
    look.measure(metrics, [WindowObject(window, 0, 0.9, box) for box in boxes], known)
    assert float(metrics.compute()["map50"]) == pytest.approx(1.0)
    assert task.settings.detections == 100


def test_classifiers_have_a_loss_and_files_are_read_where_they_lie(shipped_stand_in, tmp_path):
    for seed in range(3):
        folder = tmp_path / "photos" / shipped_stand_in.class_names[seed]
        folder.mkdir(parents=True)
        Image.fromarray(draw(70 + 16 * seed, 90, seed)).save(folder / f"{seed}.png")
    plans = []
    evaluated = focalnets.evaluate(
        tmp_path / "photos", shipped_stand_in, look=LargeOptions(context="image"), folder=tmp_path / "report",
        on_plan=lambda name, plan: plans.append((name, plan.height, plan.seconds > 0)),
    )  # fmt: skip
    assert evaluated.images == 3
    assert evaluated.loss > 0
    assert plans[0][1] in (70, 86, 102)
    assert all(estimated for *_, estimated in plans)
    assert not list((tmp_path / "report").iterdir())
    written = evaluated.save(tmp_path / "report")
    assert "report.html" in written
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "at the size that they have (context image)" in page
    assert "centre crop" not in page


def test_from_the_command_line_with_its_page(tmp_path, capsys):
    network = of_whole_images(semantic())
    network.class_names = ("ground", "red", "green", "blue", "grey")
    write_class_maps(tmp_path / "maps", train=2, val=3)
    task = build_task("semantic")
    weights = tmp_path / "net.safetensors"
    save_checkpoint(network, weights, task="semantic", head=task.head(network))
    command = ["evaluate", str(weights), str(tmp_path / "maps"), "--context", "tile", "--tile", "32", "--overlap", "16"]
    assert main([*command, "--output", str(tmp_path / "report"), "--json", str(tmp_path / "result.json")]) == 0
    shown = capsys.readouterr()
    assert "by tiles of 32 px" in shown.err
    assert "context tile, tiles of 32 px" in shown.out
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["preprocessing"]["look"] == {"context": "tile", "tile_px": 32, "overlap_px": 16, "dtype": "float32"}
    assert result["inputs"] == 3
    files = {path.name for path in (tmp_path / "report").iterdir()}
    assert files == {"evaluation.json", "per_class.csv", "confusion.csv", "worst.csv", "report.html"}
    for more, words in [
        (["--resolutions", "64"], "leave --resolutions and --corruptions out"),
        (["--corruptions", "jpeg"], "leave --resolutions and --corruptions out"),
        (["--size", "64"], "leave --size out"),
        (["--precision", "int8"], "context computes in float32"),
        (["--memory", "1MB"], "allow more"),
        (["--overlap", "32"], "overlaps by a smaller multiple"),
    ]:
        assert main([*command, *more]) == 2
        assert words in capsys.readouterr().err


def test_mistakes_are_sentences(tmp_path):
    network, task = of_whole_images(semantic()), build_task("semantic")
    data = pictures(1, classes_of)
    data[0][1].semantic[5, 5] = 7
    with pytest.raises(DataError, match="class 7 but the network has 5"):
        evaluate_large(task, network, data)
    with pytest.raises(ConfigError, match="leave size, resolutions and corruptions out"):
        evaluate_in_passes(task, network, data, place="here", size_px=32, look=LargeOptions())
    with pytest.raises(ConfigError, match="do not look at images of any size"):
        evaluate_large(Untaught(), network, data)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    files = Pictures([(tmp_path / "broken.png", 0)])
    with pytest.raises(DataError, match="leave out all unreadable"):
        evaluate_large(task, network, files)
    with pytest.raises(DataError, match="no readable image"):
        evaluate_large(task, network, files, skip_unreadable=True)


class Untaught(type(build_task("semantic"))):
    """A task that knows nothing of large images."""

    large = Task.large
