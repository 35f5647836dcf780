"""A video comes back with everything that it had, and with maps that do not flicker."""

from __future__ import annotations

import sys
import weakref
from fractions import Fraction

import numpy as np
import pytest
import torch

from focalnets.data import clips
from focalnets.errors import ConfigError, DataError, MissingPackageError
from focalnets.models.config import FocalNetConfig, Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.visualize import explain_video, video
from focalnets.visualize.video import LOOK_AHEAD, SteadyRange

av = pytest.importorskip("av", reason="videos need PyAV: pip install 'focalnets[video]'")
from tests.visualize.clips import (  # noqa: E402
    pictures_of,
    sound_of,
    times_of,
    turn_clockwise,
    write_clip,
    write_noise,
    write_sound,
)  # fmt: skip

UNEVEN = [0, 40, 80, 200, 230, 400, 440, 480, 700, 720, 730, 900]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    settings = {"depths": (1, 1, 1), "embed_dim": 8, "focal_levels": (1, 1, 1), "focal_windows": (3, 3, 3)}
    return FocalNet(
        FocalNetConfig(**settings, num_classes=3),
        preprocessing=Preprocessing(input_size_px=32),
        class_names=["a <thing>", "another $thing", "é" * 200],
    ).eval()


def left_alone(folder, *names):
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


@pytest.mark.parametrize("extension", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("style", ["overlay", "side-by-side"])
def test_time_stamps_sound_and_size_are_kept(model, tmp_path, extension, style):
    clip = write_clip(tmp_path / f"clip{extension}", UNEVEN)
    output = tmp_path / "new" / f"out{extension}"
    seen = []
    done = explain_video(model, clip, output, style=style, on_progress=lambda *at: seen.append(at))
    assert (done.frames, done.looked) == (len(UNEVEN), len(UNEVEN))
    assert done.output == output
    assert min(done.seen_px) == int(32 / model.preprocessing.crop_fraction + 1e-6)
    assert [number for number, _ in seen] == list(range(1, len(UNEVEN) + 1))
    assert times_of(output) == times_of(clip) == [moment / 1000 for moment in UNEVEN]
    assert sound_of(output) == sound_of(clip)
    assert len(sound_of(output)) > 5
    assert {picture.shape for picture in pictures_of(output)} == {(48, 128 if style == "side-by-side" else 64, 3)}
    left_alone(output.parent, output.name)


def test_webm_and_a_clip_without_sound(model, tmp_path):
    clip = write_clip(tmp_path / "clip.mkv", UNEVEN, sound=False)
    explain_video(model, clip, tmp_path / "out.webm")
    assert times_of(tmp_path / "out.webm") == times_of(clip)


def test_a_turned_clip_is_shown_upright(model, tmp_path):
    clip = turn_clockwise(write_clip(tmp_path / "phone.mp4", UNEVEN[:4], aspect=Fraction(4, 3)))
    output = tmp_path / "out.mp4"
    done = explain_video(model, clip, output, style="side-by-side")
    with av.open(str(output)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (96, 64)
        assert stream.sample_aspect_ratio == Fraction(3, 4)
        assert next(container.decode(stream)).rotation == 0
    # Shown with 36 x 64 square pixels' proportions.
    assert done.seen_px[1] / done.seen_px[0] == pytest.approx(64 / 36, rel=0.03)
    # The square lies 16 px from the stored upper edge at the left: turned clockwise 16 px from the right, at the top.
    before, after = pictures_of(clip)[0], pictures_of(output)[0][:, :48]
    np.testing.assert_allclose(np.rot90(before, -1)[:40].astype(int), after[:40], atol=40)
    assert after[4:12, 20:28].mean() > 120 > after[40:50, 20:28].mean()


def test_odd_sizes_are_completed(model, tmp_path):
    clip = write_clip(tmp_path / "clip.mkv", UNEVEN[:3], size=(64, 48))
    info = clips.describe_clip(clip)

    def cut(frames):
        for frame in frames:
            yield frame, frame.picture[:33, :41]

    assert clips.rewrite_clip(info, tmp_path / "out.mp4", cut, width_px=41, height_px=33) == 3
    assert {picture.shape for picture in pictures_of(tmp_path / "out.mp4")} == {(34, 42, 3)}


def test_every_third_frame_is_looked_at_and_all_are_written(model, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", UNEVEN)
    done = explain_video(model, clip, tmp_path / "out.mp4", every=3)
    assert (done.frames, done.looked) == (12, 4)
    assert times_of(tmp_path / "out.mp4") == times_of(clip)


@pytest.mark.parametrize("frames", [1, 2, 30, 120])
def test_memory_does_not_grow_with_the_length(model, tmp_path, monkeypatch, frames):
    clip = write_clip(tmp_path / "clip.mkv", range(0, 40 * frames, 40))
    alive, most = 0, 0

    def gone():
        nonlocal alive
        alive -= 1

    class Counted(clips.ClipFrame):
        def __init__(self, *values):
            nonlocal alive, most
            super().__init__(*values)
            alive += 1
            most = max(most, alive)
            weakref.finalize(self, gone)

    monkeypatch.setattr(clips, "ClipFrame", Counted)
    assert explain_video(model, clip, tmp_path / "out.mkv", every=5).frames == frames
    assert min(frames, LOOK_AHEAD) <= most <= LOOK_AHEAD + 2
    assert alive <= 1


def test_colours_follow_slowly():
    quiet, loud = np.linspace(0, 1, 500), np.linspace(0, 9, 500)
    steady = SteadyRange([quiet, quiet], half_life_s=2.0)
    first = steady.follow(quiet, 10.0)
    assert first == pytest.approx((0.01, 0.99), abs=0.01)
    assert steady.follow(loud, 10.04)[1] == pytest.approx(0.99 + (8.91 - 0.99) * (1 - 0.5**0.02), abs=0.02)
    assert steady.follow(loud, 12.0)[1] == pytest.approx((0.99 + 8.91) / 2, abs=0.1)
    # Where nothing happens, colours stay although each frame has noise.
    noise = np.random.default_rng(0)
    still = [quiet + noise.normal(0, 0.3, 500) for _ in range(100)]
    steady = SteadyRange(still[:8])
    ends = [steady.follow(values, index / 25)[1] for index, values in enumerate(still)]
    own = [video.robust_limits(values)[1] for values in still]
    assert np.abs(np.diff(ends)).max() < 0.1 * np.abs(np.diff(own)).max()


def test_captions_fit_into_any_frame():
    for size in [(48, 64), (200, 30), (16, 300)]:
        picture = np.full((*size, 3), 200, np.uint8)
        drawn = video._with_caption(picture, "é" * 300 + "  87 %")
        assert drawn.shape == picture.shape
        assert (drawn[: max(0, size[0] - 20)] == 200).all()
        assert (drawn != 200).any()
        assert (picture == 200).all()
    assert video._with_caption(picture, "") is picture
    for size in [(9, 7), (2, 4096), (4096, 2), (1, 1)]:  # There is no room.
        picture = np.full((*size, 3), 200, np.uint8)
        assert video._with_caption(picture, "a name  87 %") is picture


def broken(tmp_path, kind):
    path = tmp_path / f"{kind}.mp4"
    if kind == "text":
        path.write_text("this is no video at all, however long one reads " * 50)
    elif kind == "empty":
        path.touch()
    elif kind == "only sound":
        write_sound(path)
    elif kind == "no frames":
        path = write_noise(tmp_path / f"{kind}.mkv", (64, 48), 0)
    elif kind == "sound without frames":
        path = write_sound(tmp_path / f"{kind}.mkv", beside_pictures=True)
    elif kind == "cut":
        whole = write_clip(path, UNEVEN).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "unknown codec":
        path.write_bytes(write_clip(path, UNEVEN).read_bytes().replace(b"avc1", b"zzz9"))
    elif kind == "cut in the middle":
        path = tmp_path / f"{kind}.mkv"
        whole = write_clip(path, range(0, 8000, 40)).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", "no video that can be read"),
        ("empty", "0 bytes"),
        ("only sound", "only sound"),
        ("no frames", "no video that can be read"),
        ("sound without frames", "no frame that can be decoded"),
        ("cut", "no video that can be read"),
        ("cut in the middle", "is cut off"),
        ("unknown codec", "cannot decode"),
        ("folder", "there is no video"),
        ("missing", "there is no video"),
    ],
)
def test_bad_videos_are_one_sentence_and_leave_nothing(model, tmp_path, kind, words):
    path = broken(tmp_path, kind)
    output = tmp_path / "new" / "out.mp4"
    with pytest.raises(DataError, match=words) as caught:
        explain_video(model, path, output)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    assert not output.parent.exists() or not list(output.parent.iterdir())


@pytest.mark.parametrize("style", ["overlay", "side-by-side"])
@pytest.mark.parametrize("size", [(4096, 2), (2, 4096), (1, 1), (33, 17)])
def test_frames_of_any_proportions(model, tmp_path, size, style):
    clip = write_noise(tmp_path / "clip.mkv", size, 2)
    done = explain_video(model, clip, tmp_path / "out.mp4", style=style)
    assert done.frames == 2
    side = min(explain_video(model, write_noise(tmp_path / "square.mkv", (8, 8), 1), tmp_path / "other.mp4").seen_px)
    assert done.seen_px[0] * done.seen_px[1] <= 32 * side**2
    assert (done.seen_px[0] < done.seen_px[1]) == (size[0] < size[1])
    width, height = (size[0] * (2 if style == "side-by-side" else 1), size[1])
    written = {picture.shape for picture in pictures_of(tmp_path / "out.mp4")}
    assert written == {(height + height % 2, width + width % 2, 3)}  # completed by a line


@pytest.mark.parametrize("name", ["clip.h264", "clip.ts"])
def test_frames_whose_size_changes_on_the_way(model, tmp_path, name):
    parts = [write_noise(tmp_path / f"{size[0]}-{name}", size, 4) for size in ((64, 48), (96, 32))]
    clip = tmp_path / name
    clip.write_bytes(b"".join(part.read_bytes() for part in parts))
    done = explain_video(model, clip, tmp_path / "out.mp4")
    assert done.frames == 8
    assert {picture.shape for picture in pictures_of(tmp_path / "out.mp4")} == {(48, 64, 3)}


def test_large_frames_are_refused_before_they_are_decoded(model, tmp_path, monkeypatch):
    parts = [write_noise(tmp_path / f"{size[0]}.h264", size, 4) for size in ((64, 48), (96, 80))]
    clip = tmp_path / "clip.h264"
    clip.write_bytes(b"".join(part.read_bytes() for part in parts))
    monkeypatch.setattr(clips, "MOST_FRAME_PIXELS", 64 * 48)
    with pytest.raises(DataError, match=r"'.*clip\.h264' has frames of 96 x 80 = .*make it smaller first\.$"):
        explain_video(model, clip, tmp_path / "out.mp4")
    monkeypatch.setattr(clips, "_decoded", None)
    with pytest.raises(DataError, match="96 x 80"):
        explain_video(model, parts[1], tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_what_cannot_be_written_is_refused(model, tmp_path, monkeypatch):
    clip = write_noise(tmp_path / "clip.mkv", (64, 48), 2)
    monkeypatch.setattr(clips, "_LONGEST_WRITTEN_PX", 100)
    with pytest.raises(DataError, match=r"128 x 48 pixels.*another style"):
        explain_video(model, clip, tmp_path / "out.mp4", style="side-by-side")
    monkeypatch.setattr(clips, "_LONGEST_WRITTEN_PX", 40_000)
    wide = write_noise(tmp_path / "wide.mkv", (16_400, 2), 1)
    with pytest.raises(ConfigError, match="cannot hold this video of 16400 x 2 pixels: "):
        explain_video(model, wide, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_a_size_that_was_asked_for_is_kept_or_refused(model, tmp_path):
    clip = write_noise(tmp_path / "clip.mkv", (4096, 2), 1)
    assert explain_video(model, clip, tmp_path / "out.mkv", size_px="native").seen_px == (4096, 2)
    assert explain_video(model, clip, tmp_path / "out.mkv", size_px=4).seen_px == (8192, 4)
    with pytest.raises(DataError, match=r"4096 x 2 pixels and would be seen at 524288 x 256.*smaller size\.$"):
        explain_video(model, clip, tmp_path / "new.mkv", size_px=256)
    assert not (tmp_path / "new.mkv").exists()


def test_a_video_may_end_early(model, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", UNEVEN)
    seen = []
    done = explain_video(model, clip, tmp_path / "out.mp4", most_frames=5, on_progress=lambda *at: seen.append(at))
    assert done.frames == done.looked == 5
    assert seen[-1] == (5, 5)
    assert times_of(tmp_path / "out.mp4") == times_of(clip)[:5]
    assert 0 < len(sound_of(tmp_path / "out.mp4")) < len(sound_of(clip))
    assert explain_video(model, clip, tmp_path / "out.mp4", most_frames=500).frames == len(UNEVEN)
    with pytest.raises(ConfigError, match="most_frames must"):
        explain_video(model, clip, tmp_path / "out.mp4", most_frames=0)


def test_fewer_large_frames_are_looked_at_ahead(model, tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "clip.mkv", UNEVEN)
    monkeypatch.setattr(video, "_AHEAD_PIXELS", 1)
    seen = []
    original = video._look
    monkeypatch.setattr(video, "_look", lambda *given: seen.append(1) or original(*given))
    explain_video(model, clip, tmp_path / "out.mkv", on_progress=lambda done, _: seen.append(done) or None)
    assert seen[:3] == [1, 1, 1]  # One frame is looked at before the first is drawn, and one when it is taken.
    assert len(seen) == 2 * len(UNEVEN)


def test_an_interrupted_video_leaves_the_older_one(model, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", UNEVEN)
    output = tmp_path / "out.mp4"
    output.write_bytes(b"older")

    def stop(done, _total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explain_video(model, clip, output, on_progress=stop)
    assert output.read_bytes() == b"older"
    left_alone(tmp_path, "clip.mp4", "out.mp4")


def test_outputs_that_cannot_be(model, tmp_path):
    clip = write_clip(tmp_path / "clip.mkv", UNEVEN)
    before = clip.read_bytes()
    for output, words in (("out.txt", "expected an output ending"), ("clip.mkv", "is the video itself")):
        with pytest.raises(ConfigError, match=words):
            explain_video(model, clip, tmp_path / output)
    with pytest.raises(ConfigError, match=r"sound \(aac\).*\.mkv"):
        explain_video(model, clip, tmp_path / "out.webm")
    for options, words in (({"every": 0}, "every must"), ({"size_px": 0}, "size_px must"), ({"style": "x"}, "style")):
        with pytest.raises(ConfigError, match=words):
            explain_video(model, clip, tmp_path / "out.mkv", **options)
    assert clip.read_bytes() == before
    left_alone(tmp_path, "clip.mkv")


def test_without_pyav_a_sentence_says_what_to_install(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'focalnets\[video\]'"):
        explain_video(model, tmp_path / "clip.mp4", tmp_path / "out.mp4")
