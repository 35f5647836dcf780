"""Reading series: gaps stay, precision is kept, bad files do not hide good ones, and each mistake is one sentence."""

from __future__ import annotations

import numpy as np
import pytest

from focalnets.data.series.labelled import find_labelled_series, find_series
from focalnets.data.series.reading import channel_order, read_series
from focalnets.errors import DataError
from focalnets.models.input_specs import SeriesInput
from focalnets.tasks.series.data import LARGEST_NORMALISED, SeriesTransform, measure_input

NAN = float("nan")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "1\n2\n\n\n5\n\n\n", [[1], [2], [NAN], [NAN], [5]]),
        ("a.csv", "1,2\r\n\r\n5,6\r\n", [[1, 2], [NAN, NAN], [5, 6]]),
        ("a.csv", "a,b\n1,2\n,\n , \n5,6\n,\n", [[1, 2], [NAN, NAN], [NAN, NAN], [5, 6]]),
        ("a.csv", "\n\na,b\n\n1,2\n", [[NAN, NAN], [1, 2]]),
        ("a.csv", "\n1;2\n", [[NAN, NAN], [1, 2]]),
        ("a.tsv", "a\tb\n1\t2\n\t\n\n5\t6\n\t\n\n", [[1, 2], [NAN, NAN], [NAN, NAN], [5, 6]]),
        ("a.tsv", "a\tb\n1\t2\n\n5\t6\t\n", None),
    ],
)
def test_empty_lines_are_positions_without_numbers(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content.encode())
    if expected is None:
        with pytest.raises(DataError, match=r"line 4 .* has 3 columns"):
            read_series(tmp_path / name)
    else:
        assert np.array_equal(read_series(tmp_path / name).values, np.array(expected, float), equal_nan=True)


@pytest.mark.parametrize("content", ["", "\n\n", "a,b\n", ",\n"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_file_without_numbers_is_no_series(tmp_path, content, name):
    (tmp_path / name).write_text(content.replace(",", "\t") if name == "a.tsv" else content)
    with pytest.raises(DataError, match="holds no numbers"):
        read_series(tmp_path / name)


def test_a_bad_file_in_a_folder_is_missing_alone(tmp_path):
    (tmp_path / "good.csv").write_text("1\n2\n")
    (tmp_path / "bad.csv").write_text("1\nx\n")
    (tmp_path / "other.npy").write_bytes(b"")
    x = np.zeros((3, 4, 1))
    x[1] = NAN
    np.savez(tmp_path / "x.npz", x=x)
    found, missing = find_series([tmp_path, tmp_path / "x.npz"])
    assert [each.name for each in found] == [
        str(tmp_path / "good.csv"), f"{tmp_path / 'x.npz'} series 0", f"{tmp_path / 'x.npz'} series 2",
    ]  # fmt: skip
    assert [name for name, _ in missing] == [
        str(tmp_path / "bad.csv"), str(tmp_path / "other.npy"), f"{tmp_path / 'x.npz'} series 1",
    ]  # fmt: skip


def test_archives_without_series_and_with_bytes(tmp_path):
    np.savez(tmp_path / "flat.npz", x=np.array(1.0), y=np.array(0))
    with pytest.raises(DataError, match="as many labels"):
        find_labelled_series(tmp_path / "flat.npz")
    np.savez(tmp_path / "none.npz", x=np.zeros((0, 4, 2)))
    assert "holds no series" in find_series([tmp_path / "none.npz"])[1][0][1]
    np.savez(tmp_path / "bytes.npz", x=np.random.default_rng(0).normal(size=(4, 5, 1)), y=np.array([b"a", b"b"] * 2))
    assert [row.label for row in find_labelled_series(tmp_path / "bytes.npz").rows.rows] == ["a", "b", "a", "b"]


def test_a_large_offset_keeps_what_changes(tmp_path):
    x = 1e8 + np.random.default_rng(0).normal(size=(6, 30, 1))
    x[5] = x[4]
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(6) % 2)
    (tmp_path / "x.csv").write_text("\n".join(f"{cell:.6f}" for cell in x[0, :, 0]))
    found = find_labelled_series(tmp_path / "x.npz")
    assert len({row.text for row in found.rows.rows}) == 5
    spec, constant = measure_input(list(found.series.values()), found.channels, 0)
    assert not constant
    for series in (found.series["x.npz series 0"], read_series(tmp_path / "x.csv")):
        normalised = SeriesTransform(spec)((series.values, 0), 0)[0].numpy()
        assert normalised.dtype == np.float32
        np.testing.assert_allclose(normalised, (x[0] - x.mean()) / x.std(), atol=1e-4)


def test_equal_series_of_several_precisions_are_told_to_be_equal(tmp_path):
    x = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    for label, file in (("p", "x.npy"), ("q", "x.csv")):
        (tmp_path / label).mkdir()
        if file == "x.npy":
            np.save(tmp_path / label / file, x)
        else:
            (tmp_path / label / file).write_text("\n".join(",".join(f"{cell:.9g}" for cell in row) for row in x))
    one, two = find_labelled_series(tmp_path).rows.rows
    assert one.text == two.text


def test_extreme_numbers_are_cut_off_and_missing_ones_are_zero():
    spec = SeriesInput(length=4, channels=("a",), mean=(1.0,), std=(1e-3,))
    values = np.array([[1e38], [-1e38], [NAN], [1.001]], np.float32)
    normalised = SeriesTransform(spec)((values, 0), 0)[0][:, 0].tolist()
    assert normalised[:3] == [LARGEST_NORMALISED, -LARGEST_NORMALISED, 0.0]
    assert normalised[3] == pytest.approx(1.0, abs=1e-3)


def test_channels_are_matched_by_name():
    assert channel_order(["B", "a "], ["a", "b"], "it") == [1, 0]
    assert channel_order(["channel 1", "channel 2"], ["a", "b"], "it") == [0, 1]
    assert channel_order(["a", "b"], ["channel 1", "channel 2"], "it") == [0, 1]
    with pytest.raises(DataError, match="it has the channels 'a', 'c', but the network reads 'a', 'b'"):
        channel_order(["a", "c"], ["a", "b"], "it")
    with pytest.raises(DataError, match="it has 1 channels, but the network reads 2"):
        channel_order(["a"], ["a", "b"], "it")


def test_doubled_ends_of_lines_are_no_gaps(tmp_path):
    (tmp_path / "doubled.csv").write_bytes(b"a,b\r\r\n1,2\r\r\n3,4\r\r\n5,6\r\r\n")
    series = read_series(tmp_path / "doubled.csv", "doubled.csv")
    assert series.values.tolist() == [[1, 2], [3, 4], [5, 6]]
