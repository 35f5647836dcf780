"""Fuzzing of what reads settings and runs: YAML, options, configs, command lines, and the files in a run's folder."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import strategies as st
from tests.campaigns.fuzzing import Target, changed_bytes, changed_values, json_texts
from tests.campaigns.odd_configs import BASE, NAMED

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

_WORDS = (
    b": ", b"\n", b"\t", b"- ", b"&a ", b"*a", b"!!int ", b"!!bool ", b"!!timestamp ", b"!!binary ", b"!!set",
    b"!!omap", b"!!null ", b"!!float ", b"{", b"}", b"[", b"]", b"'", b'"', b"#", b"|", b">", b"%", b"?", b"---",
    b"...", b"<<: ", b"0x", b"1e3", b"~",
)  # fmt: skip


def _read_yaml(content: bytes, place: Path) -> None:
    from focalnets.yaml_files import read_yaml

    (place / "a.yaml").write_bytes(content)
    assert isinstance(read_yaml(place / "a.yaml"), dict)


def _resolve(content: bytes, place: Path) -> None:
    from focalnets.training.config import TrainingConfig
    from focalnets.training.resolve import resolve_config

    (place / "a.yaml").write_bytes(content)
    config = resolve_config(config=place / "a.yaml")
    again = TrainingConfig.from_dict(yaml.safe_load(yaml.safe_dump(config.to_dict())))
    assert again.to_dict() == config.to_dict()


def _type_options(values: Any, place: Path) -> None:
    command, content = values
    (place / "a.yaml").write_bytes(content)
    _parse([command, "--config", str(place / "a.yaml"), *(["--to", "timm"] if command == "convert" else [])], place)


_OPTIONS = {
    "predict": {"inputs": ["a.png"], "top_k": 3, "size": 64, "quiet": True, "json": True, "model": "m",
    "batch_size": 2},
    "evaluate": {"data": "d", "corruptions": ["jpeg"], "severities": [1, 5], "skip_unreadable": "no", "bins": 5,
    "seed": 1},
    "explain": {"inputs": ["a"], "block": "1.0", "size": "native", "style": "overlay", "html": True, "top_k": 2},
    "compare": {"models": ["a"], "skeleton": {"embed_dim": 8, "drop_path": 0.1}, "size": [32, 64], "learning_rate": 0.1,
    "minutes": 1.5},
    "convert": {"source": "a", "destination": "b", "post_norm": True, "origin": "x", "dtype": "float16"},
    "check": {"data": "d", "val_fraction": 0.2, "seed": 3},
}  # fmt: skip


def _options() -> st.SearchStrategy[tuple[str, bytes]]:
    return st.one_of(
        *(st.tuples(st.just(command), json_texts(content)) for command, content in _OPTIONS.items()),
        *(st.tuples(st.just(command), changed_bytes([yaml.safe_dump(content).encode()], _WORDS)) for command,
        content in _OPTIONS.items()),
    )  # fmt: skip


def _parse(arguments: list[str], _: Path) -> None:
    import contextlib
    import io

    from focalnets.cli.main import COMMANDS
    from focalnets.cli.parsing import build_parser
    from focalnets.errors import one_line

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            build_parser(arguments[0], COMMANDS[arguments[0]]).parse(arguments[1:])
    except SystemExit as stopped:
        text = said.getvalue()
        assert stopped.code in (0, 2)  # noqa: PT017 - any other is raised on
        if stopped.code == 2:
            assert text.startswith("error: ")
            assert text.count("\n") == 1
            assert text.strip() == one_line(text.strip())
            assert "jsonargparse" not in text


_arguments = st.builds(
    lambda command, rest: [command, *rest],
    st.sampled_from(("predict", "evaluate", "train", "explain", "compare", "convert", "check", "runs", "shard",
    "localize", "models")),
    st.lists(
        st.text(max_size=6) | st.sampled_from(("--size", "--top_k", "--json", "--csv", "--output", "--epochs",
        "--learning_rate", "--model_overrides.depths", "--model_overrides", "--config", "--quiet", "--no_quiet", "--",
        "-", "-h", "--print_config", "--to", "--resume", "--severities", "--skeleton.x", "1", "-1", "1e999", "nan",
        "[1,2]", "{a: 1}", "null", "true", "a.png", "x=1", "--size=", "--=", "0x10", "\0", "\ud800", "a\nb",
        "\x1b[31m")),
        max_size=6,
    ),
)  # fmt: skip


def _build(values: Any, _: Path) -> None:
    from focalnets.models.config import FocalNetConfig, Preprocessing

    kind, content = values
    make: Any = FocalNetConfig if kind == "network" else Preprocessing
    made = make.from_dict(content)
    assert make.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def _fields(kind: type) -> dict[str, Any]:
    return json.loads(
        json.dumps(
            {
                field.name: field.default
                for field in dataclasses.fields(kind)
                if field.default is not dataclasses.MISSING
            }
        )
    )


def _built() -> st.SearchStrategy[tuple[str, Any]]:
    from focalnets.models.config import FocalNetConfig, Preprocessing

    return st.one_of(
        st.tuples(st.just("network"), changed_values(_fields(FocalNetConfig))),
        st.tuples(st.just("input"), changed_values(_fields(Preprocessing))),
    )


@functools.cache
def _run_files() -> dict[str, bytes]:
    """The small files of a run."""
    from safetensors.torch import save
    from tests.campaigns.hostile_checkpoints import network

    from focalnets.weights.checkpoint import describe

    config = yaml.safe_dump({**BASE, "epochs": 2, "image_size_schedule": None}).encode()
    environment = {
        "parameters": 1234,
        "data": {
            "description": "d",
            "fingerprint": "0" * 64,
            "classes": ["a", "b"],
            "images_to_train": 4,
            "images_to_validate": 2,
            "left_out": [],
        },
    }
    metrics = (
        b"epoch,train_loss,val_loss,val_top1,learning_rate,seconds,images_per_s\n"
        b"1,0.7,0.6,0.5,0.001,1.5,100\n2,0.6,0.5,0.75,0.0005,1.4,110\n"
    )
    holder = {"process": 12, "computer": "here", "command": ["focalnets", "train"]}
    metadata = {**describe(network()), "focalnets.run_complete": "true"}
    return {
        "config.yaml": config, "environment.json": json.dumps(environment).encode(), "metrics.csv": metrics,
        ".training.json": json.dumps(holder).encode(), "last.safetensors": save(network().state_dict(), metadata),
    }  # fmt: skip


def _read_run(changed: dict[str, bytes], place: Path) -> None:
    from focalnets.training.run_folder import RunFolder
    from focalnets.training.runs import differing_settings, find_runs

    run = place / "run"
    run.mkdir()
    for name, content in {**_run_files(), **changed}.items():
        (run / name).write_bytes(content)
    folder = RunFolder(run)
    folder._holder_in_words()
    folder.is_complete()
    folder.read_config()
    runs = find_runs(place)
    differing_settings(runs)
    assert runs[0].epochs >= 0


def _changed_runs() -> st.SearchStrategy[dict[str, bytes]]:
    files = _run_files()
    environment, holder = (json.loads(files[name]) for name in ("environment.json", ".training.json"))
    return st.one_of(
        changed_bytes([files["metrics.csv"]], (b",", b"\n", b'"', b"nan", b"inf", b"1e999", b"epoch",
        b"\r")).map(lambda text: {"metrics.csv": text}),
        changed_bytes([files["config.yaml"]], _WORDS).map(lambda text: {"config.yaml": text}),
        json_texts({**BASE, "epochs": 2}).map(lambda text: {"config.yaml": text}),
        json_texts(environment).map(lambda text: {"environment.json": text}),
        json_texts(holder).map(lambda text: {".training.json": text}),
        changed_bytes([files["last.safetensors"]], (b"__metadata__", b"[",
        b"{")).map(lambda text: {"last.safetensors": text}),
    )  # fmt: skip


_SETTINGS = [content for content in NAMED.values() if len(content) < 3000]

TARGETS = {
    "YAML": Target(lambda: changed_bytes(_SETTINGS, _WORDS), _read_yaml),
    "configs of trainings": Target(
        lambda: json_texts(BASE) | changed_bytes([yaml.safe_dump(BASE).encode()], _WORDS), _resolve
    ),
    "files of options": Target(_options, _type_options),
    "command lines": Target(lambda: _arguments, _parse),
    "networks and inputs": Target(_built, _build),
    "folders of runs": Target(_changed_runs, _read_run),
}


@pytest.mark.parametrize("name", list(TARGETS))
def test_fuzz(name, fuzzed, say):
    say(fuzzed(__name__, name))
