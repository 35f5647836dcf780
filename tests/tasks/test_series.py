"""The task series: which places hold series, how they are normalised, and what a network makes of them."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from tests.tasks.archived_series import aeon_folder, write_archive
from tests.tasks.waves import CHANNELS, waves, write_waves

import focalnets
from focalnets.cli.main import main
from focalnets.data.series.labelled import find_labelled_series, find_series
from focalnets.errors import ConfigError, DataError
from focalnets.models.input_specs import SeriesInput
from focalnets.tasks.recognition import recognise_task
from focalnets.tasks.series.baseline import ShortConvolutions, fit_and_predict
from focalnets.tasks.series.data import SeriesTransform, measure_input
from focalnets.tasks.series.settings import SeriesSettings
from focalnets.tasks.series.task import SeriesTask
from focalnets.training.config import TrainingConfig
from focalnets.training.recipes import in_miniature
from focalnets.training.trainer import open_data, train

with_sklearn = pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="needs scikit-learn")


def settings(**changes):
    return in_miniature(TrainingConfig(task="series")).replace(batch_size=8, **changes)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_waves(tmp_path_factory.mktemp("series") / "waves")


@pytest.fixture(scope="module")
def run(place, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    config = settings(epochs=6, learning_rate=1e-2)
    train(config, open_data(place, config), output=folder, quiet=True)
    return folder


def test_it_learns(run, place):
    network = focalnets.load(run, device="cpu")
    measured = network.evaluate(place)
    assert measured.accuracy.value > 0.85
    assert network.preprocessing.channels == CHANNELS
    assert "series of up to 40 positions with 2 channels" in (run / "log.txt").read_text()


@with_sklearn
def test_a_plain_method_stands_beside_it(run, place, tmp_path):
    measured = focalnets.load(run, device="cpu").evaluate(place)
    assert measured.baseline.method == "a bag of short convolutions"
    assert measured.baseline.accuracy > 0.9
    kept = json.loads((run / "baseline.json").read_text())
    assert kept["accuracy"] == measured.baseline.accuracy
    assert kept["verdict"].startswith("a bag of short convolutions with a ridge classifier reaches")
    assert kept["verdict"] in (run / "log.txt").read_text()
    other = focalnets.load(run, device="cpu").evaluate(write_waves(tmp_path / "other", 20, seed=3))
    assert other.baseline.accuracy > 0.8
    shutil.copy(run / "best.safetensors", tmp_path / "alone.safetensors")
    assert focalnets.load(tmp_path / "alone.safetensors", device="cpu").evaluate(place).baseline is None


def test_without_scikit_learn_a_sentence_says_so(run, place, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    measured = focalnets.load(run, device="cpu").evaluate(place)
    assert measured.baseline is None
    assert "pip install 'focalnets[series]'" in measured.baseline_note


def test_short_convolutions_are_what_they_say():
    torch.manual_seed(0)
    series = [torch.randn(length, 3) for length in (40, 9, 23, 60)]
    convolutions = ShortConvolutions(series)
    assert convolutions.dilations == [1, 2, 4]
    features = convolutions(series)
    assert features.shape[1] == sum(each.numel() for each in convolutions.thresholds)
    place = 0
    for dilation, weights, thresholds in zip(
        convolutions.dilations, convolutions.weights, convolutions.thresholds, strict=True
    ):
        assert weights.shape == (84, 3, 9)
        assert set(weights.sum(2).unique().tolist()) == {0.0}
        assert weights.abs().amax(2).sum(1).min() >= 2  # every kernel sees a channel
        for kernel in (0, 50, 83):
            for row, each in enumerate(series):
                filled = torch.nn.functional.pad(each, (0, 0, 4 * dilation, 4 * dilation))
                results = [
                    (filled[start : start + 8 * dilation + 1 : dilation].T * weights[kernel]).sum()
                    for start in range(len(each))
                ]
                share = (torch.stack(results) > thresholds[kernel, 2]).float().mean()
                found = features[row, place + kernel * thresholds.shape[1] + 2]
                assert found == pytest.approx(float(share), abs=1.01 / len(each))  # a sum may fall on either side
        place += thresholds.numel()
    alone = np.concatenate([convolutions([each]) for each in series])
    assert (np.abs(alone - features) > 1e-6).mean() < 0.01


@with_sklearn
def test_the_plain_method_learns_shapes():
    rows = [(torch.from_numpy(values).float(), label == "fast") for values, label in waves(60)]
    series, labels = zip(*rows, strict=True)
    named = fit_and_predict(series[:40], labels[:40], series[40:])
    assert (named == np.array(labels[40:])).mean() > 0.9


@pytest.fixture
def archive(tmp_path):
    """Write a data set of the package aeon, by its name."""
    folder = aeon_folder()
    if folder is None:
        pytest.skip("needs the series in the package aeon: pip install --no-deps aeon")
    return lambda name: write_archive(folder, name, tmp_path / f"{name}.npz")


@with_sklearn
def test_the_plain_method_on_real_series(archive):
    data = open_data(archive("GunPoint"), settings())
    assert (len(data.train), len(data.val), data.train.length_of[0]) == (50, 150, 150)
    task = SeriesTask(settings=SeriesSettings()).with_data(data)
    named = task.answer_plainly(data.train, [data.val[index][0] for index in range(len(data.val))])
    assert (named == np.array(data.val.class_of)).mean() >= 0.97  # the nearest neighbour: 0.913


@with_sklearn
@pytest.mark.slow
def test_a_network_of_real_series(archive, tmp_path):
    place = archive("BasicMotions")
    config = settings(epochs=30, learning_rate=3e-3)
    train(config, open_data(place, config), output=tmp_path / "run", quiet=True)
    measured = focalnets.load(tmp_path / "run", device="cpu").evaluate(place)
    assert measured.accuracy.value > 0.7
    assert measured.baseline.accuracy >= 0.97


def test_all_kinds_of_places_give_the_same_series(tmp_path):
    rows = waves(6)
    folder = write_waves(tmp_path / "csv", 6)
    for number, (values, label) in enumerate(rows):
        (tmp_path / "npy" / label).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "npy" / label / f"{number}.npy", values)
    lines = "".join(f"csv/{label}/{number}.csv,{label}\n" for number, (_, label) in enumerate(rows))
    (tmp_path / "table.csv").write_text(f"file,label\n{lines}")
    padded = np.full((6, 40, 2), np.nan)
    for number, (values, _) in enumerate(rows):
        padded[number, : len(values)] = values
    np.savez(tmp_path / "all.npz", x=padded, y=np.array([label for _, label in rows]))
    for place in (folder, tmp_path / "npy", tmp_path / "table.csv", tmp_path / "all.npz"):
        found = find_labelled_series(place)
        assert recognise_task(place)[0] == "series", place
        got = {row.label: [] for row in found.rows.rows}
        for row in found.rows.rows:
            got[row.label].append(found.series[row.name].values)
        for values, label in rows:
            assert any(np.allclose(values, each, atol=1e-5) for each in got[label] if each.shape == values.shape)


def test_parts_of_an_archive_are_kept(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(8, 5)), np.arange(8) % 2
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:4], y_test=y[:4])
    data = open_data(tmp_path / "a.npz", settings())
    assert (len(data.train), len(data.val), data.labels) == (8, 4, ("0", "1"))
    assert data.train[0][0].shape == (5, 1)


BAD = {
    "word.csv": ("a,b\n1,x\n", "row 1 of .* column 2, holds 'x'"),
    "twice.csv": ("a,A\n1,2\n", "names a channel twice"),
    "other.csv": ("a,b,c\n1,2,3\n", "has 3 channels, expected 2"),
    "names.csv": ("c,d\n1,2\n", "names its channels c, d"),
    "infinite.csv": ("a,b\n1,inf\n", "infinite"),
    "nothing.csv": ("a,b\nnan,\n", "missing numbers only"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said(tmp_path, name):
    content, message = BAD[name]
    for label in "pq":
        (tmp_path / label).mkdir()
        (tmp_path / label / "first.csv").write_text("a,b\n1,2\n2,1\n")
    (tmp_path / "q" / f"z{name}").write_text(content)
    with pytest.raises(DataError, match=message):
        find_labelled_series(tmp_path)


def test_archives_that_are_none_are_refused(tmp_path):
    np.savez(tmp_path / "objects.npz", x=np.array([[1], None], dtype=object), y=np.array([0, 1]))
    np.savez(tmp_path / "short.npz", x=np.zeros((3, 4, 1)), y=np.zeros(2))
    np.savez(tmp_path / "odd.npz", a=np.zeros(3))
    (tmp_path / "bad.npz").write_bytes(b"PK\3\4 nothing")
    for name, message in (("objects", "without objects"), ("short", "as many labels"), ("odd", "expected x"),
                          ("bad", "cannot be read")):  # fmt: skip
        with pytest.raises(DataError, match=message):
            find_labelled_series(tmp_path / f"{name}.npz")
    (tmp_path / "p").mkdir()
    (tmp_path / "odd.npz").rename(tmp_path / "p" / "odd.npy")
    assert "archive of arrays" in str(find_series([tmp_path / "p" / "odd.npy"])[1])
    (tmp_path / "p" / "odd.npy").unlink()
    (tmp_path / "p").rmdir()
    np.save(tmp_path / "alone.npy", np.zeros((4, 2)))
    with pytest.raises(DataError, match="is one array"):
        find_labelled_series(tmp_path / "alone.npy")
    (tmp_path / "alone.npy").unlink()
    with pytest.raises(DataError, match="holds no labelled series"):
        find_labelled_series(tmp_path)
    (tmp_path / "t.csv").write_text("file,label\ngone.csv,x\n")
    with pytest.raises(DataError, match=r"names 'gone.csv', which is no file of a series"):
        find_labelled_series(tmp_path / "t.csv")


def test_normalising_leaves_out_what_is_missing():
    series = find_series([np.array([[1.0, 5.0], [3.0, 5.0], [np.nan, 5.0]])])[0]
    spec, constant = measure_input(series, ("a", "b"), 0)
    assert constant == ["b"]
    assert (spec.mean, spec.std, spec.length) == ((2.0, 5.0), (1.0, 1.0), 3)
    values, label = SeriesTransform(spec)((series[0].values, 1), 0)
    assert values.tolist() == [[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]
    assert label == 1
    assert SeriesInput.from_dict(spec.to_dict()) == spec
    with pytest.raises(DataError, match="has 1 channels, but the network reads 2"):
        SeriesTransform(spec)((np.zeros((4, 1), np.float32), 0), 0)
    for changes, message in (
        ({"std": (0.0, 1.0)}, "std"),
        ({"mean": (1.0,)}, "one entry"),
        ({"channels": ()}, "at least"),
    ):
        with pytest.raises(ConfigError, match=message):
            SeriesInput(**{**{"channels": ("a", "b"), "mean": (0.0, 0.0), "std": (1.0, 1.0)}, **changes})


def test_answers_to_files_and_arrays(run, place, tmp_path, capsys):
    network = focalnets.load(run, device="cpu")
    rows = waves(8, seed=5)
    results = network.predict([values for values, _ in rows])
    assert np.mean([result.class_names[0] == label for result, (_, label) in zip(results, rows, strict=True)]) > 0.7
    for (values, _), result in zip(rows, results, strict=True):
        assert network.predict(values)[0].confidences == pytest.approx(result.confidences, abs=1e-5)
    file = next((place / "slow").iterdir())
    assert main(["predict", str(file), str(tmp_path / "gone.npy"), "--model", str(run), "--json", "-"]) == 1
    assert json.loads(capsys.readouterr().out)["predictions"][0]["path"] == str(file)
    odd = network.predict([np.zeros((9, 3)), rows[0][0]])
    assert len(odd) == 1
    assert "has 3 channels" in odd.failures[0].reason


def test_commands_and_settings(place, tmp_path, capsys):
    quick = ["--recipe", "miniature", "--epochs", "1", "--device", "cpu", "--output", str(tmp_path / "run")]
    assert main(["train", str(place), *quick, "--series_length", "20"]) == 0
    assert "recognised a folder of series for each class" in capsys.readouterr().err
    network = focalnets.load(tmp_path / "run", device="cpu")
    assert network.preprocessing.length == 20
    assert main(["evaluate", str(tmp_path / "run"), str(place), "--output", str(tmp_path / "report")]) == 0
    assert "accuracy" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="--series_length"):
        settings(image_size=32)
    config = settings(pretrained=str(tmp_path / "run"), model_overrides={}, epochs=1)
    result = train(config, open_data(place, config), output=tmp_path / "again", quiet=True)
    assert [row["epoch"] for row in result.history] == [0, 1]


def test_long_series_are_cut_into_patches_that_overlap(tmp_path):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(12, 700, 1, generator=random).numpy()
    np.savez(tmp_path / "long.npz", x=x, y=np.arange(12) % 2)
    config = settings(epochs=1)
    train(config, open_data(tmp_path / "long.npz", config), output=tmp_path / "run", quiet=True)
    made = focalnets.load(tmp_path / "run", device="cpu").network.config
    assert (made.patch, made.patch_window) == (15, 120)
    config = settings(epochs=1, model_overrides={"dim": 16, "depth": 1, "patch": 7, "patch_window": 0})
    train(config, open_data(tmp_path / "long.npz", config), output=tmp_path / "own", quiet=True)
    made = focalnets.load(tmp_path / "own", device="cpu").network.config
    assert (made.patch, made.patch_window) == (7, 0)


def test_channels_are_matched_by_name(run, place, tmp_path):
    network = focalnets.load(run, device="cpu")
    rows = waves(12, seed=5)
    for folder, names, order in (("swapped", "Right,LEFT", [1, 0]), ("others", "left,up", [0, 1])):
        for number, (values, label) in enumerate(rows):
            file = tmp_path / folder / label / f"{number}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            lines = [names, *(",".join(f"{cell:g}" for cell in row) for row in values[:, order])]
            file.write_text("\n".join(lines))
    files = [next((tmp_path / folder / "slow").iterdir()) for folder in ("swapped", "others")]
    answers = network.predict([*files, rows[int(files[0].stem)][0]])
    assert answers[0].confidences == pytest.approx(answers[1].confidences, abs=1e-4)
    (failure,) = answers.failures
    assert "has the channels 'left', 'up', but the network reads 'left', 'right'" in failure.reason
    plain = network.evaluate(write_waves(tmp_path / "plain", 12, seed=5))
    swapped = network.evaluate(tmp_path / "swapped")
    assert swapped.accuracy.value == plain.accuracy.value
    with pytest.raises(DataError, match="but the network reads"):
        network.evaluate(tmp_path / "others")
    config = settings(pretrained=str(run), model_overrides={}, epochs=1)
    data = open_data(tmp_path / "swapped", config)
    assert data.train.channels == CHANNELS
    train(config, data, output=tmp_path / "again", quiet=True)
    again = focalnets.load(tmp_path / "again", device="cpu")
    assert again.preprocessing.channels == CHANNELS
    assert again.evaluate(tmp_path / "swapped").inputs
    with pytest.raises(DataError, match="but the network reads"):
        open_data(tmp_path / "others", config)
    with pytest.raises(ConfigError, match="open the data with these weights"):
        SeriesTask(pretrained=str(run)).with_data(open_data(tmp_path / "swapped", settings()))


@pytest.mark.parametrize(
    ("length", "overrides", "patch", "window"),
    [(2**20, {}, 21845, 65536), (40, {"patch": 10000}, 10000, 65536), (40, {}, 1, 8)],
)
def test_the_window_of_a_patch_stays_within_reach(length, overrides, patch, window):
    task = SeriesTask(spec=SeriesInput(length=length))
    made = task.create("focal_series_small", {"dim": 16, "depth": 1, **overrides}, ("a", "b")).config
    assert (made.patch, made.patch_window) == (patch, window)
