"""``focalnets completion``: scripts that the shells accept, with all commands, options and choices."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys

import pytest

from focalnets.cli.completion import SHELLS, script
from focalnets.cli.main import COMMANDS, main
from focalnets.cli.parsing import build_parser
from focalnets.models.variants import VARIANTS
from focalnets.weights.shipped import SHIPPED


@pytest.fixture(scope="module")
def scripts():
    return {shell: script(shell) for shell in SHELLS}


def run(shell, text, *arguments):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, *arguments], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_accepts_the_script(shell, scripts, tmp_path):
    file = tmp_path / "script"
    file.write_text(scripts[shell])
    run(shell, "", "-n", str(file))


@pytest.mark.parametrize("shell", SHELLS)
def test_all_commands_and_options_are_there(shell, scripts):
    text = scripts[shell]
    for command, summary in COMMANDS.items():
        assert command in text
        for action in build_parser(command, summary)._actions:
            if action.help != argparse.SUPPRESS:
                for option in action.option_strings:
                    name = option.lstrip("-")
                    spelled = f"-l {name}" if shell == "fish" and option.startswith("--") else name
                    assert spelled in text, f"{command} {option}"
    for name in (*VARIANTS, *SHIPPED, "side-by-side", "transformers", "imagenet22k_finetune"):
        assert name in text


def completed(scripts, *words):
    """What bash offers for the last word."""
    listed = " ".join(f"'{word}'" for word in words)
    ask = (
        f"COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; _shtab_focalnets; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    )
    return run("bash", scripts["bash"] + "\n" + ask, "--norc").split("\n")[:-1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["focalnets", "be"], ["benchmark_data"]),
        (["focalnets", "predict", "--top"], ["--top_k"]),
        (["focalnets", "convert", "a", "b", "--to", "t"], ["timm", "transformers"]),
        (["focalnets", "train", "photos", "--optimizer", ""], ["adamw", "muon"]),
        (["focalnets", "train", "photos", "--recipe", "mini"], ["miniature"]),
        (["focalnets", "predict", "a.png", "--device", "c"], ["cpu", "cuda", "cuda:0"]),
        (["focalnets", "predict", "a.png", "--model", "focalnet_pico."], ["focalnet_pico.imagenette"]),
        (["focalnets", "predict", "ph"], ["photo.png"]),
        (["focalnets", "predict", "a.png", "--csv", "ph"], ["photo.png"]),
        (["focalnets", "evaluate", "fol"], ["folder"]),
        (["focalnets", "runs", ""], ["folder"]),
        (["focalnets", "completion", "f"], ["fish"]),
    ],
)
def test_bash_completes(words, expected, scripts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").touch()
    (tmp_path / "folder").mkdir()
    assert completed(scripts, *words) == expected


def test_fish_completes(scripts, tmp_path):
    (tmp_path / "script").write_text(scripts["fish"])
    for line, expected in (
        ("focalnets tr", "train"),
        ("focalnets predict --top", "--top_k"),
        ("focalnets convert --to t", "timm"),
    ):
        shown = run("fish", "", "--no-config", "-c", f"source {tmp_path / 'script'}; complete --do-complete '{line}'")
        assert expected in shown.split()


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_the_script_without_importing_torch(shell, scripts):
    code = (
        f"import sys; from focalnets.cli.main import main; status = main(['completion', '{shell}']);"
        "sys.exit(status or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == scripts[shell].strip()
    assert done.stderr == ""


def test_the_shell_must_be_known(capsys):
    with pytest.raises(SystemExit):
        main(["completion", "powershell"])
    assert "choose one of bash, zsh, fish" in capsys.readouterr().err
