"""``focalnets completion``: a script for the shell that completes commands, options, choices and files."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

EXAMPLES = """\
  focalnets completion bash > ~/.local/share/bash-completion/completions/focalnets
  focalnets completion zsh > ~/.zfunc/_focalnets
  focalnets completion fish > ~/.config/fish/completions/focalnets.fish

  The folders must be there. zsh looks into ~/.zfunc after these lines in ~/.zshrc:
  fpath+=~/.zfunc; autoload -Uz compinit; compinit"""

SHELLS = ("bash", "zsh", "fish")

_FOLDERS = ("DIR", "FOLDER", "OUT", "RUN")
_FILES = ("DATA", "DEST", "FILE", "INPUT", "PATH", "PNG")
_NETWORKS = ("model", "models", "peer", "pretrained", "source")
_DEVICES = ("auto", "cpu", "cuda", "cuda:0", "mps")


def add_arguments(parser: Any) -> None:
    """Add the shell."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"one of {', '.join(SHELLS)}")


def run(arguments: Any) -> int:
    """Print the script."""
    print(script(arguments.shell))
    return 0


def script(shell: str) -> str:
    """Write the script that completes the arguments of ``focalnets`` in a shell: bash, zsh or fish."""
    import shtab

    return shtab.complete(_whole_parser(), shell=shell)


def _whole_parser() -> argparse.ArgumentParser:
    """One parser for all commands, in which each argument knows what may stand there."""
    from focalnets.cli.main import COMMANDS
    from focalnets.cli.parsing import build_parser

    whole = argparse.ArgumentParser(prog="focalnets", description="Focal modulation networks.")
    whole.add_argument("--version", "-V", action="store_true", help="show the version and stop")
    parsers = {command: build_parser(command, summary) for command, summary in COMMANDS.items()}
    for parser in parsers.values():
        _describe_values(parser)

    def made_before(prog: str, command: str) -> Any:
        return parsers[command]

    commands: Any = whole.add_subparsers(metavar="COMMAND", parser_class=made_before)  # type: ignore[call-overload]
    for command, summary in COMMANDS.items():
        commands.add_parser(command, help=summary, command=command)
    return whole


def _describe_values(parser: Any) -> None:
    """Tell shtab what the values of each argument may be."""
    import shtab

    for action in parser._actions:
        declared = parser.declared.get(action.dest)
        if declared is None:
            continue
        kind = action.metavar if isinstance(action.metavar, str) else ""
        if declared.is_flag and action.nargs != 0:
            action.choices = ("true", "false")
        elif declared.names is not None:
            action.choices = declared.names
        elif action.dest in _NETWORKS:
            action.complete = _networks()
        elif kind == "DEVICE":
            action.choices = _DEVICES
        elif kind in _FOLDERS:
            action.complete = shtab.DIRECTORY
        elif kind in _FILES:
            action.complete = shtab.FILE


def _networks() -> dict[str, Any]:
    """Names of networks, and files."""
    import shtab

    from focalnets.models.variants import list_models
    from focalnets.weights.shipped import SHIPPED

    names = shlex.join([*list_models(), *SHIPPED])
    return {
        "bash": "_focalnets_network_or_file",
        "zsh": "_focalnets_network_or_file",
        "fish": f"{names} {shtab.FILE['fish']}",
        "preamble": {
            "bash": f'_focalnets_network_or_file() {{\n  compgen -W "{names}" -- "$1"\n  compgen -f -- "$1"\n}}',
            "zsh": f"_focalnets_network_or_file() {{\n  compadd -- {names}\n  _files\n}}",
        },
    }
