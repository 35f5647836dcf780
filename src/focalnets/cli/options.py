"""Options that mean the same in all commands, each declared once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from focalnets.cli.output import STANDARD_OUTPUT
from focalnets.errors import ConfigError
from focalnets.visualize.map_names import DEFAULT_MAP, MAPS

__all__ = [
    "add_common_options",
    "add_csv",
    "add_device",
    "add_flag",
    "add_json",
    "add_map",
    "add_output",
    "add_precision",
    "add_quiet",
    "add_size",
    "require_whole",
]


_LARGEST = 2**63 - 1


def add_json(parser: Any, content: str) -> None:
    """Add ``--json [FILE]``; alone or with ``-`` it prints to standard output, and nothing else goes there."""
    _add_result(parser, "json", content)


def add_csv(parser: Any, content: str) -> None:
    """Add ``--csv [FILE]``; alone or with ``-`` it prints to standard output, and nothing else goes there."""
    _add_result(parser, "csv", content)


def _add_result(parser: Any, form: str, content: str) -> None:
    parser.add_argument(
        f"--{form}",
        type=str,
        nargs="?",
        const=STANDARD_OUTPUT,
        metavar="FILE",
        help=f"write {content} as {form.upper()} to FILE, or to standard output if no FILE or - is given",
    )


def add_output(parser: Any, content: str, default: str | None = None) -> None:
    """Add ``--output PATH``, the folder or file where results go."""
    shown = "" if default is None else f" (default: {default})"
    parser.add_argument("--output", type=str, metavar="PATH", default=default, help=f"{content}{shown}")


def add_size(
    parser: Any,
    what: str,
    *,
    aliases: Sequence[str] = (),
    default: int | None = None,
    shown_default: str | None = None,
    words: bool = False,
) -> None:
    """Add ``--size PX``, the size of the images that the network sees.

    Args:
        parser: Of the command.
        what: Which side of what.
        aliases: Older names of the option, with their hyphens.
        default: What is taken if the option is not given [px].
        shown_default: What the help says in place of ``default``.
        words: Whether something else than a number may be given; the command reads it.
    """
    shown = str(default) if shown_default is None else shown_default
    parser.add_argument(
        "--size",
        *aliases,
        type=str if words else int,
        metavar="PX",
        default=default,
        help=f"input size [px]: {what} (default: {shown})",
    )


def add_map(parser: Any, what: str, with_block: str) -> None:
    """Add ``--map NAME``, which of the maps of where a network looks.

    Args:
        parser: Of the command.
        what: What the map is for.
        with_block: What is taken without it where a block is named.
    """
    parser.add_argument(
        "--map", choices=tuple(MAPS), default=None, help=f"{what} (default: {DEFAULT_MAP}, or {with_block})"
    )


def add_device(parser: Any) -> None:
    """Add ``--device``, where the network runs."""
    parser.add_argument(
        "--device",
        type=str,
        default="auto",
        metavar="DEVICE",
        help="where to compute: auto, cpu, cuda, cuda:N or mps; auto takes the GPU if there is one (default: auto)",
    )


def add_precision(parser: Any) -> None:
    """Add ``--precision``, what is computed with."""
    parser.add_argument(
        "--precision",
        type=str,
        default="auto",
        metavar="PRECISION",
        help="what to compute with: auto or float32 (exact), bfloat16, or int8 on CPUs; these are faster on processors "
        "that have instructions for them (default: auto)",
    )


def add_flag(parser: Any, name: str, help: str) -> None:
    """Add ``--name`` and ``--no_name``, which takes back what a file of options says."""
    from jsonargparse import ActionYesNo

    parser.add_argument(f"--{name}", action=ActionYesNo, default=False, help=help)


def add_quiet(parser: Any) -> None:
    """Add ``--quiet``."""
    add_flag(parser, "quiet", "show no progress and no notes, only results and errors")


def add_common_options(parser: Any) -> None:
    """Add what every command takes, unless the command has declared it itself."""
    add_quiet(parser)
    if "config" not in parser.declared:
        add_config(parser)
    if "print_config" not in parser.declared:
        add_flag(parser, "print_config", "show the options given as YAML, for --config, and stop")


def add_config(parser: Any, more: str = "") -> None:
    """Add ``--config FILE``, whose options are overridden by those on the command line."""
    parser.reads_config = True
    parser.add_argument(
        "--config", type=str, metavar="FILE", help=f"YAML file with options of this command{more}; those given here win"
    )


def require_whole(arguments: Any, **ranges: int | tuple[int, int]) -> None:
    """Refuse options that are not whole numbers from a smallest one up, or also to a largest one; None is let through.

    Raises:
        ConfigError: If one is smaller or larger.
    """
    for name, limits in ranges.items():
        smallest, largest = limits if isinstance(limits, tuple) else (limits, _LARGEST)
        value = getattr(arguments, name)
        for number in value if isinstance(value, (list, tuple)) else [value]:
            if number is not None and number < smallest:
                raise ConfigError(f"--{name} must be a whole number from {smallest} up, got {number}.")
            if number is not None and number > largest:
                raise ConfigError(f"--{name} may be at most {largest:,}, got {str(number)[:40]}.")
