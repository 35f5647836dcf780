"""Odd files of settings: what YAML makes of values, names unknown or doubled, wrong shapes, sizes and letters."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable

import yaml
from tests.campaigns.json_changes import ODD_VALUES, changed_json

BASE = {
    "model": "focalnet_pico", "model_overrides": {"embed_dim": 8, "depths": [1, 1, 1, 1]}, "image_size": 32,
    "epochs": 1,
    "batch_size": 2, "learning_rate": 0.001, "warmup_epochs": 0.5, "weight_decay": 0.05, "optimizer": "adamw",
    "seed": 0,
    "val_fraction": 0.3, "ema_decay": 0.0, "patience": None, "compile": False, "workers": 0,
    "image_size_schedule": "32:0",
    "classify": {"label_smoothing": 0.1, "mixup": 0.0},
}  # fmt: skip
"""Settings of a training that takes a second."""

_ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{second}: &{second} [{', '.join([f'*{first}'] * 9)}]\n"
    for first, second in zip("abcdefgh", "bcdefghi", strict=True)
)
_GROWING = "model_overrides:\n  a: &a {x: 1}\n" + "".join(
    f"  {second}: &{second} {{p: *{first}, q: *{first}, r: *{first}}}\n" for first,
    second in zip("abcdefghijklmnopqrst", "bcdefghijklmnopqrstu", strict=True)
)  # fmt: skip


def _texts() -> dict[str, bytes]:
    lines = {
        "learning_rate": ["1e-3", "1E-3", "1.e-3", "'1e-3'", ".001", "-0.1", "0", "1e999", ".inf", "-.inf", ".nan",
        "true", "null", "[1e-3]", "{a: 1}", "1_000", "0x1", "1,5", "fast", "2024-01-01", "12:30:00", "!!float 1e-3",
        "!!str 1"],
        "epochs": ["1.0", "'1'", "1e0", "0", "-1", "true", "ten", "01", "0o1", "1.5", "[1]", "~", "9" * 30, "9" * 5000,
        "!!int '1'", "+1", "1_0"],
        "batch_size": ["0", "10000000000", "-2", "2.5", "null", "two"],
        "compile": ["'no'", "no", "off", "0", "1", "maybe", "[]", "True", "'True'"],
        "seed": ["4294967296", "-1", "4294967295", "1e3", "'0'", "18446744073709551616"],
        "val_fraction": ["0", "1", "1.0", "2", "50%", "1/2", ".nan", "0.999999999"],
        "image_size": ["7", "8", "1000000", "32.0", "32px", "[32, 32]", "-32", "null"],
        "image_size_schedule": ["32", "'32:0,16:0'", "'16:5'", "{32: 0, 16: 1}", "{a: b}", "[32, 0]", "':'", "'32:-1'",
        "{32: [0]}", "1:0", "12:30", "'9999999:0'", "{null: null}", "'32:0,'"],
        "model": ["nothing", "''", "3", "null", "[focalnet_pico]", "../../etc/passwd", "'\\0'", "2024-01-01"],
        "model_overrides": ["3", "[]", "null", "{}", "{depths: 3}", "{depths: [1000000000, 1, 1, 1]}",
        "{embed_dim: 1000000}", "{embed_dim: 0}", "{embed_dim: wide}", "{colour: red}", "{depths: []}",
        "{focal_windows: [100001]}", "{mlp_ratio: .nan}", "{mlp_ratio: 1e300}", "{in_chans: 4}", "{num_classes: 7}",
        "{1: 2}", "{null: null}", "{drop_path: 1.0}", "{stem: [a]}", "{depths: [[1]]}", "{patch_size: 1000}",
        "{pyramid_norms: true}"],
        "pretrained": ["nothing", "''", "3", "'.'", "data", "null", "[a]", "'\\0'"],
        "optimizer": ["adam", "AdamW", "null", "[adamw]", "3"],
        "classify": ["3", "[]", "null", "{}", "{mixup: lots}", "{colour: 1}", "{mixup: -1}", "{mixup: .nan}",
        "{label_smoothing: 1}", "{mixup: null}", "{1: 2}"],
        "task": ["detect", "3", "null", "[classify]", "Classify", "'../x'"],
        "device": ["tpu", "3", "'cuda:99'", "cuda", "null", "mps", "'cpu '"],
        "devices": ["0", "-2", "1000000", "2.0", "all"],
        "precision": ["float64", "half", "16", "float16", "null"],
        "patience": ["0", "-1", "1.5", "never"],
        "workers": ["-1", "1.5", "null", "many"],
        "gradient_clip": ["-1", ".nan", ".inf", "off"],
        "class_balance": ["2", "-0.1", ".nan", "true"],
        "ema_decay": ["1", "0.99999999", "-1", "yes"],
        "checkpoint_minutes": ["-1", ".nan", ".inf", "1e300", "soon"],
        "settings": ["{}", "3", "null"],
        "no_such_name": ["1", "[]"],
    }  # fmt: skip
    texts = {
        f"{name}: {value[:40]}": f"{name}: {value}\n".encode() for name, values in lines.items() for value in values
    }
    good = yaml.safe_dump(BASE).encode()
    texts |= {
        "as it should be": good, "empty": b"", "only a comment": b"# nothing\n", "a number": b"3",
        "a list": b"- epochs\n- 3\n", "a text": b"epochs", "null": b"~",
        "JSON": json.dumps(BASE).encode(), "with a byte order mark": b"\xef\xbb\xbf" + good,
        "UTF-16": good.decode().encode("utf-16"), "Latin-1": "model: caf\u00e9\n".encode("latin-1"),
        "zero bytes": b"epochs: 1\0\n", "noise": random.Random(0).randbytes(400),
        "carriage returns": good.replace(b"\n", b"\r\n"), "old Mac": good.replace(b"\n", b"\r"),
        "tabs": good.replace(b"  ", b"\t"),
        "tab at the start": b"\tepochs: 1\n", "doubled": b"epochs: 1\nepochs: 2\n",
        "doubled with hyphens": b"batch-size: 1\nbatch_size: 2\n",
        "doubled below": b"classify:\n  mixup: 0\n  mixup: 1\n", "in capitals": b"EPOCHS: 1\n",
        "two documents": b"epochs: 1\n---\nepochs: 2\n", "a document that ends": b"epochs: 1\n...\nnonsense: [\n",
        "a directive": b"%YAML 9.9\n---\nepochs: 1\n", "a tag": b"!ruby/object:Gem {}\n",
        "code": b"epochs: !!python/object/apply:os.system [touch canary]\n",
        "code in a name": b"!!python/name:os.system : 1\n",
        "code as all": b"!!python/object/new:os.system [touch canary]\n",
        "a module": b"a: !!python/module:antigravity\n", "aliases that grow": _ALIASES.encode(),
        "maps that grow": _GROWING.encode(),
        "an alias to itself": b"&a [*a]\n", "a map in itself": b"&a {model_overrides: *a}\n",
        "an alias that is not there": b"epochs: *a\n", "merged": b"<<: {epochs: 1}\nbatch_size: 2\n",
        "merged with itself": b"a: &a\n  <<: *a\n", "merged with a list": b"<<: [1, 2]\n",
        "merged below": b"classify: {<<: {mixup: 0}}\n",
        "deep": b"a: " + b"[" * 5000, "deep maps": b"".join(b" " * depth + b"a:\n" for depth in range(900)),
        "deep in one line": b"{a: " * 2000 + b"}" * 2000, "a long line": b"model: " + b"x" * 2_000_000,
        "many names": b"".join(b"n%d: 1\n" % number for number in range(5000)),
        "a set": b"!!set {a, b}\n", "an ordered map": b"!!omap [a: 1]\n", "pairs": b"epochs: !!pairs [a: 1]\n",
        "binary": b"model: !!binary aGVsbG8=\n", "bad binary": b"model: !!binary '*'\n",
        "a time": b"model: !!timestamp 2024-13-45\n", "a date": b"model: 2024-02-30\n",
        "a bad integer": b"epochs: !!int x\n", "a bad truth": b"compile: !!bool x\n",
        "a null tag": b"epochs: !!null x\n",
        "a list as a name": b"[a]: 1\n", "a map as a name": b"{a: 1}: 1\n",
        "a long name": b"? " + b"x" * 3000 + b"\n: 1\n", "a name of no letters": b"'': 1\n", "a null name": b"~: 1\n",
        "a number as a name": b"1: 2\n", "a truth as a name": b"true: 1\n", "a block": b"model: |\n  focalnet_pico\n",
        "a folded text": b"model: >-\n  focalnet\n  _pico\n", "escapes": b'model: "\\x1b[31m\\n\\u202e"\n',
        "surrogates": b'model: "\\ud800"\n', "control letters": b"model: a\x07b\n",
        "a colon too many": b"a: b: c\n", "quotes that do not end": b"model: 'a\n",
        "odd indents": b"classify:\n    mixup: 0\n  label_smoothing: 0\n", "a percent": b"%\n", "an at": b"model: @a\n",
        "a backtick": b"model: `a`\n", "a bang": b"!", "a star": b"*", "a question": b"?", "a hyphen": b"-",
        "a brace": b"{", "a dot": b"...", "a dash": b"---",
    }  # fmt: skip
    return texts


NAMED = _texts()
_NAMES = list(NAMED)
NAMED_CASES = len(_NAMES)

Loader = Callable[[], bytes]


def make_config(number: int, draw: random.Random) -> tuple[bytes, str]:
    """The file of a number, and what it is."""
    if number < NAMED_CASES:
        return NAMED[_NAMES[number]], _NAMES[number]
    kind = draw.choice(("json", "json", "yaml", "letters"))
    if kind == "json":
        return changed_json(BASE, draw), "changed as JSON"
    if kind == "yaml":
        content = dict(BASE)
        for _ in range(draw.choice((1, 2))):
            content[draw.choice(list(BASE))] = draw.choice(ODD_VALUES)
        return yaml.dump(content, allow_unicode=draw.random() < 0.5).encode("utf-8", "surrogatepass"), "changed as YAML"
    text = bytearray(_good())
    for _ in range(draw.choice((1, 3, 9))):
        place = draw.randrange(len(text))
        text[place : place + draw.choice((0, 1, 1, 5))] = draw.choice(
            (b":", b"\t", b"\n", b"-", b"&a ", b"*a", b"!!", b"{", b"[", b"'", b'"', b"#", b"\xff", b"|", b"%")
        )
    return bytes(text), "letters changed"


@functools.cache
def _good() -> bytes:
    return yaml.safe_dump(BASE).encode()
