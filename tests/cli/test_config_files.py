"""Files of options: typed as on the command line, overridden by it, and one sentence for whatever is wrong."""

from __future__ import annotations

import csv
import io
import json

import pytest
import yaml

from focalnets.cli.main import COMMANDS, main
from focalnets.errors import ConfigError
from focalnets.yaml_files import read_yaml


@pytest.fixture
def write(tmp_path):
    def write(text, name="options.yaml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def parsed(*arguments):
    """The values that a command gets."""
    from focalnets.cli.parsing import build_parser

    command, *others = arguments
    return build_parser(command, COMMANDS[command]).parse(others)


def test_options_come_from_the_file_and_the_command_line_wins(write):
    file = write("top_k: 2\nsize: 64\nbatch-size: 4\nquiet: true\njson: true\nmodel: m\n")
    values = parsed("predict", "a.png", "--config", file)
    assert (values.top_k, values.size, values.batch_size, values.quiet, values.json) == (2, 64, 4, True, "-")
    values = parsed("predict", "a.png", "--top_k", "3", "--no_quiet", "--config", file, "--size=32", "--json", "x.json")
    assert (values.top_k, values.size, values.quiet, values.json, values.model) == (3, 32, False, "x.json", "m")
    assert parsed("predict", "--size", "32", "a.png", f"--config={file}").size == 32


def test_other_names_of_options_are_known(write):
    assert parsed("evaluate", "d", "--config", write("image_size: 96\n")).size == 96
    assert parsed("explain", "d", "--config", write("resolution: native\n")).size == "native"
    assert parsed("compare", "--config", write("sizes: [32, 64]\n")).size == [32, 64]
    assert parsed("compare", "--config", write("sizes: 32\nskeleton: {embed_dim: 8, drop_path: 1e-1}\n")).skeleton == {
        "embed_dim": 8,
        "drop_path": 0.1,
    }


def test_arguments_without_a_flag_come_from_the_file_too(write):
    file = write("model: m\ndata: d\n")
    assert (parsed("evaluate", "--config", file).model, parsed("evaluate", "--config", file).data) == ("m", "d")
    values = parsed("evaluate", "other", "--config", file)
    assert (values.model, values.data) == ("m", "other")
    values = parsed("evaluate", "--config", file, "n", "other")
    assert (values.model, values.data) == ("n", "other")
    file = write("inputs: [a.png, b.png]\n")
    assert parsed("predict", "--config", file).inputs == ["a.png", "b.png"]
    assert parsed("predict", "c.png", "--config", file).inputs == ["c.png"]
    assert parsed("predict", "--config", write("inputs: a.png\n")).inputs == ["a.png"]
    values = parsed("convert", "--config", write("source: a\ndestination: b\nto: timm\n"))
    assert (values.source, values.destination, values.to) == ("a", "b", "timm")
    assert (
        parsed("convert", "--config", write("source: a\ndestination: b\nto: timm\n"), "--to", "official").to
        == "official"
    )


@pytest.mark.parametrize(
    ("command", "line", "name", "expected"),
    [
        ("check", "val_fraction: 1e-1", "val_fraction", 0.1),
        ("check", "val_fraction: '1e-1'", "val_fraction", 0.1),
        ("check", "val_fraction: 1", "val_fraction", 1.0),
        ("check", "seed: 0x10", "seed", 16),
        ("check", "seed: 010", "seed", 10),
        ("check", "seed: null", "seed", 0),
        ("evaluate", "skip_unreadable: 'no'", "skip_unreadable", False),
        ("evaluate", "skip_unreadable: no", "skip_unreadable", False),
        ("evaluate", "skip_unreadable: ON", "skip_unreadable", True),
        ("evaluate", "corruptions: [jpeg]", "corruptions", ["jpeg"]),
        ("evaluate", "corruptions: []", "corruptions", []),
        ("evaluate", "severities: 3", "severities", [3]),
        ("explain", "block: '1.10'", "block", "1.10"),
        ("convert", "post_norm: true", "post_norm", True),
        ("convert", "normalize_modulator: 'off'", "normalize_modulator", False),
        ("convert", "origin: no", "origin", "no"),
        ("convert", "origin: 12:30", "origin", "12:30"),
        ("convert", "origin: 2024-01-01", "origin", "2024-01-01"),
    ],
)
def test_values_have_the_types_of_the_options(write, command, line, name, expected):
    positionals = {"convert": ["a", "b", "--to", "timm"]}.get(command, ["d"])
    value = getattr(parsed(command, *positionals, "--config", write(line)), name)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("command", "text", "words"),
    [
        ("predict", "topk: 3", "'topk', which is unknown; did you mean top_k?"),
        ("predict", "top_k: three", "top_k must be a whole number, got 'three'"),
        ("predict", "top_k: no", "top_k must be a whole number, got 'no'"),
        ("predict", "top_k: true", "top_k must be a whole number, got True"),
        ("predict", "top_k: 1.5", "top_k must be a whole number, got 1.5"),
        ("predict", "top_k: [1]", "top_k must be a whole number, got [1]"),
        ("predict", "top_k: {a: 1}", "top_k must be a whole number, got {'a': 1}"),
        ("predict", "model: 3", "model must be a text, got 3; put it in quotes"),
        ("predict", "model: [a]", "model must be a text, got ['a']"),
        ("predict", "quiet: maybe", "quiet must be true or false, got 'maybe'"),
        ("predict", "quiet: 1", "quiet must be true or false, got 1"),
        ("predict", "inputs: [3]", "inputs must be a text, got 3"),
        ("predict", "json: 3", "json must be a text, got 3"),
        ("predict", "config: other.yaml", "'config', which is unknown"),
        ("predict", "print_config: true", "'print_config', which is unknown"),
        ("predict", "3: 4", "'3', which is unknown"),
        ("predict", "- top_k", "must hold settings such as 'epochs: 10', but it is a list"),
        ("predict", "just words", "but it is a text"),
        ("predict", "top_k: 1\ntop_k: 2", "'top_k' stands there twice"),
        ("predict", "a: b: c", "cannot be read"),
        ("predict", "[a]: 3", "cannot be read"),
        ("predict", "{a: 1}: 3", "cannot be read"),
        ("predict", "top_k: !!python/object/apply:os.system [ls]", "cannot be read"),
        ("predict", f"top_k: {'[' * 3000}", "cannot be read"),
        ("predict", f"top_k: {'9' * 5000}", "cannot be read"),
        ("predict", "a: &a [*a, *a]", "'a', which is unknown"),
        ("predict", "top_k: &a [*a, *a]", "top_k must be a whole number"),
        ("check", "val_fraction: a tenth", "val_fraction must be a number, got 'a tenth'"),
        ("check", "val_fraction: true", "val_fraction must be a number, got True"),
        ("evaluate", "severities: [1, x]", "severities must be a whole number, got 'x'"),
        ("convert", "to: keras", "to cannot be 'keras'; choose one of focalnets"),
        ("convert", "to: tim", "to cannot be 'tim'; did you mean timm?"),
        ("convert", "post_norm: perhaps", "post_norm must be true or false, got 'perhaps'"),
        ("compare", "skeleton: 3", "skeleton must be names with values, got 3"),
        ("compare", "learning_rate: fast", "learning_rate must be a number, got 'fast'"),
        ("compare", "learningrate: 1", "did you mean learning_rate or"),
        ("benchmark_data", "compile: 'perhaps'", "compile must be true or false, got 'perhaps'"),
        ("benchmark_data", "optimizer: adam", "optimizer cannot be 'adam'; did you mean adamw?"),
        ("benchmark_data", "epochs: ten", "epochs must be a whole number, got 'ten'"),
    ],
)
def test_whatever_is_wrong_is_one_sentence_with_the_file_and_the_key(write, capsys, command, text, words):
    positionals = {"convert": ["a", "b"], "compare": []}.get(command, ["d"])
    file = write(text)
    assert main([command, *positionals, "--config", file]) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert file in shown.err
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert len(shown.err) < 2000
    assert shown.out == ""


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"\x00", b"a: \x07"])
def test_files_that_are_no_yaml(content, tmp_path, capsys):
    file = tmp_path / "options.yaml"
    if content is not None:
        file.write_bytes(content)
    assert main(["doctor", "--config", str(file)]) == 2
    assert main(["doctor", "--config", str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert str(file) in shown
    assert shown.count("\n") == 2


def test_every_command_reads_a_file(write, capsys):
    for command in COMMANDS:
        if command != "train":
            assert main([command, "--config", write("nonsense: 1\n")]) == 2
            assert "'nonsense', which is unknown" in capsys.readouterr().err


def test_what_is_shown_can_be_read_again(write, capsys):
    given = ["evaluate", "m", "d", "--size", "64", "--corruptions", "jpeg", "--quiet", "--severities", "1", "5"]
    assert main([*given, "--print_config"]) == 0
    shown = capsys.readouterr().out
    assert yaml.safe_load(shown)["size"] == 64
    again, first = parsed("evaluate", "--config", write(shown)), parsed(*given)
    del again.config, first.config
    assert again == first


def test_settings_of_a_training_stand_beside_options(write, coloured_images, tmp_path, capsys):
    settings = {"image_size": 32, "batch_size": 4, "workers": 0, "augmentation": "none", "learning_rate": "1e-3"}
    options = {"batches": 1, "warmup": 1, "device": "cpu", "image_size_schedule": {16: 0, 32: 2}}
    file = write(yaml.safe_dump({**settings, **options}))
    assert main(["benchmark_data", str(coloured_images), "--config", file, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["image_size"], result["batch_size"], result["batches"]) == (32, 4, 1)
    values = parsed("compare", "--config", write("train: d\nepochs: 3\nlearning_rate: 1e-2\nmodels: [a, b]\n"))
    assert (values.train, values.epochs, values.models, values.settings) == (
        "d",
        3,
        ["a", "b"],
        {"learning_rate": 0.01},
    )


def test_a_file_runs_a_command(write, coloured_run, coloured_images, capsys):
    file = write(f"inputs: ['{coloured_images}/red/1*.png']\nmodel: '{coloured_run}'\ncsv: true\ntop_k: 1\n")
    assert main(["predict", "--config", file]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 11


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1e-3", 1e-3),
        ("a: 1E3", 1e3),
        ("a: .5", 0.5),
        ("a: 5.", 5.0),
        ("a: -1", -1),
        ("a: +2", 2),
        ("a: 0o17", 15),
        ("a: 0x1F", 31),
        ("a: true", True),
        ("a: yes", "yes"),
        ("a: 1_000", "1_000"),
        ("a: ~", None),
        ("a:", None),
        ("a: -.inf", float("-inf")),
        ("a: 1.2.3", "1.2.3"),
        ("a: '1'", "1"),
        ("a: 1:30", "1:30"),
        ("a: <<", "<<"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(write, text, expected):
    value = read_yaml(write(text))["a"]
    assert value == expected
    assert type(value) is type(expected)


def test_an_empty_file_holds_nothing(write):
    assert read_yaml(write("")) == read_yaml(write("# nothing\n")) == {}
    with pytest.raises(ConfigError, match="No such file"):
        read_yaml("missing.yaml")
