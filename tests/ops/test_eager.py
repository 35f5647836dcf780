"""PyTorch's privates are used in one file only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import focalnets

PACKAGE = Path(focalnets.__file__).parent
ALLOWED = {
    "ops/eager.py": None,  # this is the file
    "exporting/programs.py": {"_inductor"},  # what compiles ahead of time and loads it is public nowhere else
    "models/heads/boxes.py": {"_utils"},  # torchvision's coder and matcher of boxes are nowhere else
    "training/optimization.py": {"_foreach_add_", "_foreach_copy_", "_foreach_lerp", "_foreach_lerp_", "_foreach_mul_"},
}
OF_MODULES = {"_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_modules"}


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def privates_of(source):
    """Private names of torch that are imported, or reached from what was imported of torch, and those of modules."""
    tree, roots, found = ast.parse(source), set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in (alias for alias in node.names if alias.name.split(".")[0] in ("torch", "torchvision")):
                roots.add(name.asname or "torch")
                found |= {part for part in name.name.split(".") if is_private(part)}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("torch", "torchvision"):
            parts = [*node.module.split("."), *(alias.name for alias in node.names)]
            found |= {part for part in parts if is_private(part)}
            roots |= {alias.asname or alias.name for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            start = node.value
            while isinstance(start, ast.Attribute):
                start = start.value
            if (isinstance(start, ast.Name) and start.id in roots) or node.attr in OF_MODULES:
                found.add(node.attr)
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_other_file_uses_private_names_of_torch(path):
    allowed = ALLOWED.get(path.relative_to(PACKAGE).as_posix(), set())
    found = privates_of(path.read_text(encoding="utf-8"))
    assert allowed is None or found <= allowed


def test_the_search_finds_what_it_looks_for():
    for source in (
        "import torch\ntorch._C._are_functorch_transforms_active()",
        "import torch._inductor.config",
        "from torch.autograd import forward_ad\nforward_ad._current_level",
        "from torch.nn.modules.module import _has_any_global_hook",
        "module._forward_hooks",
    ):
        assert privates_of(source)
    assert not privates_of("import torch\nself._weights = torch.ops.aten.gelu")
