"""Fuzzing of parsers with hypothesis: each in a process of its own for a time, on good inputs changed at random.

What a parser may do with foreign bytes: return a value that is valid, or raise one of the package's errors; nothing
else, within five seconds of processor time, and without taking much memory. The process writes down each input before
it is tried, so that one that ends the process is known too.

    FUZZ_SECONDS=600 python -m pytest tests/campaigns -m slow -k "fuzz and png"
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import faulthandler
import importlib
import itertools
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from tests.campaigns.json_changes import ODD_VALUES

from focalnets.errors import FocalNetsError, one_line

SECONDS = float(os.environ.get("FUZZ_SECONDS", "15"))
SEED = int(os.environ.get("CAMPAIGN_SEED", "0"))

_MOST_CPU_S = 5
_MOST_MEMORY_MB = 1500
_EXAMPLES_A_ROUND = 300
_LONGEST_MESSAGE = 3100


@dataclasses.dataclass(frozen=True)
class Target:
    """A parser and what it is fed.

    Attributes:
        inputs: Makes the inputs.
        parse: Called with an input and an empty folder; asserts that what it gets is valid.
        refuses: What it may raise.
    """

    inputs: Callable[[], SearchStrategy[Any]]
    parse: Callable[[Any, Path], Any]
    refuses: tuple[type[Exception], ...] = (FocalNetsError,)


_WORDS = (b"\0", b"\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\x80",
b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"-1", b"1e999", b"NaN", b"9" * 30, b"../", b"\n", b'"', b"%s")  # fmt: skip


_scripts = st.binary(max_size=48)
"""What is changed in a good input, six bytes a change: drawn at once, which is quick, and made smaller as easily."""

Edits = Iterator[tuple[int, int, int]]


def _edits(script: bytes) -> Edits:
    """Kind, place and amount of each change."""
    for start in range(0, len(script) - 5, 6):
        part = script[start : start + 6]
        yield part[0], int.from_bytes(part[1:4], "big"), int.from_bytes(part[4:6], "big")


def changed_bytes(seeds: Sequence[bytes], words: Sequence[bytes] = ()) -> SearchStrategy[bytes]:
    """Good inputs with up to eight changes: bytes and bits, parts left out, doubled, put in, cut or exchanged."""
    vocabulary = (*_WORDS, *words)
    return st.builds(
        lambda number, script: _change_bytes(seeds, vocabulary, number, script), st.integers(0, 255), _scripts
    )


def _change_bytes(seeds: Sequence[bytes], words: Sequence[bytes], number: int, script: bytes) -> bytes:
    data = bytearray(seeds[number % len(seeds)])
    for kind, place, amount in _edits(script):
        # Heads are short, and matter: half of all changes lie in the first bytes.
        place = place % (len(data) + 1) if kind & 1 else place % (min(len(data), 200) + 1)
        count = 1 + amount % 64
        match (kind >> 1) % 9:
            case 0:
                data[place : place + 1] = bytes([amount & 255])
            case 1:
                data[place : place + 1] = bytes(each ^ (1 << amount % 8) for each in data[place : place + 1])
            case 2:
                word = words[amount % len(words)]
                data[place : place + len(word)] = word
            case 3:
                data[place:place] = words[amount % len(words)]
            case 4:
                del data[place : place + count]
            case 5:
                data[place:place] = data[place : place + count]
            case 6:
                data[place : place + 4] = (amount * 65_537).to_bytes(4, "big" if kind & 64 else "little")
            case 7:
                del data[place:]
            case _:
                other = seeds[amount % len(seeds)]
                data[place:] = other[min(place, len(other)) :]
    return bytes(data)


_values = st.one_of(
    st.sampled_from(range(len(ODD_VALUES))).map(lambda number: copy.deepcopy(ODD_VALUES[number])),
    st.integers(-(2**66), 2**66),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(-3, 300), max_size=4),
    st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2),
)
"""Values of JSON: odd ones, and small ones of all kinds."""


def changed_values(base: Any) -> SearchStrategy[Any]:
    """A good value of JSON with some places changed."""
    return st.builds(lambda script, new: _change_value(base, script, new), _scripts, st.lists(_values, max_size=4))


def _change_value(base: Any, script: bytes, new: list[Any]) -> Any:
    content = [copy.deepcopy(base)]
    for kind, place, amount in _edits(script):
        places: list[tuple[Any, Any]] = []
        _walk(content, places)
        holder, key = places[place % len(places)]
        kind %= 10
        if kind == 0 and holder is not content:
            del holder[key]
        elif kind == 1 and isinstance(holder, list) and holder is not content:
            holder.insert(key, copy.deepcopy(holder[key]))
        elif kind == 2 and isinstance(holder, dict):
            holder[("", "a", f"{key}x", "\n", "1", "__metadata__")[amount % 6]] = holder.pop(key)
        elif kind in (3, 4) and isinstance(holder[key], int | float):
            factor, more = (-1, 0, 1, 2, 1000, 0.5)[amount % 6], (amount >> 4) % 5 - 2
            with contextlib.suppress(OverflowError):
                holder[key] = holder[key] * factor + more
        elif kind == 5:
            holder[key] = ([holder[key]], {"a": holder[key]}, str(holder[key])[:50])[amount % 3]
        elif new:
            holder[key] = copy.deepcopy(new[amount % len(new)])
    return content[0]


def _walk(value: Any, places: list[tuple[Any, Any]]) -> None:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(entries)[:40]:
        places.append((value, key))
        _walk(inner, places)


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def json_texts(base: Any) -> SearchStrategy[bytes]:
    """Texts of JSON: a good value changed, or a good text changed."""
    text = as_json(base)
    words = (
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"null",
        b"true",
        b"1e999",
        b"-",
        b'"\\ud800"',
        b"\xef\xbb\xbf",
        b"[" * 2000,
    )
    return st.one_of(changed_values(base).map(as_json), changed_values(base).map(as_json), changed_bytes([text], words))


def fuzz(module: str, name: str, folder: Path) -> str:
    """Fuzz one target in a process of its own; returns a line about it.

    Raises:
        AssertionError: If something was found, with what makes it again.
    """
    command = [sys.executable, "-m", "tests.campaigns.fuzzing", module, name, str(SECONDS), str(SEED), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)
    if done.returncode:
        kept = folder / "current"
        found = f"it ended with {done.returncode}" if done.returncode < 0 else "found"
        raise AssertionError(
            f"{name}: {found}; the input is kept in {kept}, again: CAMPAIGN_SEED={SEED} FUZZ_SECONDS={SECONDS:g}\n"
            f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        )
    result = json.loads(done.stdout.splitlines()[-1])
    return (
        f"fuzzing {name}: {result['cases']:,} inputs, {result['valid']:,} of them valid, in {result['seconds']:.0f} s: "
        f"nothing found; seed {SEED}"
    )


class _Watch:
    """Tries inputs, one by one, under the rules."""

    def __init__(self, target: Target, folder: Path) -> None:
        self._target, self._folder = target, folder
        self._current = folder / "current"
        self._place = folder / "place"
        self._place.mkdir(parents=True, exist_ok=True)
        self.cases = self.valid = 0
        self._memory_mb = 0

    def try_input(self, value: Any) -> None:
        self._current.write_bytes(pickle.dumps(value))
        for left in self._place.iterdir():
            _remove(left)
        self.cases += 1
        signal.setitimer(signal.ITIMER_PROF, _MOST_CPU_S)
        try:
            self._target.parse(value, self._place)
            self.valid += 1
        except self._target.refuses as error:
            text = str(error)
            if isinstance(error, FocalNetsError):
                assert text == one_line(text)
                assert 0 < len(text) < _LONGEST_MESSAGE
                assert text.rstrip().endswith((".", "?", "!")), text
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        grown, self._memory_mb = memory_mb - self._memory_mb, memory_mb
        if self.cases > 3:
            assert grown < _MOST_MEMORY_MB, f"one input took {grown:,} MB of memory"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for inner in path.iterdir():
            _remove(inner)
        path.rmdir()
    else:
        path.unlink()


def main() -> int:
    module, name, seconds, number, folder = sys.argv[1:]
    warnings.simplefilter("ignore")
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, chain=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    target: Target = importlib.import_module(module).TARGETS[name]
    watch = _Watch(target, Path(folder))
    began = end = time.monotonic()
    for turn in itertools.count(-1):
        try:
            _round(watch, target, int(number) * 100_003 + turn, end)
        except BaseException:
            traceback.print_exc()
            print(f"smallest input: {pickle.loads(watch._current.read_bytes())!r:.3000}")
            return 1
        if turn < 0:  # The first input took what is imported for it.
            began, end = time.monotonic(), time.monotonic() + float(seconds)
        elif time.monotonic() > end:
            break
    print(json.dumps({"cases": watch.cases, "valid": watch.valid, "seconds": time.monotonic() - began}))
    return 0


def _round(watch: _Watch, target: Target, number: int, end: float) -> None:
    """Try some inputs; what is found is made smaller, however long it takes."""
    found = False

    @seed(number)
    @settings(
        max_examples=_EXAMPLES_A_ROUND, deadline=None, database=None, phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck), report_multiple_bugs=False, print_blob=False,
    )  # fmt: skip
    @given(target.inputs())
    def holds(value: Any) -> None:
        nonlocal found
        if watch.cases and time.monotonic() > end and not found:
            return
        try:
            watch.try_input(value)
        except BaseException:
            found = True
            raise

    holds()


if __name__ == "__main__":
    sys.exit(main())
