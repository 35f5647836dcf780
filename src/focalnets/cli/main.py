"""The ``focalnets`` command: finds the command's file, parses its arguments, turns mistakes into one sentence.

A command is a module of this package that offers ``EXAMPLES`` (shown by ``--help``), ``add_arguments(parser)`` and
``run(arguments) -> int``, the exit status. Only the module of the command given is imported, so that help is instant.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence

from focalnets.errors import FocalNetsError, InterruptedRunError
from focalnets.version import __version__

__all__ = ["main"]

COMMANDS = {
    "demo": "generate pictures, train, evaluate, predict and explain: everything in one report, no data needed",
    "train": "train a network on a folder of images",
    "evaluate": "measure a network on labelled images",
    "runs": "compare trainings: accuracy, time, what differs between their settings",
    "predict": "classify photos",
    "explain": "draw where the network looks in photos and videos",
    "localize": "measure on masks or boxes whether the network looks at the object",
    "convert": "rewrite a checkpoint in another layout",
    "check": "look for damaged, doubled and mislabelled images before training",
    "benchmark_data": "time reading images and learning them, and say which is the bottleneck",
    "shard": "pack images into tar files that are read without unpacking",
    "compare": "measure networks side by side: speed, memory, accuracy after the same training",
    "models": "list the networks with their size and cost",
    "doctor": "show versions, devices and backends, and why one cannot run",
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
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if arguments else _EXIT_MISTAKE
    if arguments[0] in ("-V", "--version"):
        print(f"focalnets {__version__}")
        return 0
    command = arguments[0].replace("-", "_")
    if command not in COMMANDS:
        _complain(f"There is no command {arguments[0]!r}; the commands are {', '.join(COMMANDS)}.")
        return _EXIT_MISTAKE
    try:
        return _run(command, arguments[1:])
    except InterruptedRunError as error:
        _complain(str(error))
        return _EXIT_INTERRUPTED
    except FocalNetsError as error:
        _complain(str(error))
        return _EXIT_MISTAKE
    except KeyboardInterrupt:
        _complain("Stopped by Ctrl-C.")
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (as `head` does); Python must not complain while flushing it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EPERM):
            raise
        place = f" ({error.filename})" if error.filename else ""
        _complain(f"Writing failed: {error.strerror}{place}; nothing was left half-written.")
        return _EXIT_MISTAKE


def _run(command: str, arguments: Sequence[str]) -> int:
    from jsonargparse import ArgumentParser

    from focalnets.machine.process import wait_without_spinning

    wait_without_spinning()
    module = importlib.import_module(f"focalnets.cli.{command}")
    parser = ArgumentParser(
        prog=f"focalnets {command}",
        description=COMMANDS[command].capitalize() + ".",
        epilog=f"examples:\n{module.EXAMPLES.rstrip()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    spelled = [_as_spelled(argument, parser) for argument in arguments]
    return module.run(parser.parse_args(_positionals_first(spelled, parser)))


def _as_spelled(argument: str, parser: argparse.ArgumentParser) -> str:
    """Take ``--image-size`` for ``--image_size`` and the other way round, whichever the parser knows."""
    name, equals, value = argument.partition("=")
    if not name.startswith("--"):
        return argument
    for spelling in (name, f"--{name[2:].replace('-', '_')}", f"--{name[2:].replace('_', '-')}"):
        if spelling in parser._option_string_actions:
            return f"{spelling}{equals}{value}"
    return argument


def _positionals_first(arguments: list[str], parser: argparse.ArgumentParser) -> list[str]:
    """Move what belongs to no option to the front.

    argparse fills positional arguments from the first group of them that it meets: an optional MODEL before DATA would
    stay empty in ``MODEL --json FILE DATA``. Where an option is not known exactly nothing is moved.
    """
    positionals: list[str] = []
    options: list[str] = []
    wanted = 0.0
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        is_option = name in parser._option_string_actions
        if not is_option and (argument.startswith("--") or (argument.startswith("-") and not wanted)):
            return arguments
        if is_option:
            wanted = 0.0 if equals else _most_values(parser._option_string_actions[name].nargs)
            options.append(argument)
        elif wanted:
            wanted -= 1
            options.append(argument)
        else:
            positionals.append(argument)
    return [*positionals, *options]


def _most_values(nargs: int | str | None) -> float:
    """How many values an option may take."""
    if isinstance(nargs, int):
        return nargs
    return 1 if nargs in (None, "?") else float("inf")


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
    print(f"error: {sentence}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
