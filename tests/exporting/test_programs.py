"""Programs of torch.export: operators of PyTorch alone, read without this package."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from tests.exporting.networks import classifier, detector, semantic

import focalnets
from focalnets.exporting.formats import Options
from focalnets.exporting.programs import read_metadata
from focalnets.exporting.writing import export_network
from focalnets.ops.backends import BACKENDS
from focalnets.tasks.table import build_task

pytestmark = pytest.mark.filterwarnings("ignore")

READER = """
import sys, torch
extra = {"focalnets.json": ""}
program = torch.export.load(sys.argv[1], extra_files=extra)
images = torch.load(sys.argv[2])
torch.save(program.module()(images), sys.argv[2])
assert '"blue"' in extra["focalnets.json"].replace(chr(92), "")
assert "focalnets" not in sys.modules
"""


def test_a_program_needs_nothing_but_pytorch(tmp_path):
    network = classifier()
    exported = focalnets.export(network, tmp_path / "net.pt2")
    assert exported.difference < 1e-4
    assert exported.smallest_px == 9
    assert read_metadata(exported.path)["focalnets.labels"] == '["blue", "green", "red"]'
    program = torch.export.load(exported.path)
    operators = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert {name.partition(".")[0] for name in operators} <= {"aten", "<built-in function getitem>"}
    images = torch.randn(3, 3, 33, 50)
    torch.save(images, tmp_path / "images.pt")
    command = [sys.executable, "-c", READER, str(exported.path), str(tmp_path / "images.pt")]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": ""})
    (logits,) = torch.load(tmp_path / "images.pt")
    with torch.no_grad():
        assert torch.allclose(logits, network(images), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("make", [semantic, lambda: semantic("uper"), detector], ids=["mlp", "uper", "detector"])
def test_programs_of_dense_tasks(make, tmp_path):
    task, network = make()
    exported = export_network(task, network, tmp_path / "net.pt2")
    assert exported.difference < 1e-4
    program = torch.export.load(exported.path)
    operators = {str(node.target).partition(".")[0] for node in program.graph.nodes if node.op == "call_function"}
    others = {name for name in operators if name != "aten" and not name.startswith(("<built-in", "<function sym"))}
    assert others == ({"torchvision"} if task.name == "detect" else set())


@pytest.mark.slow
@pytest.mark.skipif(BACKENDS["cpu"].why_unavailable() is not None, reason="the C++ kernels cannot run here")
def test_a_program_that_is_compiled_here(tmp_path):
    exported = export_network(build_task("classify"), classifier(), tmp_path / "net.pt2", Options(aoti=True))
    assert exported.difference < 1e-4
    assert read_metadata(exported.path)["focalnets.labels"] == '["blue", "green", "red"]'
    assert b"focal_aggregation_cpu" in exported.path.read_bytes()
