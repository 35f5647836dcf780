"""The parser of a command: its options, what is said about mistakes, and files of options."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, get_origin

import jsonargparse

from focalnets.cli.config_file import Declared, read_settings
from focalnets.cli.options import add_common_options
from focalnets.errors import nearest

__all__ = ["CommandParser", "as_spelled", "build_parser", "positionals_first"]

_NO_SETTINGS = ("config", "print_config", "help")


def build_parser(command: str, summary: str) -> CommandParser:
    """Build the parser of a command, whose module is imported for it."""
    module = importlib.import_module(f"focalnets.cli.{command}")
    parser = CommandParser(command, summary, module.EXAMPLES)
    module.add_arguments(parser)
    add_common_options(parser)
    return parser


class CommandParser(jsonargparse.ArgumentParser):
    """Parses the arguments of one command and says in one sentence what is wrong with them.

    Args:
        command: Its name.
        summary: What it does, in a few words.
        examples: Shown below the options.

    Attributes:
        declared: How each argument was declared, by the name under which its value is kept.
        reads_config: Whether ``--config`` names a file with options of the command.
        settings: What such a file may hold besides them; it is kept as ``settings``.
    """

    def __init__(self, command: str, summary: str, examples: str) -> None:
        self.declared: dict[str, Declared] = {}
        self.reads_config = False
        self.settings: dict[str, Declared] = {}
        super().__init__(
            prog=f"focalnets {command}",
            description=f"{summary.capitalize()}.",
            epilog=f"examples:\n{examples.rstrip()}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            print_config=None,
        )

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:  # type: ignore[override]
        """Declare an argument, see :meth:`argparse.ArgumentParser.add_argument`."""
        is_flag = options.get("action") in ("store_true", "store_false", jsonargparse.ActionYesNo)
        declared = Declared(
            type=bool if is_flag else options.get("type"),
            nargs=options.get("nargs"),
            choices=None if options.get("choices") is None else tuple(options["choices"]),
            const=options.get("const"),
        )
        action = super().add_argument(*names, **options)
        self.declared[action.dest] = declared
        return action

    def parse(self, arguments: Sequence[str]) -> Any:
        """Parse the arguments of the command line, and those in the file that ``--config`` names.

        Raises:
            ConfigError: If that file cannot be read or holds something wrong.
            SystemExit: With status 2, after one sentence, if an argument is wrong.
        """
        spelled = [as_spelled(argument, self) for argument in arguments]
        self._refuse_unknown_options(spelled)
        ordered = positionals_first(spelled, self)
        settings: dict[str, Any] = {}
        file = _config_of(spelled) if self.reads_config else None
        if file is not None:
            has_positionals = "--" in ordered or (len(ordered) > 0 and not ordered[0].startswith("-"))
            settings = self._take_from_file(file, has_positionals=has_positionals)
        parsed = self.parse_args(ordered)
        if self.settings:
            parsed.settings = settings
        return parsed

    def options_as_yaml(self, parsed: Any) -> str:
        """Return the values of all arguments as YAML for ``--config``; those that are None are left out."""
        import yaml

        values = {name: getattr(parsed, name, None) for name in self.declared if name not in _NO_SETTINGS}
        values |= getattr(parsed, "settings", {})
        return yaml.safe_dump({name: value for name, value in values.items() if value is not None}, sort_keys=False)

    def _take_from_file(self, file: str, *, has_positionals: bool) -> dict[str, Any]:
        """Make what the file says the defaults of the options; return the settings that are no options."""
        known = {name: declared for name, declared in self.declared.items() if name not in _NO_SETTINGS}
        aliases = self._aliases()
        everything = {**self.settings, **known, **{alias: known[name] for alias, name in aliases.items()}}
        found = read_settings(file, everything, f"see {self.prog} --help.")
        settings: dict[str, Any] = {}
        for given, value in found.items():
            name = aliases.get(given, given)
            if name not in known:
                settings[name] = value
                continue
            action = next(action for action in self._actions if action.dest == name)
            if not action.option_strings:
                if has_positionals and action.nargs not in ("?", "*"):
                    continue
                action.nargs = "*" if action.nargs in ("+", "*") else "?"
            action.required = False
            self.set_defaults({name: value})
        return settings

    def _aliases(self) -> dict[str, str]:
        """Other names of options, with underscores, to the names under which their values are kept."""
        return {
            text.lstrip("-").replace("-", "_"): action.dest
            for action in self._actions
            for text in action.option_strings
            if action.dest in self.declared and action.dest not in _NO_SETTINGS and not text.startswith("--no_")
        }

    def _refuse_unknown_options(self, arguments: Sequence[str]) -> None:
        for argument in arguments:
            if argument == "--":
                return
            name = argument.partition("=")[0]
            if not re.match(r"--?[A-Za-z]", name) or name in self._option_string_actions:
                continue
            action = self._option_string_actions.get(name.partition(".")[0])
            if action is not None and get_origin(self.declared[action.dest].type) is dict:
                continue
            options = [
                text for action in self._actions for text in action.option_strings if action.help != argparse.SUPPRESS
            ]
            self._stop(f"There is no option {name!r}; {nearest(name, options, f'see {self.prog} --help.')}")

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say in one sentence what is wrong, and exit with status 2."""
        self._stop(self._sentence(message, ex))

    def _print_message(self, message: str, file: Any = None) -> None:
        """Show help; a disk that is full is told of, which argparse would keep to itself."""
        (file or sys.stderr).write(message or "")

    def _stop(self, sentence: str) -> NoReturn:
        with contextlib.suppress(OSError):
            print(f"error: {sentence}", file=sys.stderr, flush=True)
        raise SystemExit(2)

    def _sentence(self, message: str, error: Exception | None) -> str:
        """What argparse or jsonargparse complains about, in the words of this package."""
        if isinstance(error, argparse.ArgumentError) and error.argument_name is not None:
            name = str(error.argument_name).split("/")[0]
            action = next((each for each in self._actions if name in (*each.option_strings, each.metavar)), None)
            reason = str(error.message)
            if action is None:
                return f"{name}: {reason}."
            if reason.startswith("expected"):
                least = "at least one value" if "at least" in reason else "a value"
                return f"{name} needs {least}: {self.declared[action.dest].expected}."
            if found := re.match(r"invalid choice: (.+?) \(choose", reason):
                return (
                    f"{name} cannot be {found[1]}; {nearest(found[1].strip(chr(39)), map(str, action.choices or ()))}"
                )
            if found := re.match(r"ignored explicit argument (.+)", reason):
                return f"{name} takes no value, got {found[1]}."
            return f"{name}: {reason}."
        if found := re.match(r'Parser key "([^".]+)', message):
            declared = self.declared.get(found[1], Declared())
            value = self._given(found[1], message)
            if declared.names is not None:
                hint = nearest(value[:80], map(str, declared.names))
                return f"{self._shown(found[1])} cannot be {_abridged(value)}; {hint}"
            return f"{self._shown(found[1])} must be {declared.expected}, got {_abridged(value)}."
        if found := re.match(r"the following arguments are required: (.*)", message):
            missing = [self._shown(name) for name in found[1].split(", ")]
        elif found := re.match(r'Validation failed: Key "(.*)" is required', message):
            missing = [self._shown(found[1])]
        if found:
            return f"{self.prog} needs {' and '.join(missing)}; see {self.prog} --help."
        if found := re.match(r"[Uu]nrecognized arguments: (.*)", message):
            return f"{self.prog} does not know what to do with {found[1]!r}; see {self.prog} --help."
        return " ".join(message.split())

    def _given(self, name: str, message: str) -> str:
        """What was given for an argument that takes one value; else what the message says."""
        options = next((action.option_strings for action in self._actions if action.dest == name), [])
        found = re.findall(r"(?:Got value|Given value): (.*)", message)
        for before, value in zip(self.args, [*self.args[1:], ""], strict=True):
            option, equals, attached = before.partition("=")
            if option in options and not self.declared[name].takes_many:
                found.append(attached if equals else value)
        return found[-1] if found else ""

    def _shown(self, name: str) -> str:
        """How an argument is written by users."""
        action = next((each for each in self._actions if each.dest == name), None)
        if action is None:
            return name
        return action.option_strings[0] if action.option_strings else str(action.metavar or name.upper())


def _abridged(value: str) -> str:
    """The value in quotes; of a long one its beginning."""
    return repr(value) if len(value) <= 80 else f"{value[:77]!r}..."


def _config_of(arguments: Sequence[str]) -> str | None:
    """The value of the last ``--config``."""
    file = None
    for place, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument == "--config" and place + 1 < len(arguments):
            file = arguments[place + 1]
        elif argument.startswith("--config="):
            file = argument.partition("=")[2]
    return file


def as_spelled(argument: str, parser: argparse.ArgumentParser) -> str:
    """Take ``--image-size`` for ``--image_size`` and the other way round, whichever the parser knows."""
    name, equals, value = argument.partition("=")
    if not name.startswith("--"):
        return argument
    for spelling in (name, f"--{name[2:].replace('-', '_')}", f"--{name[2:].replace('_', '-')}"):
        if spelling in parser._option_string_actions:
            return f"{spelling}{equals}{value}"
    return argument


def positionals_first(arguments: list[str], parser: argparse.ArgumentParser) -> list[str]:
    """Move what belongs to no option to the front.

    argparse fills positional arguments from the first group of them that it meets: an optional MODEL before DATA would
    stay empty in ``MODEL --json FILE DATA``. Where an option is not known exactly nothing is moved.
    """
    positionals: list[str] = []
    options: list[str] = []
    wanted = 0.0
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        nested = "." in name  # --skeleton.embed_dim 8
        option = parser._option_string_actions.get(name.partition(".")[0] if nested else name)
        is_option = name.startswith("-") and option is not None
        if not is_option and (argument.startswith("--") or (argument.startswith("-") and not wanted)):
            return arguments
        if is_option:
            wanted = 0.0 if equals else 1.0 if nested else _most_values(option.nargs)  # type: ignore[union-attr]
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
