"""Imports point downwards only, and importing the package stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import focalnets

PACKAGE = Path(focalnets.__file__).parent

ROOMS = {
    "machine": (),
    "ops": ("machine",),
    "models": ("ops",),
    "engine": ("models",),
    "report": ("machine",),
    "weights": ("models",),
    "data": ("models",),
    "large": ("data", "report"),
    "tasks": ("engine", "weights", "large"),
    "training": ("tasks",),
    "visualize": ("tasks",),
    "auditing": ("visualize",),
    "exporting": ("tasks",),
    "compare": ("training", "visualize"),
    "demo": ("compare",),
    "api": ("demo", "auditing", "exporting"),
    "cli": ("api",),
}
"""What each room may import, besides itself and what these may; the table of docs/architecture.md."""

LEAVES = {"class_names", "errors", "files", "intervals", "models.config", "models.input_specs", "version", "yaml_files"}
"""Files that all may import, and that import each other only."""

ENTRANCES = {"__init__", "__main__"}
"""Files that may import everything: they resolve public names, and start the command line."""


def modules_of(package):
    """Name below the package, without its own, and tree of every file."""
    return {
        ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
            path.read_text(encoding="utf-8")
        )
        for path in package.rglob("*.py")
    }


def imports_of(module, tree, modules):
    """Names below the package of what a file imports, also inside functions and for type checkers only."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide the direction"
            inner = (node.module or "").removeprefix("focalnets").lstrip(".")
            files = [f"{inner}.{alias.name}".lstrip(".") in modules for alias in node.names]
            names = [
                f"{node.module}.{alias.name}" if is_file else node.module or ""
                for alias, is_file in zip(node.names, files, strict=True)
            ]
        yield from (name.removeprefix("focalnets.") for name in names if name.startswith("focalnets."))


def reachable(room):
    """The rooms that a room may import."""
    return {room}.union(*(reachable(below) for below in ROOMS[room]))


def faults_of(package):
    """What is wrong with the imports of a package, in words."""
    modules = modules_of(package)
    graph = {module: set(imports_of(module, tree, modules)) for module, tree in modules.items()}
    faults = []
    for module, imported in graph.items():
        room = module.partition(".")[0]
        if module in ENTRANCES:
            continue
        if module not in LEAVES and room not in ROOMS:
            faults.append(f"{module} is in no room that this test knows: give it a place here and in the documentation")
            continue
        allowed = set() if module in LEAVES else reachable(room)
        below = {"models.fields"} if module in ("models.config", "models.input_specs") else set()
        faults += [
            f"{module} imports {name}, which is above it"
            for name in sorted(imported - LEAVES - below)
            if name.partition(".")[0] not in allowed
        ]
    return faults + [f"a circle: {' -> '.join(circle)}" for circle in circles_of(graph)]


def circles_of(graph):
    """One path for each file that leads back to itself."""
    done, circles = set(), []

    def follow(module, path):
        if module in path:
            circles.append([*path[path.index(module) :], module])
        elif module not in done:
            for name in sorted(graph.get(module, ())):
                follow(name, [*path, module])
            done.add(module)

    for module in sorted(graph):
        follow(module, [])
    return circles


def test_imports_point_down_in_known_rooms_and_never_in_circles():
    assert faults_of(PACKAGE) == []


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({"data/a.py": "from focalnets.training.b import x"}, "data.a imports training.b, which is above it"),
        ({"data/a.py": "def f():\n    import focalnets.cli.b"}, "data.a imports cli.b, which is above it"),
        (
            {"data/a.py": "import typing\nif typing.TYPE_CHECKING:\n    from focalnets.tasks.b import T"},
            "which is above",
        ),
        ({"data/a.py": "from focalnets.weights.b import x"}, "data.a imports weights.b, which is above it"),
        ({"files.py": "from focalnets.data.a import x"}, "files imports data.a, which is above it"),
        ({"attic/a.py": ""}, "attic.a is in no room that this test knows"),
        ({"attic.py": ""}, "attic is in no room that this test knows"),
        (
            {"data/a.py": "from focalnets.data import b", "data/b.py": "def f():\n    from focalnets.data.a import x"},
            "a circle: data.a -> data.b -> data.a",
        ),
    ],
)
def test_wrong_imports_are_found(tmp_path, files, fault):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (found,) = faults_of(tmp_path)
    assert fault in found


def test_the_documentation_names_every_room():
    text = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [room for room in ROOMS if f"| `{room}/` |" not in text and f"| `{room}` |" not in text] == []
    assert [leaf for leaf in LEAVES if f"`{leaf.replace('.', '/')}`" not in text] == []


@pytest.mark.parametrize("leaf", sorted(LEAVES - {"intervals"}))
def test_leaves_import_no_torch(leaf):
    code = f"import sys, focalnets.{leaf}; assert not ({{'torch', 'numpy', 'PIL'}} & set(sys.modules))"
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
