"""Many cases through few processes, and the rules by which a case ends well, counted and summed up.

A case ends well with a result, or with exactly one clear sentence; never with a traceback, a signal or a hang, with
anything executed that a file holds, or with something lost that was there before.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
import queue
import random
import re
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from focalnets.machine.workers import Answers, Worker

SEED = int(os.environ.get("CAMPAIGN_SEED", "0"))
MINUTES = float(os.environ.get("CAMPAIGN_MINUTES", "20"))
ONLY = os.environ.get("CAMPAIGN_ONLY", "")
"""Numbers of the cases to run, such as ``3,17``; empty for all."""

PROCESSES = 2
_LONGEST_S = 180.0
_MOST_MEMORY_MB = 5000
_LONGEST_SENTENCE = 3100

KINDS = {
    "traceback": "tracebacks",
    "crash": "crashes",
    "executed": "executed",
    "lost": "lost",
    "unclear": "unclear",
}

_FOREIGN = re.compile(
    r"Traceback|<class |object at 0x|\bWarning\b|Error:|\bNoneType\b|typing\.|site-packages|jsonargparse|\.py\b:?\d*"
)
"""What no sentence for people holds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One thing to try.

    Attributes:
        number: Makes it again, together with the seed.
        name: What it is, in words.
        arguments: Of the command line; None where ``call`` says what to do.
        call: ``module:function``, called with ``given``.
        given: Arguments of that, plain values.
        folder: Where it runs.
        environment: Variables besides those there are.
        file_bytes: Largest file that it may write; None for any.
        statuses: Exit statuses that are a good end.
        says: What its sentence must hold, a regular expression.
        check: Called after the end with the outcome; returns what is wrong as (kind, words), or None.
        disturb: Called with the process's number while it runs.
        stdout: A file for standard output in place of a fresh one.
    """

    number: int
    name: str
    folder: Path
    arguments: Sequence[str] | None = None
    call: str = ""
    given: Sequence[Any] = ()
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    file_bytes: int | None = None
    statuses: Sequence[int] = (0, 1, 2)
    says: str | None = None
    check: Callable[[Outcome], tuple[str, str] | None] | None = None
    disturb: Callable[[int], None] | None = None
    stdout: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a case ended.

    Attributes:
        status: Exit status; negative for a signal; None if the time ran out or the server died.
        out, err: What it printed.
        seconds, memory_mb: What it took.
    """

    status: int | None
    out: str
    err: str
    seconds: float
    memory_mb: int

    @property
    def was_refused(self) -> bool:
        return self.status not in (0, 1)


class Tally:
    """What became of the things that one campaign tried, each by one run or several.

    Args:
        unit: What is tried, in the plural: ``odd images``.
        test: The test that does it.
    """

    def __init__(self, unit: str, test: str) -> None:
        self.unit, self.test = unit, test
        self.tried = self.runs = self.refused = 0
        self.faults: list[tuple[Case, str, str]] = []
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def add_tried(self) -> None:
        with self._lock:
            self.tried += 1

    def add(self, case: Case, outcome: Outcome) -> None:
        fault = judge(case, outcome)
        with self._lock:
            self.runs += 1
            self.refused += outcome.was_refused
            if fault is not None:
                self.faults.append((case, *fault))
                print(f"{fault[0]}: #{case.number} {case.name}: {' '.join(fault[1].split())[-300:]}", flush=True)

    def line(self) -> str:
        """Sum up in one line."""
        kinds = Counter(kind for _, kind, _ in self.faults)
        counts = ", ".join(f"{kinds[kind]} {word}" for kind, word in KINDS.items())
        return (
            f"{self.tried} {self.unit}, {self.runs} runs ({self.runs - self.refused} with a result, {self.refused} "
            f"refused): {counts}; seed {SEED}, {time.monotonic() - self._began:.0f} s"
        )

    def text(self) -> str:
        """Every fault, with what makes it again."""
        return "\n".join(
            f"{kind}: #{case.number} {case.name}: {words}\n    again: CAMPAIGN_SEED={SEED} "
            f"CAMPAIGN_ONLY={case.number} python -m pytest tests/campaigns/{self.test} -m slow"
            for case, kind, words in self.faults
        )


def judge(case: Case, outcome: Outcome) -> tuple[str, str] | None:
    """Say what is wrong with the end of a case, as (kind, words); None where all is well."""
    end = " ".join(outcome.err.split())[-400:]
    harm = None if case.check is None else case.check(outcome)
    if harm is not None and harm[0] == "executed":
        return harm
    if "Traceback (most recent call last)" in outcome.err + outcome.out:
        return "traceback", outcome.err[-1500:]
    if outcome.status is None:
        return "crash", f"no end within {_LONGEST_S:.0f} s; {end}"
    if outcome.status < 0 and outcome.status not in case.statuses:
        return "crash", f"ended by {signal.Signals(-outcome.status).name}; {end}"
    if outcome.memory_mb > _MOST_MEMORY_MB:
        return "crash", f"took {outcome.memory_mb:,} MB of memory"
    if harm is not None:
        return harm
    if outcome.status not in case.statuses:
        return "unclear", f"ended with status {outcome.status}, expected {list(case.statuses)}; {end}"
    if outcome.status >= 0 and (unclear := unclear_sentences(outcome)) is not None:
        return "unclear", unclear
    if case.says is not None and not re.search(case.says, outcome.err):
        return "unclear", f"expected {case.says!r}, got: {end}"
    return None


def unclear_sentences(outcome: Outcome) -> str | None:
    """Say what is not one clear sentence in what was said; None where all is well."""
    lines = [line for line in outcome.err.split("\n") if line]
    for line in lines:
        if _FOREIGN.search(re.sub(r"'[^']*'", "''", line)):
            return f"no words for people: {line[:600]!r}"
        if not line.isprintable():
            return f"holds control characters: {line[:600]!r}"
    errors = [line for line in lines if line.startswith("error: ")]
    if outcome.status in (2, 130) and not (errors or any(line.startswith("not ") for line in lines)):
        return f"says no sentence: {outcome.err[-600:]!r}"
    if len(errors) > 1 or (outcome.status == 0 and errors):
        return f"says {len(errors)} errors with status {outcome.status}: {outcome.err[-600:]!r}"
    for line in (*errors, *(line for line in lines if line.startswith("not "))):
        ended = line.endswith((".", "?", "!")) or re.search(r"(?:Go on with: |the folder is )[^ ].*$", line)
        if not ended or len(line) > _LONGEST_SENTENCE or line.endswith(".."):
            return f"no whole sentence: {line[-200:]!r}"
    return None


class Servers:
    """Processes of :mod:`tests.campaigns.server`, each with one case at a time."""

    def __init__(self, scratch: Path, count: int = PROCESSES) -> None:
        self._scratch = scratch
        self._free: queue.Queue[tuple[Worker, Answers[Worker]]] = queue.Queue()
        self._count = count
        for _ in range(count):
            self._free.put(self._start())
        self._pool = concurrent.futures.ThreadPoolExecutor(count)

    def _start(self) -> tuple[Worker, Answers[Worker]]:
        answers: Answers[Worker] = Answers()
        environment = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
        return Worker("tests.campaigns.server", answers, environment=environment, own_session=True), answers

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        while not self._free.empty():
            self._free.get()[0].close()

    def run(self, case: Case) -> Outcome:
        """Run one case and wait for its end."""
        worker, answers = self._free.get()
        printed = [self._scratch / f"{id(worker):x}.{kind}" for kind in ("out", "err")]
        for file in printed:
            file.write_bytes(b"")
        ended: dict[str, Any] | None = None
        child = None
        try:
            worker.send(
                {
                    "arguments": list(case.arguments), "folder": str(case.folder), "environment": case.environment,
                    "file_bytes": case.file_bytes, "stdout": case.stdout or str(printed[0]), "stderr": str(printed[1]),
                }
                if case.arguments is not None
                else {
                    "call": case.call, "given": list(case.given), "folder": str(case.folder),
                    "environment": case.environment, "file_bytes": case.file_bytes,
                    "stdout": case.stdout or str(printed[0]), "stderr": str(printed[1]),
                }
            )  # fmt: skip
            started = answers.next(_LONGEST_S)[1]
            child = None if started is None else started["pid"]
            if case.disturb is not None and child is not None:
                case.disturb(child)
            ended = answers.next(_LONGEST_S)[1]
        except TimeoutError:
            pass
        if child is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)  # also what it has started
        if ended is None:
            worker.close()
            worker, answers = self._start()
        out, err = (file.read_text(encoding="utf-8", errors="replace") for file in printed)
        self._free.put((worker, answers))
        ended = ended or {"status": None, "seconds": _LONGEST_S, "memory_mb": 0}
        return Outcome(out=out, err=err, **ended)

    def map(self, act: Callable[[int], None], numbers: Iterable[int], more: Callable[[], bool]) -> None:
        """Call for each number, as many at a time as there are servers, until no more are there or wanted."""
        waiting: set[concurrent.futures.Future[None]] = set()
        for number in numbers:
            if not more():
                break
            waiting.add(self._pool.submit(act, number))
            if len(waiting) > self._count:
                done, waiting = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    future.result()
        for future in waiting:
            future.result()


Make = Callable[[int, Path], "Iterator[Case]"]
"""Makes what a number stands for in a fresh folder and gives the runs for it; none if there is no such thing."""


def campaign(
    servers: Servers, scratch: Path, tally: Tally, make: Make, numbers: Iterable[int], *, at_least: int, fraction: float
) -> None:
    """Try what the numbers stand for: so many in any case, then as many as fit into a fraction of the time.

    Args:
        servers: What runs the cases.
        scratch: Where the fresh folders lie.
        tally: Takes what becomes of them.
        make: See :data:`Make`.
        numbers: In the order in which to try them.
        at_least: Things to try in any case.
        fraction: Of all minutes.
    """
    end = time.monotonic() + fraction * MINUTES * 60

    def act(number: int) -> None:
        with fresh_folder(scratch, f"{tally.unit.replace(' ', '_')}_{number}") as folder:
            tried = False
            for case in make(number, folder):
                tried = True
                tally.add(case, servers.run(case))
            if tried:
                tally.add_tried()

    only = [int(number) for number in ONLY.split(",") if number]
    servers.map(act, only or numbers, lambda: bool(only) or tally.tried < at_least or time.monotonic() < end)


def random_for(*of: object) -> random.Random:
    """A source of chance that depends on the seed and on what it is for, and on nothing else."""
    return random.Random(f"{SEED}:{':'.join(map(str, of))}")


@contextlib.contextmanager
def fresh_folder(scratch: Path, name: str) -> Iterator[Path]:
    """A folder for one case, removed after it."""
    folder = scratch / name
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
