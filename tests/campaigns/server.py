"""A process that has imported everything and forks a child for each case: a command line or a call.

Reads cases from standard input and answers on standard output, a line of JSON each: first the child's number, so that
it can be stopped by whoever asked, then how it ended. A child writes what it prints into files, has limits of its own
and is the head of a group of processes. Nothing is computed here, only imported: threads would not survive the fork.
"""

from __future__ import annotations

import importlib
import os
import resource
import signal
import sys
import time
import traceback
from typing import Any

from focalnets.machine.workers import read_lines, write_line

_MOST_CPU_S = 120
"""What takes longer hangs."""

_MOST_MEMORY_BYTES = 12 << 30

UNEXPECTED = 77
"""Exit status of a child that an exception ended which no command lets through."""


def main() -> None:
    _import_everything()
    results = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for case in read_lines(sys.stdin):
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            os._exit(_run(case))
        write_line(results, {"pid": child})
        _, status, usage = os.wait4(child, 0)
        ended = {
            "status": os.waitstatus_to_exitcode(status),
            "seconds": time.monotonic() - began,
            "memory_mb": usage.ru_maxrss >> 10,
        }
        write_line(results, ended)


def _import_everything() -> None:
    from focalnets.cli.main import COMMANDS

    modules = (
        "torch", "lightning", "matplotlib.pyplot", "rich.console", "rich.progress", "rich.table", "yaml",
        "focalnets.api",
        "focalnets.cli.parsing", "focalnets.training.trainer", "focalnets.visualize.explain", "focalnets.data.sources",
        "focalnets.data.annotated.open", "focalnets.data.shards.writing", "focalnets.compare.measurement",
        "focalnets.weights.conversion", "focalnets.tasks.report", "torch.utils.data.dataloader",
    )  # fmt: skip
    for name in (*modules, *(f"focalnets.cli.{command}" for command in COMMANDS)):
        importlib.import_module(name)


def _run(case: dict[str, Any]) -> int:
    """Do what a case says, in the child."""
    os.setsid()
    for descriptor, name in ((0, os.devnull), (1, case["stdout"]), (2, case["stderr"])):
        flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(name, flags, 0o600), descriptor)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_CPU_S, _MOST_CPU_S + 5))
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY_BYTES, _MOST_MEMORY_BYTES))
    os.environ.update(case.get("environment", {}))
    try:
        os.chdir(case["folder"])
        if case.get("file_bytes") is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (case["file_bytes"], case["file_bytes"]))
        status = _call(case)
        sys.stdout.flush()
        return status
    except SystemExit as stopped:
        return stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    except BaseException:
        traceback.print_exc()
        return UNEXPECTED


def _call(case: dict[str, Any]) -> int:
    if "arguments" in case:
        from focalnets.cli.main import main as run_command

        sys.argv = ["focalnets", *case["arguments"]]
        return run_command(case["arguments"])
    module, _, name = case["call"].partition(":")
    from focalnets.errors import FocalNetsError

    try:
        getattr(importlib.import_module(module), name)(*case["given"])
    except FocalNetsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    main()
