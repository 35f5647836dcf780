"""The command's frame: help, mistakes and exit statuses."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys

import pytest

from focalnets.cli import main as cli
from focalnets.cli.parsing import positionals_first
from focalnets.errors import DataError, InterruptedRunError


@pytest.fixture
def failing(monkeypatch):
    """Make a command raise what is given."""

    def install(error):
        def run(command, arguments):
            raise error

        monkeypatch.setattr(cli, "_run", run)

    return install


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(argv, capsys):
    assert cli.main(argv) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in cli.COMMANDS)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from focalnets.cli.main import main; main(['--help']);"
        "assert not {'torch', 'jsonargparse', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_each_command_has_examples(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert "examples:" in shown
    assert f"focalnets {command}" in shown


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_commands_import_no_torch_before_they_run(command):
    code = f"import sys, focalnets.cli.{command}; assert not {{'torch', 'matplotlib'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_arguments_the_overview_is_shown_and_the_status_is_a_mistake(capsys):
    assert cli.main([]) == 2
    assert "usage" in capsys.readouterr().out


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert importlib.import_module("focalnets").__version__ in capsys.readouterr().out


def test_an_unknown_command_is_named(capsys):
    assert cli.main(["tarin"]) == 2
    assert "'tarin'" in capsys.readouterr().err


def test_an_unknown_flag_is_a_mistake(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["models", "--jsno"])
    assert stopped.value.code == 2
    assert "jsno" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (DataError("The folder x is empty."), 2, "error: The folder x is empty."),
        (InterruptedRunError("Go on with --resume x."), 130, "--resume"),
        (KeyboardInterrupt(), 130, "Ctrl-C"),
        (OSError(28, "No space left on device", "x.json"), 2, "No space left on device (x.json)"),
    ],
)
def test_each_mistake_is_one_sentence(failing, capsys, error, status, said):
    failing(error)
    assert cli.main(["models"]) == status
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


def test_memory_that_is_full_is_one_sentence(failing, capsys):
    for error in (MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")):
        failing(error)
        assert cli.main(["models"]) == 2
        assert capsys.readouterr().err.startswith("error: There is not enough memory for this;")


def test_a_programmers_error_is_not_hidden(failing):
    for error in (ZeroDivisionError(), RuntimeError("a bug")):
        failing(error)
        with pytest.raises(type(error)):
            cli.main(["models"])


@pytest.mark.parametrize("flag", ["--image-size=96", "--image_size=96"])
def test_flags_may_be_written_with_hyphens_or_underscores(flag, capsys):
    assert cli.main(["train", "nowhere", flag, "--print_config"]) in (0, None)
    assert "image_size: 96" in capsys.readouterr().out


def test_the_module_can_be_run():
    done = subprocess.run([sys.executable, "-m", "focalnets", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("focalnets ")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("m --json x d", "m d --json x"),
        ("m --json - d --flag", "m d --json - --flag"),
        ("--json=x m d", "m d --json=x"),
        ("m d --sizes 1 2", "m d --sizes 1 2"),
        ("m --sizes 1 2 --flag d", "m d --sizes 1 2 --flag"),
        ("m --jsno x d", "m --jsno x d"),
        ("m --json x -- d", "m --json x -- d"),
    ],
)
def test_positional_arguments_come_together(given, expected):
    parser = argparse.ArgumentParser()
    parser.add_argument("--json")
    parser.add_argument("--flag", action="store_true")
    parser.add_argument("--sizes", nargs="+")
    assert positionals_first(given.split(), parser) == expected.split()
