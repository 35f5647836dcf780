"""Commands killed at random moments: nothing half-written has a final name, and work goes on where that is promised."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.campaigns.running import Case, Outcome, Tally, campaign, random_for
from tests.campaigns.whole_files import broken_files
from tests.campaigns.workplace import WRITINGS, filled, fresh_copy, make_workplace, run, snapshot

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

AT_LEAST = 60
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
KILLED = [writing for writing in WRITINGS if not writing.slow]
_TRAININGS = 3
"""So many times as often as others trainings are killed: they have the most to lose."""

_SAVED_BY = {signal.SIGINT: 130, signal.SIGTERM: 130}


@pytest.fixture(scope="module")
def workplace(servers, scratch):
    return make_workplace(servers, scratch / "kills")


def test_kills_at_random_moments(servers, scratch, workplace, conclude):
    tally = Tally("kills at random moments", "test_kills.py")
    known: dict[str, tuple[float, Path]] = {}

    def undisturbed(number: int) -> tuple[float, Path]:
        """How long the command of a number takes, and its results; the first call runs it."""
        writing = _writing(number)
        if writing.name not in known:
            out = scratch / f"undisturbed_{number}"
            out.mkdir()
            for line in writing.earlier:
                run(servers, workplace, filled(line, workplace, out))
            earlier = scratch / f"earlier_{number}"
            earlier.mkdir()
            fresh_copy(out, earlier)
            seconds = run(servers, workplace, filled(writing.arguments, workplace, out))
            assert not broken_files(out)
            known[writing.name] = seconds, out
        return known[writing.name]

    def runs(number: int, folder: Path):
        yield from _runs(number, folder, workplace, *undisturbed(number))

    campaign(servers, scratch, tally, runs, itertools.count(), at_least=AT_LEAST, fraction=0.12)
    conclude(tally, AT_LEAST)


def _writing(number: int):
    order = [writing for writing in KILLED for _ in range(_TRAININGS if writing.arguments[0] == "train" else 1)]
    return order[number % len(order)]


def _runs(number: int, folder: Path, here: Path, seconds: float, expected: Path):
    draw = random_for("kill", number)
    writing, how = _writing(number), draw.choice(SIGNALS)
    earlier = expected.with_name(expected.name.replace("undisturbed", "earlier"))
    fresh_copy(earlier, folder)
    before, delay = snapshot(folder), draw.uniform(0.02, seconds * 1.05)
    name = f"{writing.name}, {how.name} after {delay:.2f} of {seconds:.2f} s"

    def disturb(process: int) -> None:
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            if how == signal.SIGINT:
                os.killpg(process, how)  # Ctrl-C reaches all that a terminal started.
            else:
                os.kill(process, how)

    def whole(outcome: Outcome) -> tuple[str, str] | None:
        if faults := broken_files(folder):
            return "lost", "; ".join(faults)
        gone = sorted(set(before) - set(snapshot(folder)))
        if gone and "--overwrite" not in writing.arguments:
            return "lost", f"gone: {gone}"
        left = [str(file) for file in folder.rglob("*.tmp")]
        if outcome.status == 130 and left:
            return "lost", f"left behind after Ctrl-C: {left}"
        return None

    def complete(outcome: Outcome) -> tuple[str, str] | None:
        if outcome.status != 0:
            return None
        if faults := broken_files(folder):
            return "lost", "; ".join(faults)
        missing = sorted(name for name in set(snapshot(expected)) - set(snapshot(folder)) if "tensorboard" not in name)
        if missing:
            return "lost", f"missing: {missing}"
        for file in ("run/last.safetensors", "run/best.safetensors"):
            if (expected / file).exists() and not _equal(expected / file, folder / file):
                return "lost", f"{file} differs from that of a training without a stop"
        return None

    ended: list[Outcome] = []
    statuses = [0, -how] if how == signal.SIGKILL else [0, 130, -how]
    yield Case(
        number=number, name=name, folder=here, arguments=filled(writing.arguments, here, folder), statuses=statuses,
        disturb=disturb, check=lambda outcome: (ended.append(outcome), whole(outcome))[1],
    )  # fmt: skip
    again = filled(writing.arguments, here, folder)
    if ended[0].status == 0 and writing.goes_on is not None:
        return
    if writing.goes_on is not None:
        if not (folder / "run" / "checkpoints" / "last.ckpt").exists():
            again += [] if "--overwrite" in again else ["--overwrite"]
            promised = how in _SAVED_BY and ended[0].status == 130 and "everything so far is saved" in ended[0].err
            assert not promised
        else:
            again = filled(writing.goes_on, here, folder)
    done = not (folder / "run").exists() or "--resume" not in again
    yield Case(
        number=number, name=f"{name}, then again", folder=here, arguments=again, check=complete,
        statuses=(0,) if done else (0, 2), says=None if done else "^$|is complete",
    )  # fmt: skip


def _equal(first: Path, second: Path) -> bool:
    one, other = load_file(first), load_file(second)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
