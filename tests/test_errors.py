"""Messages about names that do not exist."""

from __future__ import annotations

import pytest

import focalnets
from focalnets.data.corruptions import check_corruptions
from focalnets.errors import DataError, FocalNetsError, UnknownNameError, abridged, nearest, one_line, quoted_list
from focalnets.ops.backends import select_backend
from focalnets.training.config import TrainingConfig
from focalnets.weights.conversion import save_in_layout

NAMES = ("train", "predict", "Official", "no_gates")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("trian", "did you mean train? Choose one of train, predict, Official, no_gates."),
        ("oficial", "did you mean Official? Choose one of train, predict, Official, no_gates."),
        ("PREDICT", "did you mean predict? Choose one of train, predict, Official, no_gates."),
        ("nothing alike", "choose one of train, predict, Official, no_gates."),
        ("", "choose one of train, predict, Official, no_gates."),
    ],
)
def test_the_nearest_names_are_asked_for(given, expected):
    assert nearest(given, NAMES) == expected
    assert nearest(given, iter(NAMES)) == expected


def test_all_names_may_be_told_in_other_words():
    assert nearest("trian", NAMES, "`x` lists them.") == "did you mean train? `x` lists them."
    assert nearest("zzz", NAMES, "`x` lists them.") == "`x` lists them."


def test_every_unknown_name_has_a_nearest(tmp_path):
    network = focalnets.create_model("focalnet_pico", num_classes=2, depths=(1, 1, 1, 1), embed_dim=8)
    attempts = {
        "focalnet_pico": lambda: focalnets.create_model("focalnet_pica"),
        "jpeg": lambda: check_corruptions(("jpg",), (1,), 0),
        "reference": lambda: select_backend(None, None, (), None, "referenz"),
        "timm": lambda: save_in_layout(network, tmp_path / "x.pth", "tim"),
        "float16": lambda: save_in_layout(network, tmp_path / "x.safetensors", "focalnets", dtype="float61"),
        "adamw": lambda: TrainingConfig(optimizer="adam"),
        "learning_rate": lambda: TrainingConfig.from_dict({"learningrate": 1.0}),
    }
    for name, attempt in attempts.items():
        with pytest.raises(FocalNetsError, match=f"did you mean .*{name}"):
            attempt()


def test_messages_stay_on_one_line_whatever_names_they_hold():
    message = str(DataError("the folder 'a\nb\x1b[31m\u202e\udcff' is empty; 狗 and ünï stay."))
    assert message == r"the folder 'a\nb\x1b[31m\u202e\udcff' is empty; 狗 and ünï stay."
    assert str(UnknownNameError("a\rb")) == r"a\rb"
    assert one_line("plain text") == "plain text"


def test_absurd_names_leave_the_advice_readable():
    message = str(DataError(f"there is no '{'x' * 10**6}'; check the path."))
    assert len(message) < 4000
    assert message.endswith("; check the path.")
    assert len(quoted_list(["y" * 10**6, "z"])) < 300


def test_values_are_written_in_a_few_words():
    loop = []
    loop.append(loop)
    grown = ["x"] * 9
    for _ in range(40):
        grown = [grown] * 9
    for value in (loop, grown, 16**5000, "x" * 10**6, {"a": grown}, float("nan"), None):
        assert len(abridged(value)) <= 200
        assert "\n" not in abridged(value)
    assert abridged({"a": [1, "b"]}) == "{'a': [1, 'b']}"
