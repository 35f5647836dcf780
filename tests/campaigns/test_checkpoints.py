"""Hostile, damaged, incomplete and foreign weights through everything that loads weights; nothing in them may run."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tests.campaigns.hostile_checkpoints import CANARY, CLASSES, NAMED_CASES, make_checkpoint, save_good
from tests.campaigns.odd_images import encoded, picture
from tests.campaigns.running import Case, Outcome, Tally, campaign, random_for

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

AT_LEAST = 200
RANDOM_AMONG_NAMED = 150


def test_hostile_checkpoints(servers, scratch, conclude):
    tally = Tally("hostile checkpoints", "test_checkpoints.py")
    order = list(range(NAMED_CASES + RANDOM_AMONG_NAMED))
    random_for("order of checkpoints").shuffle(order)
    numbers = itertools.chain(order, itertools.count(len(order)))
    campaign(servers, scratch, tally, runs_for, numbers, at_least=AT_LEAST, fraction=0.15)
    conclude(tally, AT_LEAST)


def runs_for(number: int, folder: Path):
    for name in CLASSES:
        (folder / "data" / name).mkdir(parents=True)
        for each in range(2):
            (folder / "data" / name / f"{each}.png").write_bytes(encoded(picture(size=(33, 33), seed=each), "PNG"))
    place = folder / "weights"
    place.mkdir()
    path, name = make_checkpoint(number, place, random_for("checkpoint", number))
    source = str(path)
    earlier = save_good(folder / "converted.safetensors").read_bytes()
    before = {file for file in folder.rglob("*") if file != folder / "weights" / CANARY}

    def unharmed(outcome: Outcome) -> tuple[str, str] | None:
        if (place / CANARY).exists() or (folder / CANARY).exists():
            return "executed", "the canary is there"
        appeared = {file.name for file in folder.rglob("*")} - {file.name for file in before}
        if outcome.status != 0 and appeared:
            return "lost", f"left behind: {sorted(appeared)}"
        if outcome.status != 0 and (folder / "converted.safetensors").read_bytes() != earlier:
            return "lost", "the file that was there has changed"
        return None

    image = str(folder / "data" / CLASSES[0] / "0.png")
    arguments = {
        "convert": ["convert", source, "converted.safetensors", "--to", "focalnets"],
        "predict": ["predict", image, "--model", source, "--json", "-"],
        "evaluate": ["evaluate", source, "data", "--quiet"],
    }
    for command, line in arguments.items():
        (folder / "converted.safetensors").write_bytes(earlier)
        yield Case(
            number=number, name=f"{name}, {command}", folder=folder, arguments=line, check=unharmed, statuses=(0, 2),
        )  # fmt: skip
    for call in ("load_weights", "inspect_weights"):
        yield Case(
            number=number, name=f"{name}, {call}", folder=folder, call=f"tests.campaigns.calls:{call}", given=[source],
            check=unharmed, statuses=(0, 2),
        )  # fmt: skip
