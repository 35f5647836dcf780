from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from focalnets.ops import triton_winners

triton = pytest.importorskip("triton")

from focalnets.ops import triton_launch, triton_tiles  # noqa: E402 - needs triton
from focalnets.ops.triton_tiles import Tile, TileTuner  # noqa: E402


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FOCALNETS_CACHE", str(tmp_path))
    return tmp_path


def kernels(count: int = 2) -> list[torch.Tensor]:
    return [torch.randn(6, 3 + 2 * level, 3 + 2 * level) for level in range(count)]


def packed_by_hand(taps: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tap.permute(1, 2, 0).reshape(-1, 6) for tap in taps])


def test_taps_are_packed_once_while_they_stay_as_they_are() -> None:
    cache, taps = triton_launch.PackedTaps(), kernels()
    first = cache.get(taps)
    assert torch.equal(first, packed_by_hand(taps))
    assert cache.get(list(taps)) is first
    taps[1].mul_(2)
    assert torch.equal(cache.get(taps), packed_by_hand(taps))
    taps[0].data = torch.ones(6, 3, 3)
    assert torch.equal(cache.get(taps), packed_by_hand(taps))


def test_taps_of_other_kernels_are_never_taken_for_these() -> None:
    cache = triton_launch.PackedTaps(most=3)
    for _ in range(50):  # Freed kernels give their addresses and identities to the next ones.
        taps = kernels()
        assert torch.equal(cache.get(taps), packed_by_hand(taps))
    assert len(cache._packed) <= 3


def test_taps_whose_changes_nobody_counts_are_packed_each_time() -> None:
    cache = triton_launch.PackedTaps()
    with torch.inference_mode():
        taps = kernels()
        cache.get(taps)
        taps[0].mul_(2)
        assert torch.equal(cache.get(taps), packed_by_hand(taps))


def test_winners_are_kept_for_the_next_process(cache: Path) -> None:
    triton_winners.add("A Device", "some class", [4, 16, 32, 2])
    triton_winners.add("A Device", "another", 1)
    assert triton_winners.read("A Device") == {"some class": [4, 16, 32, 2], "another": 1}
    assert triton_winners.read("B Device") == {}
    assert [path.parent for path in cache.rglob("*.json")] == [cache / "tiles"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        json.dumps({"a": [0, 16, 32, 2], "b": [4, 15, 32, 2], "c": "x", "d": [4] * 9, "e": 9}),
    ],
)
def test_entries_that_cannot_be_are_left_out(content: str) -> None:
    file = triton_winners.winners_file("A Device")
    file.parent.mkdir()
    file.write_text(content)
    assert triton_winners.read("A Device") == {}


def test_a_cache_that_cannot_be_written_is_done_without(cache: Path) -> None:
    (cache / "tiles").write_text("in the way")
    triton_winners.add("A Device", "some class", 1)
    assert triton_winners.read("A Device") == {}


def test_the_fastest_is_timed_once_and_found_by_the_next_process(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[int] = []

    def last_is_fastest(choices, run):
        timed.append(len(choices))
        return choices[-1]

    monkeypatch.setattr(triton_tiles, "_may_time", lambda context: True)
    monkeypatch.setattr(triton_tiles, "device_name", lambda context: "A Device")
    monkeypatch.setattr(triton_tiles, "_fastest", last_is_fastest)
    context, gone = torch.zeros(2, 30, 30, 64), []
    ways = [lambda: gone.append("first"), lambda: gone.append("second")]
    for _ in range(2):
        tuner = TileTuner()
        tile = tuner.run(lambda tile: tile, context, "kind")
        assert tile == triton_tiles.candidate_tiles(30, 30, 64)[-1]
        assert isinstance(tile, Tile)
        tuner.choose(ways, context, "other kind")
        assert tuner.timed_classes == 2
    assert gone == ["second", "second"]
    assert timed == [len(triton_tiles.candidate_tiles(30, 30, 64)), 2]
