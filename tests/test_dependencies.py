"""Every package that is imported is declared in pyproject.toml, and shown by `focalnets doctor`."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from focalnets.cli.doctor import _OPTIONAL, _REQUIRED

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no reader of TOML")

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "focalnets"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

OTHER_NAMES = {
    "PIL": "pillow",
    "huggingface_hub": "huggingface-hub",
    "openslide": "openslide-python",
    "pillow_avif": "pillow-avif-plugin",
    "pillow_heif": "pillow-heif",
    "pillow_jxl": "pillow-jxl-plugin",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Names of packages that differ from what is imported."""

COMES_WITH_TORCH = {"triton"}
"""Where there is one: nothing imports it at once but the kernels written in it."""


def names(requirements):
    return {re.split(r"[<>=!~\[ ;]", requirement)[0].lower() for requirement in requirements}


CORE = names(PROJECT["dependencies"])
EXTRAS = set().union(*map(names, PROJECT["optional-dependencies"].values())) - {"focalnets"}


def third_party_imports(path):
    """Pairs of a package and whether importing the file imports it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    later = set()
    for node in ast.walk(tree):
        is_later = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        if is_later or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            later |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        else:
            continue
        for module in modules:
            package = module.split(".")[0]
            if package != "focalnets" and package not in sys.stdlib_module_names:
                yield OTHER_NAMES.get(package, package), id(node) not in later


IMPORTS = {path: set(third_party_imports(path)) for path in sorted(PACKAGE.rglob("*.py"))}


@pytest.mark.parametrize("path", IMPORTS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_is_imported_is_declared(path):
    for package, at_once in IMPORTS[path]:
        if package in COMES_WITH_TORCH:
            continue
        assert package in CORE | EXTRAS, f"{package} is imported, but pyproject.toml does not declare it"
        assert package in CORE or not at_once, f"{package} is declared in an extra; import it where it is used"


def test_what_is_declared_is_imported():
    imported = {package for imports in IMPORTS.values() for package, _ in imports}
    assert imported >= CORE


def test_the_doctor_looks_at_all_of_them():
    assert set(_REQUIRED) >= CORE
    for_working_on_it = {
        "bias-amplification",
        "fairlearn",
        "hypothesis",
        "mypy",
        "pre-commit",
        "pytest",
        "ruff",
        "scikit-build-core",
    }
    assert {*_REQUIRED, *_OPTIONAL} >= EXTRAS - for_working_on_it
    assert not set(_REQUIRED) & set(_OPTIONAL)
