"""Odd images through everything that reads images: predict, check, the reading of a training, explain."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from tests.campaigns.odd_images import NAMED_CASES, encoded, make_image, picture
from tests.campaigns.running import Case, Outcome, Tally, campaign, random_for

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

AT_LEAST = 520
RANDOM_AMONG_NAMED = 500


def test_odd_images(servers, scratch, conclude):
    tally = Tally("odd images", "test_images.py")
    order = list(range(NAMED_CASES + RANDOM_AMONG_NAMED))
    random_for("order of images").shuffle(order)
    numbers = itertools.chain(order, itertools.count(len(order)))
    campaign(servers, scratch, tally, runs_for, numbers, at_least=AT_LEAST, fraction=0.35)
    conclude(tally, AT_LEAST)


def runs_for(number: int, folder: Path):
    data = folder / "data"
    for name in ("cats", "dogs"):
        (data / name).mkdir(parents=True)
        for each in range(3):
            (data / name / f"{each}.png").write_bytes(encoded(picture(size=(33, 33), seed=each), "PNG"))
    made = make_image(number, data / "cats", random_for("image", number))
    if made is None:
        return
    path, name = made
    read: dict[str, bool] = {}

    def predicted(outcome: Outcome) -> tuple[str, str] | None:
        read["predict"] = outcome.status == 0
        try:
            found = json.loads(outcome.out) if outcome.out else {"predictions": []}
        except ValueError:
            return "unclear", f"no JSON: {outcome.out[:300]!r}"
        if outcome.status == 0 and not all(0 <= each["confidence"] <= 1 for each in _classes(found)):
            return "unclear", "confidences out of range"
        return None

    def trained(outcome: Outcome) -> tuple[str, str] | None:
        is_found = path.suffix.lower().lstrip(".") in _FOUND and not path.name.startswith(".") and path.is_file()
        if is_found and read["predict"] != (outcome.status == 0):
            return (
                "unclear",
                f"predict {'reads' if read['predict'] else 'refuses'} it and a training does not: {outcome.err}",
            )
        return None

    plain = f"./{path.relative_to(folder)}"
    yield Case(
        number=number, name=f"{name}, predict", folder=folder, check=predicted, statuses=(0, 2),
        arguments=["predict", plain, "--json", "-", "--quiet"],
    )  # fmt: skip
    yield Case(
        number=number, name=f"{name}, training", folder=folder, check=trained, statuses=(0, 2),
        call="tests.campaigns.calls:read_for_training", given=[str(data)],
    )  # fmt: skip
    yield Case(number=number, name=f"{name}, check", folder=folder, arguments=["check", "data"])
    yield Case(
        number=number, name=f"{name}, explain", folder=folder, statuses=(0, 2),
        arguments=["explain", plain, "--output", "explained", "--size", "64", "--quiet"],
    )  # fmt: skip


_FOUND = ("png", "jpg", "gif", "bmp", "tif", "webp", "ppm", "jp2", "avif", "mpo", "pgm", "pbm")
"""Endings by which a training finds a file."""


def _classes(found):
    return [each for prediction in found["predictions"] for each in prediction["classes"]]
