"""The ``focalnets`` command: finds the command's file, parses its arguments, turns mistakes into one sentence.

A command is a module of this package that offers ``EXAMPLES`` (shown by ``--help``), ``add_arguments(parser)`` and
``run(arguments) -> int``, the exit status. Only the module of the command given is imported, so that help is instant.
Options that several commands have are declared in ``options.py``; where results go is decided in ``output.py``.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence

from focalnets.errors import FocalNetsError, InterruptedRunError, nearest, one_line
from focalnets.version import __version__

__all__ = ["main"]

COMMANDS = {
    "demo": "generate pictures, train, evaluate, predict and explain: everything in one report, no data needed",
    "train": "train a network on images, texts or series",
    "evaluate": "measure a network on labelled images or texts",
    "runs": "compare trainings: accuracy, time, what differs between their settings",
    "predict": "classify photos or texts",
    "generate": "continue a text with a trained language model",
    "explain": "draw where the network looks in photos and videos, or what it listens to in texts",
    "localize": "measure on masks or boxes whether the network looks at the object",
    "audit": "say what the data taught the network besides its task, with proof",
    "convert": "rewrite a checkpoint in another layout",
    "export": "write a network as a file for ONNX Runtime, OpenVINO, PyTorch alone or ExecuTorch",
    "check": "look for damaged, doubled and mislabelled images or texts before training",
    "benchmark_data": "time reading images and learning them, and say which is the bottleneck",
    "shard": "pack images into tar files that are read without unpacking",
    "compare": "measure networks side by side: speed, memory, accuracy after the same training",
    "models": "list the networks with their size and cost",
    "doctor": "show versions, devices and backends, and why one cannot run",
    "completion": "print a script that completes commands and options in bash, zsh or fish",
}

_EXIT_MISTAKE = 2
_EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        Exit status: 0 done, 1 done in part, 2 a mistake in what was given, 130 stopped by Ctrl-C.
    """
    _let_output_hold_any_text()
    try:
        status = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status
    except InterruptedRunError as error:
        _complain(str(error))
        return _EXIT_INTERRUPTED
    except FocalNetsError as error:
        _complain(str(error))
        return _EXIT_MISTAKE
    except KeyboardInterrupt:
        _complain("Stopped by Ctrl-C.")
        return _EXIT_INTERRUPTED
    except BrokenPipeError:  # The reader of our output went away, as `head` does.
        return 0
    except OSError as error:
        if error.errno is None:
            raise
        place = f" ({error.filename})" if error.filename else ""
        _complain(f"Reading or writing failed: {error.strerror}{place}; nothing was left half-written.")
        return _EXIT_MISTAKE
    except (MemoryError, RuntimeError) as error:
        from focalnets.machine.memory import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        _complain("There is not enough memory for this; use smaller images or batches, or another --device.")
        return _EXIT_MISTAKE
    finally:
        _give_up_what_cannot_be_shown()


def _dispatch(arguments: Sequence[str]) -> int:
    """Run the command that the first argument names, or show what there is."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if arguments else _EXIT_MISTAKE
    if arguments[0] in ("-V", "--version"):
        print(f"focalnets {__version__}")
        return 0
    command = arguments[0].replace("-", "_")
    if command not in COMMANDS:
        _complain(f"There is no command {arguments[0]!r}; {nearest(arguments[0], COMMANDS)}")
        return _EXIT_MISTAKE
    return _run(command, arguments[1:])


def _run(command: str, arguments: Sequence[str]) -> int:
    from focalnets.cli.destinations import check_destinations
    from focalnets.cli.output import output_as_asked
    from focalnets.cli.parsing import build_parser

    parser = build_parser(command, COMMANDS[command])
    try:
        parsed = parser.parse(arguments)
    finally:
        sys.stdout.flush()  # of the help, behind which the parser ends the process
    if parsed.print_config is True:
        print(parser.options_as_yaml(parsed), end="")
        return 0
    check_destinations(parsed)
    with output_as_asked(parsed):
        return importlib.import_module(f"focalnets.cli.{command}").run(parsed)


def _give_up_what_cannot_be_shown() -> None:
    """Keep Python from complaining while it flushes what standard output did not take."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _let_output_hold_any_text() -> None:
    """Show letters as escapes that the terminal's encoding lacks, and bytes of file names that are no text.

    A process without standard output or error, such as a service, gets ones that lead nowhere.
    """
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - as long as the process lives
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 - as long as the process lives
    for stream in (sys.stdout, sys.stderr):
        # What stands in for a stream may be of any kind.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        (
            f"focalnets {__version__}: focal modulation networks for images at high resolution.",
            "",
            "usage: focalnets COMMAND [arguments]     focalnets COMMAND --help shows them with examples",
            "",
            *lines,
        )
    )


def _complain(sentence: str) -> None:
    with contextlib.suppress(OSError):  # Where nothing can be shown, the status tells.
        print(f"error: {one_line(sentence)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
