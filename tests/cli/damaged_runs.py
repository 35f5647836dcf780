"""Folders of runs, damaged in every way that we know: each file missing, cut, replaced, or of another content."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file

TABLES = ("environment.json", "split.json")
CONFIG = "config.yaml"
METRICS = "metrics.csv"
WEIGHTS = ("best.safetensors", "last.safetensors")
POINT = "checkpoints/last.ckpt"
OTHERS = ("README.md", "curves.png", "log.txt")
FILES = (*TABLES, CONFIG, METRICS, *WEIGHTS, POINT, *OTHERS)

NO_VALUES: dict[str, Any] = {
    "null": None,
    "list": [],
    "object": {},
    "text": "nonsense",
    "list of lists": [[[]]],
    "negative": -1,
    "huge": 10**400,
    "infinite": float("inf"),
    "no number": float("nan"),
    "true": True,
    "zero byte": "a\0b",
    "surrogate": "\ud800",
    "long": "x" * 5000,
}


@dataclasses.dataclass(frozen=True)
class Damage:
    """One damage: the file, what is done to it in words, and what does it to a run's folder."""

    file: str
    name: str
    apply: Callable[[Path], None]

    def __str__(self) -> str:
        return f"{self.file}: {self.name}"


def damages(run: Path) -> Iterator[Damage]:
    """List all damages that are tried on copies of a run."""
    for file in (file for file in FILES if (run / file).exists()):
        for name, change in _OF_ANY_FILE.items():
            yield Damage(file, name, lambda folder, file=file, change=change: change(folder / file))
    for file in (*TABLES, CONFIG):
        yield from _values_replaced(run, file)
    yield from _tables_replaced(run)
    for file in WEIGHTS:
        yield from _weights_replaced(run, file)
    yield from _points_replaced(run)


def _remove(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _with_one_byte_changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)


def _as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _as_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _as_named_pipe_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


_OF_ANY_FILE: dict[str, Callable[[Path], Any]] = {
    "missing": _remove,
    "empty": lambda path: path.write_bytes(b""),
    "cut": _cut,
    "one byte changed": _with_one_byte_changed,
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "noise": lambda path: path.write_bytes(random.Random(0).randbytes(5000)),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe{}\n" + path.read_bytes()),
    "a text": lambda path: path.write_text("this is not what was here\n"),
    "a word of JSON": lambda path: path.write_text("null"),
    "a list of JSON": lambda path: path.write_text("[1, 2]"),
    "an object of JSON": lambda path: path.write_text("{}"),
    "too deep": lambda path: path.write_text("[" * 100_000),
    "too many digits": lambda path: path.write_text("9" * 5000),
    "a folder": _as_folder,
    "a loop of links": _as_loop,
    "a link to nothing": _as_named_pipe_to_nothing,
}


def _values_replaced(run: Path, file: str) -> Iterator[Damage]:
    """Every value of a JSON or YAML file replaced by one of another type, down to the second level."""
    is_yaml = file.endswith("yaml")
    content = (yaml.safe_load if is_yaml else json.loads)((run / file).read_text(encoding="utf-8"))
    paths = [(key,) for key in content]
    paths += [(key, inner) for key, value in content.items() if isinstance(value, dict) for inner in value]
    paths += [(key, 0) for key, value in content.items() if isinstance(value, list) and value]
    for number, path in enumerate(paths):
        # Each value gets some of the replacements; together they meet all.
        names = list(NO_VALUES) if len(paths) < 20 else [list(NO_VALUES)[(number + step) % 13] for step in (0, 5)]
        for name in names:
            yield Damage(file, f"{'.'.join(map(str, path))} {name}", _replace(file, path, NO_VALUES[name]))
        yield Damage(file, f"without {'.'.join(map(str, path))}", _replace(file, path, ...))


def _replace(file: str, path: tuple[Any, ...], value: Any) -> Callable[[Path], None]:
    def apply(run: Path) -> None:
        place = run / file
        is_yaml = file.endswith("yaml")
        content = (yaml.safe_load if is_yaml else json.loads)(place.read_text(encoding="utf-8"))
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        if value is ...:
            del inner[path[-1]]
        else:
            inner[path[-1]] = value
        text = yaml.safe_dump(content, sort_keys=False) if is_yaml else json.dumps(content)
        place.write_text(text, encoding="utf-8", errors="surrogatepass")

    return apply


def _tables_replaced(run: Path) -> Iterator[Damage]:
    heading, first, *rest = (run / METRICS).read_text().splitlines()
    columns = heading.split(",")
    tables = {
        "heading only": [heading],
        "no heading": [first, *rest],
        "another heading": ["a,b,c", "1,2,3"],
        "half a line": [heading, first[: len(first) // 2]],
        "more columns than the heading": [heading, f"{first},7,8"],
        "columns twice": [f"{heading},{heading}", f"{first},{first}"],
        "quotes that stay open": [heading, '"' + first],
        "a very long field": [heading, "9" * 200_000 + "," + first],
    }
    for word in ("", "text", "nan", "inf", "1e999", "-1", "1e400", "0x10", "1_0"):
        tables[f"only {word!r}"] = [heading, ",".join([word] * len(columns))]
        for column in ("epoch", "val_top1", "seconds", "images_per_s", "val_loss"):
            values = first.split(",")
            values[columns.index(column)] = word
            tables[f"{column} {word!r}"] = [heading, ",".join(values), *rest]
    for name, lines in tables.items():
        yield Damage(METRICS, name, lambda folder, lines=lines: _write(folder / METRICS, lines))


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n")


def _weights_replaced(run: Path, file: str) -> Iterator[Damage]:
    with safe_open(run / file, framework="pt") as opened:
        metadata = opened.metadata()
        name = next(iter(opened.keys()))
    kinds: dict[str, Callable[[dict[str, torch.Tensor], dict[str, str]], Any]] = {
        "of another network": lambda tensors, _: ({"conv1.weight": torch.ones(3)}, {}),
        "without metadata": lambda tensors, _: (tensors, {}),
        "one tensor less": lambda tensors, told: ({key: tensors[key] for key in list(tensors)[1:]}, told),
        "one tensor more": lambda tensors, told: ({**tensors, "more": torch.ones(1)}, told),
        "not finite": lambda tensors, told: ({key: tensor * float("nan") for key, tensor in tensors.items()}, told),
        "whole numbers": lambda tensors, told: ({key: tensor.long() for key, tensor in tensors.items()}, told),
        "another shape": lambda tensors, told: ({**tensors, name: torch.ones(2, 2)}, told),
        "no tensor": lambda tensors, told: ({}, told),
    }
    for key in metadata:
        for word in ("", "null", "[]", "nonsense", "1e999", '{"kind": "image"}', "9" * 5000, "\ud800"[:0] + "[" * 5000):
            kinds[f"{key} {word[:20]!r}"] = lambda tensors, told, key=key, word=word: (tensors, {**told, key: word})
        kinds[f"without {key}"] = lambda tensors, told, key=key: (
            tensors, {other: word for other, word in told.items() if other != key}
        )  # fmt: skip
    for kind, change in kinds.items():
        yield Damage(file, kind, lambda folder, change=change: _rewrite(folder / file, change))


def _rewrite(path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, str]], Any]) -> None:
    with safe_open(path, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
        metadata = opened.metadata()
    tensors, metadata = change(tensors, metadata)
    path.unlink()
    save_file(tensors, path, metadata or None)


class Payload:
    """Would make a file when it is unpickled."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.marker,)


def _points_replaced(run: Path) -> Iterator[Damage]:
    content = torch.load(run / POINT, map_location="cpu", weights_only=True)
    for name, other in {"a tensor": torch.ones(2), "a list": [1], "nothing in it": {}, "a number": 3}.items():
        yield Damage(POINT, name, lambda folder, other=other: torch.save(other, folder / POINT))
    yield Damage(POINT, "code", lambda folder: torch.save(Payload(str(folder / "executed")), folder / POINT))
    for key in content:
        for name, value in (
            ("null", None),
            ("text", "nonsense"),
            ("list", [1, 2]),
            ("object", {"a": 1}),
            ("huge", 10**30),
        ):
            changed = {**content, key: value}
            yield Damage(
                POINT, f"{key} {name}", lambda folder, changed=changed: torch.save(changed, folder / POINT)
            )  # fmt: skip
        fewer = {other: value for other, value in content.items() if other != key}
        yield Damage(POINT, f"without {key}", lambda folder, fewer=fewer: torch.save(fewer, folder / POINT))


def copy_of(run: Path, place: Path) -> Path:
    """Copy a run's folder, in place of what is there."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(run, place, symlinks=True)
    return place
