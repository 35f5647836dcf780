"""The task series: which places hold series, how they are normalised, and what a network makes of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tests.tasks.waves import CHANNELS, waves, write_waves

import focalnets
from focalnets.cli.main import main
from focalnets.data.series.labelled import find_labelled_series, find_series
from focalnets.errors import ConfigError, DataError
from focalnets.models.input_specs import SeriesInput
from focalnets.tasks.recognition import recognise_task
from focalnets.tasks.series.data import SeriesTransform, measure_input
from focalnets.training.config import TrainingConfig
from focalnets.training.recipes import in_miniature
from focalnets.training.trainer import open_data, train


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
    assert measured.baseline is None
    assert network.preprocessing.channels == CHANNELS
    assert "series of up to 40 positions with 2 channels" in (run / "log.txt").read_text()


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


def test_long_series_are_cut_into_patches(tmp_path):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(12, 700, 1, generator=random).numpy()
    np.savez(tmp_path / "long.npz", x=x, y=np.arange(12) % 2)
    config = settings(epochs=1)
    train(config, open_data(tmp_path / "long.npz", config), output=tmp_path / "run", quiet=True)
    assert focalnets.load(tmp_path / "run", device="cpu").network.config.patch == 5
