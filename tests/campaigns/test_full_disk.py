"""A full disk, or files that may not grow, in every command that writes: one sentence, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.campaigns.running import Case, Outcome, Tally, campaign, random_for
from tests.campaigns.whole_files import broken_files
from tests.campaigns.workplace import WRITINGS, Writing, filled, fresh_copy, make_workplace, run, snapshot

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

TIMES = 4
"""So often each command is tried, with other limits."""

_SMALLEST_LIMIT = 1500
"""What the command says must fit into the file that takes it [bytes]."""

TO_A_FULL_DEVICE = (
    ["predict", "{here}/data/cats/0.png", "--model", "{here}/run", "--json"],
    ["predict", "{here}/data/cats/0.png", "--model", "{here}/run"],
    ["check", "{here}/data", "--csv"],
    ["check", "{here}/data"],
    ["evaluate", "{here}/run", "{here}/data", "--json", "-"],
    ["evaluate", "{here}/run", "{here}/data"],
    ["models"],
    ["models", "--csv"],
    ["doctor"],
    ["runs", "{here}"],
    ["completion", "bash"],
    ["train", "{here}/data", "--print_config"],
    ["predict", "--help"],
    ["--help"],
    ["--version"],
    ["explain", "{here}/data/cats/0.png", "--model", "{here}/run", "--output", "{out}/x", "--json"],
    ["convert", "{here}/run", "{out}/w.safetensors", "--to", "focalnets"],
    ["shard", "{here}/data", "{out}/shards"],
)
"""Commands whose standard output is a disk that is full."""


@pytest.fixture(scope="module")
def workplace(servers, scratch):
    return make_workplace(servers, scratch / "full")


def test_full_disks(servers, scratch, workplace, conclude, say):
    tally = Tally("writings to a full disk", "test_full_disk.py")
    mounts = _can_mount(scratch)
    prepared: dict[str, Path] = {}

    def earlier(writing: Writing) -> Path:
        if writing.name not in prepared:
            place = scratch / f"before {writing.name}"
            place.mkdir()
            for line in writing.earlier:
                run(servers, workplace, filled(line, workplace, place))
            prepared[writing.name] = place
        return prepared[writing.name]

    def runs(number: int, folder: Path):
        if number >= TIMES * len(WRITINGS):
            yield _printing(number, TO_A_FULL_DEVICE[number - TIMES * len(WRITINGS)], workplace, folder)
            return
        writing = WRITINGS[number % len(WRITINGS)]
        of_disk = mounts and (number // len(WRITINGS)) % 2 == 0
        with _tiny_disk(folder) if of_disk else contextlib.nullcontext():
            yield from _runs(number, writing, workplace, folder, earlier(writing), of_disk)

    most = TIMES * len(WRITINGS) + len(TO_A_FULL_DEVICE)
    campaign(servers, scratch, tally, runs, range(most), at_least=most, fraction=1.0)
    say("  half of them on a disk of its own" if mounts else "  no disk could be mounted: limits of file sizes only")
    conclude(tally, most)


def _printing(number: int, arguments: list[str], here: Path, folder: Path) -> Case:
    line = filled(arguments, here, folder)
    return Case(
        number=number, name=f"{' '.join(line[:1])} printed to a full disk", folder=here, arguments=line, statuses=(2,),
        stdout="/dev/full",
    )  # fmt: skip


def _runs(number: int, writing: Writing, here: Path, folder: Path, earlier: Path, of_disk: bool) -> Iterator[Case]:
    draw = random_for("full disk", number)
    fresh_copy(earlier, folder)
    before = snapshot(folder)
    limit = None
    if of_disk:
        free = draw.choice((0, 4096, 4096 * draw.randrange(1, 30)))
        _fill(folder, free)
        name = f"{writing.name}, {free:,} bytes free"
    else:
        limit = draw.choice((_SMALLEST_LIMIT, 5000, draw.randrange(_SMALLEST_LIMIT, 80_000)))
        name = f"{writing.name}, files of at most {limit:,} bytes"

    def unharmed(outcome: Outcome) -> tuple[str, str] | None:
        (folder / ".filling").unlink(missing_ok=True)
        now = snapshot(folder)
        if "--overwrite" not in writing.arguments and (gone := sorted(set(before) - set(now))):
            return "lost", f"gone: {gone}"
        if faults := broken_files(folder):
            return "lost", "; ".join(faults)
        left = sorted(str(file.relative_to(folder)) for file in folder.rglob(".*.tmp"))
        return ("lost", f"left behind: {left}") if left else None

    ended: list[int | None] = []
    yield Case(
        number=number, name=name, folder=here, arguments=filled(writing.arguments, here, folder), statuses=(0, 2),
        file_bytes=limit, check=lambda outcome: (ended.append(outcome.status), unharmed(outcome))[1],
    )  # fmt: skip
    if ended[0] == 0 or of_disk:
        return
    line = filled(writing.arguments, here, folder)
    if writing.goes_on is not None:
        begun = (folder / "run" / "checkpoints" / "last.ckpt").exists()
        line = filled(writing.goes_on, here, folder) if begun else [*line, *({"--overwrite"} - {*line})]
    yield Case(
        number=number, name=f"{name}, then with room", folder=here, arguments=line, statuses=(0,), check=unharmed
    )


def _can_mount(scratch: Path) -> bool:
    try:
        with _tiny_disk(scratch / "tiny", make=True):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextlib.contextmanager
def _tiny_disk(folder: Path, *, make: bool = False) -> Iterator[None]:
    """A disk of 4 MB of its own over a folder; only who administers the machine can have one."""
    if make:
        folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(folder: Path, free: int) -> None:
    """Fill a disk until so many bytes are left."""
    space = shutil.disk_usage(folder).free - free
    with (folder / ".filling").open("wb") as file, contextlib.suppress(OSError):
        for _ in range(max(0, space) // 4096):
            os.write(file.fileno(), bytes(4096))
