"""``focalnets demo --task detect`` and ``--task semantic`` from nothing to the report, and the parts that they have."""

from __future__ import annotations

import html
import json
import re
import shlex

import numpy as np
import pytest
import torch
from PIL import Image
from tests.large.test_contexts import draw, semantic
from tests.report.reading import check_alone

from focalnets.cli.main import main
from focalnets.data.annotated.images import AnnotatedImage
from focalnets.demo.dense.detect import DetectStory
from focalnets.demo.dense.large_scene import LargeScene, LargeView, densest_window, look_twice
from focalnets.demo.dense.scenes import close_up, draw_sets, scene_numbers
from focalnets.demo.dense.semantic import SemanticStory
from focalnets.demo.dense.settings import in_seconds
from focalnets.large.plan import Plan
from focalnets.large.streaming import StreamSettings
from focalnets.tasks.detect.results import DetectedObject, Detections
from focalnets.tasks.table import build_task

TASKS = ("detect", "semantic")
STORIES = {"detect": DetectStory(), "semantic": SemanticStory()}
QUICK = in_seconds()


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    pytest.importorskip("faster_coco_eval")
    folder = tmp_path_factory.mktemp("demos & <things>")
    for task in TASKS:
        command = ["demo", "--task", task, "--quick", "--output", str(folder / task), "--quiet"]
        assert main([*command, "--json", str(folder / f"{task}.json")]) == 0
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_the_result_as_json(demos, task):
    result = json.loads((demos / f"{task}.json").read_text(encoding="utf-8"))
    assert result["task"] == task
    assert result["report"] == str(demos / task / "report.html")
    assert result["images"] == QUICK.test_scenes
    assert len(result["classes"]) == (17 if task == "detect" else 21)
    large = result["large_picture"]
    assert (large["width"], large["height"]) == QUICK.large_px
    assert set(large["contexts"]) == {"tile", "image"}
    for figures in large["contexts"].values():
        assert figures["seconds"] > 0
        assert all(0 <= figures[name] <= 1 for name in build_task(task).metric_labels)
    assert large["mean_difference_of_maps"] > 0.005  # tiles of a third of the picture have other means
    if task == "semantic":
        assert 0 < large["difference"]["pixels"] < 1
        assert 0 < result["without_looking"] < 0.1


@pytest.mark.parametrize("task", TASKS)
def test_the_report_is_whole_and_needs_nothing_else(demos, task):
    page = (demos / task / "report.html").read_text(encoding="utf-8")
    check_alone(page)
    assert len(page) < 8_000_000
    for words in ("What is to be learned", "New scenes, answers and modulators", "One large picture, twice",
                  "Where the two differ", "Confident errors", "as a whole, by bands"):  # fmt: skip
        assert words in page
    assert str(demos) not in page
    assert not re.search(r"\bnan\b", re.sub(r'src="[^"]*"', "", page))


@pytest.mark.parametrize("task", TASKS)
def test_pictures_are_kept_and_the_commands_of_the_report_work(demos, task, monkeypatch, capsys):
    folder = demos / task
    kept = {path.name for path in (folder / "pictures").iterdir()}
    test = scene_numbers(QUICK)[2]
    assert kept == {f"scene_{number}.png" for number in test[: QUICK.gallery]}
    assert {path.stem for path in (folder / "large").iterdir()} == {"picture", "tile", "image", "difference", "maps"}
    for path in (folder / "large").iterdir():
        with Image.open(path) as picture:
            assert picture.size == QUICK.large_px
    monkeypatch.chdir(folder)
    text = (folder / "report.html").read_text(encoding="utf-8")
    commands = html.unescape(re.search(r"<pre>(.*?)</pre>", text, re.DOTALL)[1]).splitlines()
    assert len(commands) == 4
    for command in (commands[0], commands[2]):
        assert main(shlex.split(command)[1:]) == 0
    assert len(list((folder / "answers").glob("*_predicted.png"))) == QUICK.gallery
    capsys.readouterr()


def test_a_task_without_a_demonstration_is_told(tmp_path, capsys):
    assert main(["demo", "--task", "detec", "--output", str(tmp_path / "out")]) == 2
    assert "There is no demonstration of 'detec'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("story", STORIES.values())
@pytest.mark.parametrize("quick", [False, True])
def test_no_scene_is_in_two_sets(story, quick):
    settings = story.chosen(quick=quick)
    sets = [set(numbers) for numbers in scene_numbers(settings)]
    wanted = settings.train_scenes + settings.choice_scenes + settings.test_scenes
    assert len(set.union(*sets)) == sum(map(len, sets)) == wanted
    assert story.config(settings).image_size == settings.scene_px


def test_scenes_are_drawn_once_with_what_is_known_of_them():
    done = []
    train, _, test = draw_sets(QUICK, stuff=True, on_progress=done.append)
    assert done == list(range(1, 23))
    assert train[3][1] is train[3][1]
    scenes = [test[number][1] for number in range(len(test))]
    assert all(scene.semantic.shape == (64, 64) for scene in scenes)
    name = scenes[0].objects[-1].category.name
    assert close_up(scenes, name).size == (208, 208)
    assert close_up(scenes, "unicorn") is None


@pytest.mark.parametrize(("tile_px", "same"), [(256, True), (48, False)])
def test_one_tile_is_the_whole_and_several_are_not(tile_px, same):
    network = semantic()
    labels = np.random.default_rng(0).integers(0, 5, (90, 130))
    known = AnnotatedImage("large", Image.fromarray(draw(90, 130)), semantic_data=labels)
    done = []
    large = look_twice(
        build_task("semantic"), network, known, tile_px=tile_px, overlap_px=16,
        answer=lambda look, source, found: found.labels, on_progress=done.append,
    )  # fmt: skip
    assert done == [1, 2, 3]
    assert large.difference.shape == (12, 17)
    assert large.stride_px == 8
    assert (large.difference.max() < 1e-5) == same
    assert ((large.tile.answer == large.image.answer).mean() > 0.999) == same
    right = (large.image.answer == labels).mean()
    assert large.image.figures["pixel_accuracy"] == pytest.approx(right)


def test_the_window_with_most_changes_is_found():
    changes = np.zeros((60, 100), dtype=bool)
    changes[40:50, 70:90] = True
    changes[5, 5] = True
    left, top, right, bottom = densest_window(changes, (30, 20))
    assert (right - left, bottom - top) == (30, 20)
    assert changes[top:bottom, left:right].sum() == 200
    assert densest_window(changes, (400, 400)) == (0, 0, 100, 60)


def view(answer):
    return LargeView(Plan("tile", 50, 80, StreamSettings(), 32, 16, 1, 0), answer, {}, 1.0)


def found(*objects):
    things = tuple(
        DetectedObject(class_name="ab"[label], class_index=label, class_id=label, score=0.9, box=box)
        for label, *box in objects
    )
    return Detections(path=None, size=(80, 50), class_names=("a", "b"), objects=things)


def test_what_only_one_look_finds_is_told_apart():
    tile = found((0, 0, 0, 10, 10), (1, 20, 20, 30, 30), (0, 40, 5, 50, 15))
    image = found((0, 1, 0, 11, 10), (0, 20, 20, 30, 30))
    known = AnnotatedImage("large", Image.new("RGB", (80, 50), "white"))
    large = LargeScene(known, view(tile), view(image), np.zeros((4, 5), np.float32), 16)
    story = STORIES["detect"]
    assert story.change_in_numbers(large) == {"both": 1, "tile": 2, "image": 1}
    changes = story.changes(large)
    assert changes.sum() == 200
    assert not changes[:12, :12].any()
    drawn = np.asarray(story.draw_changes(large, changes))
    assert len({tuple(colour) for colour in drawn.reshape(-1, 3).tolist()}) == 4


def test_pixels_named_differently_are_counted():
    labels = np.zeros((50, 80), int)
    other = labels.copy()
    other[:5] = 1
    known = AnnotatedImage("large", Image.new("RGB", (80, 50), "white"), semantic_data=labels)
    large = LargeScene(known, view(labels), view(other), np.zeros((4, 5), np.float32), 16)
    story = STORIES["semantic"]
    assert story.change_in_numbers(large) == {"pixels": pytest.approx(0.1)}
    assert "10.0% of its pixels" in story.change_in_words(large)
    assert story.draw_changes(large, story.changes(large)).size == (80, 50)


def test_the_level_is_that_of_the_commonest_class():
    maps = [np.repeat([0, 0, 0, 1], 4).reshape(4, 4), np.repeat([0, 0, 2, 2], 4).reshape(4, 4)]
    scenes = [AnnotatedImage("scene", Image.new("RGB", (4, 4)), semantic_data=labels) for labels in maps]
    assert STORIES["semantic"].blind(scenes) == pytest.approx(20 / 32 / 3)
    assert STORIES["detect"].blind(scenes) == 0


def test_random_numbers_of_the_caller_are_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    draw_sets(QUICK, stuff=False, on_progress=lambda done: None)
    assert torch.rand(1) == expected
