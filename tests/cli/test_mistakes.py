"""Mistakes on the command line: one sentence after ``error:``, status 2, and the nearest name where one is unknown."""

from __future__ import annotations

import pytest

from focalnets.cli.main import COMMANDS, main


def error_of(arguments, capsys):
    try:
        status = main(arguments)
    except SystemExit as stopped:
        status = stopped.code
    shown = capsys.readouterr()
    assert status == 2
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert shown.err.endswith((".\n", "?\n"))
    for word in ("usage:", "Traceback", "<class", "Parser key", "jsonargparse", "typing."):
        assert word not in shown.err
    return shown.err


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("trian", "train"),
        ("predcit", "predict"),
        ("benchmark-date", "benchmark_data"),
        ("Train", "train"),
        ("eval", None),
    ],
)
def test_unknown_commands_suggest_the_nearest(given, meant, capsys):
    error = error_of([given], capsys)
    assert f"There is no command '{given}'" in error
    assert meant is None or f"did you mean {meant}" in error
    assert ", ".join(COMMANDS) in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict", "a.png", "--ouput", "x"], "There is no option '--ouput'; did you mean --output"),
        (["explain", "a.png", "--ouput", "x"], "There is no option '--ouput'; did you mean --output"),
        (["explain", "a.png", "--ouput=x"], "There is no option '--ouput'; did you mean --output"),
        (["explain", "a.png", "--out", "x"], "did you mean --output"),
        (["predict", "a.png", "--imagesize", "3"], "did you mean --image_size"),
        (["train", "photos", "--learning-rat", "3"], "did you mean --learning_rate"),
        (["train", "photos", "--Epochs", "3"], "did you mean --epochs"),
        (["train", "photos", "--epochs.x", "3"], "There is no option '--epochs.x'"),
        (["compare", "--skeletn.depths", "3"], "did you mean --skeleton"),
        (["models", "-j"], "There is no option '-j'"),
        (["predict", "a.png", "--top_k"], "--top_k needs a value: a whole number."),
        (["predict", "a.png", "--top_k", "few"], "--top_k must be a whole number, got 'few'."),
        (["predict", "a.png", "--top_k", "1.5"], "--top_k must be a whole number, got '1.5'."),
        (["predict", "a.png", "--size", "big"], "--size must be a whole number, got 'big'."),
        (["predict", "a.png", "--quiet=yes"], "--quiet takes no value, got 'yes'."),
        (["check", "d", "--val_fraction", "some"], "--val_fraction must be a number, got 'some'."),
        (["evaluate", "d", "--severities"], "--severities needs at least one value: a whole number."),
        (["evaluate", "d", "--severities", "1", "x"], "--severities must be a whole number, got 'x'."),
        (["evaluate"], "focalnets evaluate needs DATA; see focalnets evaluate --help."),
        (["convert", "a", "b"], "focalnets convert needs --to;"),
        (["convert"], "focalnets convert needs SOURCE and --to;"),
        (["convert", "a", "b", "--to", "tim"], "--to cannot be 'tim'; did you mean timm?"),
        (["convert", "a", "b", "--to", "keras"], "--to cannot be 'keras'; choose one of focalnets, official"),
        (["convert", "a", "b", "--to", "timm", "--post_norm", "perhaps"], "--post_norm must be true or false"),
        (["doctor", "now"], "does not know what to do with 'now'"),
        (["evaluate", "a", "b", "c"], "does not know what to do with 'c'"),
        (["train", "d", "--optimizer", "adam"], "--optimizer cannot be 'adam'; did you mean adamw?"),
        (["train", "d", "--recipe", "smal"], "--recipe cannot be 'smal'; did you mean small?"),
        (["train", "d", "--epochs", "1e3"], "--epochs must be a whole number, got '1e3'."),
        (["train", "d", "--learning_rate", "fast"], "--learning_rate must be a number, got 'fast'."),
        (["train", "d", "--model_overrides", "3"], "--model_overrides must be names with values, got '3'."),
        (["explain", "a.png", "--style", "overlays"], "--style cannot be 'overlays'; did you mean overlay?"),
        (["completion", "csh"], "SHELL cannot be 'csh'; did you mean"),
        (["models", "focalnet_tiny_lfr"], "did you mean focalnet_tiny_lrf"),
        (["predict", "a.png", "--quiet", "--device", "cudda"], "There is no device 'cudda'; did you mean cuda?"),
        (["predict", "a.png", "--size", "0"], "--size must be a whole number from 1 up, got 0."),
        (["train", "d", "--model", "focalnet_pica"], "did you mean focalnet_pico"),
        (["train", "d", "--config"], "--config needs a value"),
        (["predict", "a.png", "--config"], "--config needs a value"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments, words, tmp_path, monkeypatch, capsys, write_coloured_images, shipped_stand_in
):
    monkeypatch.chdir(tmp_path)
    write_coloured_images(tmp_path / "d", 2)
    (tmp_path / "a.png").write_bytes((tmp_path / "d" / "red" / "0.png").read_bytes())
    assert words in error_of(arguments, capsys)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_knows_an_unknown_option(command, capsys):
    assert "did you mean --config" in error_of([command, "--cofnig", "x"], capsys)
    assert "did you mean --quiet" in error_of([command, "--quite"], capsys)


@pytest.mark.parametrize("command", ["predict", "explain", "evaluate", "train", "generate", "check"])
def test_an_empty_name_is_not_the_folder_one_is_in(command, capsys):
    assert main([command, ""]) == 2
    assert "The name of a file or folder is empty" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_a_network_that_is_not_there_is_complained_of_before_its_inputs(command, tmp_path, monkeypatch, capsys):
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main([command, "You have won", "--model", "runs/spma"]) == 2
    assert "There is no file or folder runs/spma" in capsys.readouterr().err
    main([command, "You have won", "--model", "rums/spam"])
    assert "rums/spam, so it is taken for an id" in capsys.readouterr().err
