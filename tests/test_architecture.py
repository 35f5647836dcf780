"""Imports point downwards only, and importing the package stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import focalnets

PACKAGE = Path(focalnets.__file__).parent

ROOMS = [
    "machine",
    "ops",
    "models",
    "report",
    "weights",
    "data",
    "tasks",
    "training",
    "visualize",
    "compare",
    "demo",
    "cli",
]
"""Lowest first: a room may import itself and those before it."""

SAME_FLOOR = {"visualize": {"training"}, "training": {"visualize"}, "data": {"weights"}}
LEAVES = {
    "focalnets.class_names",
    "focalnets.errors",
    "focalnets.files",
    "focalnets.intervals",
    "focalnets.models.config",
    "focalnets.version",
}


def imports_of(path):
    """Names of the package's modules that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "focalnets")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            if node.module and node.module.split(".")[0] == "focalnets":
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(name):
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    room = path.relative_to(PACKAGE).parts[0] if path.parent != PACKAGE else None
    if room is None:
        return
    assert room in ROOMS, f"{room} is a new room: say in this test and in docs/architecture.md on which floor it stands"
    allowed = set(ROOMS[: ROOMS.index(room) + 1]) - SAME_FLOOR.get(room, set())
    for name in imports_of(path):
        if any(name == leaf or name.startswith(f"{leaf}.") for leaf in LEAVES):
            continue
        assert room_of(name) in allowed, f"{path.relative_to(PACKAGE)} imports {name}, which is above it"


@pytest.mark.parametrize("leaf", sorted(LEAVES - {"focalnets.intervals"}))
def test_leaves_import_no_torch(leaf):
    code = f"import sys, {leaf}; assert not ({{'torch', 'numpy', 'PIL'}} & set(sys.modules))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_prints_nothing_and_loads_nothing_heavy():
    heavy = {"torch", "torchvision", "lightning", "matplotlib"}
    code = f"import focalnets, sys; print(','.join({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")


def test_public_names_are_there():
    for name in focalnets.__all__:
        assert getattr(focalnets, name) is not None
    with pytest.raises(AttributeError, match="no attribute"):
        focalnets.attention  # noqa: B018


def test_files_stay_readable():
    long = {
        str(path.relative_to(PACKAGE)): lines
        for path in PACKAGE.rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > (600 if "kernels" in path.name else 350)
    }
    assert long == {}
