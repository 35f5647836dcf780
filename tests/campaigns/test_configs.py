"""Odd files of settings through ``--config`` of the commands that read one."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tests.campaigns.odd_configs import NAMED_CASES, make_config
from tests.campaigns.odd_images import encoded, picture
from tests.campaigns.running import Case, Outcome, Tally, campaign, random_for

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

AT_LEAST = 300

QUICK = (
    "--limit_train_batches", "1", "--limit_val_batches", "1", "--epochs", "1", "--batch_size", "2", "--workers", "0",
    "--image_size", "32", "--image_size_schedule", "32:0", "--devices", "1", "--patience", "1", "--repeats", "1",
    "--compile", "false",
)  # fmt: skip
"""Options that keep a training short, whatever the file says."""


def test_odd_configs(servers, scratch, conclude):
    tally = Tally("odd configs", "test_configs.py")
    order = list(range(NAMED_CASES + 100))
    random_for("order of configs").shuffle(order)
    numbers = itertools.chain(order, itertools.count(len(order)))
    campaign(servers, scratch, tally, runs_for, numbers, at_least=AT_LEAST, fraction=0.08)
    conclude(tally, AT_LEAST)


def runs_for(number: int, folder: Path):
    for name in ("cats", "dogs"):
        (folder / "data" / name).mkdir(parents=True)
        for each in range(4):
            (folder / "data" / name / f"{each}.png").write_bytes(encoded(picture(size=(33, 33), seed=each), "PNG"))
    content, name = make_config(number, random_for("config", number))
    (folder / "odd.yaml").write_bytes(content)
    ended: list[int | None] = []

    def unharmed(outcome: Outcome) -> tuple[str, str] | None:
        ended.append(outcome.status)
        if (folder / "canary").exists():
            return "executed", "the canary is there"
        if outcome.status == 2 and (folder / "run").exists() and "--resume" not in outcome.err:
            left = sorted(file.name for file in (folder / "run").rglob("*"))
            return ("lost", f"left behind: {left}") if not left or "config.yaml" not in left else None
        return None

    def case(arguments: list[str], **more) -> Case:
        return Case(
            number=number, name=f"{name}, {arguments[0]}", folder=folder, check=unharmed, statuses=(0, 2),
            arguments=[*arguments, "--config", "odd.yaml"], **more,
        )  # fmt: skip

    yield case(["train", "data", "--print_config"])
    if ended[-1] == 0:
        yield case(["train", "data", "--output", "run", "--quiet", *QUICK])
    yield case(["check", "data", "--quiet"])
    if number % 3 == 0:
        yield case(["predict", "data/cats/0.png", "--quiet"])
        yield case(["compare", "--print_config"])
