"""Pictures from which something is taken, and what a network that lives on the surroundings makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from focalnets.auditing.answers import LookedAt, ask
from focalnets.auditing.parts import (
    BlankAnswer,
    ClassUnderTreatment,
    Parts,
    Treated,
    measure_parts,
    parts_verdicts,
)
from focalnets.auditing.treatments import blank_pictures, treatments
from focalnets.data.samples import ImageFolder
from focalnets.intervals import Estimate
from focalnets.models.config import Preprocessing
from focalnets.tasks.classify.task import Classify

SPEC = Preprocessing(input_size_px=32, crop_fraction=1.0)
CHANGES = {treatment.key: treatment for treatment in treatments(SPEC)}


class Rim(nn.Module):
    """Names the class by whether the upper edge (or, with ``centre``, the middle) is bright."""

    preprocessing, class_names, threshold, origin = SPEC, ("dark", "bright"), None, "made here"

    def __init__(self, centre):
        super().__init__()
        self.centre, self.weight = centre, nn.Parameter(torch.ones(()))

    def forward(self, images):
        side = images.shape[-1]
        rows = slice(side // 2 - 2, side // 2 + 2) if self.centre else slice(0, 2)
        bright = images[:, :, rows].mean((1, 2, 3))
        return torch.stack([-bright, bright], 1) * self.weight


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rims")
    samples = []
    for number in range(80):
        value = 20 if number < 40 else 235
        path = folder / f"{number}.png"
        Image.new("RGB", (32, 32), (value,) * 3).save(path)
        samples.append((path, number // 40))
    return ImageFolder(samples, ("dark", "bright"))


def test_what_is_kept_and_removed_has_equal_area():
    white = Image.new("RGB", (100, 100), (255, 255, 255))
    centre, surroundings = (np.asarray(CHANGES[key].alter(white, 0)) == 255 for key in ("centre", "surroundings"))
    assert abs(centre[..., 0].mean() - 0.5) < 0.01
    assert not (centre & surroundings).any()
    assert (centre | surroundings)[..., 0].mean() == 1.0


def test_changes_are_the_same_at_every_call_and_keep_the_size():
    pixels = np.random.default_rng(0).integers(0, 256, (33, 41, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    for change in CHANGES.values():
        if change.alter is None:
            continue
        one, again = change.alter(picture, 5), change.alter(picture, 5)
        assert one.size == picture.size
        assert one.mode == "RGB"
        assert np.array_equal(one, again)
        assert not np.array_equal(one, pixels)
    assert np.array_equal(np.asarray(picture), pixels)
    shuffled = np.asarray(CHANGES["shuffled"].alter(picture, 5))
    assert sorted(shuffled.ravel()) == sorted(pixels.ravel())


@pytest.mark.parametrize("centre", [False, True])
def test_a_network_that_lives_on_the_surroundings_is_found(centre, data):
    network, shown = Rim(centre), []
    answers = ask(Classify(), network, LookedAt(data))
    assert answers.right.all()
    parts = measure_parts(
        Classify(), network, data, answers, most=60, gap=0.05, alpha=0.05, on_progress=lambda *step: shown.append(step)
    )
    assert parts.images == 60
    assert shown[-1][0] == 60 * len(CHANGES)
    by_key = {treated.key: treated for treated in parts.treated}
    assert by_key["mirrored"].accuracy == 1.0
    assert by_key["centre" if centre else "surroundings"].accuracy == 1.0
    verdicts = parts_verdicts(parts)
    found = [verdict for verdict in verdicts if verdict.kind == "found"]
    # What is removed becomes grey of one kind, which the network calls by one of both names: the other class is lost.
    assert len(found) == (0 if centre else 1)
    assert len(parts.blanks) == len(blank_pictures(SPEC))
    assert {blank.picture: blank.name for blank in parts.blanks}["white"] == "bright"
    notes = [verdict.sentence for verdict in verdicts if verdict.kind == "note"]
    assert notes[1] == "In grey all classes keep at least half of the recall."
    assert "white: 'bright'" in notes[2]
    assert notes[0] == "With the centre removed all classes keep at least half of the recall."


def test_what_classes_cannot_do_without_is_said():
    unknown = Estimate(value=0.0, low=-1.0, high=1.0)

    def treated(key, **recalls):
        classes = tuple(
            ClassUnderTreatment(name=name, images=100, right=round(100 * share), recall=Estimate(share, 0.0, 1.0))
            for name, share in recalls.items()
        )
        return Treated(key=key, label=key, accuracy=0.5, change=unknown, adjusted_p=1.0, named_most=("fish", 0.5),
                       classes=classes)  # fmt: skip

    whole = treated("untouched", fish=0.9, pump=0.8, saw=0.7, church=0.9, never=0.0)
    removed = treated("surroundings", fish=0.1, pump=0.5, saw=0.3, church=0.85, never=0.0)
    grey = treated("grey", fish=0.2, pump=0.3, saw=0.2, church=0.3, never=0.0)
    blanks = (
        BlankAnswer(picture="black", name="fish", confidence=0.1, none_of_the_classes=True),
        BlankAnswer(picture="white", name="saw", confidence=0.9, none_of_the_classes=False),
    )
    said = parts_verdicts(Parts(images=500, treated=(whole, removed, grey), surrounded=(), blanks=blanks))
    assert [verdict.sentence for verdict in said if verdict.kind == "note"] == [
        "With the centre removed these keep at least half of their recall: 'church' (90% to 85%), 'pump' (80% to 50%); "
        "these do not: 'fish' (90% to 10%), 'saw' (70% to 30%).",
        "In grey no class keeps at least half of the recall.",
        "Where there is nothing the network names a class all the same: white: 'saw' (90%).",
        "Where there is nothing the network would name black: 'fish' (10%), and says that it is none of its classes.",
    ]
