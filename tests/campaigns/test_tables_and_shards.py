"""Odd tables and shards through everything that reads labelled images; nothing is unpacked or written outside."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from tests.campaigns.odd_tables import NAMED_CASES, make_table_or_shard, write_images
from tests.campaigns.running import Case, Outcome, Tally, campaign, random_for

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

AT_LEAST = 250


@pytest.fixture(scope="module")
def index(servers, scratch):
    """Good shards: their index and their one tar file."""
    folder = scratch / "good_shards"
    for name in ("cat", "dog"):
        (folder / "images" / name).mkdir(parents=True)
    write_images(folder)
    for file in folder.glob("*.png"):
        file.rename(folder / "images" / file.name[:3] / file.name)
    outcome = servers.run(Case(number=0, name="", folder=folder, arguments=["shard", "images", "shards", "--quiet"]))
    assert outcome.status == 0, outcome.err
    content = json.loads((folder / "shards" / "index.json").read_text(encoding="utf-8"))
    return {"content": content, "tar": (folder / "shards" / "images-000000.tar").read_bytes()}


def test_odd_tables_and_shards(servers, scratch, conclude, index):
    tally = Tally("odd tables and shards", "test_tables_and_shards.py")
    order = list(range(NAMED_CASES + 120))
    random_for("order of tables").shuffle(order)
    numbers = itertools.chain(order, itertools.count(len(order)))

    def runs(number: int, folder: Path):
        return runs_for(number, folder, index)

    campaign(servers, scratch, tally, runs, numbers, at_least=AT_LEAST, fraction=0.08)
    conclude(tally, AT_LEAST)


def runs_for(number: int, folder: Path, index):
    inside = folder / "inside"
    inside.mkdir()
    write_images(inside)
    path, name = make_table_or_shard(number, inside, random_for("table or shard", number), index)
    before = {file.relative_to(folder): file.stat().st_size for file in folder.rglob("*")}

    def unharmed(outcome: Outcome) -> tuple[str, str] | None:
        now = {file.relative_to(folder): file.stat().st_size for file in folder.rglob("*")}
        if now != before:
            return "lost", f"changed: {sorted(map(str, before.items() ^ now.items()))}"
        return None

    source = f"inside/{path.name}"
    yield Case(number=number, name=f"{name}, check", folder=folder, arguments=["check", source], check=unharmed)
    yield Case(
        number=number, name=f"{name}, training", folder=folder, statuses=(0, 2), check=unharmed,
        call="tests.campaigns.calls:read_for_training", given=[source],
    )  # fmt: skip
    if path.suffix == ".csv":
        yield Case(
            number=number, name=f"{name}, shard", folder=folder, statuses=(0, 2), arguments=["shard", source, "out"]
        )
    elif path.is_dir():
        yield Case(
            number=number, name=f"{name}, shard into it", folder=folder, statuses=(0, 2),
            arguments=["shard", "inside", source, *(["--overwrite"] if number % 2 else [])],
        )  # fmt: skip
    else:
        yield Case(
            number=number, name=f"{name}, evaluate", folder=folder, statuses=(0, 2), check=unharmed,
            arguments=["evaluate", source, "--quiet"],
        )  # fmt: skip
