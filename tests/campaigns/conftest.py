"""What the campaigns share: processes that run cases, and their lines in the summary at the end."""

from __future__ import annotations

import concurrent.futures
import os

import pytest
from tests.campaigns.fuzzing import fuzz
from tests.campaigns.running import PROCESSES, Servers, Tally

FUZZED_AT_ONCE = int(os.environ.get("FUZZ_AT_ONCE", PROCESSES))

_lines: list[str] = []


@pytest.fixture(scope="session")
def scratch(tmp_path_factory):
    """A folder for the files of the cases."""
    return tmp_path_factory.mktemp("campaign")


@pytest.fixture(scope="session")
def servers(scratch):
    """Processes that run cases."""
    running = Servers(scratch)
    yield running
    running.close()


@pytest.fixture
def conclude():
    """Sums a campaign up and asserts that nothing went wrong."""

    def end(tally: Tally, at_least: int) -> None:
        _lines.append(tally.line())
        if not os.environ.get("CAMPAIGN_ONLY"):
            assert tally.tried >= at_least
        assert not tally.faults, f"{tally.line()}\n{tally.text()}"

    return end


@pytest.fixture
def say():
    """Adds a line to the summary."""
    return _lines.append


def pytest_terminal_summary(terminalreporter):
    """Print the line of each campaign."""
    if _lines:
        terminalreporter.section("campaigns")
        for line in _lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def fuzzed(request, tmp_path_factory):
    """Fuzzes the targets whose tests were chosen, two at a time; gives the line about one of them."""
    chosen = [
        (item.module.__name__, item.callspec.params["name"])
        for item in request.session.items
        if "fuzzed" in getattr(item, "fixturenames", ()) and hasattr(item, "callspec")
    ]
    folder = tmp_path_factory.mktemp("fuzzing")
    with concurrent.futures.ThreadPoolExecutor(FUZZED_AT_ONCE) as pool:
        running = {key: pool.submit(fuzz, *key, folder / f"{number:03} {key[1]}") for number, key in enumerate(chosen)}
        yield lambda module, name: running[module, name].result()
