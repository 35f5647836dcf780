"""Whether the files that commands write are whole, each by what its kind allows to tell."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import zipfile
from pathlib import Path

import torch
import yaml
from PIL import Image
from safetensors.torch import load_file


def broken_files(folder: Path) -> list[str]:
    """What is wrong with the files below a folder that have their final names, in words."""
    faults = []
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or file.name.startswith(".") or "tensorboard" in file.parts:
            continue
        try:
            _read(file)
        except Exception as error:  # Whatever it is, the file is not whole.
            faults.append(f"{file.name} is not whole ({type(error).__name__}: {str(error)[:200]})")
    return faults


def _read(file: Path) -> None:
    kind = file.suffix.lower()
    data = file.read_bytes()
    if file.name == "unfinished.jsonl":  # A line may be cut; all before it count.
        json.loads(data.splitlines()[0])
    elif file.name == "log.txt":
        data.decode("utf-8")
    elif not data:
        raise ValueError("it is empty")
    elif kind == ".json":
        json.loads(data)
    elif kind == ".csv":
        rows = list(csv.reader(io.StringIO(data.decode("utf-8")), strict=True))
        if not data.endswith(b"\n") or len({len(row) for row in rows}) != 1:
            raise ValueError("its lines are not of one length")
    elif kind in (".yaml", ".yml"):
        if not isinstance(yaml.safe_load(data), dict) or not data.endswith(b"\n"):
            raise ValueError("no settings")
    elif kind == ".html":
        if b"</html>" not in data[-200:]:
            raise ValueError("it does not end")
    elif kind == ".svg":
        if b"</svg>" not in data[-200:]:
            raise ValueError("it does not end")
    elif kind == ".pdf":
        if b"%%EOF" not in data[-200:]:
            raise ValueError("it does not end")
    elif kind in (".png", ".jpg", ".gif"):
        with Image.open(file) as image:
            image.load()
    elif kind == ".safetensors":
        load_file(file)
    elif kind in (".ckpt", ".pth", ".pt", ".bin"):
        with zipfile.ZipFile(file) as archive:
            if archive.testzip() is not None:
                raise ValueError("a part is damaged")
        if kind != ".ckpt":
            torch.load(file, weights_only=True)
    elif kind == ".tar":
        with tarfile.open(file, "r:") as archive:
            archive.getmembers()
        if data[-1024:] != bytes(1024):
            raise ValueError("it does not end")
    elif kind in (".mp4", ".mkv", ".mov", ".webm"):
        import av

        with av.open(str(file)) as container:
            if not sum(1 for _ in container.decode(video=0)):
                raise ValueError("no frame")
    elif kind == ".md":
        data.decode("utf-8")
