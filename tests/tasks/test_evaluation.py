"""Calibration, the most confident errors, other sizes, corrupted pictures and the report about all of them."""

from __future__ import annotations

import csv
import dataclasses
import html
import html.parser
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.report.reading import without_pictures
from torchmetrics.functional.classification import multiclass_calibration_error

from focalnets.data.corruptions import CORRUPTIONS, corrupt
from focalnets.errors import CheckpointError, ConfigError, UnknownNameError
from focalnets.intervals import wilson_interval
from focalnets.report.colours import DARK
from focalnets.report.parts import Table
from focalnets.report.templating import render_parts
from focalnets.tasks.classify.calibration import measure_calibration
from focalnets.tasks.classify.figures import calibration_figure, confusion_figure
from focalnets.tasks.classify.inference import evaluate_images
from focalnets.tasks.classify.task import Classify
from focalnets.tasks.evaluation import Failure
from focalnets.tasks.report import EvaluationReport, write_evaluation
from focalnets.tasks.robustness import evaluate_corruptions, evaluate_resolutions
from focalnets.tasks.study_sections import corruptions_figure, resolutions_figure
from focalnets.weights.loading import create_model

TINY = {"embed_dim": 8, "depths": (1,), "focal_levels": (1,), "focal_windows": (3,)}


class Pictures(torch.utils.data.Dataset):
    """Images of one grey value each: (grey value, label)."""

    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        grey, label = self.items[index]
        return Image.new("RGB", (40, 32), (grey, grey, grey)), label


def network(classes, **options):
    torch.manual_seed(0)
    model = create_model("focalnet_pico", num_classes=classes, **(TINY | options))
    return model.eval()


def brightness_logits(images):
    """The logit of class 1 is the mean of the picture, that of class 0 is 0."""
    return torch.stack([torch.zeros(len(images)), images.mean((1, 2, 3))], -1)


@pytest.fixture
def by_brightness(monkeypatch):
    model = network(2)
    model.class_names = ("dark", "bright")
    monkeypatch.setattr(model, "forward", brightness_logits)
    return model


def test_calibration_of_a_hand_made_set():
    """Bins of width 0.5: (0.2, 0.4) with one right, (0.6, 0.8, 1.0) with two right."""
    calibration = measure_calibration([0.6, 0.2, 1.0, 0.4, 0.8], [True, False, True, True, False], bins=2)
    first, second = calibration.equal_width
    assert (first.images, second.images) == (2, 3)
    assert (first.confidence, first.accuracy) == (pytest.approx(0.3), 0.5)
    assert (second.confidence, second.accuracy) == (pytest.approx(0.8), pytest.approx(2 / 3))
    assert calibration.ece_equal_width == pytest.approx((2 * 0.2 + 3 * (0.8 - 2 / 3)) / 5)
    assert calibration.largest_gap == pytest.approx(0.2)
    assert calibration.mean_confidence == pytest.approx(0.6)
    # Equal count: (0.2, 0.4, 0.6) with two right, (0.8, 1.0) with one right.
    assert [one.images for one in calibration.equal_count] == [3, 2]
    assert calibration.ece_equal_count == pytest.approx((3 * (2 / 3 - 0.4) + 2 * (0.9 - 0.5)) / 5)


def test_calibration_agrees_with_torchmetrics():
    probabilities = torch.randn(400, 5, generator=torch.Generator().manual_seed(0)).mul(2).softmax(-1)
    labels = torch.randint(5, (400,), generator=torch.Generator().manual_seed(1))
    sure, predicted = probabilities.max(-1)
    ours = measure_calibration(sure.tolist(), (predicted == labels).tolist(), bins=15)
    for norm, value in (("l1", ours.ece_equal_width), ("max", ours.largest_gap)):
        expected = multiclass_calibration_error(probabilities, labels, 5, n_bins=15, norm=norm)
        assert value == pytest.approx(float(expected), abs=1e-5)


def test_calibration_of_one_image_and_of_bins_without_images():
    calibration = measure_calibration([1.0], [True])
    assert calibration.ece_equal_width == calibration.ece_equal_count == 0.0
    assert [one.images for one in calibration.equal_width] == [0] * 14 + [1]
    assert calibration.equal_width[0].accuracy is None


def test_the_most_confident_errors_come_first(by_brightness):
    dataset = Pictures((250, 0), (130, 0), (200, 0), (250, 1), (0, 1), (0, 0), (200, 0))
    evaluation = evaluate_images(by_brightness, dataset, batch_size=3)
    # Class 0 is chosen below the mean grey of the normalisation, about 115.
    assert [mistake.index for mistake in evaluation.mistakes] == [0, 4, 2, 6, 1]
    sureness = [mistake.confidence for mistake in evaluation.mistakes]
    assert sureness == sorted(sureness, reverse=True)
    first = evaluation.mistakes[0]
    assert (first.path, first.true_class, first.predicted_class) == ("image 0", "dark", "bright")
    assert first.confidence + first.true_confidence == pytest.approx(1.0)
    assert [mistake.index for mistake in evaluate_images(by_brightness, dataset, worst=2).mistakes] == [0, 4]
    assert evaluation.top1 == pytest.approx(2 / 7)
    assert evaluation.mean_recall == pytest.approx((1 / 5 + 1 / 2) / 2)
    assert evaluation.per_class[0].recall_interval == wilson_interval(1, 5)
    assert evaluation.top5 == 1.0


def test_top5_counts_the_five_likeliest(monkeypatch):
    model = network(7)
    monkeypatch.setattr(model, "forward", lambda images: torch.arange(7.0).flip(0).expand(len(images), 7))
    evaluation = evaluate_images(model, Pictures(*((9, label) for label in range(7))))
    assert (evaluation.top1, evaluation.top5) == (1 / 7, 5 / 7)
    assert evaluation.top5_interval == wilson_interval(5, 7)


@pytest.mark.parametrize("classes", [1, 2, 7])
def test_one_image_and_any_number_of_classes(tmp_path, classes):
    dataset = Pictures((90, 0))
    evaluation = evaluate_images(network(classes), dataset, size_px=16)
    assert evaluation.images == 1
    assert evaluation.top1_interval == wilson_interval(round(evaluation.top1), 1)
    report = EvaluationReport(task="classify", evaluation=evaluation, dataset=dataset, data="one image")
    names = write_evaluation(Classify(), report, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(names)


def test_numbers_that_are_not_finite_are_refused(monkeypatch):
    model = network(2)
    monkeypatch.setattr(model, "forward", lambda images: torch.full((len(images), 2), torch.nan))
    with pytest.raises(CheckpointError, match="not finite"):
        evaluate_images(model, Pictures((9, 0)))
    with pytest.raises(ConfigError, match="bins"):
        evaluate_images(model, Pictures((9, 0)), bins=0)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_grow_stronger_and_repeat_themselves(name):
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(30, 200, (36, 42, 3), dtype=np.uint8)).resize((252, 216))
    original = np.asarray(picture, dtype=float)
    changes = []
    for severity in range(1, 6):
        corrupted = corrupt(picture, name, severity, seed=3, index=7)
        assert (corrupted.size, corrupted.mode) == (picture.size, "RGB")
        assert corrupted.tobytes() == corrupt(picture, name, severity, seed=3, index=7).tobytes()
        changes.append(np.abs(np.asarray(corrupted, dtype=float) - original).mean())
    assert changes[0] > 0
    assert changes == sorted(changes)
    noisy = name.endswith("noise")
    assert (corrupt(picture, name, 3, seed=3).tobytes() != corrupt(picture, name, 3, seed=4).tobytes()) == noisy
    assert (corrupt(picture, name, 3, index=3).tobytes() != corrupt(picture, name, 3, index=4).tobytes()) == noisy


def test_other_sizes_reach_the_network(by_brightness, monkeypatch):
    dataset, sizes, calls = Pictures((250, 1), (0, 0), (250, 0)), [], []

    def watched(images):
        sizes.append(images.shape[-1])
        return brightness_logits(images)

    monkeypatch.setattr(by_brightness, "forward", watched)
    study = evaluate_resolutions(
        Classify(), by_brightness, dataset, [48, 16, 48], on_progress=lambda *call: calls.append(call)
    )
    assert study.sizes_px == (16, 48) == tuple(sizes)
    assert [figures.top1 for figures in study.figures] == [2 / 3, 2 / 3]
    assert calls == [(3, "16 px"), (6, "48 px")]
    assert [row["input_size_px"] for row in csv.DictReader(study.to_csv().splitlines())] == ["16", "48"]
    for sizes_px in ((), (0,), (-3, 32)):
        with pytest.raises(ConfigError, match="resolutions"):
            evaluate_resolutions(Classify(), by_brightness, dataset, sizes_px)


def test_corrupted_pictures_are_told_apart(by_brightness):
    """Brightening takes dark grey over the threshold of this network, darkening takes light grey below it."""
    dataset, calls = Pictures((90, 0), (140, 1)), []
    study = evaluate_corruptions(
        Classify(),
        by_brightness,
        dataset,
        ["darkness", "brightness"],
        [5, 1],
        on_progress=lambda *call: calls.append(call),
    )
    assert [(trial.corruption, trial.severity) for trial in study.trials] == [
        ("darkness", 1), ("darkness", 5), ("brightness", 1), ("brightness", 5)
    ]  # fmt: skip
    assert [trial.figures.top1 for trial in study.trials] == [0.5, 0.5, 1.0, 0.5]
    assert (study.mean("brightness"), study.mean()) == (0.75, 0.625)
    assert calls == [(2, "darkness 1"), (4, "darkness 5"), (6, "brightness 1"), (8, "brightness 5")]
    assert len(study.to_csv().splitlines()) == 5
    with pytest.raises(UnknownNameError, match="snow"):
        evaluate_corruptions(Classify(), by_brightness, dataset, ["snow"])
    for severities, seed in (((0,), 0), ((), 0), ((6,), 0), ((1,), -1)):
        with pytest.raises(ConfigError):
            evaluate_corruptions(Classify(), by_brightness, dataset, ["jpeg"], severities, seed=seed)


class Resources(html.parser.HTMLParser):
    """Collects what a page loads and links to, and checks that tags are closed."""

    def __init__(self):
        super().__init__()
        self.addresses, self.open, self.tags = [], [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_is_whole_escaped_and_needs_nothing_else(by_brightness, tmp_path):
    names = ("<script>alert(1)</script> & $x^", '"bright" 猫')
    by_brightness.class_names = names
    dataset = Pictures((250, 0), (130, 0), (250, 1), (0, 0))
    report = EvaluationReport(
        task="classify",
        evaluation=evaluate_images(by_brightness, dataset, size_px=24),
        dataset=dataset,
        data="<images>",
        resolutions=evaluate_resolutions(Classify(), by_brightness, dataset, [16, 24]),
        corruptions=evaluate_corruptions(
            Classify(), by_brightness, dataset, ["jpeg", "gaussian_noise"], [1, 2], size_px=24
        ),
    )
    written = write_evaluation(Classify(), report, tmp_path / "report")
    assert {path.name for path in (tmp_path / "report").iterdir()} == set(written)
    text = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    page = Resources()
    page.feed(text)
    page.close()
    assert page.open == []
    assert "script" not in page.tags
    assert len(page.addresses) == 2 * 4 + 2 + 2  # charts, light and dark; mistakes; examples of corruptions
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert not re.search(r"@import|url\(|https?://", text)
    assert "&lt;script&gt;" in text
    assert "&lt;images&gt;" in text
    content = json.loads((tmp_path / "report" / "evaluation.json").read_text(encoding="utf-8"))
    assert content["preprocessing"]["input_size_px"] == 24
    assert content["resolutions"]["sizes"][0]["input_size_px"] == 16
    assert len(content["corruptions"]["trials"]) == 4
    assert content["calibration"]["ece_equal_width"] == pytest.approx(report.evaluation.calibration.ece_equal_width)
    assert len(content["mistakes"]) == 2
    for name in written:
        if name.endswith(".png"):
            with Image.open(tmp_path / "report" / name) as picture:
                assert min(picture.size) > 150


class Files(Pictures):
    """Pictures that lie in a folder of this machine."""

    @property
    def samples(self):
        return [(Path(f"/home/some one/data/val/{index}.jpg"), label) for index, (_, label) in enumerate(self.items)]


def written_page(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_report_names_files_without_their_folders(by_brightness, tmp_path):
    by_brightness.origin = "/usr/lib/site-packages/focalnets/net.safetensors, descended from /home/some one/old.pth"
    dataset = Files((250, 0), (0, 0), (250, 1))
    evaluation = evaluate_images(by_brightness, dataset, size_px=16)
    failure = Failure(path=Path("/home/some one/data/val/9.jpg"), reason="'/home/some one/data/val/9.jpg' is empty.")
    evaluation = dataclasses.replace(evaluation, left_out=(failure,))
    report = EvaluationReport(task="classify", evaluation=evaluation, dataset=dataset, data="/home/some one/data/val")
    write_evaluation(Classify(), report, tmp_path)
    text = written_page(tmp_path)
    assert not re.search(r"/home|some one|/usr|site-packages", without_pictures(text))
    assert "net.safetensors, descended from old.pth, measured on val at 16 px." in text
    assert "9.jpg&#39; is empty." in text
    assert re.search(r">0\.jpg<", text)
    content = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert content["mistakes"][0]["path"] == "/home/some one/data/val/0.jpg"


def test_classes_without_images_are_named_once_and_kept_in_the_tables(monkeypatch, tmp_path):
    model = network(9)
    model.class_names = tuple(f"class {letter}" for letter in "abcdefghi")
    # Images of the second and the last class; one is taken for the first, which has none.
    answers = torch.eye(9)[[1, 0, 8]] * 5
    monkeypatch.setattr(model, "forward", lambda images: answers[: len(images)])
    dataset = Pictures((9, 1), (9, 1), (9, 8))
    evaluation = evaluate_images(model, dataset, size_px=16)
    report = EvaluationReport(task="classify", evaluation=evaluation, dataset=dataset, data="x")
    write_evaluation(Classify(), report, tmp_path)
    text = html.unescape(re.sub(r"</?bdi[^>]*>", "", written_page(tmp_path)))
    line = "7 of 9 classes have no images here and are left out of the table and the matrix: "
    assert f"{line}class a, class c, class d, class e, class f and 2 more." in text
    assert len(list(csv.reader((tmp_path / "per_class.csv").read_text().splitlines()))) == 1 + 9
    assert {len(row) for row in csv.reader((tmp_path / "confusion.csv").read_text().splitlines())} == {10}
    (table,) = (part for part in Classify().sections(report)[0].parts if isinstance(part, Table))
    assert [row.cells[:2] for row in table.rows] == [("class b", 2), ("class i", 1)]
    axes = confusion_figure(evaluation).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["class b", "class i"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["class b", "class i", "a class without images"]
    assert axes.images[0].get_array().tolist() == [[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]


def test_all_classes_with_images_need_no_line(by_brightness):
    dataset = Pictures((250, 1), (0, 0))
    evaluation = evaluate_images(by_brightness, dataset, size_px=16)
    sections = Classify().sections(EvaluationReport(task="classify", evaluation=evaluation, dataset=dataset, data="x"))
    assert [section.title for section in sections] == [
        "Class by class", "What is taken for what", "Is it right as often as it is sure?", "Most confident errors",
    ]  # fmt: skip
    assert "no images" not in render_parts([part for section in sections for part in section.parts])
    assert confusion_figure(evaluation).axes[0].images[0].get_array().shape == (2, 2)


def test_charts_of_next_to_nothing_have_sane_axes(by_brightness):
    dataset = Pictures((250, 1))
    evaluation = evaluate_images(by_brightness, dataset, size_px=16, bins=1)
    reliability, counts = calibration_figure(evaluation, DARK).axes[:2]
    assert reliability.get_ylim() == (-0.03, 1.03)
    assert counts.get_xlim()[0] <= 0.0 < 1.0 <= counts.get_xlim()[1]
    study = evaluate_resolutions(Classify(), by_brightness, dataset, [48])
    (axes,) = resolutions_figure(study, Classify.metric_labels, DARK).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["48"]
    low, high = axes.get_xlim()
    assert 0 < low < 48 < study.own_size_px < high < 2 * study.own_size_px
    corruptions = evaluate_corruptions(Classify(), by_brightness, dataset, ["jpeg"], [3], size_px=16)
    axes = corruptions_figure(corruptions, evaluation.figures(), Classify.metric_labels["top1"], DARK).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["clean", "severity 3"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["jpeg"]


def test_nothing_of_an_earlier_report_stays(by_brightness, tmp_path):
    wrong, right = Pictures((250, 0)), Pictures((250, 1))
    for dataset, mistakes in ((wrong, True), (right, False)):
        evaluation = evaluate_images(by_brightness, dataset)
        write_evaluation(
            Classify(), EvaluationReport(task="classify", evaluation=evaluation, dataset=dataset, data="x"), tmp_path
        )
        assert (tmp_path / "mistakes.png").exists() == mistakes
    assert "every image was recognised" in (tmp_path / "report.html").read_text()
