"""What a checkpoint says of its input: strict, without torch, the same after JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from typing import Any

import pytest

from focalnets.errors import ConfigError
from focalnets.models.config import (
    ClipInput,
    FocalNetConfig,
    InputSpec,
    Preprocessing,
    TextInput,
    WholeImage,
    check_channels,
    read_input_spec,
)
from focalnets.models.input_specs import LARGEST_SIDE_PX

SPECS: dict[str, InputSpec] = {
    "image": Preprocessing(input_size_px=96, crop_fraction=0.5, interpolation="bilinear", mean=(0.5,), std=(1 / 255,)),
    "whole_image": WholeImage(input_size_px=512, side="shorter", longest_px=2048),
    "clip": ClipInput(input_size_px=112, crop_fraction=1.0, frames=8, frame_step=2),
    "text": TextInput(context_length=1024, unit="tokens", vocabulary="gpt2 é", vocabulary_size=50257),
}


@pytest.mark.parametrize("kind", SPECS)
def test_every_kind_survives_json(kind: str) -> None:
    spec = SPECS[kind]
    values = json.loads(json.dumps(spec.to_dict(), allow_nan=False))
    assert values["kind"] == spec.kind == kind
    again = read_input_spec(values)
    assert again == spec
    assert type(again) is type(spec)
    assert hash(again) == hash(spec)
    with pytest.raises(dataclasses.FrozenInstanceError):
        again.kind = "image"  # type: ignore[misc]


def test_the_kind_may_be_left_out_where_the_class_is_known() -> None:
    values = SPECS["clip"].to_dict()
    assert ClipInput.from_dict({key: value for key, value in values.items() if key != "kind"}) == SPECS["clip"]
    with pytest.raises(ConfigError, match="of kind image, got 'clip'"):
        Preprocessing.from_dict(values)


@pytest.mark.parametrize("values", [{}, {"kind": "sound"}, {"kind": None}, {"kind": ["image"]}, [], None, "image"])
def test_unknown_kinds_are_refused(values: Any) -> None:
    with pytest.raises(ConfigError, match="of kind image, whole_image, clip, text"):
        read_input_spec(values)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"mean": (0.5, 0.5)}, "mean and std must have one entry for each channel, got 2 and 3"),
        ({"mean": (), "std": ()}, "mean and std"),
        ({"mean": (math.nan, 0.5, 0.5)}, "mean must be finite"),
        ({"mean": (math.inf, 0.5, 0.5)}, "mean must be finite"),
        ({"mean": (123.675, 116.28, 103.53)}, "pixel values from 0 to 1"),
        ({"mean": ("0.5", "0.5", "0.5")}, "mean has a value of the wrong type"),
        ({"mean": "0.5"}, "mean has a value of the wrong type"),
        ({"std": (0.0, 0.2, 0.2)}, "std must be finite"),
        ({"std": (-0.2, 0.2, 0.2)}, "std must be finite"),
        ({"std": (math.nan, 0.2, 0.2)}, "std must be finite"),
        ({"std": (math.inf, 0.2, 0.2)}, "std must be finite"),
        ({"std": (1e-30, 0.2, 0.2)}, "std must be finite"),
        ({"std": (1e30, 0.2, 0.2)}, "std must be finite"),
        ({"std": (10**400, 0.2, 0.2)}, "std must be finite"),
        ({"input_size_px": 0}, "input_size_px must be a whole number from 1 to 8,192"),
        ({"input_size_px": 20_000}, "from 1 to 8,192, got 20000"),
        ({"input_size_px": 10**9}, "from 1 to 8,192"),
        ({"input_size_px": 10**5000}, "from 1 to 8,192"),
        ({"input_size_px": True}, "wrong type"),
        ({"input_size_px": 224.0}, "wrong type"),
        ({"crop_fraction": 0.0}, "crop_fraction"),
        ({"crop_fraction": math.nan}, "crop_fraction"),
        ({"crop_fraction": 1.5}, "crop_fraction"),
        ({"crop_fraction": 1e-6}, "the side that images are resized to"),
        ({"interpolation": "nearest"}, "interpolation"),
        ({"interpolation": None}, "interpolation"),
    ],
)
@pytest.mark.parametrize("spec", [Preprocessing, ClipInput])
def test_wrong_images_are_refused(spec: type[Preprocessing], changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        spec(**changed)


@pytest.mark.parametrize(
    ("spec", "changed"),
    [
        (ClipInput, {"frames": 0}),
        (ClipInput, {"frames": 10**9}),
        (ClipInput, {"frame_step": 0}),
        (ClipInput, {"frame_step": "2"}),
        (TextInput, {"context_length": 0}),
        (TextInput, {"context_length": 10**12}),
        (TextInput, {"context_length": False}),
        (TextInput, {"unit": "syllables"}),
        (TextInput, {"vocabulary": ""}),
        (TextInput, {"vocabulary": "x" * 300}),
        (TextInput, {"vocabulary": "two\nlines"}),
        (TextInput, {"vocabulary": 3}),
        (TextInput, {"vocabulary_size": 0}),
        (TextInput, {"vocabulary_size": 10**12}),
    ],
)
def test_wrong_clips_and_texts_are_refused(spec: Any, changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changed))):
        spec(**changed)
    with pytest.raises(ConfigError, match="'colour'"):
        spec.from_dict({"colour": "red"})


def test_the_limit_is_reached_and_not_exceeded() -> None:
    assert Preprocessing(input_size_px=LARGEST_SIDE_PX, crop_fraction=1.0).input_size_px == LARGEST_SIDE_PX
    assert Preprocessing(input_size_px=7168, crop_fraction=0.875).input_size_px == 7168
    with pytest.raises(ConfigError, match="resized to"):
        Preprocessing(input_size_px=7169, crop_fraction=0.875)


def test_statistics_fit_the_channels() -> None:
    config = FocalNetConfig(in_chans=4)
    with pytest.raises(ConfigError, match=r"mean and std must have one entry for each of the 4 channels .* got 3"):
        check_channels(config, Preprocessing())
    fitted = ClipInput(frames=8).with_channels(4)
    assert isinstance(fitted, ClipInput)
    assert (fitted.channels, fitted.mean[3], fitted.frames) == (4, fitted.mean[0], 8)
    check_channels(config, fitted)
    check_channels(config, TextInput())
    assert Preprocessing().with_channels(3) == Preprocessing()
    assert Preprocessing(mean=(0.0, 0.3), std=(0.2, 0.4)).with_channels(1).mean == pytest.approx((0.15,))


@pytest.mark.parametrize(
    "wrong",
    [
        {"depths": "1111"},
        {"depths": (True, 1, 1, 1)},
        {"post_norm": "yes"},
        {"embed_dim": 96.0},
        {"in_chans": True},
        {"layer_scale": math.nan},
        {"layer_scale": "1"},
        {"mlp_ratio": math.inf},
        {"drop_path": "0.1"},
    ],
)
def test_values_of_the_wrong_type_are_refused_in_networks_too(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        FocalNetConfig(**wrong)


def test_no_torch_is_needed() -> None:
    code = "import sys, focalnets.models.config as c; c.read_input_spec(c.TextInput().to_dict())"
    code += "; assert not ({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("spec", "size", "expected"),
    [
        (WholeImage(input_size_px=800, longest_px=1333), (640, 480), (1067, 800)),
        (WholeImage(input_size_px=800, longest_px=1333), (2000, 500), (1333, 333)),
        (WholeImage(input_size_px=256, side="longer"), (640, 480), (256, 192)),
        (WholeImage(input_size_px=640, side="both"), (1000, 10), (640, 640)),
        (WholeImage(input_size_px=8, side="longer"), (10_000, 1), (8, 1)),
    ],
)
def test_whole_images_get_the_size_that_is_asked_for(
    spec: WholeImage, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert spec.size_of(*size) == expected
    assert str(spec.input_size_px) in spec.in_words()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"side": "upper"}, "side must be one of shorter, longer, both"),
        ({"crop_fraction": 0.9}, "whole images are not cropped"),
        ({"longest_px": 0}, "longest_px must be a whole number from 1"),
        ({"longest_px": 12.5}, "longest_px must be a whole number or None"),
        ({"side": "longer", "longest_px": 900}, "longest_px is for side shorter"),
    ],
)
def test_whole_images_refuse_what_contradicts_itself(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        WholeImage(**fields)
