"""What every task must be able to do; a task that the package does not know comes along, written in one file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.tasks.annotated_places import write_class_maps
from tests.tasks.brightness import ROW
from tests.tasks.corpus import write_corpus
from tests.tasks.messages import write_messages
from tests.tasks.squares import write_squares
from tests.tasks.waves import write_waves

import focalnets
from focalnets.cli.main import main
from focalnets.errors import ConfigError, DataError, UnknownNameError
from focalnets.tasks import running
from focalnets.tasks.loading import load_trained
from focalnets.tasks.report import EvaluationReport, write_evaluation
from focalnets.tasks.table import TASKS, build_task, settings_of
from focalnets.training.callbacks import Guard
from focalnets.training.config import TrainingConfig
from focalnets.training.module import TaskModule
from focalnets.training.network import own_network
from focalnets.training.recipes import in_miniature
from focalnets.training.runs import find_runs
from focalnets.training.trainer import open_data, resume, train
from focalnets.weights.loading import inspect_checkpoint

PICTURED = ("classify", "detect", "instance", "semantic", "panoptic", "brightness")
"""Those that answer to pictures."""

NAMES = (*PICTURED, "language", "text", "series")
"""The tasks of the package, and the one of these tests."""

DENSE = ("detect", "instance", "semantic", "panoptic")
"""Those that answer for places in images."""


@pytest.fixture(scope="module", autouse=True)
def _brightness():
    TASKS["brightness"] = ROW
    yield
    del TASKS["brightness"]


@pytest.fixture(scope="module")
def places(coloured_images, tmp_path_factory):
    """Data of each task."""
    folder = tmp_path_factory.mktemp("places")
    grey = [round(0.1 + 0.8 * number / 31, 3) for number in range(32)]
    (folder / "grey.json").write_text(json.dumps({"train": grey[::2] + grey[::4], "val": grey[1::2]}))
    write_class_maps(folder / "maps")
    squares = write_squares(folder / "squares")
    return {
        "classify": coloured_images, "detect": squares, "instance": squares, "semantic": folder / "maps",
        "panoptic": "scenes:30", "brightness": folder / "grey.json", "language": write_corpus(folder / "corpus.txt"),
        "text": write_messages(folder / "messages.csv"), "series": write_waves(folder / "waves"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def runs(places, tmp_path_factory):
    """A finished run of each task."""
    folder = tmp_path_factory.mktemp("runs")
    for name in NAMES:
        config = settings(name)
        train(config, open_data(places[name], config), output=folder / name, quiet=True)
    return folder


def settings(name):
    if name in ("language", "text", "series"):
        return in_miniature(TrainingConfig(task=name)).replace(batch_size=8, epochs=2)
    small = {"channels": 64, "queries": 8, "decoder_layers": 2} if name == "panoptic" else {}
    mixing = {"mosaic": 0.5, "mixing_off_epoch": 1} if name in ("detect", "instance", "semantic") else {}
    mixing |= {"copy_paste": 0.5} if name == "instance" else {}
    return in_miniature(TrainingConfig(task=name)).replace(batch_size=8, epochs=2, image_size=24, **small, **mixing)


def test_all_tasks_of_the_package_are_tried():
    assert set(TASKS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_its_section_survives_files_and_says_what_it_does(name):
    config = settings(name)
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert name in config.to_dict()
    task = build_task(name)
    assert isinstance(task.settings, settings_of(name))
    assert task.watch.metric in task.metric_labels
    assert task.name == name
    assert TASKS[name].summary
    with pytest.raises(ConfigError, match=f"section {name} has no field 'colour'"):
        TrainingConfig.from_dict({"task": name, name: {"colour": 1}})


@pytest.mark.parametrize("name", NAMES)
def test_training_leaves_weights_metrics_curves_and_a_card(runs, name):
    task, run = build_task(name), runs / name
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(row[f"val_{metric}"]) >= 0 for row in rows for metric in task.metric_labels)
    best = max(rows, key=task.watch.rank)
    found = inspect_checkpoint(run / "best.safetensors")
    assert (found.task, json.dumps(found.head)) == (name, json.dumps(task.head(load_trained(run)[1])))
    card = (run / "README.md").read_text()
    watched = task.metric_labels[task.watch.metric]
    assert f"{watched.label} {watched.format(float(best[task.watch.column]), 2)}" in card
    with Image.open(run / "curves.png") as curves:
        assert curves.width > 600


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batches", [1, 3])
def test_a_stopped_run_goes_on_bitwise(places, runs, name, batches, tmp_path, monkeypatch):
    original, seen = Guard.on_train_batch_end, []

    def stop(self, trainer, module, outputs, batch, batch_idx):
        seen.append(batch_idx)
        self.request.asked = len(seen) == batches
        original(self, trainer, module, outputs, batch, batch_idx)

    config = settings(name)
    with monkeypatch.context() as patch:
        patch.setattr(Guard, "on_train_batch_end", stop)
        with pytest.raises(RuntimeError, match="--resume"):
            train(config, open_data(places[name], config), output=tmp_path / "run", quiet=True)
    resume(tmp_path / "run", quiet=True)
    for file in ("last.safetensors", "best.safetensors"):
        expected, got = load_file(runs / name / file), load_file(tmp_path / "run" / file)
        assert expected.keys() == got.keys()
        assert all(torch.equal(expected[key], got[key]) for key in expected)


@pytest.mark.parametrize("name", NAMES)
def test_evaluating_the_last_weights_gives_what_training_recorded(places, runs, name):
    task, model = load_trained(runs / name / "last.safetensors")
    split = runs / name / "split.json"
    _, data = task.open_evaluation(places[name], labels=task.labels(model), split=split if split.exists() else None)
    evaluation = running.evaluate(task, model, data, batch_size=5)
    recorded = list(csv.DictReader((runs / name / "metrics.csv").read_text().splitlines()))[-1]
    for metric in task.metric_labels:
        assert evaluation.figures().value(metric) == pytest.approx(float(recorded[f"val_{metric}"]), rel=1e-4)
    assert evaluation.loss == pytest.approx(float(recorded["val_loss"]), rel=1e-4)
    assert json.loads(json.dumps(evaluation.to_dict()))["loss"] == evaluation.loss


@pytest.mark.parametrize("name", PICTURED)
def test_predictions_are_typed_and_drawn(runs, name, tmp_path):
    task, model = load_trained(runs / name)
    picture = Image.new("RGB", (40, 30), (200, 40, 40))
    picture.save(tmp_path / "red.png")
    (result,) = running.predict(task, model, [tmp_path / "red.png"], lambda _: picture)
    assert json.loads(json.dumps(result.to_dict()))["path"] == str(tmp_path / "red.png")
    drawn = task.draw(picture, result)
    assert drawn.mode == "RGB"
    assert drawn.size >= picture.size


@pytest.mark.parametrize("name", PICTURED)
def test_python_serves_it(places, runs, name, tmp_path):
    network = focalnets.load(runs / name, device="cpu")
    assert network.task.name == name
    results = network.predict([Image.new("RGB", (40, 30), "red"), Image.new("L", (30, 30))])
    assert [str(result.path) for result in results] == ["image 0", "image 1"]
    assert json.loads(json.dumps(results.to_dict()))["predictions"] == [result.to_dict() for result in results]
    assert results.to_csv().splitlines()[1].startswith("image 0,")
    assert "image 1" in results._repr_html_()
    for ending in ("json", "csv", "png"):
        assert results.save(tmp_path / f"results.{ending}").exists()
    measured = network.evaluate(places[name])
    watched = network.task.watch.metric
    assert measured.figures().value(watched) == measured.evaluation.figures().value(watched)
    assert network.task.metric_labels[watched].label in measured._repr_html_()
    assert len(measured.to_csv().splitlines()) > 1


@pytest.mark.parametrize("name", DENSE)
def test_an_image_gives_the_same_alone_and_in_a_batch(runs, name):
    task, model = load_trained(runs / name)
    transform = task.transform(model.preprocessing, train=False)
    pictures = [Image.effect_noise(size, 60).convert("RGB") for size in ((40, 30), (33, 61), (90, 28))]
    items = [transform((picture, 0), index) for index, picture in enumerate(pictures)]
    with torch.inference_mode():
        together = task.forward(model, task.collate(items))
        alone = [task.forward(model, task.collate([item])) for item in items]
    for number, single in enumerate(alone):
        if "detections" in single:
            expected, got = single["detections"][0], together["detections"][number]
            assert expected["labels"].tolist() == got["labels"].tolist()
            assert all(torch.allclose(got[key], value, atol=1e-4) for key, value in expected.items())
            continue
        height, width = single["sizes"][0].tolist()
        assert together["sizes"][number].tolist() == [height, width]
        for key in set(single) - {"sizes", "input_sizes"}:
            expected, got = single[key][0], together[key][number]
            got = got[:, :height, :width] if got.ndim == 3 else got
            assert (got - expected).abs().max() <= 1e-5 * expected.abs().max(), key


@pytest.mark.parametrize("name", PICTURED)
def test_everything_about_predictions_goes_into_a_folder(runs, name, tmp_path):
    results = focalnets.load(runs / name, device="cpu").predict([Image.new("RGB", (40, 30), "red")])
    written = results.write(tmp_path / "out")
    assert {"predictions.json", "predictions.csv", "image 0_predicted.png"} <= set(written)
    assert all((tmp_path / "out" / file).stat().st_size for file in written)


@pytest.mark.parametrize("name", DENSE)
def test_a_network_starts_another_training_as_it_is(places, runs, name, tmp_path, capsys):
    config = settings(name)
    mixing = {"mixing_off_epoch": None} if hasattr(config.settings, "mixing_off_epoch") else {}
    config = config.replace(pretrained=str(runs / name), model_overrides={}, epochs=1, **mixing)
    result = train(config, open_data(places[name], config), output=tmp_path / "again", quiet=True)
    assert [row["epoch"] for row in result.history] == [0, 1]
    metrics = (runs / name / "metrics.csv").read_text()
    best = max(float(row[f"val_{result.metric}"]) for row in csv.DictReader(metrics.splitlines()))
    assert result.history[0][f"val_{result.metric}"] == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_reports(places, runs, name, tmp_path):
    task, model = load_trained(runs / name)
    _, data = task.open_evaluation(places[name], labels=task.labels(model))
    evaluation = running.evaluate(task, model, data)
    report = EvaluationReport(task=name, evaluation=evaluation, dataset=data, data=str(places[name]))
    written = write_evaluation(task, report, tmp_path / "report")
    assert {"evaluation.json", "report.html"} <= set(written)
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert all(metric.label in page for metric in task.metric_labels.values())
    assert not Path(places[name]).exists() or str(Path(places[name]).parent) not in page


@pytest.mark.parametrize("name", NAMES)
def test_commands_serve_it(places, runs, name, tmp_path, capsys):
    task = build_task(name)
    label = task.metric_labels[task.watch.metric].label
    arguments = ["--task", name, "--recipe", "miniature", "--epochs", "1", "--device", "cpu"]
    assert main(["train", str(places[name]), *arguments, "--output", str(tmp_path / "run")]) == 0
    assert f"best: {label}" in capsys.readouterr().out
    assert main(["evaluate", str(runs / name), str(places[name]), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == name
    assert main(["evaluate", str(runs / name), str(places[name]), "--output", str(tmp_path / "report")]) == 0
    assert label in capsys.readouterr().out
    if name not in PICTURED:
        return
    Image.new("RGB", (30, 30), "red").save(tmp_path / "red.png")
    assert main(["predict", str(tmp_path / "red.png"), "--model", str(runs / name), "--json", "-"]) == 0
    assert "red.png" in capsys.readouterr().out


def test_runs_of_different_tasks_stand_in_one_table(runs, capsys):
    assert {run.metric for run in find_runs(runs)} == {build_task(name).watch.metric for name in NAMES}
    assert main(["runs", str(runs)]) == 0
    shown = capsys.readouterr().out
    assert all(build_task(name).metric_labels[build_task(name).watch.metric].label in shown for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_bad_data_is_refused_in_one_sentence(name, tmp_path):
    with pytest.raises(DataError):
        open_data(tmp_path / "nowhere", settings(name))


@pytest.mark.parametrize("name", NAMES)
def test_what_only_fills_a_batch_does_not_count(places, runs, name):
    task, model = load_trained(runs / name)
    data = task.open_evaluation_of(model, places[name])
    prepare = task.transform(model.preprocessing, train=False)
    items = [prepare(data[index], index) for index in range(5)]
    filled = task.collate(items)
    filled.counted = torch.tensor([True, True, True, False, False])
    measured = []
    for batch in (task.collate(items[:3]), filled):
        network = own_network(task, model, name=name)
        module = TaskModule(task, network, settings(name), task.labels(model), steps=1, warmup_steps=0).eval()
        with torch.inference_mode():
            module.validation_step(batch, 0)
        measured.append({**module.metrics.compute(), "loss": module.val_loss.compute()})
    expected, got = measured
    assert {key: float(value) for key, value in got.items()} == pytest.approx(
        {key: float(value) for key, value in expected.items()}
    )


def test_an_unknown_task_is_named():
    with pytest.raises(UnknownNameError, match="'sing'"):
        build_task("sing")
    with pytest.raises(ConfigError, match="task cannot be 'sing'"):
        TrainingConfig(task="sing")
