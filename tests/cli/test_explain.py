"""``focalnets explain`` as users run it."""

from __future__ import annotations

import re
import sys

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
    *pages, cost = shown.out.splitlines()
    assert len(pages) == 4
    assert re.fullmatch(r"took \d+\.\d s(, at most [\d,]+ MiB of memory)?", cost)
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
        (["--stage", "9"], "stage.block"),
        (["--stage", "0", "--block", "0.0"], "give one of them"),
        (["--every", "0"], "--every must be"),
        (["--output", "out.mp4"], "exactly one video"),
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


@pytest.mark.parametrize(
    ("kind", "start", "words"), [("pdf", b"%PDF-", b"/CIDFontType2"), ("svg", b"<?xml", b">Where it looks")]
)
def test_figures_for_papers_keep_letters_and_are_the_same_twice(coloured_run, odd_images, tmp_path, kind, start, words):
    command = ["explain", str(odd_images / "turned.jpg"), "--model", str(coloured_run), "--format", kind]
    for folder in ("one", "two"):
        assert main([*command, "--output", str(tmp_path / folder), "--style", "side-by-side", "--stage", "0"]) == 0
    first, second = ((tmp_path / folder / f"turned_explained.{kind}").read_bytes() for folder in ("one", "two"))
    assert first.startswith(start)
    assert words in first
    assert first == second


@pytest.mark.parametrize("style", ["overlay", "heatmap", "side-by-side"])
def test_styles_and_pages_with_a_slider(coloured_run, odd_images, tmp_path, style, capsys):
    command = ["explain", str(odd_images / "turned.jpg"), "--model", str(coloured_run), "--output", str(tmp_path / "p")]
    assert main([*command, "--style", style, "--stage", "-1", "--html"]) == 0
    shown = capsys.readouterr().out
    assert "turned_explained.png" in shown
    assert "turned_explained.html" in shown
    assert {path.name for path in (tmp_path / "p").iterdir()} == {"turned_explained.png", "turned_explained.html"}
    assert "GMACs" not in shown


def test_the_cost_of_more_pixels_is_said(coloured_run, odd_images, tmp_path, capsys):
    command = ["explain", str(odd_images / "turned.jpg"), "--model", str(coloured_run), "--output", str(tmp_path / "p")]
    assert main([*command, "--resolution", "native"]) == 0
    assert "(seen at 40 x 61 px: " in capsys.readouterr().out


def test_kernels_and_receptive_fields(coloured_run, odd_images, tmp_path, capsys):
    output = tmp_path / "network"
    options = ["--model", str(coloured_run), "--output", str(output)]
    assert main(["explain", "--kernels", *options]) == 0
    assert {path.name for path in output.iterdir()} == {"kernels.png", "kernels.npz"}
    with np.load(output / "kernels.npz") as arrays:
        assert arrays["stage_0_level_1"].shape == (3, 3)
    (odd_images / "broken.png").write_text("no image")
    assert main(["explain", str(odd_images), "--receptive-field", *options]) == 1
    assert "broken.png" in capsys.readouterr().err
    with np.load(output / "receptive_field.npz") as arrays:
        assert arrays["stage_0"].sum() == pytest.approx(1, abs=1e-4)
    (odd_images / "broken.png").unlink()
    assert main(["explain", str(odd_images), "--receptive-field", "--format", "pdf", *options]) == 0
    assert (output / "receptive_field.pdf").exists()
    assert main(["explain", "--receptive-field", *options]) == 2
    assert main(["explain", *options]) == 2
    assert "nothing to look at" in capsys.readouterr().err


def test_videos(coloured_run, odd_images, tmp_path, capsys):
    pytest.importorskip("av", reason="videos need PyAV: pip install 'focalnets[video]'")
    from tests.visualize.clips import times_of, write_clip, write_sound

    clip = write_clip(tmp_path / "clip.mp4", [0, 40, 100, 120])
    old = write_clip(tmp_path / "old.avi", [0, 40, 80], codec="mpeg4", sound=False)
    options = ["--model", str(coloured_run), "--output"]
    assert main(["explain", str(clip), *options, str(tmp_path / "seen.mp4"), "--style", "heatmap", "--every", "2"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{clip}: 4 frames, ")
    assert shown.err == ""
    assert times_of(tmp_path / "seen.mp4") == times_of(clip)
    sound = write_sound(tmp_path / "sound.mp4")
    pages = tmp_path / "pages"
    given = [str(tmp_path / "*.avi"), str(clip), str(odd_images / "grey.png"), str(sound), str(tmp_path / "gone.mp4")]
    assert main(["explain", *given, *options, str(pages)]) == 1
    assert {path.name for path in pages.iterdir()} == {
        "old_explained.mkv", "clip_explained.mp4", "grey_explained.png"
    }  # fmt: skip
    assert len(times_of(pages / "old_explained.mkv")) == len(times_of(old))
    errors = capsys.readouterr().err
    assert "only sound" in errors
    assert "there is no video" in errors
    assert "2 of 5 inputs" in errors
    assert main(["explain", str(sound), *options, str(tmp_path / "none.mp4")]) == 2
    assert not (tmp_path / "none.mp4").exists()
    assert main(["explain", str(clip), str(old), *options, str(tmp_path / "none.mp4")]) == 2
    assert main(["explain", str(clip), "--kernels", *options, str(pages)]) == 2


def test_without_pyav_videos_are_refused_in_one_sentence(coloured_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "av", None)
    output = tmp_path / "out.mp4"
    assert main(["explain", str(tmp_path / "a.mp4"), "--model", str(coloured_run), "--output", str(output)]) == 2
    assert "pip install 'focalnets[video]'" in capsys.readouterr().err
    assert not output.exists()


def test_without_a_model_the_one_in_the_package_is_explained(shipped_stand_in, coloured_images, tmp_path, capsys):
    image = coloured_images / "red" / "0.png"
    assert main(["explain", str(image), "--output", str(tmp_path / "pages")]) == 0
    shown = capsys.readouterr()
    assert "knows 10 classes only" in shown.err
    assert [path.name for path in (tmp_path / "pages").iterdir()] == ["0_explained.png"]
