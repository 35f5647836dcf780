"""``focalnets explain`` as users run it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from focalnets.cli.main import main
from focalnets.visualize.explain import output_names


@pytest.fixture
def odd_images(tmp_path):
    folder = tmp_path / "odd"
    (folder / "deeper").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 61, 4), dtype=np.uint8)
    Image.fromarray(pixels[..., 0]).save(folder / "grey.png")
    Image.fromarray(pixels).save(folder / "transparent.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels[..., :3]).save(folder / "turned.jpg", exif=exif)
    Image.fromarray(pixels[..., :3]).save(folder / "deeper" / "grey.png")
    return folder


def test_a_page_for_every_image_of_a_folder(coloured_run, odd_images, tmp_path, capsys):
    output = tmp_path / "new" / "pages"
    assert main(["explain", str(odd_images), "--model", str(coloured_run), "--output", str(output)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert len(shown.out.splitlines()) == 4
    names = {path.name for path in output.iterdir()}
    assert names == {
        "odd-grey_explained.png", "deeper-grey_explained.png", "transparent_explained.png", "turned_explained.png"
    }  # fmt: skip
    for path in output.iterdir():
        with Image.open(path) as page:
            page.load()


def test_what_cannot_be_read_is_named_counted_and_skipped(coloured_run, odd_images, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no image")
    whole = (odd_images / "turned.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    bad = [str(tmp_path / "text.png"), str(tmp_path / "cut.jpg"), "gone.png"]
    options = ["--model", str(coloured_run), "--output", str(tmp_path / "pages")]
    assert main(["explain", str(odd_images / "grey.png"), *bad, *options]) == 1
    shown = capsys.readouterr()
    assert "grey.png" in shown.out
    assert all(name in shown.err for name in ("text.png", "cut.jpg", "gone.png"))
    assert shown.err.endswith("3 of 4 inputs could not be explained.\n")
    assert main(["explain", *bad, *options]) == 2
    assert [path.name for path in (tmp_path / "pages").iterdir()] == ["grey_explained.png"]


@pytest.mark.parametrize("size", ["native", "20", "57"])
def test_size_and_block(coloured_run, odd_images, tmp_path, size, capsys):
    command = ["explain", str(odd_images / "turned.jpg"), "--model", str(coloured_run), "--output", str(tmp_path)]
    assert main([*command, "--size", size, "--block", "1.0", "--top-k", "2"]) == 0
    assert "turned_explained.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--size", "huge"], "--size must be"),
        (["--size", "0"], "--size must be"),
        (["--block", "9.9"], "stage.block"),
        (["--top-k", "0"], "top_k must be"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_mistakes_are_one_sentence(coloured_run, odd_images, tmp_path, options, words, capsys):
    command = ["explain", str(odd_images / "grey.png"), "--model", str(coloured_run), "--output", str(tmp_path / "p")]
    assert main([*command, *options]) == 2
    assert words in capsys.readouterr().err


def test_the_output_must_not_be_a_file(coloured_run, odd_images, capsys):
    output = odd_images / "grey.png"
    assert main(["explain", str(output), "--model", str(coloured_run), "--output", str(output)]) == 2
    assert "is a file" in capsys.readouterr().err


def test_names_never_meet(tmp_path):
    files = [tmp_path / name for name in ("a/x.png", "b/x.png", "c/a/x.jpg", "b/X.jpg", "y.png", "a-x.png")]
    names = output_names(files)
    assert len({name.casefold() for name in names}) == len(files)
    assert names[4] == "y_explained.png"
