"""What the command line can, in Python: every verb, every kind of input, every way to show and keep results."""

from __future__ import annotations

import copy
import io
import json
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.report.reading import check_alone

import focalnets
from focalnets.data.images import read_image
from focalnets.data.inputs import gather_inputs, picture_of_array
from focalnets.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    ImageError,
    MissingPackageError,
    ShapeError,
    TrainingError,
)
from focalnets.models.config import FocalNetConfig, Preprocessing
from focalnets.models.focalnet import FocalNet

RANDOM = np.random.default_rng(3)


@pytest.fixture(scope="module")
def network(coloured_run):
    return focalnets.load(coloured_run, device="cpu")


@pytest.fixture
def no_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")


@pytest.fixture
def shown_in_notebook(monkeypatch):
    """What a notebook displays."""
    shown = []
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=shown.append))
    return shown


def encoded(picture, kind="png"):
    stream = io.BytesIO()
    picture.save(stream, format=kind)
    return stream.getvalue()


def answers(results):
    return [(result.class_names, result.confidences) for result in results]


def tiny_classifier(class_names):
    config = FocalNetConfig(
        embed_dim=8, depths=(1, 1), focal_levels=(1, 1), focal_windows=(3, 3), num_classes=len(class_names)
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = FocalNet(config, preprocessing=Preprocessing(input_size_px=32))
    model.class_names = tuple(class_names)
    return model


# Loading


def test_load_tells_what_it_is(network, coloured_run):
    assert network.labels == ("blue", "green", "red")
    assert network.task.name == "classify"
    assert network.source == str(coloured_run)
    assert network.origin
    assert not network.network.training
    assert "3 (blue, green, red)" in repr(network)
    page = check_alone(network._repr_html_())
    assert "blue, green, red" in page.text
    assert network.to("cpu") is network
    with pytest.raises(ConfigError, match="abacus"):
        network.to("abacus")
    with pytest.raises(CheckpointError):
        focalnets.load("nowhere/at_all.safetensors")


def test_without_a_source_the_network_in_the_box_is_loaded(shipped_stand_in, coloured_images):
    assert focalnets.load().labels == shipped_stand_in.class_names
    (result,) = focalnets.predict(coloured_images / "red" / "0.png")
    assert set(result.class_names) <= set(shipped_stand_in.class_names)


def test_options_of_the_task_stay_with_the_network_or_with_one_call(coloured_run, coloured_images):
    photo = coloured_images / "red" / "0.png"
    network = focalnets.load(coloured_run, top_k=2)
    assert len(network.predict(photo)[0].class_names) == 2
    assert len(network.predict(photo, top_k=1)[0].class_names) == 1
    assert len(network.predict(photo)[0].class_names) == 2
    with pytest.raises(ConfigError, match="top_k"):
        network.predict(photo, top_k=0)


# Inputs


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "I;16"])
def test_one_picture_in_every_form_gets_the_same_answer(network, tmp_path, mode):
    channels = {"RGB": 3, "RGBA": 4}.get(mode)
    shape = (30, 41) if channels is None else (30, 41, channels)
    kind = np.uint16 if mode == "I;16" else np.uint8
    pixels = RANDOM.integers(0, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    with Image.open(path) as opened:
        assert opened.mode == mode
        opened.load()
        tensor = torch.from_numpy(pixels)
        forms = [str(path), path, opened, pixels, tensor, path.read_bytes(), bytearray(path.read_bytes())]
    if channels is None:
        forms += [pixels[..., None], tensor[None]]
    else:
        forms += [tensor.permute(2, 0, 1), tensor.permute(2, 0, 1).contiguous()]
    if kind is np.uint8:
        forms += [pixels / 255, (pixels / 255).astype(np.float32), (tensor / 255), (tensor / 255).half()]
        forms += [(tensor / 255).double().requires_grad_()]
    expected = answers(network.predict(path))
    for form in forms:
        assert answers(network.predict(form)) == expected
    together = network.predict([path, pixels, path.read_bytes()], batch_size=1)
    assert answers(together) == 3 * expected
    assert [str(result.path) for result in together] == [str(path), "image 1", "image 2"]


def test_turned_pictures_stand_upright_from_pil_and_bytes_too(network, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(RANDOM.integers(0, 256, (20, 50, 3), dtype=np.uint8))
    picture.save(tmp_path / "turned.jpg", exif=exif)
    expected = read_image(tmp_path / "turned.jpg")
    assert expected.size == (20, 50)
    with Image.open(tmp_path / "turned.jpg") as opened:
        for given in (opened, (tmp_path / "turned.jpg").read_bytes(), tmp_path / "turned.jpg"):
            ((found,), _) = gather_inputs(given)
            assert np.array_equal(found.read(), expected)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "CMYK", "YCbCr", "HSV", "F", "I"])
def test_pil_images_of_any_mode(network, mode):
    source = Image.fromarray(RANDOM.integers(0, 256, (20, 20, 3), dtype=np.uint8))
    picture = source.convert("L").convert(mode) if mode in ("F", "I", "LA") else source.convert(mode)
    (result,) = network.predict(picture)
    assert 0 <= result.confidences[0] <= 1
    assert picture.mode == mode


def test_opacity_is_laid_on_white():
    clear = np.zeros((4, 4, 4), np.uint8)
    assert np.asarray(picture_of_array(clear)).min() == 255
    assert np.asarray(picture_of_array(clear / 255.0)).min() == 255


def test_batches_sequences_generators_folders_patterns_and_home(network, coloured_images, monkeypatch):
    batch = torch.rand(3, 3, 24, 24)
    assert answers(network.predict(batch)) == answers(network.predict(list(batch)))
    assert len(network.predict(batch.permute(0, 2, 3, 1).numpy())) == 3
    red = coloured_images / "red"
    assert len(network.predict(red)) == 20
    assert len(network.predict(str(red / "1*.png"))) == 11
    assert len(network.predict(path for path in (red / "0.png", red / "1.png"))) == 2
    # Named twice it counts twice; of folders and patterns come those that are not there yet.
    assert len(network.predict([red / "0.png", red / "0.png"])) == 2
    assert len(network.predict([red / "0.png", red])) == 20
    monkeypatch.setenv("HOME", str(coloured_images))
    assert len(network.predict("~/red/0.png")) == 1


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (np.zeros((3, 20, 30), np.uint8), ShapeError, "move the colours to the end"),
        (np.zeros((20, 30, 2), np.uint8), ShapeError, r"shape \(20, 30, 2\); expected"),
        (np.zeros((0, 30), np.uint8), ShapeError, r"shape \(0, 30\)"),
        (np.zeros(7), ShapeError, r"shape \(7,\)"),
        (torch.zeros(5, 20, 30), ShapeError, r"shape \(5, 20, 30\); expected .* or \(3, H, W\)"),
        (np.zeros((20, 30), np.int64), ShapeError, "dtype int64; expected uint8"),
        (torch.zeros(20, 30, dtype=torch.int32), ShapeError, "dtype int32"),
        (np.zeros((20, 30), bool), ShapeError, "dtype bool"),
        (np.full((20, 30), np.nan), ImageError, "not finite"),
        (np.full((20, 30), np.inf, np.float32), ImageError, "not finite"),
        (torch.full((3, 20, 30), 2.5), ImageError, "floats from 2.5 to 2.5; expected 0 to 1"),
        (torch.full((3, 20, 30), -0.5), ImageError, "normalised"),
        (7, ShapeError, "got int"),
        ({"path": "x.png"}, ShapeError, "got dict"),
        ([["x.png"]], ShapeError, "image 0 is of type list"),
        ([None], ShapeError, "image 0 is of type NoneType"),
        ([], DataError, "nothing to look at"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_sentence(network, given, error, words):
    with pytest.raises(error, match=words):
        network.predict(given)


def test_what_cannot_be_read_is_told_beside_the_results(network, coloured_images, tmp_path):
    whole = (coloured_images / "red" / "0.png").read_bytes()
    (tmp_path / "text.png").write_text("no image")
    results = network.predict([tmp_path / "gone.png", tmp_path / "text.png", whole, whole[:100], b""])
    assert len(results) == 1
    assert [str(failure.path.name) for failure in results.failures] == ["gone.png", "text.png", "image 3", "image 4"]
    assert "there is no file" in results.failures[0].reason
    with pytest.raises(IndexError, match=r"There is no result 0; 0 results, 1 not read \(.*gone.png"):
        network.predict(tmp_path / "gone.png")[0]
    with pytest.raises(DataError, match="nothing to draw"):
        network.predict(tmp_path / "gone.png").sheet()


def test_later_changes_of_an_array_do_not_reach_the_result(network):
    pixels = RANDOM.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    (result,) = network.predict(pixels)
    before = np.asarray(result.draw())
    pixels[:] = 0
    assert np.array_equal(before, result.draw())


def test_a_bare_focalnet_serves_and_keeps_its_mode(coloured_images):
    model = tiny_classifier(["a", "b"]).train()
    (result,) = focalnets.predict(coloured_images / "red" / "0.png", model)
    assert set(result.class_names) == {"a", "b"}
    assert model.training
    with pytest.raises(ConfigError, match="type Linear"):
        focalnets.predict(coloured_images / "red" / "0.png", torch.nn.Linear(2, 2))


def test_progress_counts_to_the_end(network, coloured_images):
    seen = []
    network.predict(coloured_images / "red", batch_size=8, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(8, 20), (16, 20), (20, 20)]


# Results


def test_results_are_a_sequence_with_plain_values_tables_and_files(network, coloured_images, tmp_path):
    results = network.predict(coloured_images / "red")
    assert len(results[2:5]) == 3
    assert results[-1].path.name == "19.png"
    assert [result.path for result in results] == [results[index].path for index in range(20)]
    content = json.loads(json.dumps(results.to_dict()))
    assert content["input_size_px"] == 32
    assert content["predictions"][0] == results[0].to_dict()
    assert results.to_csv().splitlines()[0] == "path,rank,class,confidence"
    assert len(results.to_csv().splitlines()) == 61
    assert "20 results" in repr(results)
    assert repr(results[0]).startswith("Prediction(")
    for name in ("r.json", "r.csv", "r.png"):
        assert results.save(tmp_path / "new" / name).exists()
    assert json.loads((tmp_path / "new" / "r.json").read_text()) == content
    assert (tmp_path / "new" / "r.csv").read_text() == results.to_csv()
    with Image.open(tmp_path / "new" / "r.png") as sheet:
        assert sheet.width > 5 * 24
    with pytest.raises(ConfigError, match=r"\.json, \.csv or \.png"):
        results.save(tmp_path / "r.xlsx")
    with pytest.raises(AttributeError):
        results[0].colour  # noqa: B018
    again = pickle.loads(pickle.dumps(copy.deepcopy(results)))
    assert answers(again) == answers(results)


def test_data_frames(network, coloured_images, coloured_run, monkeypatch):
    pytest.importorskip("pandas")
    results = network.predict(coloured_images / "red")
    frame = results.to_dataframe()
    assert list(frame.columns) == ["path", "rank", "class", "confidence"]
    assert len(frame) == 60
    assert frame["confidence"][0] == results[0].confidences[0]
    assert len(results[3].to_dataframe()) == 3
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackageError, match="pip install pandas"):
        results.to_dataframe()


def test_showing_where_there_is_no_display(network, coloured_images, no_display, capsys):
    results = network.predict([coloured_images / "red" / "0.png", coloured_images / "red" / "1.png"])
    results.show()
    assert "2 results" in capsys.readouterr().out
    results[0].show()
    shown = capsys.readouterr().out
    assert results[0].class_names[0] in shown
    assert "no display" in shown


def test_showing_in_a_notebook_and_on_a_screen(network, coloured_images, shown_in_notebook, monkeypatch):
    results = network.predict(coloured_images / "red" / "0.png")
    results.show()
    results[0].show()
    assert [type(picture) for picture in shown_in_notebook] == [Image.Image] * 2
    monkeypatch.delitem(sys.modules, "IPython")
    opened = []
    monkeypatch.setattr(Image.Image, "show", lambda picture: opened.append(picture))
    monkeypatch.setenv("DISPLAY", ":0")
    results.show()
    assert len(opened) == 1


def test_markup_for_notebooks_is_escaped(coloured_images, tmp_path):
    names = ("<script>alert(1)</script>", "b & <b>")
    picture = tmp_path / "<img src=x>.png"
    picture.write_bytes((coloured_images / "red" / "0.png").read_bytes())
    results = focalnets.predict([picture, "gone<b>.png"], tiny_classifier(names))
    for text in (results._repr_html_(), results[0]._repr_html_()):
        page = check_alone(text)
        assert "script" not in page.tags
        assert page.tags.count("img") == 1
        assert all(name in page.text for name in names)
        assert str(tmp_path) not in text
    picture.unlink()
    assert check_alone(results._repr_html_()).tags.count("img") == 0
    explained = focalnets.explain(coloured_images / "red" / "0.png", tiny_classifier(names))
    for text in (explained._repr_html_(), explained[0]._repr_html_()):
        assert "script" not in check_alone(text).tags


# Evaluating


def test_evaluate_finds_the_split_of_the_run(network, coloured_run, coloured_images, tmp_path, no_display, capsys):
    measured = focalnets.evaluate(coloured_images, network, resolutions=[24], corruptions=["jpeg"], severities=[1])
    assert measured.split == coloured_run / "split.json"
    assert measured.images == measured.evaluation.images == 12
    assert measured.resolutions.sizes_px == (24,)
    assert measured.corruptions.corruptions == ("jpeg",)
    assert json.loads(json.dumps(measured.to_dict()))["top1"] == measured.top1
    assert measured.to_csv().splitlines()[0].startswith("class,images,recall")
    assert "split.json" in repr(measured)
    page = check_alone(measured._repr_html_())
    assert all(name in page.text for name in ("blue", "green", "red", "top-1"))
    assert {"report.html", "evaluation.json"} <= set(measured.save(tmp_path / "report"))
    measured.show()
    assert "top-1" in capsys.readouterr().out
    with pytest.raises(AttributeError):
        measured.colour  # noqa: B018


def test_evaluate_all_of_other_data_and_data_that_is_open(network, coloured_run, write_coloured_images, tmp_path):
    images = write_coloured_images(tmp_path / "images", 2)
    measured = network.evaluate(str(images), bins=4, worst=1)
    assert (measured.split, measured.images, len(measured.calibration.equal_width)) == (None, 6, 4)
    data = network.task.open_evaluation_of(network.network, images)
    assert network.evaluate(data).top1 == measured.top1
    with pytest.raises(ConfigError, match="split"):
        network.evaluate(data, split=coloured_run / "split.json")
    with pytest.raises(DataError):
        network.evaluate(tmp_path / "nowhere")


def test_evaluations_as_data_frames_and_in_browsers(network, coloured_images, monkeypatch, shown_in_notebook):
    pytest.importorskip("pandas")
    measured = network.evaluate(coloured_images)
    frame = measured.to_dataframe()
    assert list(frame["class"]) == ["blue", "green", "red"]
    assert frame["recall"][0] == measured.per_class[0].recall
    measured.show()
    assert shown_in_notebook == [measured]
    monkeypatch.delitem(sys.modules, "IPython")
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setenv("DISPLAY", ":0")
    measured.show()
    assert opened[0].startswith("file:")
    assert opened[0].endswith("report.html")


# Training


def test_train_shows_keeps_and_loads(coloured_images, tmp_path, no_display, capsys):
    settings = {"epochs": 2, "batch_size": 8}
    trained = focalnets.train(str(coloured_images), recipe="miniature", output=tmp_path / "run", quiet=True, **settings)
    assert capsys.readouterr().out == ""
    content = json.loads(json.dumps(trained.to_dict()))
    assert content["best_top1"] == trained.best
    assert len(content["history"]) == 2
    page = check_alone(trained._repr_html_())
    assert len(page.addresses) == 2  # in light and in dark colours
    assert str(tmp_path) not in trained._repr_html_()
    trained.show()
    assert "top-1" in capsys.readouterr().out
    assert trained.draw().width > 600
    network = trained.load(top_k=1)
    assert network.labels == ("blue", "green", "red")
    assert network.evaluate(coloured_images).split == tmp_path / "run" / "split.json"
    with pytest.raises(TrainingError, match="already holds a run"):
        focalnets.train(coloured_images, recipe="miniature", output=tmp_path / "run", quiet=True)
    with pytest.raises(TrainingError, match="complete"):
        focalnets.train(resume=tmp_path / "run")
    with pytest.raises(ConfigError, match="without recipe, epochs"):
        focalnets.train(resume=tmp_path / "run", recipe="small", epochs=3)
    pytest.importorskip("pandas")
    assert list(trained.to_dataframe()["epoch"]) == [1, 2]


def test_settings_come_from_config_in_every_form(coloured_images, tmp_path):
    from focalnets.training.resolve import resolve_config

    (tmp_path / "config.yaml").write_text("epochs: 7\nclassify: {mixup: 0.3}\n")
    for config in (tmp_path / "config.yaml", {"epochs": 7, "classify": {"mixup": 0.3}}):
        resolved = resolve_config("miniature", config, {"batch_size": 5})
        assert (resolved.epochs, resolved.batch_size, resolved.settings.mixup) == (7, 5, 0.3)
    assert resolve_config(None, resolved, {"epochs": 3}).batch_size == 5
    with pytest.raises(ConfigError, match="complete"):
        resolve_config("small", resolved)
    with pytest.raises(ConfigError, match="'epoch'"):
        focalnets.train(coloured_images, epoch=3)
    with pytest.raises(ConfigError, match="got none"):
        focalnets.train(epochs=3)
    with pytest.raises(ConfigError, match="must be a section"):
        resolve_config(None, {"classify": 3})


# Explaining


def test_explain_every_kind_of_photo(network, coloured_images, tmp_path, no_display, capsys):
    path = coloured_images / "red" / "0.png"
    picture = read_image(path)
    explained = network.explain([path, picture, np.asarray(picture), path.read_bytes(), "gone.png"], block=(1, 0))
    assert len(explained) == 4
    assert len(explained.failures) == 1
    assert len({json.dumps(each.to_dict() | {"input": ""}) for each in explained}) == 1
    content = explained.to_dict()["explained"][0]
    assert content["focus"]["block"] == "1.0"
    assert 0 < content["focus"]["looks_most_at"]["x"] < 1
    assert all(row["least"] <= row["mean"] <= row["largest"] for row in content["modulators"])
    assert content["classes"][0]["name"] == network.predict(path)[0].class_names[0]
    for kind in ("png", "svg", "html"):
        assert explained[0].save(tmp_path / f"seen.{kind}").exists()
    assert len({file.name for file in explained.save(tmp_path / "all")}) == 4
    assert explained[:1].save(tmp_path / "alone.pdf") == [tmp_path / "alone.pdf"]
    with pytest.raises(ConfigError, match="expected a figure's name"):
        explained[0].save(tmp_path / "seen.bmp")
    explained.show()
    assert capsys.readouterr().out.count("no display") == 4
    assert explained[0].figure.axes
    assert "4 photos explained, 1 not read" in repr(explained)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"block": "9.9"}, "stage.block"), ({"size": 0}, "size_px"), ({"top_k": 0}, "top_k"), ({"style": "x"}, "style")],
)
def test_mistakes_in_explaining_are_one_sentence(network, coloured_images, options, words):
    with pytest.raises(ConfigError, match=words):
        network.explain(coloured_images / "red" / "0.png", **options)


def test_videos_need_an_output(network, tmp_path):
    pytest.importorskip("av", reason="videos need PyAV: pip install 'focalnets[video]'")
    from tests.visualize.clips import write_clip

    clip = write_clip(tmp_path / "clip.mp4", [0, 40, 100, 120])
    with pytest.raises(ConfigError, match="name an output"):
        network.explain(clip)
    explained = network.explain([clip, tmp_path / "gone.mp4"], output=tmp_path / "seen", every=2)
    assert [(video.frames, video.looked) for video in explained.videos] == [(4, 2)]
    assert Path(explained.videos[0].output).exists()
    assert explained.to_dict()["videos"][0]["frames"] == 4
    assert len(explained.failures) == 1
    with pytest.raises(ConfigError, match="exactly one video"):
        network.explain([clip, tmp_path / "gone.mp4"], output=tmp_path / "one.mp4")
