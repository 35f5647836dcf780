"""Videos of any proportions get answers in frames of the same size, with a bounded number of frames in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from focalnets.errors import DataError
from focalnets.models.config import FocalNetConfig, Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.tasks import clips
from focalnets.tasks.classify.task import Classify

pytest.importorskip("av", reason="videos need PyAV: pip install 'focalnets[video]'")
from tests.visualize.clips import pictures_of, write_noise, write_sound


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    settings = {"depths": (1, 1), "embed_dim": 8, "focal_levels": (1, 1), "focal_windows": (3, 3)}
    config = FocalNetConfig(**settings, num_classes=2)
    return FocalNet(config, preprocessing=Preprocessing(input_size_px=32), class_names=("a", "猫")).eval()


@pytest.mark.parametrize("size", [(4096, 2), (2, 4096), (1, 1), (33, 17), (160, 120)])
def test_frames_of_any_proportions(model, tmp_path, size):
    clip = write_noise(tmp_path / "clip.mkv", size, 5)
    done = clips.predict_clip(Classify(), model, clip, tmp_path / "out.mp4", every=2)
    assert (done.frames, len(done.results)) == (5, 3)
    written = {picture.shape for picture in pictures_of(tmp_path / "out.mp4")}
    assert written == {(size[1] + size[1] % 2, size[0] + size[0] % 2, 3)}


def test_a_line_is_drawn_where_there_is_room(model):
    for size, room in (((160, 120), True), ((4096, 2), False), ((9000, 60), False)):
        picture = Image.new("RGB", size, (90, 90, 90))
        (result,) = Classify().results(
            torch.tensor([[0.0, 1.0]]), paths=["a"], sizes=[size], labels=model.class_names
        )  # fmt: skip
        drawn = Classify().draw_frame(picture, result)
        assert drawn.size == size
        assert (np.asarray(drawn) != 90).any() == room


def test_few_large_frames_are_in_memory_together(model, tmp_path, monkeypatch):
    clip = write_noise(tmp_path / "clip.mkv", (64, 48), 7)
    whole = clips.predict_clip(Classify(), model, clip, tmp_path / "a.mkv", every=3)
    monkeypatch.setattr(clips, "_TOGETHER_PIXELS", 2 * 64 * 48)
    few = clips.predict_clip(Classify(), model, clip, tmp_path / "b.mkv", every=3)
    assert [result.confidences[0] for result in few.results] == pytest.approx(
        [result.confidences[0] for result in whole.results], abs=1e-5
    )
    assert len(few.results) == 3
    # Rounding differs with the number of frames at once, and may show in the last digit of what is drawn below.
    for one, other in zip(pictures_of(tmp_path / "a.mkv"), pictures_of(tmp_path / "b.mkv"), strict=True):
        assert np.mean(one != other) < 0.02


def test_videos_without_frames(model, tmp_path):
    for file in (write_sound(tmp_path / "sound.mp4"), write_sound(tmp_path / "both.mkv", beside_pictures=True)):
        with pytest.raises(DataError, match=file.name):
            clips.predict_clip(Classify(), model, file, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()
